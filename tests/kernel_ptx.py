"""The kernel of ranks as machine code, for a GPU that need not be there.

Apart from its test, so that the process that compiles has not to load torch.
"""


def compiled(dtype: str, tiles: dict[str, int], band: int, capability: int) -> tuple[str, int]:
    """The kernel's PTX and the bytes of shared memory that one program takes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tokentrails.rank_tiles import count_tiles

    constants = {
        "BLOCK_N": tiles["n"],
        "BLOCK_V": tiles["v"],
        "BLOCK_D": tiles["d"],
        "GROUP": tiles["group"],
        "BAND": band,
    }
    types = {"states": f"*{dtype}", "rows": f"*{dtype}", "own": "*fp32", "eps": "fp32"}
    types |= dict.fromkeys(["counts", "candidates", "found"], "*i64")
    types |= dict.fromkeys(constants, "constexpr")
    names = count_tiles.arg_names
    aligned = ["states", "rows", "n_stride", "v_stride", "depth"]
    source = ASTSource(
        count_tiles,
        {name: types.get(name, "i32") for name in names},
        constants,
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    options = {
        "num_warps": tiles["warps"],
        "num_stages": tiles["stages"],
        "enable_fp_fusion": True,
    }
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return kernel.asm["ptx"], kernel.metadata.shared
