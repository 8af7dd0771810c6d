"""The kernel of ranks on a GPU: is it right, and how fast is it next to the bare matrix product?

    PYTHONPATH=workflow python tests/benchmarks/rank_gpu.py

prints one JSON object per line: the machine, then one per precision and problem. `speed_ratio` is
the time of the bare product of states and rows, which writes all scores, over that of
`count_closer`, copies and sorting included (at least 0.8 is the aim). `exact` says that all ranks
equal those of a product in float64, and `same_as_blocked` that `count_closer_blocked` gives them,
too. The exit status is 1 if a rank is wrong, and 2 where there is no GPU to measure.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from measured import Measured, Skipped
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from tokentrails.rank_kernel import available, count_closer

PROBLEMS = [(n, v, d) for v, d in ((49_152, 576), (50_304, 2048)) for n in (2_000, 20_000)]
STATES_AT_ONCE = 2_000
PAIRS_AT_ONCE = 65_536
Count = Callable[[Tensor, Tensor, Tensor, float, Tensor], tuple[Tensor, Tensor]]


def problem(n: int, v: int, d: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """States that lean towards their own rows: cosines from 0 to 0.95, half of them below 0.1.

    So ranks are low and high; high ones have the most near pairs. All rows share a direction, as
    embeddings do.
    """
    random = torch.Generator("cuda").manual_seed(0)
    draw = partial(torch.randn, device="cuda", generator=random)
    rows = torch.nn.functional.normalize(draw(v, d) + 0.5 * draw(1, d), dim=1)
    own = torch.randint(v, (n,), device="cuda", generator=random)
    lean = 3 * torch.rand(n, 1, device="cuda", generator=random) ** 6
    states = torch.nn.functional.normalize(draw(n, d) / d**0.5 + lean * rows[own], dim=1)
    return states.to(dtype), rows.to(dtype), own


def pair_scores(states: Tensor, rows: Tensor, pairs: Tensor) -> Tensor:
    """The float64 score of each pair (state, row)."""
    return torch.cat(
        [
            (states[some[:, 0]].double() * rows[some[:, 1]].double()).sum(1)
            for some in pairs.split(PAIRS_AT_ONCE)
        ]
    )


def ranks(count: Count, states: Tensor, rows: Tensor, own: Tensor, eps: float) -> Tensor:
    """Ranks from a count and its candidates, these decided in float64.

    The own row is never closer, though its score may be summed in another order here and there.
    """
    n = len(states)
    own_scores = pair_scores(states, rows, torch.stack((torch.arange(n).to(own), own), 1))
    valid = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    counts, pairs = count(states, rows, own_scores.float(), eps, valid)
    closer = pair_scores(states, rows, pairs) > own_scores[pairs[:, 0]]
    closer &= pairs[:, 1] != own[pairs[:, 0]]
    return counts + torch.bincount(pairs[closer, 0], minlength=n)


def exact_ranks(states: Tensor, rows: Tensor, own: Tensor) -> Tensor:
    """Ranks from all scores in float64."""
    wide = rows.double().T
    blocks = []
    for some, its_own in zip(states.split(500), own.split(500), strict=True):
        scores = some.double() @ wide
        blocks.append((scores > scores.gather(1, its_own[:, None])).sum(1))
    return torch.cat(blocks)


def bare_product(states: Tensor, rows: Tensor, scores: Tensor) -> None:
    for some in states.split(STATES_AT_ONCE):
        torch.mm(some, rows.T, out=scores[: len(some)])


def seconds(work: Callable[[], object]) -> float:
    from triton.testing import do_bench

    return do_bench(work, warmup=200, rep=1000, return_mode="median") / 1e3


def measure(n: int, v: int, d: int, dtype: torch.dtype, blocked: Count) -> dict[str, object]:
    states, rows, own = problem(n, v, d, dtype)
    eps = 8 * d**0.5 * 2**-24  # products of float16 and bfloat16 are exact in float32
    exact = exact_ranks(states, rows, own)
    found = ranks(count_closer, states, rows, own, eps)
    own_scores = (states.double() * rows[own].double()).sum(1).float()
    valid = torch.ones(v, dtype=torch.bool, device="cuda")
    arguments = (states, rows, own_scores, eps, valid)
    scores = torch.empty(min(n, STATES_AT_ONCE), v, dtype=dtype, device="cuda")
    bare = seconds(partial(bare_product, states, rows, scores))
    kernel = seconds(partial(count_closer, *arguments))
    result: dict[str, object] = {
        "dtype": str(dtype).removeprefix("torch."),
        "states": n,
        "rows": v,
        "d": d,
        "exact": torch.equal(found, exact),
        "median_rank": int(exact.median()),
        "candidates": len(count_closer(*arguments)[1]),
        "speed_ratio": round(bare / kernel, 3),
        "kernel_ms": round(1e3 * kernel, 3),
        "bare_ms": round(1e3 * bare, 3),
        "kernel_tflops": round(2e-12 * n * v * d / kernel, 1),
        "bare_tflops": round(2e-12 * n * v * d / bare, 1),
    }
    if dtype == torch.float32:  # the blocked version rounds scores to the type of the states
        result["same_as_blocked"] = torch.equal(found, ranks(blocked, states, rows, own, eps))
        result["blocked_ms"] = round(1e3 * seconds(partial(blocked, *arguments)), 3)
    return result


def measurements() -> Iterator[dict[str, object]]:
    """What `measure` says, precision by precision and problem by problem."""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU that torch can use")
    if not available(torch.device("cuda")):
        raise Skipped("the kernel needs triton, and a GPU of compute capability 8.0 or newer")
    from tokentrails.ranks import count_closer_blocked

    torch.set_float32_matmul_precision("highest")
    for dtype in (torch.float32, torch.bfloat16):
        for n, v, d in PROBLEMS:
            yield measure(n, v, d, dtype, count_closer_blocked)


def is_right(result: dict[str, object]) -> bool:
    return all(result.get(name, True) for name in ("exact", "same_as_blocked"))


def results() -> Iterator[Measured]:
    for found in measurements():
        print(f"  {json.dumps(found)}", flush=True)
        if not is_right(found):
            raise ValueError("a rank is wrong")
        yield Measured(
            f"ranks of {found['states']:,} states, {found['rows']:,} × {found['d']} in "
            f"{found['dtype']}, against the bare product",
            found["speed_ratio"],
            "of its speed",
            at_least=0.8,
        )


def main() -> None:
    right = True
    try:
        for number, result in enumerate(measurements()):
            if not number:
                machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
                print(json.dumps(machine | {"triton": version("triton")}), flush=True)
            print(json.dumps(result), flush=True)
            right &= is_right(result)
    except Skipped as reason:
        print(f"Nothing was measured: {reason}.", file=sys.stderr)
        sys.exit(2)
    sys.exit(not right)


if __name__ == "__main__":
    main()
