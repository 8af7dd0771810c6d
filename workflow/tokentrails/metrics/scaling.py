"""What changes with a model's size: one number per model and measure, and a trend of many models.

Models differ in more than size, and two or three sizes lie on a line by chance. A trend is
therefore only given over four sizes or more, where those that are less than a quarter apart, such
as of a model and its adapter, are one: the slope of the measure on log10 of the parameters,
by least squares, with Student's interval. Models of exactly one size, such as trainings with
several seeds, are one point, their mean: as draws of their own they would make the interval too
short. A half-life that a model never reaches is censored. A line through the others would be one
through the models that lose identity soonest, so there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64

from ..statistics.bootstrap import Bootstrap, cluster_means, codes, known_mean
from ..statistics.forms import FORMS, SOUND
from ..statistics.student import t_quantile
from .columns.frame import RUN, describe_frame, is_of_letters

FEWEST_SIZES, APART = 4, 1.25
"""How many sizes a trend takes, and the factor from which on two of them are not the same."""

SITE = "resid"
_HALF_LIVES = {
    "half_life": "median half-life over tokens of words, in layers; null: that of half of them "
    "is never below the threshold",
    "half_life_fraction": "the same as a fraction of the depth",
    "lost": "share of these tokens whose identity is below the threshold at some layer",
}
_GAPS = {
    "gap": "similarity within senses minus between them, mean over words, at the layer of resid "
    "where it is largest; that layer is chosen by the same texts, which makes it larger",
    "gap_best_fraction": "that layer as a fraction of the depth",
}

MEASURES = {
    **_HALF_LIVES,
    **{
        f"{name}_{form}": f"{name} of {form} identity" for form in FORMS[1:] for name in _HALF_LIVES
    },
    **_GAPS,
    **{f"{name}_{form}": f"{name} of {form} similarity" for form in SOUND[1:] for name in _GAPS},
    "rank": "share of tokens of words, none at position 0, whose own embedding is the closest one "
    "(rank 0), mean over the layers of resid_mid",
}
RANK_COLUMNS = (
    *RUN,
    *("label", "position", "token", "word", "word_class", "site", "layer", "positional", "rank"),
)
"""The columns of the table `ranks` that `rank_measures` needs."""

ENDS = ("value", "ci_low", "ci_high")
COLUMNS = {
    **dict.fromkeys((*RUN, "measure"), pl.String),
    **dict.fromkeys(ENDS, pl.Float64),
    "n": pl.Int32,
}
MEANINGS = {
    "n_parameters": "parameters of the weights file but embeddings and unembedding",
    "d_model": "width of the residual stream",
    "measure": "; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items()),
    "value": "of the measure",
    "ci_low": "lower end of its interval, as in the table that it comes from: bootstrap over "
    "texts crossed with types, of gaps over words; null: none, or never",
    "ci_high": "upper end of it",
    "n": "how many tokens, of gaps how many words",
}
SLOPE_MEANINGS = {
    "slope": "change of the measure per tenfold number of parameters, by least squares over "
    "models; null: the half-life of one of them is never reached (censored)",
    "ci_low": "lower end of its interval, of Student's t: models as independent draws",
    "n": "how many models, of at least four sizes; those of exactly one number of parameters, such "
    "as several trainings, count as one, with their mean",
}


def half_life_measures(by_group: pl.DataFrame) -> pl.DataFrame:
    """Half-lives over all words, from tables `half_lives_by_group` with a column `depth`."""
    rows = []
    for row in by_group.filter(pl.col("grouping") == "all").iter_rows(named=True):
        suffix = _suffix(row)
        layers, reached = (
            [row[f"{name}{end}"] for end in ("", "_low", "_high")]
            for name in ("median_layer", "reached")
        )
        named = {"half_life": layers, "half_life_fraction": _shares(layers, row), "lost": reached}
        rows += [_row(row, name + suffix, values, row["n"]) for name, values in named.items()]
    return pl.DataFrame(rows, schema=COLUMNS)


def sense_measures(by_layer: pl.DataFrame, best: pl.DataFrame) -> pl.DataFrame:
    """The largest gap between senses and where it is, from `senses_by_layer` and `senses_best`."""
    rows = []
    largest = best.filter(site=SITE, criterion="gap").drop_nulls("best_layer")
    for row in largest.iter_rows(named=True):
        where = [pl.col(name) == row[name] for name in (*RUN, "site", "measure")]
        best_layer = by_layer.filter(*where, pl.col("layer") == row["best_layer"])
        suffix = _suffix(row)
        for values in best_layer.select("gap", "gap_low", "gap_high").rows():
            rows.append(_row(row, "gap" + suffix, values, row["n"]))
        layers = [row[name] for name in ("best_layer", "best_low", "best_high")]
        rows.append(_row(row, "gap_best_fraction" + suffix, _shares(layers, row), row["n"]))
    return pl.DataFrame(rows, schema=COLUMNS)


def rank_measures(ranks: pl.DataFrame, bootstrap: Bootstrap) -> pl.DataFrame:
    """The share of tokens of rank 0 over layers, from a table `ranks` of one run."""
    frame = ranks.filter(
        pl.col("site") == "resid_mid",
        pl.col("position") > 0,
        ~pl.col("positional"),
        is_of_letters(),
    ).sort("layer", "label", "position")
    if frame.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    tokens = frame.filter(pl.col("layer") == frame["layer"].min())  # the same at every layer
    is_closest = (frame["rank"] == 0).cast(pl.Float64).fill_null(float("nan"))
    closest = is_closest.to_numpy().reshape(-1, len(tokens))
    factors = [codes(tokens[unit]) for unit in ("label", "token")]
    draws = bootstrap.resample_members(cluster_means, closest, factors, ()).mean(axis=1)
    units = min(1 + int(factor.max()) for factor in factors)
    values = [float(known_mean(closest).mean())]
    values += map(float, bootstrap.interval(draws, units, expanded=False))
    return pl.DataFrame([_row(frame.row(0, named=True), "rank", values, len(tokens))], COLUMNS)


def _suffix(row: Mapping[str, Any]) -> str:
    return "" if row["measure"] == "cosine" else f"_{row['measure']}"


def _shares(layers: Sequence[int | None], run: Mapping[str, Any]) -> list[float | None]:
    return [None if layer is None else layer / run["depth"] for layer in layers]


def _row(run: Mapping[str, Any], measure: str, values: Sequence[Any], n: int) -> dict[str, Any]:
    ends = dict(zip(ENDS, values, strict=True))
    return {**{name: run[name] for name in RUN}, "measure": measure, **ends, "n": n}


def scaling(
    measured: pl.DataFrame, parameters: pl.DataFrame, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `scaling`: every measure of every model, in the order of the configuration.

    Parameters
    ----------
    measured: what the functions above give, below each other.
    parameters: the tables of that name, of all models.
    """
    sizes = parameters.select("model", "checkpoint", "n_parameters", "depth", "d_model")
    order = pl.col("measure").replace_strict({name: i for i, name in enumerate(MEASURES)})
    table = (
        sizes.join(measured, on=["model", "checkpoint"], maintain_order="left_right")
        .sort("experiment", order, maintain_order=True)
        .with_columns(pl.col(ENDS).cast(pl.Float32))
    )
    title = "measures by the size of the model, at the reference checkpoint of each"
    return describe_frame(table, title, provenance, MEANINGS)


