"""A similarity in its three forms: as it is, beside that of random pairs, and standardised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from ...files.states import Layer
from ...statistics.baseline import EMBEDDING, Baseline
from ...statistics.similarity import pair_cosine, row_cosine

MEASURES = ("cosine", "adjusted", "standardised")
UNITS = {"cosine": "cosine, -1 to 1", "adjusted": "cosine", "standardised": "cosine, -1 to 1"}


class Similarities(NamedTuple):
    """One place's similarities, each of n pairs; NaN where there is no baseline.

    Attributes
    ----------
    cosine: as it is.
    adjusted: minus that of random pairs at the same place.
    standardised: of the states with every dimension as a z-score over the baseline's sample.
    """

    cosine: Float[np.ndarray, " n"]
    adjusted: Float[np.ndarray, " n"]
    standardised: Float32[np.ndarray, " n"]

    @classmethod
    def alone(cls, cosine: Float[np.ndarray, " n"]) -> Similarities:
        """Cosines for which no baseline was asked."""
        unknown = np.full(len(cosine), np.nan, dtype=np.float32)
        return cls(cosine, unknown, unknown)


def to_embedding(
    at: Layer, embedding: Float32[np.ndarray, "n d"], baseline: Baseline
) -> Similarities:
    """Of each state with the same row of `embedding`, which is standardised by its own moments."""
    place = (at.site, at.layer)
    cosine = row_cosine(at.hidden, embedding)
    return Similarities(
        cosine,
        baseline.adjusted("embedding", place, cosine),
        row_cosine(
            baseline.standardise(place, at.hidden), baseline.standardise(EMBEDDING, embedding)
        ),
    )


def of_pairs(
    at: Layer, a: Int[np.ndarray, " n"], b: Int[np.ndarray, " n"], baseline: Baseline
) -> Similarities:
    """Of state a[i] with state b[i], for every i."""
    place = (at.site, at.layer)
    cosine = pair_cosine(at.hidden, a, b)
    standardised = Similarities.alone(cosine).standardised
    if place in baseline.moments:  # else no second product of pairs that would all be NaN
        standardised = pair_cosine(baseline.standardise(place, at.hidden), a, b)
    return Similarities(cosine, baseline.adjusted("states", place, cosine), standardised)
