"""Cosine similarity, in double precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from .ratio import ratio

ROWS_AT_ONCE = 512

Moments = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]
"""Mean and standard deviation of every dimension."""


class Cosines(NamedTuple):
    """Of the rows as they are, minus the means of their samples, and as z-scores."""

    cosine: Float32[np.ndarray, " p"]
    centred: Float32[np.ndarray, " p"]
    standardised: Float32[np.ndarray, " p"]


def row_cosine(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> Float32[np.ndarray, " n"]:
    """Cosine of each row of `a` with the same row of `b`: a.b / (|a| |b|), NaN for a zero row.

    Computed in float64 and rounded to float32 at the end, so that equal directions give exactly 1.
    """
    every = np.arange(len(a))
    return pair_cosines(a, b, every, every).cosine


def pair_cosines(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "m d"],
    a: Int[np.ndarray, " p"],
    b: Int[np.ndarray, " p"],
    moments: tuple[Moments, Moments] | None = None,
) -> Cosines:
    """Cosines of row a[i] of `left` with row b[i] of `right`, for every i, as of `row_cosine`.

    Pairs are taken in blocks, which stay in the processor's cache while they change from one form
    to the next; the copies in float64 are never of all of them.

    Parameters
    ----------
    moments: of the samples that `left` and `right` are of. Without them there is the cosine alone,
        and NaN. A dimension that never varies is 0 in a z-score.
    """
    cosines = np.full((3, len(a)), np.nan, dtype=np.float32)
    for start in range(0, len(a), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        x, y = left[a[block]].astype(np.float64), right[b[block]].astype(np.float64)
        cosines[0, block] = _cosine(x, y)
        if moments is None:
            continue
        for rows, (mean, _) in zip((x, y), moments, strict=True):
            rows -= mean
        cosines[1, block] = _cosine(x, y)
        for rows, (_, deviation) in zip((x, y), moments, strict=True):
            rows *= _scale(deviation)
        cosines[2, block] = _cosine(x, y)
    return Cosines(*cosines)


def z_scores(rows: Float[np.ndarray, "n d"], moments: Moments) -> Float32[np.ndarray, "n d"]:
    """Every dimension less its mean, in standard deviations; 0 for one that never varies."""
    mean, deviation = moments
    return ((rows - mean) * _scale(deviation)).astype(np.float32)


def unit(rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Every row with length 1. A row of zeros has no direction and stays as it is."""
    rows = rows.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=rows, where=norms > 0)


def _scale(deviation: Float[np.ndarray, " d"]) -> Float64[np.ndarray, " d"]:
    """Per standard deviation; 0 for a dimension that never varies."""
    return np.divide(1, deviation, out=np.zeros(len(deviation)), where=deviation > 0)


def _cosine(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"]
) -> Float64[np.ndarray, " n"]:
    dot, xx, yy = (np.einsum("nd,nd->n", *pair) for pair in ((x, y), (x, x), (y, y)))
    return np.clip(ratio(dot, np.sqrt(xx) * np.sqrt(yy)), -1, 1)
