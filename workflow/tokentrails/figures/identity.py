"""Token Identity Drift: how fast a token leaves its embedding, and how its senses diverge."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import altair as alt
import polars as pl

from ..statistics.forms import SOUND
from .pieces.curves import (
    all_words_curves,
    context_curves,
    control_curves,
    identity_curves,
    intervals,
)
from .pieces.forms import SUFFIXES, VALUES
from .pieces.lines import Frame, edges, layer_ticks, linear_x, stacked
from .pieces.notes import band_note, control_notes, form_notes, grey_note
from .pieces.panel import cosine_range, panel
from .pieces.points import AFTER_NORM, LINE, distinct, mapped
from .pieces.text import readable, shorten
from .pieces.theme import LINE_HEIGHT, figure, message, model_colours, nothing_to_show

_COLUMNS = 3
_WORDS_SHOWN = 8
_PANELS = 24
_ABREAST = 4  # most panels in a row of a composite
_NORM, _BEYOND = 1.05, 1.09  # where the final norm and the labels stand, as shares of the layers


def identity_context(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None,
    control: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """Identity of each sense and context similarity by layer, one panel per word.

    `identity`, `context` and `curves` are metric tables of one model and checkpoint; `context` may
    be None or empty. Bands are the intervals in `curves`. `control` holds the tables identity of
    the same with random weights, of all draws. More than 24 words have one panel of their means,
    and the first of them one each.
    """
    if identity.select("model", "checkpoint").n_unique() > 1:
        raise ValueError("identity_context draws one model and checkpoint; filter the table first.")
    every_word = distinct(identity.drop_nulls("cosine")["word"])
    overall = None
    if len(every_word) > _PANELS and curves is not None:
        overall = all_words_curves(curves, len(every_word))
        shown = pl.col("word").is_in(every_word[: _PANELS - 1])
        identity = identity.filter(shown)
        context = None if context is None else context.filter(shown)
        control = None if control is None else control.filter(shown)
    means, texts = identity_curves(identity, curves)
    if means.is_empty():
        return nothing_to_show(title)
    means = _together(means, context_curves(context, curves))
    notes = _notes(means, texts, confidence)
    if overall is not None:
        means = pl.concat([overall.select(means.columns), means])
        notes.append(
            f"All words: the mean over {len(every_word):,} words, with the interval over words; "
            f"the other panels are the first {_PANELS - 1} of them."
        )
    if control is not None:
        means = _together(means, control_curves(control, means["run"][0]))
        notes += control_notes(control)
    return word_panels(means, texts, title=title, notes=notes)


def word_panels(
    means: pl.DataFrame,
    texts: pl.DataFrame,
    *,
    title: str,
    notes: list[str],
    form: str = "cosine",
) -> alt.TopLevelMixin:
    """A panel for each word of curves frames of one model and checkpoint, in one form."""
    depth: int = means.filter(site=LINE).select(pl.col("layer").max()).item()
    layer = pl.col("layer").cast(pl.Float64)
    after = pl.col("site") == AFTER_NORM
    means = means.with_columns(x=pl.when(after).then(depth * _NORM).otherwise(layer))
    texts = texts.with_columns(x=layer)

    words = distinct(means["word"])
    columns = 2 if len(words) == 4 else min(len(words), _COLUMNS)
    width, height = {1: (420, 280), 2: (320, 230)}.get(columns, (250, 190))
    right = depth * _BEYOND
    x = linear_x("x", right, layer_ticks(depth), title="layer", number=".2~f")
    limits = cosine_range(means, texts)
    height = _height(means, at_least=height)
    frame = Frame(x, right, VALUES[form], *limits, width, height)
    panels = [
        panel(
            means.filter(word=word),
            texts.filter(word=word),
            frame,
            title=readable(word),
            **edge,
        )
        for word, edge in zip(words, edges(len(words), columns), strict=True)
    ]
    chart = alt.concat(*panels, columns=columns)
    return figure(chart, title=title, notes=notes, width=columns * (width + 140))


def composite_senses(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """The same for several models side by side: a row per word, a column per model and form.

    Of more than four columns each word has several rows. x is the layer as a fraction of each
    model's depth. Of more than 8 words the first 8 are drawn.
    """
    every_mean, _ = identity_curves(identity, None)
    if every_mean.is_empty():
        return nothing_to_show(title)
    every_word, names = distinct(every_mean["word"]), distinct(every_mean["run"])
    words = every_word[:_WORDS_SHOWN]
    views = {}
    for measure in _measured(identity, SOUND[:2]):
        means, texts = identity_curves(identity, curves, measure=measure)
        means = _together(means, context_curves(context, curves, measure=measure))
        views[measure] = [
            _fractions(lines, every_mean).filter(pl.col("word").is_in(words))
            for lines in (means, texts)
        ]
    means, texts = views["cosine"]
    limits = cosine_range(*itertools.chain(*views.values()))
    height = _height(means, at_least=170)
    frame = Frame.over_depth("x", "layer / depth", _BEYOND, "cosine", *limits, 230, height)

    columns = list(itertools.product(names, views))
    abreast = min(len(columns), _ABREAST)
    wrapped = len(columns) > abreast

    def cell(word: str, index: int) -> alt.LayerChart | alt.Chart:
        run, measure = columns[index]
        own_means, own_texts = (lines.filter(word=word, run=run) for lines in views[measure])
        heading = f"{shorten(readable(word), 14)} · {shorten(run, 20)}{SUFFIXES[measure]}"
        if own_means.is_empty():
            seen = len(means.filter(word=word, run=run))
            reason = "no baseline" if seen else "not measured"
            return message(reason, frame.width, frame.height, heading)
        return panel(
            own_means,
            own_texts,
            replace(frame, value=VALUES[measure]),
            title=heading,
            x_title=index + abreast >= len(columns) and (wrapped or word == words[-1]),
            y_title=index % abreast == 0 or len(views) > 1,
        )

    rows = [[cell(word, index) for index in range(len(columns))] for word in words]
    # Where a word has several rows, its last one need not be full.
    grids = rows if wrapped else [list(itertools.chain(*rows))]
    chart = stacked([alt.concat(*grid, columns=abreast) for grid in grids])
    notes = _notes(means, texts, confidence) + form_notes(views)
    if len(every_word) > len(words):
        notes.append(f"The first {len(words)} of {len(every_word)} words.")
    return figure(chart, title=title, notes=notes, width=abreast * (frame.width + 140))


def composite_depth(
    identity: pl.DataFrame,
    context: pl.DataFrame | None,
    curves: pl.DataFrame | None,
    *,
    title: str,
    confidence: float,
    controls: Collection[str] = (),
) -> alt.TopLevelMixin:
    """All models in one plot: mean identity, and mean context similarity if there is any.

    A line is the mean over words (each the mean over its texts) with its interval; x is the layer
    as a fraction of each model's depth. Those in `controls`, of random weights, are grey.
    """
    means, _ = identity_curves(identity, None)
    if means.is_empty():
        return nothing_to_show(title)
    names, views = distinct(means["run"]), _measured(identity, SOUND)
    found = []
    for measure in views:
        lines, _ = identity_curves(identity, None, measure=measure)
        found.append(("identity", measure, lines))
        contexts = context_curves(context, None, measure=measure)
        if contexts is not None:
            contexts = contexts.filter(pl.col("style") != "within")
            between = (contexts["style"] == "between").any()
            heading = "context similarity" + (" between senses" if between else "")
            found.append((heading, measure, contexts))
    tints = model_colours(names, controls)
    parts = [
        (heading, measure, _over_words(_fractions(lines, means), tints, curves, measure))
        for heading, measure, lines in found
    ]
    limits = cosine_range(*(part for *_, part in parts))
    height = max(300 if len(views) == 1 else 200, (LINE_HEIGHT + 2) * len(names))
    frame = Frame.over_depth("x", "layer / depth", _BEYOND, "cosine", *limits, 340, height)
    panels = [
        panel(
            part,
            part.clear(),
            replace(frame, value=VALUES[measure]),
            title=heading + SUFFIXES[measure],
            x_title=measure == views[-1],
            y_title=heading == "identity",
        )
        for heading, measure, part in parts
    ]
    bands = [
        band_note(part, confidence, "words with all their texts", few="words") for *_, part in parts
    ]
    notes = [f"Line: mean over words. {max(bands, key=len)}", *_norm_note(means)]
    notes += [*form_notes(views), *grey_note(tints)]
    columns = len({heading for heading, *_ in parts})
    chart = alt.concat(*panels, columns=columns)
    return figure(chart, title=title, notes=notes, width=columns * 480)


def _measured(identity: pl.DataFrame, forms: Sequence[str]) -> list[str]:
    """The forms that there are to draw: without a baseline the cosine alone."""
    return [form for form in forms if form == "cosine" or identity[form].count()]


def _together(means: pl.DataFrame, contexts: pl.DataFrame | None) -> pl.DataFrame:
    return means if contexts is None else pl.concat([means, contexts.select(means.columns)])


def _fractions(curves: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    """`curves` with x: the layer as a fraction of the last `resid` layer that `means` has."""
    depths = means.filter(site=LINE).group_by("run").agg(depth=pl.col("layer").max())
    after = pl.col("site") == AFTER_NORM
    share = pl.when(after).then(_NORM).otherwise(pl.col("layer") / pl.col("depth"))
    return curves.join(depths, on="run", maintain_order="left").with_columns(x=share)


def _over_words(
    curves: pl.DataFrame, colours: Mapping[str, str], table: pl.DataFrame | None, measure: str
) -> pl.DataFrame:
    """One curve per run, with the interval of the mean over words in the table `curves`."""
    keys = ["run", "site", "layer"]
    by_word = curves.group_by(*keys, "word", "x", maintain_order=True).agg(pl.col("cosine").mean())
    # Where only some words have senses, the mean is over two measures, and no interval is known.
    styles = curves["style"].unique().to_list()
    known = intervals(table, similarity=measure).filter(
        pl.col("word").is_null(), pl.col("style").is_in(styles), len(styles) == 1
    )
    return (
        by_word.group_by(*keys, "x", maintain_order=True)
        .agg(pl.col("cosine").mean().round(6), words=pl.len())
        .join(known.select(*keys, "low", "high"), on=keys, how="left", maintain_order="left")
        .with_columns(
            word=pl.lit("all words"),
            line=pl.col("run").rank("dense"),
            series="run",
            style=pl.lit("identity"),
            colour=mapped("run", colours),
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
        notes.append("Dashed: cosine of the states in two texts.")
    if "within" in styles:
        notes.append("Dotted: the same in texts of one sense.")
    return [" ".join(notes), band_note(means, confidence, "texts"), *_norm_note(means)]


def _norm_note(means: pl.DataFrame) -> list[str]:
    has_norm = (means["site"] == AFTER_NORM).any()
    return ["Hollow diamond: the last layer after the final norm."] if has_norm else []
