"""Function words and content words: how far the tokens of each class are from their embeddings.

Dense Paths and Sparse Trails compares them by eye. Here a class has, at every layer, the mean of
its tokens' cosines, the median of log10(1 + rank) and the share of tokens of rank 0. Intervals
resample texts crossed with types, the different tokens: neither the tokens of one text nor those of
one type are independent of each other, and a few types make up most function words. The samples are
the same for all classes, layers and measures, so that what is derived from several of them keeps
their correlation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64, Int, Shaped

from ..statistics.bootstrap import (
    EQUAL_MEDIANS,
    EQUALITY,
    FEWEST_UNITS,
    Bootstrap,
    Crossing,
    cluster_means,
    cluster_medians,
    codes,
)
from .columns.frame import run_table

CLASSES = ("content", "function", "punctuation")
MEASURES = {
    "cosine": cluster_means,
    "log_rank": cluster_medians,
    "log_rank_standardised": cluster_medians,
    "own_closest": cluster_means,
}
COLUMNS = (
    *("label", "position", "token", "word_class", "site", "layer", "positional"),
    *("cosine", "rank", "rank_standardised", "cosine_as_published", "rank_as_published"),
)
"""The columns of the table `ranks` that this module needs."""

MEANINGS = {
    "as_published": "whether the states are those of the published formula",
    "positional": "whether position embeddings are added to the rows compared with",
    "measure": "cosine: mean cosine of the tokens with their own embeddings; log_rank: median of "
    "log10(1 + rank); log_rank_standardised: the same of states and rows as z-scores, null as "
    "published; own_closest: share of the tokens whose own row is the closest one (rank 0)",
    "word_class": "class of the words that the tokens are part of",
    "n": "how many tokens, none of them at position 0",
    "texts": "how many texts they come from",
    "types": "how many different tokens they are",
    "few": "whether there are fewer texts or types than statistics.few: too few to lean on",
    "value": "the measure over the tokens of the class",
    "ci_low": "lower end of the interval: bootstrap over texts crossed with types, with "
    f"percentiles expanded by Student's t; null: under {FEWEST_UNITS} of either{EQUALITY}; of log "
    f"ranks, which are medians, under {FEWEST_UNITS} of either{EQUAL_MEDIANS}",
    "ci_high": "upper end of it",
}
GAP_MEANINGS = {
    "texts": "how many texts the tokens come from, of the class that comes from fewer",
    "types": "how many different tokens they are, of the class that has fewer",
    "gap": "the measure of function words minus that of content words",
}
SUMMARY_MEANINGS = {
    "quantity": "largest_gap: of function minus content, the layer's that is furthest from 0; "
    "largest_jump: of a class, the change from one layer to the next that is",
    "word_class": "whose jump it is; null: a gap is between two",
    "layer": "where the gap is, or the layer that the jump leads to; of equal ones the first",
    "support": "share of the bootstrap's draws in which it is at the same layer; null: under "
    f"{FEWEST_UNITS} texts or types",
    "value": "the gap or the jump, with its sign",
    "ci_low": "lower end of the interval of the value at that layer, as of means and medians",
}
UNIT = "cosine, log10 of 1 + rank, or a share"
KEYS: dict[str, Any] = {
    **dict.fromkeys(("as_published", "positional"), pl.Boolean),
    **dict.fromkeys(("site", "measure"), pl.String),
}
ENDS = {"ci_low": pl.Float32, "ci_high": pl.Float32}


@dataclass(frozen=True)
class ClassCurves:
    """One measure of every class at every layer of a site.

    Attributes
    ----------
    key: as_published, positional, site and measure.
    n, texts, types: tokens of each class that have a value, the texts they come from, and how many
        different ones there are.
    value: NaN for a class without tokens.
    draws: the same of resampled texts and types; NaN where no token is drawn, and for a class that
        has fewer than `FEWEST_UNITS` of either.
    """

    key: dict[str, Any]
    layers: tuple[int, ...]
    n: Int[np.ndarray, "classes layers"]
    texts: Int[np.ndarray, "classes layers"]
    types: Int[np.ndarray, "classes layers"]
    value: Float64[np.ndarray, "classes layers"]
    draws: Float64[np.ndarray, "draws classes layers"]
    bootstrap: Bootstrap

    @property
    def units(self) -> Int[np.ndarray, "classes layers"]:
        """Texts or types, of which there are fewer."""
        return np.minimum(self.texts, self.types)

    def interval(
        self, draws: Float64[np.ndarray, "draws layers"], units: Int[np.ndarray, " layers"]
    ) -> Float64[np.ndarray, "layers 2"]:
        """Both ends for every layer, of so many units; a draw without a value is left out."""
        discrete = MEASURES[self.key["measure"]] is cluster_medians
        return np.stack(self.bootstrap.interval(draws, units, discrete=discrete), axis=1)


def class_curves(ranks: pa.Table, bootstrap: Bootstrap) -> list[ClassCurves]:
    """Every measure at every site, of the model's own states, then as published if there is that.

    The first position of a text takes no part: it is where attention rests, and function words
    stand there far more often than content words.

    Parameters
    ----------
    ranks: the table of that name, or its `COLUMNS`.
    """
    frame = (
        pl.DataFrame(pl.from_arrow(ranks.select(COLUMNS)))
        .filter(pl.col("position") > 0, pl.col("word_class").is_in(CLASSES))
        .sort("positional", "site", "layer", "label", "position")
    )
    curves = []
    for as_published, suffix in ((False, ""), (True, "_as_published")):
        for (positional, site), here in frame.group_by("positional", "site", maintain_order=True):
            if here[f"rank{suffix}"].is_null().all():
                continue
            layers = tuple(here["layer"].unique().sort())
            tokens = here.filter(pl.col("layer") == layers[0])  # the same at every layer
            word_class = tokens["word_class"].to_numpy()
            units = [codes(tokens[name]) for name in ("label", "token")]
            crossing = Crossing.recurring(*units)
            rank = _by_layer(here[f"rank{suffix}"], layers)
            values = {
                "cosine": _by_layer(here[f"cosine{suffix}"], layers),
                "log_rank": np.log10(1 + rank),
                "own_closest": np.where(np.isnan(rank), np.nan, rank == 0),
            }
            if not as_published:
                z_rank = _by_layer(here["rank_standardised"], layers)
                values["log_rank_standardised"] = np.log10(1 + z_rank)
            for measure, numbers in sorted(values.items()):
                key = dict(zip(KEYS, (as_published, positional, site, measure), strict=True))
                curves.append(_curves(key, layers, numbers, word_class, units, crossing, bootstrap))
    return curves


def _by_layer(column: pl.Series, layers: Sequence[int]) -> Float64[np.ndarray, "layers tokens"]:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(len(layers), -1)


def _curves(
    key: dict[str, Any],
    layers: tuple[int, ...],
    values: Float64[np.ndarray, "layers tokens"],
    word_class: Shaped[np.ndarray, " tokens"],
    units: Sequence[Int[np.ndarray, " tokens"]],
    crossing: Crossing,
    bootstrap: Bootstrap,
) -> ClassCurves:
    of_class = np.stack([word_class == name for name in CLASSES])
    by_class = np.where(of_class[:, None], values, np.nan)
    shape, known = by_class.shape[:2], ~np.isnan(by_class)
    texts, types = (
        np.array([len(np.unique(unit[one])) for one in known.reshape(-1, len(unit))]).reshape(shape)
        for unit in units
    )
    statistic = MEASURES[key["measure"]](
        by_class.reshape(-1, len(word_class)), np.arange(len(word_class))
    )
    value = statistic(np.ones((1, len(word_class)))).reshape(shape)
    draws = bootstrap.resample_crossed(statistic, crossing, ()).reshape(-1, *shape)
    draws[:, np.minimum(texts, types) < FEWEST_UNITS] = np.nan
    return ClassCurves(key, layers, known.sum(axis=2), texts, types, value, draws, bootstrap)


def ranks_by_class(
    curves: Sequence[ClassCurves], *, few: int, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `ranks_by_class`: each class at every layer where it has tokens.

    Parameters
    ----------
    few: classes from fewer texts, or of fewer types, are marked.
    """
    rows = []
    for curve in curves:
        for c, name in enumerate(CLASSES):
            ends = curve.interval(curve.draws[:, c], curve.units[c])
            for i in np.flatnonzero(curve.n[c]):
                counts = (v[c, i] for v in (curve.n, curve.texts, curve.types))
                key = *curve.key.values(), name, curve.layers[i]
                few_units = curve.units[c, i] < few
                rows.append([*key, *counts, few_units, curve.value[c, i], *ends[i]])
    columns = {
        "word_class": pl.String,
        **dict.fromkeys(("layer", "n", "texts", "types"), pl.Int32),
        "few": pl.Boolean,
        "value": pl.Float32,
        **ENDS,
    }
    return _table(rows, columns, "similarity and rank by word class", MEANINGS, provenance)


