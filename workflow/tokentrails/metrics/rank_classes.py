"""Function words beside content words: how far the tokens of each class are from their embeddings.

Dense Paths and Sparse Trails compares them by eye. Here a class has, at every layer, the mean of
its tokens' cosines, the median of log10(1 + rank) and the share of tokens of rank 0, with intervals
from texts drawn again: the tokens of one text are not independent of each other. The same texts are
drawn for all classes, layers and measures, so that what is derived from several of them keeps their
correlation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
from jaxtyping import Float64, Int, Shaped

from ..files.tables import describe
from ..statistics.bootstrap import Bootstrap, cluster_means, cluster_medians

CLASSES = ("content", "function", "punctuation")
MEASURES = {"cosine": cluster_means, "log_rank": cluster_medians, "own_closest": cluster_means}
COLUMNS = (
    *("label", "position", "word_class", "site", "layer", "positional"),
    *("cosine", "rank", "cosine_as_published", "rank_as_published"),
)
"""Those of the table `ranks` that are read here."""

MEANINGS = {
    "as_published": "whether the states are those of the published formula",
    "positional": "whether position embeddings are added to the rows compared with",
    "measure": "cosine: mean cosine of the tokens with their own embeddings; log_rank: median of "
    "log10(1 + rank); own_closest: share of the tokens whose own row is the closest one (rank 0)",
    "word_class": "class of the words that the tokens are part of",
    "n": "how many tokens",
    "texts": "how many texts they come from",
    "few": "whether there are fewer texts than statistics.few: too few to lean on",
    "value": "the measure over the tokens of the class",
    "ci_low": "lower end of the interval: percentile bootstrap over texts; null: one text",
    "ci_high": "upper end of it",
}
OF_GAPS = {
    "texts": "how many texts the tokens come from, of the class that comes from fewer",
    "gap": "the measure of function words minus that of content words",
}
OF_SUMMARIES = {
    "quantity": "largest_gap: of function minus content, the layer's that is furthest from 0; "
    "largest_jump: of a class, the change from one layer to the next that is",
    "word_class": "whose jump it is; null: a gap is between two",
    "layer": "where the gap is, or the layer that the jump leads to; of equal ones the first",
    "support": "share of the draws of texts in which it is at the same layer; null: one text",
    "value": "the gap or the jump, with its sign",
    "ci_low": "lower end of the interval of the value at that layer, as of means and medians",
}
UNIT = "cosine, log10 of 1 + rank, or a share"
RUN = ("model", "checkpoint", "experiment")
KEYS: dict[str, Any] = {
    **dict.fromkeys(RUN, pl.String),
    "as_published": pl.Boolean,
    "positional": pl.Boolean,
    "site": pl.String,
    "measure": pl.String,
}
ENDS = {"ci_low": pl.Float32, "ci_high": pl.Float32}


@dataclass(frozen=True)
class ClassCurves:
    """One measure of every class at every layer of a site.

    Attributes
    ----------
    key: as_published, positional, site and measure.
    layers: of the site.
    n, texts: tokens of each class that have a value, and the texts they come from.
    value: NaN for a class without tokens.
    draws: the same for texts drawn again; NaN where no token is drawn, and for a class that comes
        from fewer than two texts.
    bootstrap: how texts were drawn.
    """

    key: dict[str, Any]
    layers: tuple[int, ...]
    n: Int[np.ndarray, "classes layers"]
    texts: Int[np.ndarray, "classes layers"]
    value: Float64[np.ndarray, "classes layers"]
    draws: Float64[np.ndarray, "draws classes layers"]
    bootstrap: Bootstrap

    def interval(
        self, draws: Float64[np.ndarray, "draws layers"]
    ) -> Float64[np.ndarray, "layers 2"]:
        """Both ends for every layer; a draw without a value is left out."""
        ends = np.full((draws.shape[1], 2), np.nan)
        for layer, column in enumerate(draws.T):
            known = column[~np.isnan(column)]
            if len(known):
                ends[layer] = self.bootstrap.interval(known)
        return ends


def class_curves(ranks: pa.Table, bootstrap: Bootstrap) -> list[ClassCurves]:
    """Every measure at every site, of the model's own states, then as published if there is that.

    Parameters
    ----------
    ranks: the table of that name, or its `COLUMNS`.
    bootstrap: how texts are drawn again.
    """
    frame = (
        pl.DataFrame(pl.from_arrow(ranks.select(COLUMNS)))
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
            for measure in MEASURES:
                key = {"as_published": as_published, "positional": positional}
                key |= {"site": site, "measure": measure}
                of = _curves(key, layers, values[measure], word_class, text, n_texts, bootstrap)
                curves.append(of)
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
        of_class, owner = values[:, word_class == name], text[word_class == name]
        statistic = MEASURES[key["measure"]](of_class, owner)
        known = ~np.isnan(of_class)
        n.append(known.sum(axis=1))
        texts.append(np.array([len(np.unique(owner[some])) for some in known]))
        value.append(statistic(np.ones((1, n_texts)))[0])
        draws.append(bootstrap.redraw(statistic, n_texts, ()))
        draws[-1][:, texts[-1] < 2] = np.nan
    return ClassCurves(
        key=key,
        layers=layers,
        n=np.stack(n),
        texts=np.stack(texts),
        value=np.stack(value),
        draws=np.stack(draws, axis=1),
        bootstrap=bootstrap,
    )


def ranks_by_class(
    curves: Sequence[ClassCurves], *, few: int, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `ranks_by_class`: each class at every layer where it has tokens.

    Parameters
    ----------
    curves: as `class_curves` gives them.
    few: classes from fewer texts are marked.
    provenance: of the run.
    """
    rows = [
        {
            **of.key,
            "word_class": name,
            "layer": layer,
            "n": of.n[c, at],
            "texts": of.texts[c, at],
            "few": of.texts[c, at] < few,
            "value": of.value[c, at],
            "ci_low": low,
            "ci_high": high,
        }
        for of in curves
        for c, name in enumerate(CLASSES)
        for at, (layer, (low, high)) in enumerate(
            zip(of.layers, of.interval(of.draws[:, c]), strict=True)
        )
        if of.n[c, at]
    ]
    columns = {
        "word_class": pl.String,
        "layer": pl.Int32,
        "n": pl.Int32,
        "texts": pl.Int32,
        "few": pl.Boolean,
        "value": pl.Float32,
        **ENDS,
    }
    return _table(rows, columns, "similarity and rank by word class", MEANINGS, provenance)


