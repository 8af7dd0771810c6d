"""Intervals from units resampled with replacement: words, or texts with all their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from .permutation import TIE
from .ratio import ratio
from .student import expanded_tail

DRAWS_AT_ONCE = 64  # at least
STRATA_AT_ONCE = 512  # of few units each: fewer, larger blocks
COUNTS_AT_ONCE = 1 << 14  # 128 KB: larger ones leave the cache, and come from fresh memory

MOST_DRAWS = 100_000
DRAWN_UNITS = 2_000_000  # in all draws together

FEWEST_UNITS = 5
"""Fewer resampled units than this, in any group, say nothing about others: no interval is given."""

EQUALITY = ", or all resamples are equal"
EQUAL_MEDIANS = ", or too few for a sign test where all resamples are equal"
"""When else there is no interval, in the meaning of a column."""

Statistic = Callable[[Float64[np.ndarray, "samples units"]], Float64[np.ndarray, "samples curves"]]
"""A number for every curve, from how often each unit is in a sample; NaN without any value."""

Summary = Callable[
    [Float[np.ndarray, "curves members"], Int[np.ndarray, " members"]],
    Statistic,
]
"""That of members whose units are drawn, from their values and units."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes
    ----------
    draws: how many samples.
    confidence: of the intervals, between 0 and 1.
    """

    draws: int
    confidence: float
    seed: int

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> Bootstrap:
        """From `bootstrap`, `confidence` and `seed` of the section `statistics`."""
        return cls(section["bootstrap"], section["confidence"], section["seed"])

    def means(
        self, values: Float[np.ndarray, "curves words"], stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """Mean of every curve over each sample of words, without its NaN.

        A sample has as many words as there are, and the same ones for all curves: what is derived
        from several curves, such as a slope, keeps their correlation. A sample without any value
        gives NaN.

        Parameters
        ----------
        stream: numbers that, with the seed, identify the draws; other ones give independent draws.
        """
        return self.resample(means(values), values.shape[1], stream)

    def resample(
        self,
        statistic: Statistic,
        n: int,
        stream: Sequence[int],
        at_once: int = DRAWS_AT_ONCE,
    ) -> Float64[np.ndarray, "draws curves"]:
        """A statistic of every sample of n units; the same n and `stream` give the same samples.

        Parameters
        ----------
        statistic: such as `means`, `cluster_means` and `cluster_medians` give.
        stream: as for `means`.
        at_once: samples in a block, which do not depend on it.
        """
        return np.concatenate([statistic(counts) for counts in self._counts(n, stream, at_once)])

    def resample_strata(
        self, statistic: Statistic, sizes: Sequence[int], stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """The same with units of several strata, each resampled by itself: all keep their sizes.

        Parameters
        ----------
        statistic: its units are those of the first stratum, then those of the next.
        stream: as for `means`.
        """
        strata = [
            self._counts(size, (*stream, number), STRATA_AT_ONCE)
            for number, size in enumerate(sizes)
        ]
        return np.concatenate(
            [statistic(np.hstack(counts)) for counts in zip(*strata, strict=True)]
        )

    def resample_crossed(
        self, statistic: Statistic, crossing: Crossing, stream: Sequence[int]
    ) -> Float64[np.ndarray, "draws curves"]:
        """A statistic of members that units of several factors share, such as words x contexts.

        The units of each factor are resampled by themselves, and a member counts the product of how
        often its units are drawn: the pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap",
        Annals of Applied Statistics 1). What varies with one factor alone is then in the interval
        however many units the other one has. What varies with neither is counted up to three times,
        so that intervals err on the wide side; see `Crossing.recurring`.

        Parameters
        ----------
        statistic: of members, such as `means` gives.
        stream: as for `means`.
        """
        at_once = draws_at_once(len(crossing.factors[0][0]))
        drawn = [
            self._counts(n, (*stream, number), at_once) for number, n in enumerate(crossing.sizes)
        ]
        blocks = map(crossing.counts, zip(*drawn, strict=True))
        return np.concatenate([statistic(counts) for counts in blocks])

    def resample_members(
        self,
        summary: Summary,
        values: Float[np.ndarray, "curves members"],
        factors: Sequence[Int[np.ndarray, " members"]],
        stream: Sequence[int],
        at_once: int = DRAWS_AT_ONCE,
    ) -> Float64[np.ndarray, "draws curves"]:
        """A summary of the members of units, such as the tokens of texts, or of those of two kinds.

        Parameters
        ----------
        summary: `cluster_means` or `cluster_medians`.
        values: as for these.
        factors: the unit of each member, counted from 0; a second one is crossed with the first
            where it recurs, see `Crossing.recurring`.
        stream, at_once: as for `resample`; of two factors blocks have their own size.
        """
        unit, *crossed = factors
        if not crossed:
            return self.resample(summary(values, unit), 1 + int(unit.max()), stream, at_once)
        crossing = Crossing.recurring(unit, *crossed)
        return self.resample_crossed(summary(values, np.arange(len(unit))), crossing, stream)

    def ratios(
        self,
        totals: Float[np.ndarray, "curves units"],
        sizes: Float[np.ndarray, "curves units"],
    ) -> tuple[Float64[np.ndarray, " curves"], ...]:
        """Means over members, from their sums and numbers by unit, and the ends of intervals.

        Returns
        -------
        Mean, lower and upper end; NaN of a curve without members, and ends under `FEWEST_UNITS`.
        """
        statistic, n = unit_ratios(totals, sizes), totals.shape[1]
        mean = statistic(np.ones((1, n)))[0]
        low, high = np.full((2, len(mean)), np.nan)
        units = (sizes > 0).sum(axis=1)
        if (units >= FEWEST_UNITS).any():
            low, high = self.interval(self.resample(statistic, n, (0,)), units)
        return mean, low, high

    def interval(
        self,
        draws: Float[np.ndarray, " draws *curves"],
        units: int | Int[np.ndarray, " *curves"],
        method: Literal["linear", "inverted_cdf"] = "linear",
        *,
        expanded: bool = True,
        discrete: bool = False,
    ) -> tuple[Float64[np.ndarray, " *curves"], Float64[np.ndarray, " *curves"]]:
        """Lower and upper end: percentiles of the draws (Efron 1979); NaN under `FEWEST_UNITS`.

        NaN too where all draws are equal: resampling what is equal says nothing about what was not
        seen.

        Parameters
        ----------
        draws: a NaN among them takes no part.
        units: how many of the resampled ones have a value, of all curves or of each.
        method: of `numpy.quantile`; ``"inverted_cdf"`` gives values that were drawn, such as whole
            layers, or infinity for what is never reached.
        expanded: whether percentiles are those of a mean, which Student's t expands (see
            `student.expanded_tail`): without, intervals of few units are too short.
        discrete: whether draws move in steps, such as medians, or layers. Equal ones are then as
            sure as a sign test in which all units agree.
        """
        units = np.broadcast_to(units, draws.shape[1:])
        ends = np.full((2, *draws.shape[1:]), np.nan)
        missing = np.isnan(draws)
        enough = ~missing.all(axis=0) & (units >= FEWEST_UNITS)
        for n in np.unique(units[enough]):
            curves = enough & (units == n)
            tail = expanded_tail(self.confidence, int(n)) if expanded else (1 - self.confidence) / 2
            quantile = np.nanquantile if missing[:, curves].any() else np.quantile
            ends[:, curves] = quantile(draws[:, curves], [tail, 1 - tail], axis=0, method=method)
            if not discrete or 2 * 0.5 ** int(n) >= 1 - self.confidence:
                ends[:, curves] = np.where(are_equal(draws[:, curves]), np.nan, ends[:, curves])
        return ends[0], ends[1]

    def _counts(
        self, n: int, stream: Sequence[int], at_once: int = DRAWS_AT_ONCE
    ) -> Iterator[Float64[np.ndarray, "samples units"]]:
        """How often each unit is in each sample, a block of samples at a time."""
        rng = np.random.default_rng([self.seed, *stream])
        for start in range(0, self.draws, at_once):
            samples = min(at_once, self.draws - start)
            # Of a factor in which no unit recurs none is drawn.
            drawn = rng.integers(max(n, 1), size=(samples, n)) + n * np.arange(samples)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=samples * n)
            yield counts.reshape(samples, n).astype(np.float64)


def draws_at_once(members: int) -> int:
    """How many samples of so many members a block has, unless more is made of them than sums."""
    return max(DRAWS_AT_ONCE, COUNTS_AT_ONCE // max(1, members))


def affordable_draws(units: int) -> int:
    """How often units are drawn at little cost: the fewer they are, the more often."""
    return min(MOST_DRAWS, DRAWN_UNITS // units)


def are_equal(draws: Float[np.ndarray, " draws *curves"]) -> Bool[np.ndarray, " *curves"]:
    """Whether all draws are the same but for rounding; a NaN takes no part, and one has a value."""
    with np.errstate(invalid="ignore"):  # infinities
        return np.asarray(np.nanmax(draws, axis=0) - np.nanmin(draws, axis=0) <= TIE)


@dataclass(frozen=True)
class Crossing:
    """Which units of several factors each member belongs to.

    Attributes
    ----------
    factors: of each factor the units of all members, counted from 0; two arrays where a member is a
        pair of units of one factor, such as a word's states in two contexts. -1: of none that is
        drawn.
    """

    factors: Sequence[Sequence[Int[np.ndarray, " members"]]]

    @classmethod
    def recurring(
        cls, unit: Int[np.ndarray, " members"], other: Int[np.ndarray, " members"]
    ) -> Crossing:
        """Units, such as texts, crossed with others that recur in several, such as types of tokens.

        One that is in a single unit comes and goes with it. Drawn once more, it would count twice,
        which two-way clustered variances subtract (Cameron, Gelbach and Miller 2011, "Robust
        inference with multiway clustering"): intervals would be up to 1.7 times too long.

        Parameters
        ----------
        unit, other: of each member, counted from 0.
        """
        recurs = np.bincount(np.unique(np.stack([other, unit]), axis=1)[0]) > 1
        drawn = np.where(recurs, recurs.cumsum() - 1, -1)
        return cls([(unit,), (drawn[other],)])

    @property
    def sizes(self) -> list[int]:
        """How many units each factor has."""
        return [1 + max(int(unit.max(initial=-1)) for unit in units) for units in self.factors]

    def counts(
        self, factors: Sequence[Float64[np.ndarray, "samples _"]]
    ) -> Float64[np.ndarray, "samples members"]:
        """How often each member is in every sample, from how often each unit of every factor is."""
        always = np.ones((len(factors[0]), 1))  # at -1
        product = always
        for counts, units in zip(factors, self.factors, strict=True):
            extended = np.hstack([counts, always])
            for unit in units:
                product = product * extended[:, unit]
        return product


def codes(units: Any) -> Int[np.ndarray, " members"]:
    """The unit of each member by number, counted from 0 in the order of their names."""
    return np.unique(units, return_inverse=True)[1]


def unit_ratios(
    totals: Float[np.ndarray, "curves units"], sizes: Float[np.ndarray, "#curves units"]
) -> Statistic:
    """Of every curve the sum of its totals over the sum of its sizes.

    Parameters
    ----------
    totals, sizes: sums and numbers of what each unit has; without further units, which have none.
    """
    n = totals.shape[1]
    return lambda counts: ratio(counts[:, :n] @ totals.T, counts[:, :n] @ sizes.T)


def means(
    values: Float[np.ndarray, "curves units"], weights: Float[np.ndarray, " units"] | None = None
) -> Statistic:
    """The mean of every curve over its units, by default all of one weight. A NaN takes no part."""
    known = ~np.isnan(values)
    weight = np.ones(values.shape[1]) if weights is None else weights
    totals = (np.where(known, values, 0.0) * weight).astype(np.float64)
    return unit_ratios(totals, (known[:1] if known.all() else known) * weight)


def known_mean(
    values: Float[np.ndarray, "curves units"], weights: Float[np.ndarray, " units"] | None = None
) -> Float64[np.ndarray, " curves"]:
    """The mean of every curve over what is known of it; NaN where nothing is."""
    return means(values, weights)(np.ones((1, values.shape[1])))[0]


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
    known = ~np.isnan(values)
    filled, members = np.where(known, values, 0.0), known[:1] if known.all() else known
    return unit_ratios(
        *(np.stack([np.bincount(unit, curve) for curve in curves]) for curves in (filled, members))
    )


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
    curves = [known[values[c, known].argsort(kind="stable")] for c, known in enumerate(curves)]

    def statistic(counts: np.ndarray) -> np.ndarray:
        medians = np.full((len(counts), len(values)), np.nan)
        for curve, members in enumerate(curves):
            if not len(members):
                continue
            passed = counts[:, unit[members]].cumsum(axis=1)
            size = passed[:, -1]
            halves = (size - 1) // 2, size // 2  # the same one where size is odd
            middle = np.stack([(passed <= half[:, None]).sum(axis=1) for half in halves])
            drawn = size > 0
            pairs = values[curve, members[middle[:, drawn]]]
            medians[drawn, curve] = pairs.mean(axis=0, dtype=np.float64)
        return medians

    return statistic
