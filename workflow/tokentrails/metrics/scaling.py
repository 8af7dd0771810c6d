"""What changes with a model's size: one number per model and measure, and a trend of many models.

Models differ in more than size, and two or three of them lie on a line by chance. A trend is
therefore only given for four models or more: the slope of the measure on log10 of the parameters,
by least squares, with Student's interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64

from ..files.tables import describe
from ..statistics.bootstrap import Bootstrap, cluster_means

FEWEST_MODELS = 4
SITE = "resid"
MEASURES = {
    "half_life": "median half-life over tokens of words, in layers; null: half of them never lose "
    "their identity",
    "half_life_fraction": "the same as a fraction of the depth",
    "lost": "share of these tokens that lose their identity at some layer",
    "half_life_adjusted": "half_life of identity minus the baseline",
    "half_life_fraction_adjusted": "half_life_fraction of identity minus the baseline",
    "lost_adjusted": "lost of identity minus the baseline",
    "gap": "similarity within senses minus between them, mean over words, at the layer of resid "
    "where it is largest; that layer is chosen by the same texts, which makes it larger",
    "gap_best_fraction": "that layer as a fraction of the depth",
    "rank": "share of tokens of words whose own embedding is the closest one (rank 0), mean over "
    "the layers of resid_mid",
}
RANK_COLUMNS = ("label", "position", "word_class", "site", "layer", "positional", "rank")
"""Columns of the table `ranks` that are read here."""

COLUMNS = {
    **dict.fromkeys(("model", "checkpoint", "experiment", "measure"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
    "n": pl.Int32,
}
MEANINGS = {
    "n_parameters": "parameters of the weights file but embeddings and unembedding",
    "d_model": "width of the residual stream",
    "measure": "; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items()),
    "value": "of the measure",
    "ci_low": "lower end of its interval, as in the table that it comes from: bootstrap over "
    "texts, of gaps over words; null: none, or never",
    "ci_high": "upper end of it",
    "n": "how many tokens, of gaps how many words",
}
OF_SLOPES = {
    "slope": "change of the measure per tenfold number of parameters, by least squares over models",
    "ci_low": "lower end of its interval, of Student's t: models as independent draws",
    "n": "how many models",
}


def of_half_lives(by_group: pl.DataFrame) -> pl.DataFrame:
    """Half-lives over all words, out of tables `half_lives_by_group` with a column `depth`."""
    rows = []
    for row in by_group.filter(pl.col("grouping") == "all").iter_rows(named=True):
        suffix = "" if row["measure"] == "cosine" else f"_{row['measure']}"
        layers = [row[f"median_layer{end}"] for end in ("", "_low", "_high")]
        shares = [None if layer is None else layer / row["depth"] for layer in layers]
        reached = [row[f"reached{end}"] for end in ("", "_low", "_high")]
        for name, values in (
            ("half_life", layers),
            ("half_life_fraction", shares),
            ("lost", reached),
        ):
            rows.append(_row(row, name + suffix, values, row["n"]))
    return pl.DataFrame(rows, schema=COLUMNS)


def of_senses(by_layer: pl.DataFrame, best: pl.DataFrame) -> pl.DataFrame:
    """The largest gap between senses and where it is, out of tables that `senses` makes."""
    rows = []
    here = (pl.col("site") == SITE) & (pl.col("measure") == "cosine")
    for row in best.filter(here, pl.col("criterion") == "gap").iter_rows(named=True):
        run = [pl.col(name) == row[name] for name in ("model", "checkpoint", "experiment")]
        at = by_layer.filter(here, *run, pl.col("layer") == row["best_layer"])
        for gap in at.iter_rows(named=True):
            values = [gap[name] for name in ("gap", "gap_low", "gap_high")]
            rows.append(_row(row, "gap", values, row["n"]))
        layers = [row[name] for name in ("best_layer", "best_low", "best_high")]
        shares = [None if layer is None else layer / row["depth"] for layer in layers]
        rows.append(_row(row, "gap_best_fraction", shares, row["n"]))
    return pl.DataFrame(rows, schema=COLUMNS)


def of_ranks(ranks: pl.DataFrame, bootstrap: Bootstrap) -> pl.DataFrame:
    """The share of tokens of rank 0 over layers, out of a table `ranks` of one run."""
    frame = ranks.filter(
        pl.col("site") == "resid_mid",
        ~pl.col("positional"),
        pl.col("word_class").is_in(["function", "content"]),
    ).sort("layer", "label", "position")
    if frame.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    tokens = frame.filter(pl.col("layer") == frame["layer"].min())  # the same at every layer
    text = tokens["label"].rank("dense").cast(pl.Int64).to_numpy() - 1
    closest = (frame["rank"] == 0).cast(pl.Float64).fill_null(float("nan"))
    statistic = cluster_means(closest.to_numpy().reshape(-1, len(tokens)), text)
    n_texts = int(text.max()) + 1
    values = [float(statistic(np.ones((1, n_texts))).mean()), None, None]
    if n_texts > 1:
        draws = bootstrap.redraw(statistic, n_texts, ()).mean(axis=1)
        values[1:] = map(float, bootstrap.interval(draws))
    return pl.DataFrame([_row(frame.row(0, named=True), "rank", values, len(tokens))], COLUMNS)


def _row(run: Mapping[str, Any], measure: str, values: list[Any], n: int) -> dict[str, Any]:
    names = ("model", "checkpoint", "experiment")
    ends = dict(zip(("value", "ci_low", "ci_high"), values, strict=True))
    return {**{name: run[name] for name in names}, "measure": measure, **ends, "n": n}


def scaling(
    measured: pl.DataFrame, parameters: pl.DataFrame, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `scaling`: every measure of every model, the smallest model first.

    Parameters
    ----------
    measured: what the functions above give, below each other.
    parameters: the tables of that name, of all models.
    provenance: of the statistics.
    """
    sizes = parameters.select("model", "checkpoint", "n_parameters", "depth", "d_model")
    order = pl.col("measure").replace_strict({m: at for at, m in enumerate(MEASURES)})
    table = (
        sizes.join(measured, on=["model", "checkpoint"])
        .sort("experiment", order, "n_parameters", "model")
        .with_columns(pl.col("value", "ci_low", "ci_high").cast(pl.Float32).fill_nan(None))
    )
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="measures by the size of the model, at the reference checkpoint of each",
        provenance=provenance,
        meanings=MEANINGS,
    )


