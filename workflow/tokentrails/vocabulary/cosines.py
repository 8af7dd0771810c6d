"""Pieces shared by ranks and lists of words: exact and fast cosines with a large matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor
from torch.nn import functional

from ..errors import TokentrailsError

# Most bytes of one block: of scores, and of rows.
BLOCK_BYTES = 16 << 20
# Most bytes of the float64 copies of pairs: on a CPU they stay in its cache.
PAIR_BYTES = {"cpu": 2 << 20}

# The squares of vectors shorter than this, or longer than its inverse, may leave float32.
SHORT = 1e-15


def refuse_non_finite(name: str, values: Tensor) -> None:
    """Raise for vectors, called by a name, with a NaN or an infinity."""
    # A sum is finite exactly when all is, unless it overflows; only then look closer.
    if not values.sum().isfinite() and not values.isfinite().all():
        raise TokentrailsError(
            f"a {name} has values that are not finite",
            where="the cosines with the vocabulary",
            hint="run the model in float32 (extract.dtype), or check its weights.",
        )


def directions(vectors: Float32[Tensor, "*n d"]) -> Float32[Tensor, "*n d"]:
    """Vectors of length 1; of zeros if they have no direction."""
    # First to a largest entry of 1: other squares may be too large or too small for float32.
    tiny = torch.finfo(torch.float32).tiny
    largest_is_1 = functional.normalize(vectors, p=math.inf, dim=-1, eps=tiny)
    return functional.normalize(largest_is_1, dim=-1)


def known_rows(names: Sequence[str | None], device: torch.device) -> Bool[Tensor, " v"]:
    """Which rows of a matrix the tokenizer uses: those whose entry is not None."""
    known = np.fromiter((name is not None for name in names), bool, len(names))
    return torch.from_numpy(known).to(device)


def rounding(width: int) -> float:
    """How far a float32 product of unit vectors may be from the true cosine.

    8 sqrt(d) u, plus 4 u for the vectors' own rounding, with u = 2^-24: a bound that holds for all
    but a share of 1e-11 of the products (Higham and Mary 2019, "A new approach to probabilistic
    rounding error analysis", theorem 2.4).
    """
    return (8 * math.sqrt(width) + 4) * 2.0**-24


def slices(total: int, width: int) -> Iterator[slice]:
    """Parts of `total` things, of `width` things each, and at least of one."""
    for start in range(0, total, max(1, width)):
        yield slice(start, min(start + max(1, width), total))


def pair_slices(total: int, width: int, device: torch.device) -> Iterator[slice]:
    """Parts of `total` vectors of so many numbers, small enough to be copied as float64."""
    return slices(total, PAIR_BYTES.get(device.type, BLOCK_BYTES) // (8 * width))


def in_order(
    rows: Int64[Tensor, "n c"], cosine: Float64[Tensor, "n c"], k: int
) -> tuple[Int64[Tensor, "n k"], Float64[Tensor, "n k"]]:
    """The k closest of the rows and their cosines, the closest first; equal ones by number."""
    # By number first: sorting by cosine is stable, so that equal ones stay in this order.
    rows, order = rows.sort(dim=1)
    cosine = cosine.gather(1, order)
    order = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
    return rows.gather(1, order), cosine.gather(1, order)
