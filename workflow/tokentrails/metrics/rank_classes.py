"""Function words and content words: how far the tokens of each class are from their embeddings.

Dense Paths and Sparse Trails compares them by eye. Here a class has, at every layer, the mean of
its tokens' cosines, the median of log10(1 + rank) and the share of tokens of rank 0, with intervals
over resampled texts: the tokens of one text are not independent of each other. The samples are the
same for all classes, layers and measures, so that what is derived from several of them keeps their
correlation.
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
    cluster_means,
    cluster_medians,
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
    *("label", "position", "word_class", "site", "layer", "positional"),
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
    "few": "whether there are fewer texts than statistics.few: too few to lean on",
    "value": "the measure over the tokens of the class",
    "ci_low": "lower end of the interval: percentile bootstrap over texts; null: under "
    f"{FEWEST_UNITS} texts{EQUALITY}; of log ranks, which are medians, {FEWEST_UNITS} texts"
    f"{EQUAL_MEDIANS}",
    "ci_high": "upper end of it",
}
GAP_MEANINGS = {
    "texts": "how many texts the tokens come from, of the class that comes from fewer",
    "gap": "the measure of function words minus that of content words",
}
SUMMARY_MEANINGS = {
    "quantity": "largest_gap: of function minus content, the layer's that is furthest from 0; "
    "largest_jump: of a class, the change from one layer to the next that is",
    "word_class": "whose jump it is; null: a gap is between two",
    "layer": "where the gap is, or the layer that the jump leads to; of equal ones the first",
    "support": "share of the draws of texts in which it is at the same layer; null: under "
    f"{FEWEST_UNITS} texts",
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
    n, texts: tokens of each class that have a value, and the texts they come from.
    value: NaN for a class without tokens.
    draws: the same of resampled texts; NaN where no token is drawn, and for a class that comes from
        fewer than `FEWEST_UNITS` texts.
    """

    key: dict[str, Any]
    layers: tuple[int, ...]
    n: Int[np.ndarray, "classes layers"]
    texts: Int[np.ndarray, "classes layers"]
    value: Float64[np.ndarray, "classes layers"]
    draws: Float64[np.ndarray, "draws classes layers"]
    bootstrap: Bootstrap

    @property
    def fewest(self) -> Int[np.ndarray, " layers"]:
        """Texts of the class with fewer of them, of function and content words."""
        return np.minimum(*(self.texts[CLASSES.index(name)] for name in ("function", "content")))

    def interval(
        self, draws: Float64[np.ndarray, "draws layers"], texts: Int[np.ndarray, " layers"]
    ) -> Float64[np.ndarray, "layers 2"]:
        """Both ends for every layer, of so many texts; a draw without a value is left out."""
        discrete = MEASURES[self.key["measure"]] is cluster_medians
        ends = self.bootstrap.interval(draws, texts, expanded=False, discrete=discrete)
        return np.stack(ends, axis=1)


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
        .filter(pl.col("position") > 0)
        .with_columns(text=pl.col("label").rank("dense").cast(pl.Int64) - 1)
        .sort("positional", "site", "layer", "label", "position")
    )
    n_texts = frame["text"].n_unique()
    curves = []
    for as_published, suffix in ((False, ""), (True, "_as_published")):
        for (positional, site), here in frame.group_by("positional", "site", maintain_order=True):
            if here[f"rank{suffix}"].is_null().all():
                continue
            layers = tuple(here["layer"].unique().sort())
            tokens = here.filter(pl.col("layer") == layers[0])  # the same at every layer
            word_class, text = tokens["word_class"].to_numpy(), tokens["text"].to_numpy()
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
                curves.append(_curves(key, layers, numbers, word_class, text, n_texts, bootstrap))
    return curves


def _by_layer(column: pl.Series, layers: Sequence[int]) -> Float64[np.ndarray, "layers tokens"]:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(len(layers), -1)


