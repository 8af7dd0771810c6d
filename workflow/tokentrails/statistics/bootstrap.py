"""Intervals from units drawn again with replacement: words, or texts with all their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float64, Int

from .student import expanded_tail

DRAWS_AT_ONCE = 64
STRATA_AT_ONCE = 512  # of few units each: fewer, larger blocks

Statistic = Callable[[Float64[np.ndarray, "samples units"]], Float64[np.ndarray, "samples curves"]]
"""A number for every curve, from how often each unit is in a sample; NaN without any value."""


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

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> Bootstrap:
        """As the section `statistics` of the configuration says."""
        return cls(statistics["bootstrap"], statistics["confidence"], statistics["seed"])

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
        return self.redraw(means(values), values.shape[1], stream)

    def redraw(
        self, statistic: Statistic, n: int, stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """A statistic of every sample. Those with the same `n` and `stream` see the same samples.

        Parameters
        ----------
        statistic: such as `means`, `cluster_means` and `cluster_medians` give.
        n: how many units there are; a sample draws as many.
        stream: as for `means`.
        """
        return np.concatenate([statistic(counts) for counts in self._counts(n, stream)])

    def redraw_strata(
        self, statistic: Statistic, sizes: Sequence[int], stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """The same with units of several strata, each drawn by itself: every one keeps its size.

        Parameters
        ----------
        statistic: its units are those of the first stratum, then those of the next.
        sizes: of the strata.
        stream: as for `means`.
        """
        strata = [
            self._counts(size, (*stream, at), STRATA_AT_ONCE) for at, size in enumerate(sizes)
        ]
        return np.concatenate(
            [statistic(np.hstack(counts)) for counts in zip(*strata, strict=True)]
        )

    def interval(
        self,
        draws: Float[np.ndarray, " draws *curves"],
        units: int | None = None,
        method: Literal["linear", "inverted_cdf"] = "linear",
    ) -> tuple[Float64[np.ndarray, " *curves"], Float64[np.ndarray, " *curves"]]:
        """Lower and upper end: percentiles of the draws (Efron 1979).

        Parameters
        ----------
        draws: with `units`, a NaN among them takes no part.
        units: how many were drawn anew, two or more: percentiles are then expanded by Student's t
            (see `student.expanded_tail`), without which intervals of few units are too short.
        method: of `numpy.quantile`; ``"inverted_cdf"`` gives values that were drawn, such as whole
            layers, or infinity for what is never reached.
        """
        if units is None:
            tail = (1 - self.confidence) / 2
            low, high = np.quantile(draws, [tail, 1 - tail], axis=0, method=method)
            return low, high
        tail = expanded_tail(self.confidence, units)
        missing = np.isnan(draws)
        some = ~missing.all(axis=0)
        ends = np.full((2, *draws.shape[1:]), np.nan)
        quantile = np.nanquantile if missing[:, some].any() else np.quantile
        ends[:, some] = quantile(draws[:, some], [tail, 1 - tail], axis=0, method=method)
        return ends[0], ends[1]

    def _counts(
        self, n: int, stream: Sequence[int], at_once: int = DRAWS_AT_ONCE
    ) -> Iterator[Float64[np.ndarray, "some words"]]:
        """How often each word is in each sample, a block of samples at a time."""
        rng = np.random.default_rng([self.seed, *stream])
        for start in range(0, self.draws, at_once):
            some = min(at_once, self.draws - start)
            drawn = rng.integers(n, size=(some, n)) + n * np.arange(some)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=some * n)
            yield counts.reshape(some, n).astype(np.float64)


def means(values: Float[np.ndarray, "curves units"]) -> Statistic:
    """The mean of every curve over its units. A NaN takes no part."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0).T.astype(np.float64)
    weights = None if known.all() else known.T.astype(np.float64)

    def statistic(counts: np.ndarray) -> np.ndarray:
        total = counts @ filled
        size = counts.sum(axis=1, keepdims=True) if weights is None else counts @ weights
        return np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0)

    return statistic


def cluster_means(
    values: Float[np.ndarray, "curves members"], unit: Int[np.ndarray, " members"]
) -> Statistic:
    """The mean of every curve over the members of the units, such as the tokens of texts.

    A unit drawn twice brings each of its members twice, so this is a ratio of two sums over units:
    a unit of many members weighs more.

    Parameters
    ----------
    values: of each member; a NaN takes no part.
    unit: that each member belongs to, counted from 0.
    """
    over_members = means(values)
    return lambda counts: over_members(counts[:, unit])


def cluster_medians(
    values: Float[np.ndarray, "curves members"], unit: Int[np.ndarray, " members"]
) -> Statistic:
    """The median of every curve over the members of the units, as `numpy.median` defines it.

    That of the values repeated as often as their unit is drawn: the mean of the two in the middle.
    Each curve is sorted once; a sample's median lies where the cumulated counts pass the half.

    Parameters
    ----------
    values, unit: as for `cluster_means`.
    """
    curves = [np.flatnonzero(~np.isnan(curve)) for curve in values]
    curves = [at[values[c, at].argsort(kind="stable")] for c, at in enumerate(curves)]

    def statistic(counts: np.ndarray) -> np.ndarray:
        medians = np.full((len(counts), len(values)), np.nan)
        for curve, members in enumerate(curves):
            passed = counts[:, unit[members]].cumsum(axis=1)
            size = passed[:, -1:] if len(members) else np.zeros((len(counts), 1))
            middle = np.hstack([(size - 1) // 2, size // 2])  # the same one where size is odd
            at = np.stack([(passed <= m[:, None]).sum(axis=1) for m in middle.T])
            some = size[:, 0] > 0
            medians[some, curve] = values[curve, members[at[:, some]]].mean(
                axis=0, dtype=np.float64
            )
        return medians

    return statistic
