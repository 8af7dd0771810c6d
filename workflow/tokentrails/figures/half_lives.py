"""How fast tokens lose their identity, by class, frequency and place in the word."""

import altair as alt
import polars as pl

from .pieces.curves import in_order, runs
from .pieces.lines import Frame, line_panel
from .pieces.notes import band_note
from .pieces.panel import layer_ticks
from .pieces.theme import colour, figure, nothing_to_show

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
_MEASURES = {"cosine": "identity", "adjusted": "identity minus the baseline"}
_FRACTIONS = [0.0, 0.25, 0.5, 0.75, 1.0]
_BEYOND = 1.05  # where labels stand, as a share of the layers
_VALUE = "share of tokens lost"


def half_life(
    curve: pl.DataFrame, *, title: str, threshold: float, confidence: float
) -> alt.TopLevelMixin:
    """The share of tokens lost by each layer: a panel per grouping, a line per group.

    `curve` is the table half_life_curve of one model and checkpoint. Identity minus the baseline
    has a row of its own. Of classes within bands only those from enough texts are drawn.
    """
    points = _points(curve).filter(
        (pl.col("grouping") != "word_class_in_band") | ~pl.col("few").cast(pl.Boolean)
    )
    points = points.filter(pl.col("grouping").is_in(list(_GROUPINGS)))
    if points.is_empty():
        return nothing_to_show(title)
    depth = max(points.select(pl.col("layer").max()).item(), 1)
    ticks = alt.Axis(values=layer_ticks(depth), grid=False, format="d", labelFlush=False)
    x = alt.X("layer:Q", scale=_scale(depth), axis=ticks, title="layer")
    frame = _frame(x, "layer", depth)
    groupings = [name for name in _GROUPINGS if name in set(points["grouping"])]
    measures = [name for name in _MEASURES if name in set(points["measure"])]
    panels = []
    for measure in measures:
        for grouping in groupings:
            here = points.filter(measure=measure, grouping=grouping)
            order = {group: at for at, group in enumerate(in_order(here["group"]))}
            panels.append(_panel(here, order, "group", frame, _title(grouping, measure, measures)))
    columns = 2
    notes = [_note(threshold), _counts(points, "word_class"), _band(points, confidence)]
    chart = alt.concat(*panels, columns=columns)
    return figure(chart, title=title, notes=notes, width=columns * (frame.width + 150))


def composite_half_lives(
    half_life_curve: pl.DataFrame, *, title: str, threshold: float, confidence: float
) -> alt.TopLevelMixin:
    """The same of several models: a panel per group, a line per model.

    `half_life_curve` holds the tables of that name of all of them; x is the layer as a fraction of
    each model's depth.
    """
    points = runs(half_life_curve)
    points = points.with_columns(share=pl.col("layer") / pl.max_horizontal(_LAST.over("run"), 1))
    points = _points(points.with_columns(pl.col("share").round(6)))
    points = points.filter(pl.col("group").is_in(list(_GROUPS)))
    if points.is_empty():
        return nothing_to_show(title)
    names = {name: at for at, name in enumerate(in_order(points["run"]))}
    axis = alt.Axis(values=_FRACTIONS, grid=False, format=".2~f", labelFlush=False)
    x = alt.X("share:Q", scale=_scale(1), axis=axis, title="layer / depth")
    frame = _frame(x, "share", 1)
    groups = [group for group in _GROUPS if group in set(points["group"])]
    measures = [name for name in _MEASURES if name in set(points["measure"])]
    panels = []
    for measure in measures:
        for group in groups:
            here = points.filter(measure=measure, group=group)
            heading = _title(_GROUPS[group], measure, measures)
            panels.append(_panel(here, names, "run", frame, heading))
    notes = [_note(threshold), _band(points, confidence)]
    chart = alt.concat(*panels, columns=3)
    return figure(chart, title=title, notes=notes, width=3 * (frame.width + 130))


_LAST = pl.col("layer").max()


def _scale(last: float) -> alt.Scale:
    return alt.Scale(domain=[0, last * _BEYOND], nice=False)


def _frame(x: alt.X, field: str, last: float) -> Frame:
    return Frame(
        x=x,
        field=field,
        right=last * _BEYOND,
        value=_VALUE,
        low=-0.02,
        high=1.02,
        width=250,
        height=190,
        tooltip=("series", "n", "n_texts"),
        axis=alt.Axis(tickCount=5, format=".0%"),
    )


def _points(curve: pl.DataFrame) -> pl.DataFrame:
    """The values of a points frame (see `lines`), in six decimals as in any figure."""
    exact = {"value": "lost", "low": "lost_low", "high": "lost_high"}
    return curve.with_columns(
        **{new: pl.col(old).cast(pl.Float64).fill_nan(None).round(6) for new, old in exact.items()},
        dashed=pl.col("few"),
    ).drop_nulls("value")


def _panel(
    points: pl.DataFrame, order: dict[str, int], line: str, frame: Frame, title: str
) -> alt.LayerChart:
    colours = {name: colour(at) for name, at in order.items()}
    drawn = points.select(
        *(frame.field, "value", "low", "high", "dashed", "n", "n_texts"),
        line=line,
        series=line,
        colour=pl.col(line).replace_strict(colours, return_dtype=pl.String),
    )
    return line_panel(drawn, frame, title=title)


def _title(name: str, measure: str, measures: list[str]) -> str:
    name = _GROUPINGS.get(name, name)
    return f"{name}, minus the baseline" if measure == "adjusted" and len(measures) > 1 else name


def _note(threshold: float) -> str:
    return (
        f"A token is lost from the first layer on where its identity is below {threshold:g}, even "
        "if identity comes back. What is not lost at the last layer never is. Tokens of words; "
        "position 0 is left out."
    )


def _counts(points: pl.DataFrame, grouping: str) -> str:
    rows = points.filter(grouping=grouping).group_by("group", maintain_order=True)
    counts = [f"{n:,} {group}" for group, n in rows.agg(pl.col("n").max()).rows()]
    texts = points.select(pl.col("n_texts").max()).item()
    return f"Tokens: {', '.join(counts)}; in {texts:,} text{'' if texts == 1 else 's'}."


def _band(points: pl.DataFrame, confidence: float) -> str:
    if not points["low"].is_not_null().any():
        return "No bands: there is one text."
    dashed = " Dashed: groups in few texts." if points["dashed"].any() else ""
    return band_note(confidence, over="texts") + dashed
