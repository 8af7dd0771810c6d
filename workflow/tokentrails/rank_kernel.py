"""Ranks on a GPU: how many rows of the vocabulary are closer to a state than its own row.

The scores are one matrix product, states x rows. The kernel (`rank_tiles`) keeps each tile of it in
registers, compares it with the states' own scores, and drops it, so that memory holds the inputs,
one count per state and the few pairs that float32 cannot decide.

What limits it is the product. A tile of 128 x 128 scores takes 128 * 128 * d multiply-adds and,
after them, some twenty simple operations a score: a few per cent at d = 576, less above (counted in
the compiled code, not timed). Two things keep the rest of the time with the multiply-adds. Both
factors are copied once, one vector a column and padded to whole tiles: then no load needs a mask,
all are 16 bytes wide, and threads that read neighbouring scores' factors from shared memory meet no
bank conflict. And float32 is multiplied as such (`ieee`, no tf32), since the bound of the rounding
error is the one of float32.
"""

from __future__ import annotations

import importlib.util
import math
import os
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

CANDIDATES_PER_STATE = 64
"""First guess at the room for candidates; the kernel runs again if there are more."""

BAND = 8
"""State tiles that go through the vocabulary together."""


class Tiles(NamedTuple):
    """Sizes of a tile (powers of 2), tiles of rows per program, and how a program is run."""

    n: int
    v: int
    d: int
    group: int
    warps: int
    stages: int


FLOAT32 = (
    Tiles(128, 128, 16, 4, warps=8, stages=3),
    Tiles(128, 128, 32, 4, warps=8, stages=3),
    Tiles(128, 128, 16, 4, warps=8, stages=4),
    Tiles(64, 128, 16, 4, warps=4, stages=3),
)
"""What is tried for float32, multiplied by the ordinary units: 64 scores a thread."""

HALF = (
    Tiles(128, 128, 64, 4, warps=4, stages=3),
    Tiles(128, 256, 64, 4, warps=8, stages=3),
    Tiles(128, 128, 64, 4, warps=8, stages=3),
    Tiles(128, 128, 32, 4, warps=8, stages=4),
)
"""What is tried for float16 and bfloat16, multiplied by the tensor cores."""

INTERPRETED = (Tiles(32, 32, 16, 2, warps=4, stages=1),)
"""For Triton's interpreter, which runs on the CPU, and multiplies no bfloat16 (3.9)."""


def available(device: torch.device) -> bool:
    """Whether `count_closer` can run on tensors of this device.

    It needs triton, and an NVIDIA GPU of compute capability 8.0 (Ampere) or newer or a GPU that
    ROCm calls "cuda"; or any device where Triton's interpreter is on (`TRITON_INTERPRET=1`).
    """
    if importlib.util.find_spec("triton") is None:
        return False
    if _interpreted():
        return True
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def count_closer(
    states: Float[Tensor, "n d"],
    rows: Float[Tensor, "v d"],
    own: Float32[Tensor, " n"],
    eps: float,
    valid: Bool[Tensor, " v"],
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, "c 2"]]:
    """Count the rows that are surely closer, and list the pairs that are too close to call.

    Which pairs are listed depends on the order of summation, thus on the tile sizes that were the
    fastest. Counts and listed pairs together do not miss a row nor count one twice.

    Parameters
    ----------
    states, rows: vectors of length 1, both float32, float16 or bfloat16, without NaN. Products
        are summed in float32.
    own: the score (dot product) of each state with its own row.
    eps: bound of the rounding error of a score and of `own`.
    valid: rows that are counted at all. Others may hold anything.

    Returns
    -------
    counts: for each state the valid rows whose score is above own + eps.
    candidates: pairs (state, row), sorted, of valid rows whose score is within eps of own, among
        them each state's own row.
    """
    tiles = _tiles(states.dtype)
    deep = max(tile.d for tile in tiles)
    left = _columns(states, deep, max(tile.n for tile in tiles))
    right = _columns(rows, deep, max(tile.v for tile in tiles))
    n, v = len(states), len(rows)
    # NaN compares as false, so the kernel needs no mask for what must not be counted.
    ignored = torch.ones(right.shape[1], dtype=torch.bool, device=rows.device)
    ignored[:v] = ~valid
    right.index_fill_(1, ignored.nonzero().squeeze(1), math.nan)
    own_padded = own.new_full((left.shape[1],), math.nan)
    own_padded[:n] = own

    capacity = CANDIDATES_PER_STATE * n
    while True:
        counts = torch.zeros(n, dtype=torch.int64, device=states.device)
        found = torch.zeros(1, dtype=torch.int64, device=states.device)
        pairs = torch.empty(capacity, dtype=torch.int64, device=states.device)
        with torch.cuda.device_of(states):
            _tuned(tiles)[lambda meta: (_programs(n, v, meta),)](
                states=left,
                rows=right,
                own=own_padded,
                counts=counts,
                candidates=pairs,
                found=found,
                n=n,
                n_stride=left.shape[1],
                v=v,
                v_stride=right.shape[1],
                depth=left.shape[0],
                eps=eps,
                capacity=capacity,
                BAND=BAND,
                enable_fp_fusion=True,  # Triton's default changes; saying nothing warns
            )
        n_found = int(found)
        if n_found <= capacity:
            break
        capacity = n_found
    pairs = pairs[:n_found].sort().values
    return counts, torch.stack((pairs // v, pairs % v), dim=1)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _tiles(dtype: torch.dtype) -> tuple[Tiles, ...]:
    if _interpreted():
        return INTERPRETED
    return FLOAT32 if dtype == torch.float32 else HALF


def _columns(
    vectors: Float[Tensor, "n d"], deep: int, wide: int
) -> Float[Tensor, "padded_d padded_n"]:
    """The vectors as columns, with zeros up to multiples of `deep` and `wide`."""
    n, d = vectors.shape
    columns = vectors.new_zeros((math.ceil(d / deep) * deep, math.ceil(n / wide) * wide))
    columns[:d, :n] = vectors.T
    return columns


def _programs(n: int, v: int, meta: dict[str, Any]) -> int:
    row_tiles = math.ceil(v / meta["BLOCK_V"])
    return math.ceil(n / meta["BLOCK_N"]) * math.ceil(row_tiles / meta["GROUP"])


@cache
def _tuned(tiles: tuple[Tiles, ...]) -> Any:
    """The kernel, which tries all tile sizes the first time it meets a number of components."""
    import triton

    from .rank_tiles import count_tiles

    configs = [
        triton.Config(
            {"BLOCK_N": tile.n, "BLOCK_V": tile.v, "BLOCK_D": tile.d, "GROUP": tile.group},
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        for tile in tiles
    ]
    return triton.autotune(
        configs, key=["depth"], reset_to_zero=["counts", "found"], cache_results=True
    )(count_tiles)
