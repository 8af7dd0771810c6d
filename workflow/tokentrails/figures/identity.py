"""Token Identity Drift: how fast a token leaves its embedding, and how its senses diverge."""

from collections.abc import Iterable
from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.curves import AFTER_NORM, LINE, context_curves, identity_curves, in_order, intervals
from .pieces.notes import band_note
from .pieces.panel import Axes, cosine_range, layer_ticks, missing, panel
from .pieces.text import readable, shorten
from .pieces.theme import LINE_HEIGHT, colour, figure, nothing_to_show

_COLUMNS = 3
_WORDS_SHOWN = 8
_HEADINGS = {"cosine": "", "adjusted": ", adjusted"}
_Y_TITLES = {"cosine": "cosine", "adjusted": "cosine − chance"}
_FRACTIONS = [0.0, 0.25, 0.5, 0.75, 1.0]


def identity_context(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float = 0.95,
) -> alt.TopLevelMixin:
    """Identity of each sense and context similarity by layer, one panel per word.

    `identity`, `context` and `curves` are metric tables of one model and checkpoint; `context` may
    be None or empty. Bands are the intervals in `curves`.
    """
    if identity.select("model", "checkpoint").n_unique() > 1:
        raise ValueError("identity_context draws one model and checkpoint; filter the table first.")
    means, texts = identity_curves(identity, curves)
    contexts = context_curves(context, curves)
    if means.is_empty():
        return nothing_to_show(title)
    means = _together(means, contexts).with_columns(x=pl.col("layer").cast(pl.Float64))
    texts = texts.with_columns(x=pl.col("layer").cast(pl.Float64))

    words = in_order(means["word"])
    columns = 2 if len(words) == 4 else min(len(words), _COLUMNS)
    depth = _depth(means)
    low, high = cosine_range(means, texts)
    axes = Axes(
        x="layer",
        ticks=layer_ticks(depth),
        end=depth,
        low=low,
        high=high,
        width={1: 420, 2: 320}.get(columns, 250),
        height=_height(means, at_least={1: 280, 2: 230}.get(columns, 190)),
    )
    means = axes.place(means)
    panels = [
        panel(
            means.filter(pl.col("word") == word),
            texts.filter(pl.col("word") == word),
            axes,
            title=readable(word),
            x_title=index + columns >= len(words),
            y_title=index % columns == 0,
        )
        for index, word in enumerate(words)
    ]
    chart = alt.concat(*panels, columns=columns)
    return figure(
        chart,
        title=title,
        notes=_notes(means, texts, confidence),
        width=columns * (axes.width + 140),
    )


def composite_senses(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float = 0.95,
) -> alt.TopLevelMixin:
    """The same for several models side by side: a row per word, a column per model.

    x is the layer as a fraction of each model's depth. Of more than 8 words the first 8 are drawn.
    """
    every_mean, _ = identity_curves(identity)
    if every_mean.is_empty():
        return nothing_to_show(title)
    every_word, names = in_order(every_mean["word"]), in_order(every_mean["run"])
    words = every_word[:_WORDS_SHOWN]
    depths = _depths(every_mean)
    views = {}
    for measure in _measured(identity):
        means, texts = identity_curves(identity, curves, measure=measure)
        means = _together(means, context_curves(context, curves, measure=measure))
        views[measure] = [
            _fractions(lines, depths).filter(pl.col("word").is_in(words))
            for lines in (means, texts)
        ]
    low, high = cosine_range(*(lines for view in views.values() for lines in view))
    axes = Axes(
        x="layer / depth",
        ticks=_FRACTIONS,
        end=1.0,
        low=low,
        high=high,
        width=230,
        height=_height(views["cosine"][0], at_least=170),
    )

    def cell(word: str, run: str, measure: str) -> alt.LayerChart | alt.Chart:
        here = (pl.col("word") == word) & (pl.col("run") == run)
        means, texts = (lines.filter(here) for lines in views[measure])
        heading = f"{shorten(readable(word), 14)} · {shorten(run, 20)}{_HEADINGS[measure]}"
        if means.is_empty():
            seen = not views["cosine"][0].filter(here).is_empty()
            return missing(axes, title=heading, words="no baseline" if seen else "not measured")
        return panel(
            axes.place(means),
            texts,
            replace(axes, y=_Y_TITLES[measure]),
            title=heading,
            x_title=word == words[-1],
            y_title=run == names[0] or len(views) > 1,
        )

    columns = [(run, measure) for run in names for measure in views]
    chart = alt.concat(*(cell(w, *column) for w in words for column in columns))
    chart = chart.properties(columns=len(columns))
    means, texts = views["cosine"]
    notes = _notes(means, texts, confidence) + _adjusted_note(views)
    if len(every_word) > len(words):
        notes.append(f"The first {len(words)} of {len(every_word)} words.")
    return figure(chart, title=title, notes=notes, width=len(columns) * (axes.width + 140))


