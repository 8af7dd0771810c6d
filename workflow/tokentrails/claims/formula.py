"""The number of a formula, with its interval and its draws: the rows of a query, summed up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from ..errors import TokentrailsError
from ..statistics.binomial import p_of_share, share_interval
from ..statistics.bootstrap import (
    FEWEST_UNITS,
    Bootstrap,
    affordable_draws,
    are_equal,
    cluster_means,
    cluster_medians,
    codes,
    draws_at_once,
)
from ..statistics.permutation import TIE
from ..statistics.student import p_of_mean, p_of_tail, t_interval
from ..texts.word_groups import NO_CLASSES

DRAWS = 20_000
"""At least; Holm's correction over hundreds of claims asks for the far ends of the draws."""


@dataclass(frozen=True)
class Estimate:
    """A number, or why there is none.

    Attributes
    ----------
    value: None where `reason` says why; it may also say why there is no interval.
    low, high: ends of the interval; None under `FEWEST_UNITS`, and where every resample gives the
        same number, unless that says enough.
    n: rows that have a value.
    units: texts, words or other clusters that they come from.
    fewest: the same in the smaller of two groups.
    draws: the number in every resample; empty where there is no interval.
    trainings: where these are the units, the number in each of them; empty as `draws` is.
    yes: of a share of units that say yes or no, how many say yes: p and the interval are exact.
    least_p: no one-sided p is smaller. 1 where every resample gives the same number: resampling
        what is equal says nothing about what was not seen.
    part: which part of a statement it is of; empty where it has none.
    smaller: the name of the smaller of two groups; empty where there are no two.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    units: int = 0
    fewest: int = 0
    draws: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    trainings: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    yes: int | None = None
    least_p: float = 0.0
    part: str = ""
    reason: str = ""
    smaller: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether it is of one text or case that stands for itself: nothing was sampled."""
        return self.value is not None and self.units == 1 and not self.reason

    @property
    def has_interval(self) -> bool:
        return len(self.draws) > 0 or len(self.trainings) > 0

    @property
    def attainable_p(self) -> float:
        """No one-sided p of so many units is smaller, whatever their values are.

        Of shares and trainings, whose p has no such bound for all thresholds, 0.
        """
        if self.yes is not None or len(self.trainings):
            return 0.0
        tail = p_of_tail(1 / (2 + len(self.draws)), self.fewest)
        return max(tail, self.least_p) if self.least_p < 1 else tail

    def p_above(self, threshold: float) -> float:
        """One-sided p of the number's lying above a threshold: see `_p`."""
        return self._p(1.0, threshold)

    def p_below(self, threshold: float) -> float:
        """The same of its lying below."""
        return self._p(-1.0, threshold)

    def _p(self, sign: float, threshold: float) -> float:
        """By Student's t over trainings; else by how many of the draws lie on the wrong side.

        The data count as one draw. Draws at the threshold lie on the wrong side of both. Shares of
        units are exact.
        """
        if self.yes is not None:
            above = sign > 0
            yes, share = (self.yes, threshold) if above else (self.fewest - self.yes, 1 - threshold)
            return p_of_share(yes, self.fewest, share)
        if len(self.trainings):
            return max(self.least_p, p_of_mean(sign * (self.trainings - threshold)))
        known = self.draws[~np.isnan(self.draws)]
        wrong = int((sign * (known - threshold) <= TIE).sum())
        return max(self.least_p, p_of_tail((1 + wrong) / (2 + len(known)), self.fewest))

    def minus(self, other: Estimate) -> Estimate:
        """The difference of two numbers; draws of the same units are paired."""
        if self.value is None or other.value is None:
            return Estimate(reason="no number")
        if not (self.has_interval and other.has_interval):
            return Estimate(reason="no interval")
        fewest = min(self.fewest, other.fewest)
        paired = min(len(self.draws), len(other.draws))  # the first of more are the same
        draws = self.draws[:paired] - other.draws[:paired]
        trainings = self.trainings - other.trainings
        # That of numbers which vary together is a sign test's, in which all units agree.
        alike = max(self.least_p, other.least_p, 0.5**fewest)
        return Estimate(
            self.value - other.value,
            units=fewest,
            fewest=fewest,
            draws=draws,
            trainings=trainings,
            least_p=alike if _are_alike(draws) and _are_alike(trainings) else 0.0,
        )