def scaling_slopes(
    table: pl.DataFrame, *, confidence: float, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `scaling_slopes`: a trend wherever at least `FEWEST_MODELS` models have a value."""
    columns = {
        **dict.fromkeys(("experiment", "measure"), pl.String),
        **dict.fromkeys(("slope", "intercept", "ci_low", "ci_high"), pl.Float32),
        "n": pl.Int32,
    }
    frame = pl.DataFrame(list(_slopes(table, confidence)), schema=columns)
    return describe(
        frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="trends of measures over models",
        provenance=provenance,
        meanings={**MEANINGS, **OF_SLOPES, "intercept": "the measure at one parameter"},
    )


def _slopes(table: pl.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    known = table.drop_nulls("value")
    for (experiment, measure), here in known.group_by("experiment", "measure", maintain_order=True):
        x = here["n_parameters"].log10().to_numpy()
        if len(here) < FEWEST_MODELS or np.ptp(x) == 0:
            continue
        slope, intercept, half = line_of(x, here["value"].cast(pl.Float64).to_numpy(), confidence)
        yield {
            "experiment": experiment,
            "measure": measure,
            "slope": slope,
            "intercept": intercept,
            "ci_low": slope - half,
            "ci_high": slope + half,
            "n": len(here),
        }


def line_of(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"], confidence: float
) -> tuple[float, float, float]:
    """Slope and intercept by least squares, and half the width of the slope's interval."""
    freedom, spread = len(x) - 2, np.square(x - x.mean()).sum()
    slope = float((x - x.mean()) @ (y - y.mean()) / spread)
    intercept = float(y.mean() - slope * x.mean())
    error = np.sqrt(np.square(y - intercept - slope * x).sum() / freedom / spread)
    return slope, intercept, float(error) * student(confidence, freedom)


def student(confidence: float, freedom: int) -> float:
    """The t between whose negative and itself lies this share of Student's distribution.

    With t = sqrt(freedom) tan(a), the share between -t and t is the integral of cos(a)^(freedom-1)
    over that of the whole range of angles.
    """
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    share = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(freedom) * np.tan(np.interp(confidence, share / share[-1], angles)))
