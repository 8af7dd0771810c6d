"""How fast the identity of tokens falls, by class, frequency and place in the word."""

from collections.abc import Collection, Mapping, Sequence

import altair as alt
import polars as pl

from ..statistics.forms import SOUND
from .pieces.lines import Frame, line_panel, linear_x
from .pieces.notes import (
    CONTROL,
    band_note,
    class_notes,
    control_notes,
    dashed_note,
    form_notes,
    frequency_notes,
    grey_note,
    thinned_note,
)
from .pieces.points import (
    DEPTH_SHARE,
    distinct,
    draw_means,
    draw_medians,
    mapped,
    points_frame,
    runs,
)
from .pieces.text import counted
from .pieces.text_tokens import group_colours
from .pieces.theme import GREY, figure, model_colours, nothing_to_show

_GROUPINGS = {
    "word_class": "function and content words",
    "frequency_band": "place in the list of frequent words",
    "word_class_in_band": "class within a frequency band",
    "word_part": "whole words and parts of words",
}
_GROUPS = {
    **{"all words": "all words", "function": "function words", "content": "content words"},
    **{"whole": "whole words", "first": "first of several tokens", "later": "later tokens"},
}
_TOKENS = "Words are those of letters, not numbers, punctuation and signs; position 0 is left out."
_MEASURES = ("cosine", "scaled")
_KEYS = ("measure", "grouping", "group")
_BEYOND = 1.05  # where labels stand, as a share of the layers
_AXIS = alt.Axis(tickCount=5, format=".0%")
_SHARE = "share of tokens below the threshold"
_PANEL = (_SHARE, -0.02, 1.02, 250, 190, ("series", "n", "n_texts", "n_types"), _AXIS)


def half_life(
    curve: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    title: str,
    threshold: float,
    confidence: float,
) -> alt.TopLevelMixin:
    """The share of tokens below the threshold by layer: a panel per grouping, a line per group.

    `curve` is the table half_life_curve of one model and checkpoint. Scaled identity has
    a row of its own. Of classes within bands only those of enough texts and types are drawn.
    `control` holds the same tables of random weights, of all draws; every panel has all words of
    them.
    """
    enough = (pl.col("grouping") != "word_class_in_band") | ~pl.col("few").cast(pl.Boolean)
    every = curve.filter(pl.col("grouping").is_in(list(_GROUPINGS)))
    shown = every.filter(enough)
    points = _points(shown, "group", "layer")
    if points.is_empty():
        return nothing_to_show(title)
    depth: int = points.select(pl.col("layer").max()).item()
    frame = Frame.over_layers(depth, _BEYOND, *_PANEL)
    panels = _panels(points, "grouping", _GROUPINGS, frame, control=_control(control))
    without = class_notes(points["group"])
    named_by = "word_part" if without else "word_class"
    without += frequency_notes(points["group"])
    counts = points.filter(grouping=named_by).group_by("group", maintain_order=True)
    named = [f"{n:,} {group}" for group, n in counts.agg(pl.col("n").max()).rows()]
    texts = points.select(pl.col("n_texts").max()).item()
    tokens = f"Tokens: {', '.join(named)}; in {counted(texts, 'text')}."
    drawn, all_of = (
        rows.filter(grouping="word_class_in_band")["group"].n_unique() for rows in (points, every)
    )
    notes = [*without, _note(threshold), tokens, *_scaled(points), _band(points, confidence)]
    notes += thinned_note(
        drawn, all_of, "classes within a band; the others are of few texts or types"
    )
    notes += control_notes(control)
    chart = alt.concat(*panels, columns=2)
    return figure(chart, title=title, notes=notes, width=2 * (frame.width + 150))


def composite_half_lives(
    half_life_curve: pl.DataFrame,
    *,
    title: str,
    threshold: float,
    confidence: float,
    controls: Collection[str] = (),
) -> alt.TopLevelMixin:
    """The same of several models: a panel per group, a line per model.

    `half_life_curve` holds the tables of that name of all of them; x is the layer as a fraction of
    each model's depth. Those in `controls`, of random weights, are grey.
    """
    curve = runs(half_life_curve).with_columns(share=DEPTH_SHARE)
    points = _points(curve.filter(pl.col("group").is_in(list(_GROUPS))), "run", "share")
    if points.is_empty():
        return nothing_to_show(title)
    frame = Frame.over_depth("share", "layer / depth", _BEYOND, *_PANEL)
    tints = model_colours(distinct(points["line"]), controls)
    panels = _panels(points, "group", _GROUPS, frame, tints)
    without = class_notes(points["group"])
    notes = [*without, _note(threshold), *_scaled(points), _band(points, confidence)]
    notes += grey_note(tints)
    chart = alt.concat(*panels, columns=3)
    return figure(chart, title=title, notes=notes, width=3 * (frame.width + 130))