def estimate(
    found: pl.DataFrame,
    *,
    statistic: str,
    difference: tuple[str, str] | None,
    bootstrap: Bootstrap | None,
    stream: str,
    where: str,
    filled_by: str = "",
) -> Estimate:
    """The number of a formula: mean or median of its values, with a cluster bootstrap over units.

    Parameters
    ----------
    found: what the query gives, with the columns unit, value, for a difference group, and crossed
        where that is resampled as well as the unit, such as the token's type beside the text.
    statistic: `mean` or `median`.
    difference: two groups; the number is that of the first minus that of the second.
    bootstrap: None for the number alone, without an interval.
    stream: seeds the resampling; the claim's name, so that no claim moves another's interval.
    where: file, claim and key, for messages.
    filled_by: the setting of an experiment that fills what the formula reads; empty: none does.
    """
    rows = _rows(found, difference, where)
    if rows.is_empty():
        return Estimate(reason="the formula finds no rows in the tables")
    known = rows.drop_nulls("value")
    if known.is_empty():
        hint = f": without `{filled_by}` in its experiment a table has none" if filled_by else ""
        return Estimate(reason=f"the value is null in all {rows.height:,} rows{hint}")
    for kind, odd in (("NaN", known["value"].is_nan()), ("infinite", known["value"].is_infinite())):
        if n := odd.sum():
            return Estimate(reason=f"the value is {kind} in {n:,} of {rows.height:,} rows")
    groups = list(difference or ("",))
    if lacking := set(groups) - set(known["group"]):
        if lacking == {"function", "content"}:
            return Estimate(reason=f"there are no function and content words: {NO_CLASSES}")
        return Estimate(reason=f"no row has a value in the group {min(lacking)!r}")
    # Queries give rows in no fixed order; sums must not depend on it.
    known = known.filter(pl.col("group").is_in(groups)).sort(pl.all())
    names, unit = np.unique(known["unit"].to_numpy(), return_inverse=True)
    factors = [unit]
    if "crossed" in known.columns:
        factors.append(codes(known["crossed"]))
    values, group = known["value"].to_numpy(), known["group"].to_numpy()
    curves = np.stack([np.where(group == name, values, np.nan) for name in groups])
    summary = {"mean": cluster_means, "median": cluster_medians}[statistic]
    by_unit = summary(curves, unit)
    value = float(_number(by_unit(np.ones((1, len(names)))))[0])
    # A sample may lack one of two groups, and the smaller one decides how far it can be trusted.
    units_by_group = {
        name: min(len(np.unique(each[group == name])) for each in factors) for name in groups
    }
    smaller = min(units_by_group, key=lambda name: units_by_group[name])
    fewest = units_by_group[smaller]
    found_here = Estimate(value, n=known.height, units=len(names), fewest=fewest, smaller=smaller)
    if bootstrap is None or fewest < FEWEST_UNITS:
        return found_here
    # Of medians and of members a draw costs more than its units.
    cheap = statistic == "mean" and len(factors) == 1
    most = affordable_draws(len(names)) if cheap else 0
    bootstrap = replace(bootstrap, draws=max(bootstrap.draws, DRAWS, most))
    seed = [int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])]
    at_once = draws_at_once(len(names) if cheap else len(values))
    draws = _number(bootstrap.resample_members(summary, curves, factors, seed, at_once))
    found_here = replace(found_here, draws=draws)
    alike = _are_alike(draws)
    if statistic == "median":
        # That of a sign test in which all units agree, of either group.
        found_here = replace(found_here, least_p=len(groups) * 0.5**fewest)
    elif len(groups) == 1 and (yes := _yes(found, values, factors)) is not None:
        ends = share_interval(yes, fewest, bootstrap.confidence)
        return replace(found_here, low=ends[0], high=ends[1], yes=yes)
    elif alike:
        found_here = replace(found_here, least_p=1.0)
    if alike and 2 * found_here.least_p >= 1 - bootstrap.confidence:
        return found_here
    low, high = bootstrap.interval(draws, fewest, discrete=statistic == "median")
    return replace(found_here, low=float(low), high=float(high))


