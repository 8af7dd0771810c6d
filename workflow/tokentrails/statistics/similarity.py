"""Cosine similarity, in double precision."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from .ratio import ratio

ROWS_AT_ONCE = 8192


def row_cosine(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float32[np.ndarray, " n"]:
    """Cosine of each row of `a` with the same row of `b`: a.b / (|a| |b|), NaN for a zero row.

    Computed in float64 and rounded to float32 at the end, so that equal directions give exactly 1.
    Rows are taken in blocks: the copies in float64 are never of all of them.
    """
    every = np.arange(len(a))
    return _pair_cosine(a, b, every, every)


def pair_cosine(
    rows: Float[np.ndarray, "n d"], a: Int[np.ndarray, " p"], b: Int[np.ndarray, " p"]
) -> Float32[np.ndarray, " p"]:
    """Cosine of row a[i] with row b[i], for every i, as `row_cosine` gives it.

    Pairs are taken in blocks, since there are many more of them than rows.
    """
    return _pair_cosine(rows, rows, a, b)


def unit(rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Every row with length 1. A row of zeros has no direction and stays as it is."""
    rows = rows.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=rows, where=norms > 0)


def _pair_cosine(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    a: Int[np.ndarray, " p"],
    b: Int[np.ndarray, " p"],
) -> Float32[np.ndarray, " p"]:
    cosine = np.empty(len(a), dtype=np.float32)
    for start in range(0, len(a), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        x, y = left[a[block]].astype(np.float64), right[b[block]].astype(np.float64)
        dot = np.einsum("nd,nd->n", x, y)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosine[block] = np.clip(ratio(dot, norms), -1, 1)
    return cosine