def _curves(
    key: dict[str, Any],
    layers: tuple[int, ...],
    values: Float64[np.ndarray, "layers tokens"],
    word_class: Shaped[np.ndarray, " tokens"],
    text: Int[np.ndarray, " tokens"],
    n_texts: int,
    bootstrap: Bootstrap,
) -> ClassCurves:
    n, texts, value, draws = [], [], [], []
    for name in CLASSES:
        own, owner = values[:, word_class == name], text[word_class == name]
        statistic = MEASURES[key["measure"]](own, owner)
        known = ~np.isnan(own)
        n.append(known.sum(axis=1))
        texts.append(np.array([len(np.unique(owner[tokens])) for tokens in known]))
        value.append(statistic(np.ones((1, n_texts)))[0])
        draws.append(bootstrap.resample(statistic, n_texts, ()))
        draws[-1][:, texts[-1] < FEWEST_UNITS] = np.nan
    arrays = np.stack(n), np.stack(texts), np.stack(value), np.stack(draws, axis=1)
    return ClassCurves(key, layers, *arrays, bootstrap)


def ranks_by_class(
    curves: Sequence[ClassCurves], *, few: int, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `ranks_by_class`: each class at every layer where it has tokens.

    Parameters
    ----------
    few: classes from fewer texts are marked.
    """
    rows = []
    for curve in curves:
        for c, name in enumerate(CLASSES):
            ends = curve.interval(curve.draws[:, c], curve.texts[c])
            for i in np.flatnonzero(curve.n[c]):
                numbers = curve.n[c, i], curve.texts[c, i], curve.texts[c, i] < few
                key = *curve.key.values(), name, curve.layers[i]
                rows.append([*key, *numbers, curve.value[c, i], *ends[i]])
    columns = {
        "word_class": pl.String,
        **dict.fromkeys(("layer", "n", "texts"), pl.Int32),
        "few": pl.Boolean,
        "value": pl.Float32,
        **ENDS,
    }
    return _table(rows, columns, "similarity and rank by word class", MEANINGS, provenance)


def ranks_gap(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_gap`: function words minus content words, where both have tokens."""
    rows = []
    for curve in curves:
        gap, texts = _gap(curve.value), curve.fewest
        ends = curve.interval(_gap(curve.draws), texts)
        for i in np.flatnonzero(~np.isnan(gap)):
            rows.append([*curve.key.values(), curve.layers[i], texts[i], gap[i], *ends[i]])
    columns = {"layer": pl.Int32, "texts": pl.Int32, "gap": pl.Float32, **ENDS}
    title = "similarity and rank of function words minus those of content words"
    return _table(rows, columns, title, MEANINGS | GAP_MEANINGS, provenance)


def ranks_summary(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_summary`: where the gap is largest, and each class' jump between layers."""
    rows = []
    for curve in curves:
        gap, gap_draws = _gap(curve.value), _gap(curve.draws)
        found: list[tuple[str, str | None, tuple[Any, ...]]]
        found = [("largest_gap", None, _largest(curve, curve.layers, gap, gap_draws, curve.fewest))]
        for name in ("content", "function"):
            c = CLASSES.index(name)
            jump, draws = (np.diff(v[..., c, :]) for v in (curve.value, curve.draws))
            texts = np.minimum(curve.texts[c, 1:], curve.texts[c, :-1])
            jumps = _largest(curve, curve.layers[1:], jump, draws, texts)
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
    function, content = (classes[..., CLASSES.index(n), :] for n in ("function", "content"))
    return function - content


def _largest(
    curve: ClassCurves,
    layers: Sequence[int],
    value: Float64[np.ndarray, " layers"],
    draws: Float64[np.ndarray, "draws layers"],
    texts: Int[np.ndarray, " layers"],
) -> tuple[Any, ...]:
    """The layer furthest from 0, its support, value and ends; nothing if all are 0 or unknown."""
    if not np.nan_to_num(value).any():
        return ()
    best = int(np.nanargmax(np.abs(value)))
    known = draws[~np.isnan(draws).all(axis=1)]
    same = np.nanargmax(np.abs(known), axis=1) == best
    support = same.mean() if len(known) else None
    return layers[best], support, value[best], *curve.interval(draws[:, [best]], texts[[best]])[0]


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
