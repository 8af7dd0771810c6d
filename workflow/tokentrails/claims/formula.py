"""The number of a formula, with its interval and its draws: the rows of a query, summed up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from ..errors import TokentrailsError
from ..statistics.bootstrap import Bootstrap, cluster_means, cluster_medians
from ..statistics.student import p_of_tail

DRAWS = 20_000
"""At least; Holm's correction over hundreds of claims asks for the far ends of the draws."""

UNITS = 5
"""Fewer resampled units than this, in any group, say nothing about others: no interval is given."""


@dataclass(frozen=True)
class Estimate:
    """A number, or why there is none.

    Attributes
    ----------
    value: None where `reason` says why.
    low, high: ends of the interval; None with fewer than `UNITS` units.
    n: rows that have a value.
    units: texts, words or other clusters that they come from.
    fewest: the same in the smaller of two groups.
    draws: the number in every resample; empty where there is no interval.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    units: int = 0
    fewest: int = 0
    draws: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    reason: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether it is of one text or case, so that nothing was sampled."""
        return self.value is not None and self.units == 1

    def p(self, is_wrong: Callable[[np.ndarray], np.ndarray]) -> float:
        """One-sided p, by which of the draws lie on the wrong side; the data count as one draw."""
        known = self.draws[~np.isnan(self.draws)]
        return p_of_tail((1 + int(is_wrong(known).sum())) / (2 + len(known)), self.fewest)

    def minus(self, other: Estimate) -> Estimate:
        """The difference of two numbers; draws of the same units are paired."""
        if self.value is None or other.value is None or not (len(self.draws) and len(other.draws)):
            return Estimate(reason="no draws")
        fewest = min(self.fewest, other.fewest)
        draws = self.draws - other.draws
        return Estimate(self.value - other.value, units=fewest, fewest=fewest, draws=draws)


def estimate(
    found: pl.DataFrame,
    *,
    statistic: str,
    difference: tuple[str, str] | None,
    bootstrap: Bootstrap,
    stream: str,
    where: str,
) -> Estimate:
    """The number of a formula: mean or median of its values, with a cluster bootstrap over units.

    Parameters
    ----------
    found: what the query gives, with the columns unit, value and, for a difference, group.
    statistic: `mean` or `median`.
    difference: two groups; the number is that of the first minus that of the second.
    stream: seeds the resampling; the claim's name, so that no claim moves another's interval.
    where: file, claim and key, for messages.
    """
    rows = _rows(found, difference, where)
    if rows.is_empty():
        return Estimate(reason="the formula finds no rows in the tables")
    known = rows.drop_nulls("value")
    if known.is_empty():
        return Estimate(reason=f"the value is null in all {rows.height:,} rows")
    if infinite := known.filter(~pl.col("value").is_finite()).height:
        return Estimate(reason=f"the value is infinite in {infinite:,} rows")
    groups = list(difference or ("",))
    if lacking := set(groups) - set(known["group"]):
        return Estimate(reason=f"no row has a value in the group {min(lacking)!r}")
    # Queries give rows in no fixed order; sums must not depend on it.
    known = known.filter(pl.col("group").is_in(groups)).sort("unit", "group", "value")
    names, unit = np.unique(known["unit"].to_numpy(), return_inverse=True)
    values, group = known["value"].to_numpy(), known["group"].to_numpy()
    curves = np.stack([np.where(group == name, values, np.nan) for name in groups])
    summed = {"mean": cluster_means, "median": cluster_medians}[statistic](curves, unit)
    value = float(_number(summed(np.ones((1, len(names)))))[0])
    # A sample may lack one of two groups, and the smaller one decides how far it can be trusted.
    fewest = min(len(np.unique(unit[group == name])) for name in groups)
    found_here = Estimate(value, n=known.height, units=len(names), fewest=fewest)
    if fewest < UNITS:
        return found_here
    bootstrap = replace(bootstrap, draws=max(bootstrap.draws, DRAWS))
    number = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4])
    draws = _number(bootstrap.resample(summed, len(names), [number]))
    low, high = bootstrap.interval(draws, fewest)
    return replace(found_here, low=float(low), high=float(high), draws=draws)


def _number(curves: np.ndarray) -> np.ndarray:
    """The statistic of one group, or of the first minus the second."""
    return curves[:, 0] - curves[:, 1] if curves.shape[1] == 2 else curves[:, 0]


def _rows(found: pl.DataFrame, difference: tuple[str, str] | None, where: str) -> pl.DataFrame:
    """The columns unit, group and value, checked; NaN is null."""
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
    value = pl.col("value").cast(pl.Float64).fill_nan(None)
    return found.select(pl.col("unit").cast(pl.String), value, group=group).drop_nulls("unit")
