"""Permutation tests: labels shuffled over units, and many tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

TIE = 1e-9
"""Statistics that are nearer than this are equal: sums in another order differ by rounding."""


@dataclass(frozen=True)
class Permutation:
    """How labels are permuted.

    Attributes
    ----------
    draws: how many times.
    """

    draws: int
    seed: int

    def labels(
        self, first: int, strata: Int[np.ndarray, " n"], stream: Sequence[int]
    ) -> Bool[np.ndarray, "draws n"]:
        """Which units have the first of two labels, as the first ones do at the beginning.

        Parameters
        ----------
        first: how many have it.
        strata: of every unit; labels are permuted within each of them, where of two units with
            different labels they are swapped or not.
        stream: numbers that, with the seed, identify the draws; other ones give independent draws.
        """
        rng = np.random.default_rng([self.seed, *stream])
        labels = np.tile(np.arange(len(strata)) < first, (self.draws, 1))
        for stratum in np.unique(strata):
            units = strata == stratum
            labels[:, units] = rng.permuted(labels[:, units], axis=1)
        return labels


def p_values(
    observed: Float[np.ndarray, " curves"], null: Float[np.ndarray, "draws curves"]
) -> Float64[np.ndarray, " curves"]:
    """How often shuffled labels give at least what was observed: (1 + b) / (1 + draws).

    The observed labels count as one draw, so that p is never 0 and the test never too large
    (Phipson and Smyth 2010). One-sided: large statistics speak against the null.
    """
    reached = (null >= observed - TIE).sum(axis=0)
    return np.where(np.isnan(observed), np.nan, (1 + reached) / (1 + len(null)))


def holm(p: Float[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """p-values such that "below α" errs in no test of the family with a probability of 1 - α.

    The k-th smallest of m is multiplied by m - k + 1, and none is less than one before it
    (Holm 1979). A NaN is no test.
    """
    adjusted = np.full(p.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    tests = tests[p[tests].argsort(kind="stable")]
    stepped = p[tests].astype(np.float64) * np.arange(len(tests), 0, -1)
    adjusted[tests] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
