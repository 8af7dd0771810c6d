"""Mean curves of any measure by groups, with intervals from resampled units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int, Shaped

from ...files.states import Place
from ...statistics.bootstrap import EQUALITY, FEWEST_UNITS, cluster_means, codes, known_mean
from ...statistics.settings import Statistics

MEAN_TYPES: dict[str, type[pl.DataType]] = {
    **{"site": pl.String, "layer": pl.Int32, "n": pl.Int32, "n_texts": pl.Int32},
    **{"few": pl.Boolean, "mean": pl.Float32, "ci_low": pl.Float32, "ci_high": pl.Float32},
}
MEANINGS = {
    "measure": "the column that the mean is of",
    "mean": "over the occurrences of the group",
    "ci_low": "lower end of the mean's interval: bootstrap over texts, with percentiles expanded "
    f"by Student's t; null: under {FEWEST_UNITS} texts{EQUALITY}",
    "ci_high": "upper end of it",
    "n": "how many occurrences the mean is over",
    "n_texts": "how many texts they come from",
    "few": "whether these texts are fewer than statistics.few: too few to lean on",
}

COUNTED = ("n_texts", "n_types")
"""The columns that count units, of the factor that is resampled and of one crossed with it."""


@dataclass(frozen=True)
class Group:
    """One value of the members of one group.

    Attributes
    ----------
    value: the name of its column.
    key: of the group.
    members: what each column of `values` is of, such as its label.
    values: NaN where there is none.
    """

    value: str
    key: dict[str, Any]
    places: list[Place]
    members: list[tuple[Any, ...]]
    values: Float64[np.ndarray, "places members"]

    @property
    def known(self) -> Bool[np.ndarray, "places members"]:
        """Which members have a value at a place; everywhere at least one."""
        return ~np.isnan(self.values)

    def sizes(
        self, few: int, *units: Int[np.ndarray, " members *ends"]
    ) -> dict[str, Shaped[np.ndarray, " places"]]:
        """What has a value at each place: n members, of so many units, and if these are too few.

        Parameters
        ----------
        few: fewer units than this are.
        units: by factor, in the order of `COUNTED`, the number of the unit that a member is of.
        """

        def different(unit: np.ndarray) -> np.ndarray:
            return self.counted(lambda held: len(np.unique(unit[held])))

        counts = [different(unit) for unit in units]
        named = dict(zip(COUNTED, counts, strict=False))
        return {"n": self.known.sum(axis=1), **named, "few": np.min(counts, axis=0) < few}

    def counted(self, count: Callable[[np.ndarray], int]) -> Int[np.ndarray, " places"]:
        """What is counted of those members, a mask, that have a value at each place."""
        known, which = np.unique(self.known, axis=0, return_inverse=True)
        return np.array([count(held) for held in known])[which.ravel()]


def mean_curves(
    frame: pl.DataFrame,
    *,
    by: Sequence[str],
    values: Sequence[str],
    statistics: Statistics,
    unit: str = "label",
    crossed: str | None = None,
) -> pl.DataFrame:
    """The mean of each value at every place, by groups, with cluster-bootstrap intervals.

    The rows of one unit, such as the tokens of a text, are not independent: whole units are
    resampled, the same ones for all places of a group. Every occurrence of a group weighs the same.
    A null or NaN takes no part.

    Parameters
    ----------
    frame: a row per occurrence and place, with label, position, site, layer, and the columns of
        `by` and `values`. Others are passed over: rows of several checkpoints need "checkpoint" in
        `by`.
    by: the columns to group by; without any, all occurrences are one group. A null is a group too.
    unit: the column to resample: `label` for texts, `word` for words with all their texts.
    crossed: a second one, whose values recur in several units, such as the token.

    Returns
    -------
    measure (a name of `values`), the columns of `by`, site, layer, n (occurrences), n_texts
    (units), with `crossed` n_types (values of it), few, mean, ci_low and ci_high, sorted by the
    keys; n, n_texts and n_types count what has a value at the place, and the interval is null under
    `FEWEST_UNITS` units.
    """
    rows: list[dict[str, Any]] = []
    streams: dict[tuple[Any, ...], int] = {}
    resampled = [unit, *([crossed] if crossed else [])]
    for group in groups(frame, values, by, [*resampled, "label", "position"]):
        stream = streams.setdefault(tuple(group.key.values()), len(streams))
        names = list(zip(*group.members, strict=True))[: len(resampled)]
        factors = [codes(list(map(str, each))) for each in names]
        sizes, ends = group.sizes(statistics.few, *factors), None
        units = np.min([sizes[name] for name in COUNTED[: len(factors)]], axis=0)
        if units.max() >= FEWEST_UNITS:
            bootstrap = statistics.bootstrap
            draws = bootstrap.resample_members(cluster_means, group.values, factors, (stream,))
            ends = bootstrap.interval(draws, units)
        about = {"measure": group.value, **group.key}
        rows += place_rows(about, group.places, sizes, known_mean(group.values), ends)
    types: dict[str, Any] = {"measure": pl.String}
    types |= {name: frame.schema[name] for name in by}
    for name, dtype in MEAN_TYPES.items():
        types[name] = dtype
        if crossed and name == COUNTED[0]:
            types[COUNTED[1]] = dtype
    table = pl.DataFrame(rows, types).with_columns(pl.col(pl.Float32).fill_nan(None))
    return table.sort("measure", *by, "site", "layer", nulls_last=True)


def groups(
    frame: pl.DataFrame, values: Sequence[str], by: Sequence[str], members: Sequence[str]
) -> Iterator[Group]:
    """The values of every group, by value and key; members and places in the order of their names.

    Parameters
    ----------
    frame: a row per member and place.
    members: the columns that identify a member within its group.
    """
    index = [*dict.fromkeys([*by, *members]), "site", "layer"]
    long = (
        frame.select(*index, *(pl.col(name).cast(pl.Float64).fill_nan(None) for name in values))
        .unpivot(values, index=index, variable_name="_measure", value_name="_value")
        .drop_nulls("_value")
        .sort("_measure", *index, nulls_last=True)  # so that sums do not depend on an order
    )
    members = [*dict.fromkeys(members)]
    for (value, *key), here in long.group_by("_measure", *by, maintain_order=True):
        lines = here.select("site", "layer").unique().sort("site", "layer")
        columns = here.select(members).unique(maintain_order=True)
        placed = here.join(lines.with_row_index("_line"), on=["site", "layer"]).join(
            columns.with_row_index("_column"), on=members, nulls_equal=True
        )
        matrix = np.full((len(lines), len(columns)), np.nan)
        matrix[placed["_line"], placed["_column"]] = placed["_value"]
        named = dict(zip(by, key, strict=True))
        yield Group(str(value), named, lines.rows(), columns.rows(), matrix)


def place_rows(
    about: Mapping[str, Any],
    places: Sequence[Place],
    sizes: Mapping[str, np.ndarray],
    mean: Float64[np.ndarray, " places"],
    ends: tuple[Float64[np.ndarray, " places"], Float64[np.ndarray, " places"]] | None,
) -> Iterator[dict[str, Any]]:
    """A row for every place: `about`, site, layer, the mean and its interval if it has one.

    Parameters
    ----------
    sizes: further columns, by place.
    """
    low, high = ends or [np.full(len(places), np.nan)] * 2
    columns = {**sizes, "mean": mean, "ci_low": low, "ci_high": high}
    for (site, layer), *cells in zip(places, *columns.values(), strict=True):
        yield {**about, "site": site, "layer": layer, **dict(zip(columns, cells, strict=True))}
