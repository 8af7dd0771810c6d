"""A similarity in its three forms: plain, minus that of random pairs, and standardised."""

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
    adjusted: the cosine minus that of random pairs at the same place.
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


def embedding_similarities(
    states: Layer, embedding: Float32[np.ndarray, "n d"], baseline: Baseline
) -> Similarities:
    """Of each state with the same row of `embedding`, which is standardised by its own moments."""
    place = (states.site, states.layer)
    cosine = row_cosine(states.hidden, embedding)
    standard = baseline.standardise(place, states.hidden)
    return Similarities(
        cosine,
        baseline.adjusted("embedding", place, cosine),
        row_cosine(standard, baseline.standardise(EMBEDDING, embedding)),
    )


def pair_similarities(
    states: Layer, a: Int[np.ndarray, " n"], b: Int[np.ndarray, " n"], baseline: Baseline
) -> Similarities:
    """Of state a[i] with state b[i], for every i."""
    place = (states.site, states.layer)
    cosine = pair_cosine(states.hidden, a, b)
    standardised = Similarities.alone(cosine).standardised
    if place in baseline.moments:  # else no second product of pairs that would all be NaN
        standardised = pair_cosine(baseline.standardise(place, states.hidden), a, b)
    return Similarities(cosine, baseline.adjusted("states", place, cosine), standardised)