def ranks_gap(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_gap`: function words minus content words, where both have tokens."""
    rows = []
    for curve in curves:
        gap, texts, types = _gap(curve.value), _fewest(curve.texts), _fewest(curve.types)
        ends = curve.interval(_gap(curve.draws), _fewest(curve.units))
        for i in np.flatnonzero(~np.isnan(gap)):
            key = *curve.key.values(), curve.layers[i]
            rows.append([*key, texts[i], types[i], gap[i], *ends[i]])
    counts = dict.fromkeys(("layer", "texts", "types"), pl.Int32)
    columns = {**counts, "gap": pl.Float32, **ENDS}
    title = "similarity and rank of function words minus those of content words"
    return _table(rows, columns, title, MEANINGS | GAP_MEANINGS, provenance)


def ranks_summary(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_summary`: where the gap is largest, and each class' jump between layers."""
    rows = []
    for curve in curves:
        gap, gap_draws = _gap(curve.value), _gap(curve.draws)
        found: list[tuple[str, str | None, tuple[Any, ...]]]
        gaps = _largest(curve, curve.layers, gap, gap_draws, _fewest(curve.units))
        found = [("largest_gap", None, gaps)]
        for name in ("content", "function"):
            c = CLASSES.index(name)
            jump, draws = (np.diff(v[..., c, :]) for v in (curve.value, curve.draws))
            units = np.minimum(curve.units[c, 1:], curve.units[c, :-1])
            jumps = _largest(curve, curve.layers[1:], jump, draws, units)
            found.append(("largest_jump", name, jumps))
        rows += [[*curve.key.values(), what, name, *row] for what, name, row in found if row]
    columns = {
        **dict.fromkeys(("quantity", "word_class"), pl.String),
        "layer": pl.Int32,
        **dict.fromkeys(("support", "value"), pl.Float32),
        **ENDS,
    }
    title = "the largest gap between function and content words, and the largest jump of each"
    return _table(rows, columns, title, MEANINGS | SUMMARY_MEANINGS, provenance)


def _gap(
    classes: Float64[np.ndarray, "*draws classes layers"],
) -> Float64[np.ndarray, "*draws layers"]:
    function, content = _both_classes(classes)
    return function - content


def _fewest(units: Int[np.ndarray, "classes layers"]) -> Int[np.ndarray, " layers"]:
    return np.minimum(*_both_classes(units))


def _both_classes(
    classes: Shaped[np.ndarray, "*draws classes layers"],
) -> list[Shaped[np.ndarray, "*draws layers"]]:
    """Those of function and of content words."""
    return [classes[..., CLASSES.index(name), :] for name in ("function", "content")]


def _largest(
    curve: ClassCurves,
    layers: Sequence[int],
    value: Float64[np.ndarray, " layers"],
    draws: Float64[np.ndarray, "draws layers"],
    units: Int[np.ndarray, " layers"],
) -> tuple[Any, ...]:
    """The layer furthest from 0, its support, value and ends; nothing if all are 0 or unknown."""
    if not np.nan_to_num(value).any():
        return ()
    best = int(np.nanargmax(np.abs(value)))
    known = draws[~np.isnan(draws).all(axis=1)]
    same = np.nanargmax(np.abs(known), axis=1) == best
    support = same.mean() if len(known) else None
    return layers[best], support, value[best], *curve.interval(draws[:, [best]], units[[best]])[0]


def _table(
    rows: Sequence[Sequence[Any]],
    columns: Mapping[str, Any],
    title: str,
    meanings: Mapping[str, str],
    provenance: Mapping[str, str],
) -> pa.Table:
    frame = pl.DataFrame(rows, {**KEYS, **columns}, orient="row")
    units = dict.fromkeys(("value", "gap", "ci_low", "ci_high"), UNIT) | {"support": "0 to 1"}
    return run_table(frame, title, provenance, meanings, units)
