"""Intervals for means over words, from words drawn again with replacement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

DRAWS_AT_ONCE = 64


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes
    ----------
    draws: how many samples.
    confidence: of the intervals, between 0 and 1.
    seed: of the draws.
    """

    draws: int
    confidence: float
    seed: int

    def means(
        self, values: Float[np.ndarray, "curves words"], stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """Mean of every curve over each sample of words.

        A sample draws as many words as there are, and the same words for all curves: what is
        derived from several curves, such as a slope, keeps their correlation. A NaN takes no part;
        a sample without any value gives NaN.

        Parameters
        ----------
        values: of each curve and word.
        stream: numbers that, with the seed, identify the draws; other ones give independent draws.
        """
        known = ~np.isnan(values)
        filled = np.where(known, values, 0.0).T.astype(np.float64)
        weights = None if known.all() else known.T.astype(np.float64)
        blocks = []
        for counts in self._counts(values.shape[1], stream):
            total = counts @ filled
            size = counts.sum(axis=1, keepdims=True) if weights is None else counts @ weights
            blocks.append(np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0))
        return np.concatenate(blocks)

    def interval(
        self, draws: Float[np.ndarray, " draws *curves"]
    ) -> tuple[Float64[np.ndarray, " *curves"], Float64[np.ndarray, " *curves"]]:
        """Lower and upper end: percentiles of the draws (Efron 1979)."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        return low, high

    def _counts(self, n: int, stream: Sequence[int]) -> Iterator[Float64[np.ndarray, "some words"]]:
        """How often each word is in each sample, a block of samples at a time."""
        rng = np.random.default_rng([self.seed, *stream])
        for start in range(0, self.draws, DRAWS_AT_ONCE):
            some = min(DRAWS_AT_ONCE, self.draws - start)
            drawn = rng.integers(n, size=(some, n)) + n * np.arange(some)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=some * n)
            yield counts.reshape(some, n).astype(np.float64)
