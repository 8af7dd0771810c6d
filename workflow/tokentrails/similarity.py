"""Cosine similarity, in double precision."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int

PAIRS_AT_ONCE = 8192


def row_cosine(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float32[np.ndarray, " n"]:
    """Cosine of each row of `a` with the same row of `b`: a.b / (|a| |b|), NaN for a zero row.

    Computed in float64 and rounded to float32 at the end, so that equal directions give exactly 1.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    dot = np.einsum("nd,nd->n", a, b)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide(dot, norms, out=np.full(len(dot), np.nan), where=norms > 0)
    return np.clip(cosine, -1, 1).astype(np.float32)


def pair_cosine(
    rows: Float[np.ndarray, "n d"], a: Int[np.ndarray, " p"], b: Int[np.ndarray, " p"]
) -> Float32[np.ndarray, " p"]:
    """Cosine of row a[i] with row b[i], for every i, as `row_cosine` gives it.

    Pairs are taken in blocks, since there are many more of them than rows.
    """
    blocks = range(0, len(a), PAIRS_AT_ONCE)
    cosines = [
        row_cosine(rows[a[i : i + PAIRS_AT_ONCE]], rows[b[i : i + PAIRS_AT_ONCE]]) for i in blocks
    ]
    return np.concatenate(cosines) if cosines else np.empty(0, dtype=np.float32)
