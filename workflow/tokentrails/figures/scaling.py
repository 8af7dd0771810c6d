"""Measures by the size of the model: a point for every model."""

import altair as alt
import polars as pl

from .pieces.lines import end_labels
from .pieces.notes import form_notes
from .pieces.points import exact, in_order, mapped, readable_words
from .pieces.text import shorten
from .pieces.theme import GREY, LINE_HEIGHT, TINT, colour, figure, nothing_to_show, sized

_MEASURES = {
    "half_life": "median half-life, in layers",
    "half_life_fraction": "median half-life / depth",
    "lost": "share of tokens lost",
    "half_life_scaled": "median half-life, scaled",
    "half_life_fraction_scaled": "median half-life / depth, scaled",
    "lost_scaled": "share of tokens lost, scaled",
    "gap": "largest gap between senses",
    "gap_best_fraction": "layer of that gap / depth",
    "rank": "share of rank 0, mean over layers",
}
_OPEN = ("half_life", "half_life_scaled", "gap")  # the others are shares
_COLUMNS = 3
_MANY = 4
_HEIGHT = 170


def scaling(
    table: pl.DataFrame, slopes: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per experiment and measure; the tables are scaling and scaling_slopes."""
    points = table.with_columns(
        *(exact(name) for name in ("value", "ci_low", "ci_high")),
        name=readable_words("model", 22),
    ).drop_nulls("value")
    if points.is_empty():
        return nothing_to_show(title)
    names = in_order(points.sort("n_parameters")["model"])
    tints = {name: colour(index) for index, name in enumerate(names)}
    points = points.with_columns(colour=mapped("model", tints))
    sizes: list[int] = points["n_parameters"].sort().to_list()
    low, high = sizes[0], sizes[-1]
    room = max((high / low) ** 0.08, 1.3)
    right = high * room
    x = alt.X(
        "n_parameters:Q",
        scale=alt.Scale(type="log", domain=[low / room, right], nice=False),
        axis=alt.Axis(grid=False, format="~s", tickCount=4),
        title="parameters without embeddings",
    )
    panels = [
        _panel(
            points.filter(experiment=experiment, measure=measure),
            slopes.filter(experiment=experiment, measure=measure),
            x,
            right,
            measure,
            f"{shorten(experiment, 18)}: {heading}",
        )
        for measure, heading in _MEASURES.items()
        for experiment in in_order(points.filter(measure=measure)["experiment"])
    ]
    columns = min(_COLUMNS, len(panels))
    notes = [_few(len(names)), f"Bars: {100 * confidence:g} % intervals over texts or words."]
    if table["value"].has_nulls():
        notes.append("Not drawn: a median half-life that is never reached.")
    if table["measure"].str.ends_with("_scaled").any():
        notes += form_notes(["scaled"])
    if len(slopes):
        notes.append("Line: least squares over models; its slope and interval below the titles.")
    chart = alt.concat(*panels, columns=columns).resolve_scale(y="independent")
    return figure(chart, title=title, notes=notes, width=max(columns, 2) * 330)


def _panel(
    points: pl.DataFrame, slopes: pl.DataFrame, x: alt.X, right: float, measure: str, title: str
) -> alt.LayerChart:
    low = points.select(pl.min_horizontal("value", "ci_low").min()).item()
    high = points.select(pl.max_horizontal("value", "ci_high").max()).item()
    low, high = min(low, 0.0), high if measure in _OPEN else max(high, 1.0)
    room = 0.08 * (high - low)
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    axis = alt.Axis(tickCount=5, minExtent=40)
    y = alt.Y("value:Q", scale=scale, axis=axis, title=None)
    drawn = alt.Chart(
        points.select("n_parameters", "value", "ci_low", "ci_high", "n", "name", "colour")
    ).encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("n_parameters:Q", format=",", title="parameters"),
        *(alt.Tooltip(f"{name}:Q", format=".4~f") for name in ("value", "ci_low", "ci_high")),
        alt.Tooltip("n:Q", format=","),
    ]
    layers = []
    heading = alt.TitleParams(title, offset=8, limit=290)
    if len(slopes):
        slope = slopes.row(0, named=True)
        layers.append(_line(points, slope).encode(x=x, y=y))
        heading.subtitle = [_slope(slope)]
    if points["ci_low"].is_not_null().any():
        ends = alt.Y("ci_low:Q", scale=scale, title=None)
        layers.append(
            drawn.mark_rule(strokeWidth=1.6).encode(y=ends, y2=alt.Y2("ci_high:Q"), color=TINT)
        )
    layers.append(
        drawn.mark_point(filled=True, size=60, opacity=1).encode(color=TINT, tooltip=tooltip)
    )
    lines = points.select("n_parameters", "value", "colour", series="name", line="model")
    gap = LINE_HEIGHT * (high - low + 2 * room) / _HEIGHT
    limits = (low - room, high + room)
    layers += end_labels(lines, ["line"], x, y, right, limits, gap)
    return sized(layers, 210, _HEIGHT).properties(title=heading)


def _line(points: pl.DataFrame, slope: dict) -> alt.Chart:
    sizes = points["n_parameters"].sort()
    line = pl.DataFrame({"n_parameters": [sizes[0], sizes[-1]]}).with_columns(
        value=slope["intercept"] + slope["slope"] * pl.col("n_parameters").log10()
    )
    return alt.Chart(line).mark_line(color=GREY, strokeWidth=1.5)


def _slope(slope: dict) -> str:
    numbers = [f"{slope[name]:+.2g}".replace("-", "−") for name in ("slope", "ci_low", "ci_high")]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}] per tenfold size"


def _few(models: int) -> str:
    if models == 1:
        return "One model: nothing is said of size."
    if models < _MANY:
        return f"Only {models} models, which differ in more than size: no trend is fitted."
    return f"{models} models, which may differ in more than size."