def scaling_slopes(
    table: pl.DataFrame, *, confidence: float, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `scaling_slopes`: a trend wherever at least `FEWEST_SIZES` sizes have a value."""
    columns = {
        **dict.fromkeys(("experiment", "measure"), pl.String),
        **dict.fromkeys(("slope", "intercept", "ci_low", "ci_high"), pl.Float32),
        "n": pl.Int32,
    }
    return describe_frame(
        pl.DataFrame(list(_slopes(table, confidence)), columns, orient="row"),
        title="trends of measures over models",
        provenance=provenance,
        meanings={**MEANINGS, **SLOPE_MEANINGS, "intercept": "the measure at one parameter"},
    )


def _slopes(table: pl.DataFrame, confidence: float) -> Iterator[tuple[Any, ...]]:
    value, keys = pl.col("value").cast(pl.Float64), ("experiment", "measure")
    may_be_censored = pl.col("measure").str.starts_with("half_life")
    sizes = (
        table.filter(may_be_censored | value.is_not_null())
        .group_by(*keys, "n_parameters", maintain_order=True)
        .agg(pl.when(value.count() == pl.len()).then(value.mean()))
    )
    for key, here in sizes.group_by(keys, maintain_order=True):
        if distinct_sizes(here["n_parameters"]) < FEWEST_SIZES:
            continue
        if here["value"].has_nulls():
            yield *key, *(None,) * 4, len(here)
            continue
        x, y = here["n_parameters"].log10().to_numpy(), here["value"].to_numpy()
        slope, intercept, half = fitted_line(x, y, confidence)
        yield *key, slope, intercept, slope - half, slope + half, len(here)


def distinct_sizes(parameters: Iterable[int]) -> int:
    """How many sizes there are, of which each is at least `APART` times the one before."""
    count, last = 0, 0.0
    for n in sorted(parameters):
        if n >= APART * last:
            count, last = count + 1, n
    return count


def fitted_line(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"], confidence: float
) -> tuple[float, float, float]:
    """Slope and intercept by least squares, and half the width of the slope's interval."""
    freedom, spread = len(x) - 2, np.square(x - x.mean()).sum()
    slope = float((x - x.mean()) @ (y - y.mean()) / spread)
    intercept = float(y.mean() - slope * x.mean())
    error = np.sqrt(np.square(y - intercept - slope * x).sum() / freedom / spread)
    return slope, intercept, float(error) * t_quantile(confidence, freedom)