def ranks_gap(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_gap`: function words minus content words, where both have tokens.

    Parameters
    ----------
    curves: as `class_curves` gives them.
    provenance: of the run.
    """
    rows = []
    for of in curves:
        gap, ends = _gap(of.value), of.interval(_gap(of.draws))
        texts = np.minimum(*(of.texts[CLASSES.index(name)] for name in ("function", "content")))
        for at in np.flatnonzero(~np.isnan(gap)):
            rows.append(
                {
                    **of.key,
                    "layer": of.layers[at],
                    "texts": texts[at],
                    "gap": gap[at],
                    "ci_low": ends[at, 0],
                    "ci_high": ends[at, 1],
                }
            )
    columns = {"layer": pl.Int32, "texts": pl.Int32, "gap": pl.Float32, **ENDS}
    title = "similarity and rank of function words minus those of content words"
    return _table(rows, columns, title, MEANINGS | OF_GAPS, provenance)


def ranks_summary(curves: Sequence[ClassCurves], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `ranks_summary`: where the gap is largest, and each class' jump between layers.

    Parameters
    ----------
    curves: as `class_curves` gives them.
    provenance: of the run.
    """
    rows: list[dict[str, Any]] = []
    for of in curves:
        about = {**of.key, "quantity": "largest_gap", "word_class": None}
        rows += [about | row for row in _largest(of, of.layers, _gap(of.value), _gap(of.draws))]
        for name in ("content", "function"):
            about = {**of.key, "quantity": "largest_jump", "word_class": name}
            jump, draws = (np.diff(v[..., CLASSES.index(name), :]) for v in (of.value, of.draws))
            rows += [about | row for row in _largest(of, of.layers[1:], jump, draws)]
    columns = {
        "quantity": pl.String,
        "word_class": pl.String,
        "layer": pl.Int32,
        "support": pl.Float32,
        "value": pl.Float32,
        **ENDS,
    }
    title = "the largest gap between function and content words, and the largest jump of each"
    return _table(rows, columns, title, MEANINGS | OF_SUMMARIES, provenance)


def _gap(
    of_classes: Float64[np.ndarray, "*draws classes layers"],
) -> Float64[np.ndarray, "*draws layers"]:
    function, content = (of_classes[..., CLASSES.index(n), :] for n in ("function", "content"))
    return function - content


def _largest(
    of: ClassCurves,
    layers: Sequence[int],
    value: Float64[np.ndarray, " layers"],
    draws: Float64[np.ndarray, "draws layers"],
) -> Iterator[dict[str, Any]]:
    """The layer whose value is furthest from 0; nothing if none has a value, or all are 0."""
    if not np.nan_to_num(value).any():
        return
    at = int(np.nanargmax(np.abs(value)))
    known = draws[~np.isnan(draws).all(axis=1)]
    same = np.nanargmax(np.abs(known), axis=1) == at
    low, high = of.interval(draws[:, [at]])[0]
    yield {
        "layer": layers[at],
        "support": same.mean() if len(known) else None,
        "value": value[at],
        "ci_low": low,
        "ci_high": high,
    }


def _table(
    rows: Sequence[dict[str, Any]],
    columns: Mapping[str, Any],
    title: str,
    meanings: Mapping[str, str],
    provenance: Mapping[str, str],
) -> pa.Table:
    run = {name: provenance[name] for name in RUN}
    frame = pl.DataFrame([run | row for row in rows], schema={**KEYS, **columns})
    units = dict.fromkeys(("value", "gap", "ci_low", "ci_high"), UNIT) | {"support": "0 to 1"}
    return describe(
        frame.with_columns(cs.float().fill_nan(None)).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        ),
        title=title,
        provenance=provenance,
        meanings=meanings,
        units=units,
    )