def half_life_thresholds(
    medians: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    title: str,
    threshold: float,
    confidence: float,
) -> alt.TopLevelMixin:
    """The median half-life by threshold: a panel per form of similarity, a line per group.

    `medians` is the table half_lives_by_threshold of one model and checkpoint, `control` the same
    of random weights, of all draws. A dashed rule marks the threshold of the other figures.
    """
    points = _medians(medians, "group", pl.lit(""))
    if points.is_empty():
        return nothing_to_show(title)
    depth: int = medians.select(pl.col("depth").max()).item()
    ticks = sorted(set(medians["threshold"]))
    right = 1.05 * ticks[-1]
    x = linear_x("threshold", right, ticks, title="threshold (similarity)", number=".2~f")
    y = ("median half-life (layer)", -0.02 * depth, 1.02 * depth, 250, 190)
    frame = Frame(x, right, *y, ("series", "n", "n_texts", "n_types"), told=("value", "~g"))
    if control is not None:
        every = control.filter(grouping="all")
        every = draw_medians(every, "median_layer", "measure", "threshold")
        grey = _medians(every, pl.lit(CONTROL), pl.lit(GREY), ("low", "high"))
    at = alt.Chart(pl.DataFrame({"threshold": [threshold]}))
    rule = at.mark_rule(color=GREY, strokeDash=[2, 3]).encode(x=x)
    tints = group_colours(distinct(medians["group"]))
    points = points.with_columns(colour=mapped("line", tints))
    panels, forms = [], [form for form in SOUND if form in set(points["measure"])]
    for form in forms:
        here = points.filter(measure=form)
        if control is not None:
            here = pl.concat([here, grey.filter(measure=form)], how="vertical_relaxed")
        panels.append(line_panel(here, frame, title=form, marks=[rule]))
    notes = [
        *class_notes(medians["group"]),
        "Half-life: the first layer where a token's identity is below the threshold. No point: "
        f"half of the tokens, or of the draws, have none. Dotted: {threshold:g}, the threshold of "
        f"the other figures. {_TOKENS}",
        *form_notes(forms),
        _band(points, confidence) + " One up to the top may have no upper end.",
        *control_notes(control, middle="median"),
    ]
    chart = alt.concat(*panels, columns=2)
    return figure(chart, title=title, notes=notes, width=2 * (frame.width + 150))


def _medians(
    table: pl.DataFrame,
    line: str | pl.Expr,
    tint: pl.Expr,
    interval: Sequence[str] = ("median_layer_low", "median_layer_high"),
) -> pl.DataFrame:
    """A points frame of medians; an interval without an upper end goes up to the last layer."""
    low, high = interval
    closed = pl.when(pl.col(low).is_not_null()).then(pl.col(high).fill_null(pl.col("depth")))
    table = table.with_columns(closed.alias(high))
    kept = ("measure", "threshold", "n", "n_texts", "n_types")
    return points_frame(table, "median_layer", interval, *kept, line=line, colour=tint)


def _points(curve: pl.DataFrame, line: str, x: str) -> pl.DataFrame:
    """A points frame without the colours, which depend on the panel."""
    interval = ("lost_low", "lost_high")
    kept = (*_KEYS, x, "n", "n_texts", "n_types")
    return points_frame(curve, "lost", interval, *kept, line=line, colour=pl.lit(""))


def _control(curve: pl.DataFrame | None) -> pl.DataFrame | None:
    """The points of all words of a control."""
    if curve is None:
        return None
    every = draw_means(curve.filter(grouping="all"), "lost", "measure", "layer")
    kept = (*_KEYS, "layer", "n", "n_texts", "n_types")
    line = pl.lit(CONTROL)
    return points_frame(every, "lost", ("low", "high"), *kept, line=line, colour=pl.lit(GREY))


def _panels(
    points: pl.DataFrame,
    by: str,
    names: Mapping[str, str],
    frame: Frame,
    colours: Mapping[str, str] | None = None,
    control: pl.DataFrame | None = None,
) -> list[alt.LayerChart]:
    """A row per measure; without `colours` they are those of groups."""
    panels = []
    measures = [measure for measure in _MEASURES if measure in set(points["measure"])]
    for measure in measures:
        suffix = ", scaled" if measure == "scaled" and len(measures) > 1 else ""
        for key in [name for name in names if name in set(points[by])]:
            here = points.filter(pl.col(by) == key, measure=measure).drop(_KEYS)
            tints = colours or group_colours(distinct(here["line"]))
            here = here.with_columns(colour=mapped("line", tints))
            if control is not None:
                here = pl.concat([here, control.filter(measure=measure).select(here.columns)])
            panels.append(line_panel(here, frame, title=names[key] + suffix))
    return panels


def _note(threshold: float) -> str:
    return (
        f"A token counts from its half-life on: the first layer where its identity is below "
        f"{threshold:g}, even if it rises again. What does not count at the last layer never does. "
        f"{_TOKENS}"
    )


def _scaled(points: pl.DataFrame) -> list[str]:
    return form_notes(["scaled"] if "scaled" in points["measure"] else [])


def _band(points: pl.DataFrame, confidence: float) -> str:
    band = band_note(points, confidence, "texts crossed with types", few="texts or types")
    return band + dashed_note(points, "groups of few texts or types")