def composite_depth(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float = 0.95,
) -> alt.TopLevelMixin:
    """All models in one plot: mean identity, and mean context similarity if there is any.

    A line is the mean over words (each the mean over its texts) with its interval; x is the layer
    as a fraction of each model's depth.
    """
    means, _ = identity_curves(identity)
    if means.is_empty():
        return nothing_to_show(title)
    depths = _depths(means)
    names = in_order(means["run"])
    views = _measured(identity)
    parts = []
    for measure in views:
        lines = _fractions(identity_curves(identity, measure=measure)[0], depths)
        parts.append(("identity", measure, _over_words(lines, names, curves, measure)))
    for measure in views:
        contexts = context_curves(context, measure=measure)
        if contexts is None:
            continue
        contexts = contexts.filter(pl.col("style") != "within")
        between = (contexts["style"] == "between").any()
        heading = "context similarity" + (" between senses" if between else "")
        lines = _fractions(contexts, depths)
        parts.append((heading, measure, _over_words(lines, names, curves, measure)))

    low, high = cosine_range(*(part for *_, part in parts))
    axes = Axes(
        x="layer / depth",
        ticks=_FRACTIONS,
        end=1.0,
        low=low,
        high=high,
        width=340,
        height=max(300, (LINE_HEIGHT + 2) * len(names)),
    )
    panels = []
    for index, (heading, measure, part) in enumerate(parts):
        lines = part.filter(pl.col("site") == LINE)
        panels.append(
            panel(
                axes.place(part),
                lines.clear(),
                replace(axes, y=_Y_TITLES[measure]),
                title=heading + _HEADINGS[measure],
                y_title=index == 0 or len(views) > 1,
            )
        )
    bands = [_band_note(part, confidence, "words with all their texts") for *_, part in parts]
    notes = [f"Line: mean over words. {max(bands, key=len)}", *_norm_note(means)]
    notes += _adjusted_note(views)
    columns = 2 if len(parts) == 4 else len(parts)
    chart = alt.concat(*panels).properties(columns=columns)
    return figure(chart, title=title, notes=notes, width=columns * 480)


def _measured(identity: pl.DataFrame) -> list[str]:
    """What there is to draw: the cosine, and the adjusted one where there is any."""
    adjusted = identity.get_column("adjusted", default=pl.Series([None]))
    return ["cosine"] if adjusted.is_null().all() else ["cosine", "adjusted"]


def _adjusted_note(measures: Iterable[str]) -> list[str]:
    if "adjusted" not in measures:
        return []
    return [
        "Adjusted: minus the mean cosine of random pairs at the same place (of identity: of states "
        "with embeddings of other tokens)."
    ]


def _together(means: pl.DataFrame, contexts: pl.DataFrame | None) -> pl.DataFrame:
    return means if contexts is None else pl.concat([means, contexts.select(means.columns)])


def _depth(curves: pl.DataFrame) -> int:
    return curves.filter(pl.col("site") == LINE).select(pl.col("layer").max()).item()


def _depths(curves: pl.DataFrame) -> pl.DataFrame:
    """The last `resid` layer of every run."""
    return (
        curves.filter(pl.col("site") == LINE)
        .group_by("run", maintain_order=True)
        .agg(depth=pl.col("layer").max())
    )


def _fractions(curves: pl.DataFrame, depths: pl.DataFrame) -> pl.DataFrame:
    return curves.join(depths, on="run", maintain_order="left").with_columns(
        x=pl.col("layer") / pl.col("depth")
    )


def _over_words(
    curves: pl.DataFrame, names: list[str], table: pl.DataFrame | None, measure: str
) -> pl.DataFrame:
    """One curve per run, with the interval of the mean over words in the table `curves`."""
    colours = {name: colour(index) for index, name in enumerate(names)}
    keys = ["run", "site", "layer"]
    by_word = curves.group_by("run", "word", "site", "layer", "x", maintain_order=True).agg(
        pl.col("cosine").mean()
    )
    # Where only some words have senses, the mean is over two measures, and no interval is known.
    styles = curves["style"].unique().to_list()
    known = intervals(table, similarity=measure).filter(
        pl.col("word").is_null(), pl.col("style").is_in(styles)
    )
    known = known.filter(len(styles) == 1).select(*keys, "low", "high")
    return (
        by_word.group_by("run", "site", "layer", "x", maintain_order=True)
        .agg(pl.col("cosine").mean().round(6), words=pl.len())
        .join(known, on=keys, how="left", maintain_order="left")
        .with_columns(
            word=pl.lit("all words"),
            line=pl.col("run").rank("dense"),
            series="run",
            style=pl.lit("identity"),
            colour=pl.col("run").replace_strict(colours),
            label=pl.format("mean of {} words", "words"),
            sense=pl.lit(""),
            text=pl.lit(""),
        )
    )


def _height(means: pl.DataFrame, *, at_least: int) -> int:
    """Pixels that the labels of the fullest panel need."""
    lines = means.group_by("run", "word").agg(count=pl.struct("style", "line").n_unique())
    return max(at_least, (LINE_HEIGHT + 2) * lines.select(pl.col("count").max()).item())


def _notes(means: pl.DataFrame, texts: pl.DataFrame, confidence: float) -> list[str]:
    """What the lines and marks of a figure mean, only those that it has."""
    styles = set(means["style"])
    identity = "Solid: identity, the cosine with the token's own input embedding"
    notes = [identity + (" (thin: single texts)." if len(texts) else ".")]
    if "between" in styles:
        notes.append("Dashed: similarity of the same token in texts of different senses.")
    elif "context" in styles:
        notes.append("Dashed: similarity of the same token in two texts.")
    if "within" in styles:
        notes.append("Dotted: the same in texts of one sense.")
    return [" ".join(notes), _band_note(means, confidence, "texts"), *_norm_note(means)]


def _band_note(means: pl.DataFrame, confidence: float, over: str) -> str:
    """What the bands are; a line of one text, or of a pair, has none."""
    banded = means["low"].is_not_null()
    if not banded.any():
        return "No bands: too few texts for an interval."
    rest = "" if banded.all() else " Lines without one: too few texts."
    return band_note(confidence, over=over) + rest


def _norm_note(means: pl.DataFrame) -> list[str]:
    has_norm = (means["site"] == AFTER_NORM).any()
    return ["Hollow diamond: the last layer after the final norm."] if has_norm else []
