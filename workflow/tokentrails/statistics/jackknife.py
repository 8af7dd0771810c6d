"""Intervals for measures of all words together, from leaving out a part of the words at a time.

A measure that compares words with each other, such as CKA, cannot be resampled with replacement: a
word that is drawn twice is its own neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from .permutation import TIE
from .student import t_quantile

MOST_PARTS = 20


@dataclass(frozen=True)
class Jackknife:
    """Words split at random into parts of equally many units, give or take one.

    Attributes
    ----------
    parts: the words of each, by their index, in random order; no part has a single unit unless
        there is no other.
    confidence: of the intervals, between 0 and 1.
    """

    parts: tuple[Int[np.ndarray, " words"], ...]
    confidence: float

    @classmethod
    def split(
        cls, units: Int[np.ndarray, " words"], seed: Sequence[int], confidence: float
    ) -> Jackknife:
        """Words in up to 20 parts of two units or more, as `seed` decides.

        Parameters
        ----------
        units: of each word; those of one are left out together.
        """
        rng = np.random.default_rng(seed)
        different, own = np.unique(units, return_inverse=True)
        n = len(different)
        drawn = np.array_split(rng.permutation(n), max(1, min(MOST_PARTS, n // 2)))
        order = rng.permutation(len(units))
        return cls(tuple(order[np.isin(own[order], part)] for part in drawn), confidence)

    @property
    def others(self) -> Int[np.ndarray, " words"]:
        """For every word another one, at random, of its own part, so that no part needs another."""
        others = np.empty(sum(map(len, self.parts)), dtype=np.intp)
        for part in self.parts:
            others[part] = np.roll(part, 1)
        return others

    def interval(
        self, value: float, without: Float[np.ndarray, " parts"] | Sequence[float]
    ) -> tuple[float, float]:
        """Lower and upper end for a measure of at most 1: its value, and that without each part.

        The standard error of the delete-a-group jackknife, √((G-1)/G Σ(θ₋g - mean)²), and Student's
        t at G - 1 degrees of freedom (Kott 2001, "The delete-a-group jackknife"). NaN for a single
        part, where a measure is NaN, and where all are equal, which says nothing about other words.
        """
        parts = len(without)
        if parts < 2 or np.ptp([value, *without]) <= TIE:
            return math.nan, math.nan
        error = math.sqrt((parts - 1) * float(np.var(without)))
        reach = t_quantile(self.confidence, parts - 1) * error
        return value - reach, float(np.minimum(1.0, value + reach))


def means(
    values: Float[np.ndarray, " words"], parts: Sequence[Int[np.ndarray, " words"]]
) -> Float64[np.ndarray, " 1+parts"]:
    """The mean over all words, then over all but those of each part; NaN of no word."""
    kept = (values, *(np.delete(values, part) for part in parts))
    return np.array([part.mean(dtype=np.float64) if len(part) else np.nan for part in kept])