def over_trainings(found: Mapping[str, Estimate], confidence: float) -> Estimate:
    """The mean of a formula's number over trainings, with a training as the unit.

    Parameters
    ----------
    found: the number of each, by the name of its model.
    """
    for name, each in found.items():
        if each.value is None:
            return Estimate(reason=f"{name}: {each.reason}")
    numbers = np.array([each.value for each in found.values()], dtype=np.float64)
    n, units = sum(each.n for each in found.values()), len(numbers)
    mean = Estimate(float(numbers.mean()), n=n, units=units, fewest=units)
    if units < FEWEST_UNITS:
        return replace(mean, reason=f"an interval takes {FEWEST_UNITS} trainings; here {units}")
    if _are_alike(numbers):
        return replace(mean, trainings=numbers, least_p=1.0)
    low, high = t_interval(numbers, confidence)
    return replace(mean, low=float(low), high=float(high), trainings=numbers)


def _yes(found: pl.DataFrame, values: np.ndarray, factors: Sequence[np.ndarray]) -> int | None:
    """How many units say yes; None where values are no yes or no, or units are of two minds.

    Values that are all 0 may be of anything: true and false, or both 0 and 1, are yes and no. Where
    all members of all units agree, a share of members is at most as sure as one of units, of
    crossed ones those of which there are fewer.
    """
    unit, *crossed = sorted(factors, key=np.max)
    if found.schema["value"] != pl.Boolean and set(np.unique(values)) != {0.0, 1.0}:
        return None
    sizes, yes = np.bincount(unit), np.bincount(unit, values)
    agreed = (not crossed and (sizes == 1).all()) or yes.sum() in (0, len(values))
    return int((yes == sizes).sum()) if agreed else None


def _are_alike(numbers: np.ndarray) -> bool:
    """Whether all are the same but for rounding; a NaN takes no part."""
    return bool(np.isnan(numbers).all() or are_equal(numbers))


def _number(curves: np.ndarray) -> np.ndarray:
    """The statistic of one group, or of the first minus the second."""
    return curves[:, 0] - curves[:, 1] if curves.shape[1] == 2 else curves[:, 0]


def _rows(found: pl.DataFrame, difference: tuple[str, str] | None, where: str) -> pl.DataFrame:
    """The columns unit, group, value and, where the formula has it, crossed; checked."""
    wanted = ["unit", "value"] + (["group"] if difference else [])
    if lacking := [name for name in wanted if name not in found.columns]:
        raise TokentrailsError(
            f"the formula gives no column {lacking[0]!r}, only {', '.join(found.columns)}",
            where=where,
            hint=f"name the columns {', '.join(wanted)} with AS.",
        )
    kind = found.schema["value"]
    if not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
        raise TokentrailsError(
            f"the column 'value' of the formula holds no numbers but {kind}",
            where=where,
            hint="compute a number, or cast it with CAST(… AS DOUBLE).",
        )
    group = pl.col("group").cast(pl.String) if difference else pl.lit("")
    value = pl.col("value").cast(pl.Float64)
    names = [name for name in ("unit", "crossed") if name in found.columns]
    return found.select(pl.col(names).cast(pl.String), value, group=group).drop_nulls(names)
