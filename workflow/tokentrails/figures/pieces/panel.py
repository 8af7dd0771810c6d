"""One panel of similarity curves, labelled at the ends of its lines."""

import math
from dataclasses import dataclass

import altair as alt
import polars as pl

from .curves import AFTER_NORM, LINE
from .labels import end_labels
from .theme import GREY, LINE_HEIGHT

_DASHES: dict[str, list[float]] = {
    "identity": [1, 0],
    "between": [6, 3],
    "within": [2, 2.5],
    "context": [6, 3],
}

_LINE = ["style:N", "line:N"]  # what tells one line from another


@dataclass(frozen=True)
class Axes:
    """What the panels of a figure share.

    x runs from 0 to `end`; the final norm stands a little to the right of it, and the labels to
    the right of that. `low` and `high` bound the cosine; width and height are in pixels; `x` and
    `y` are the axes' titles.
    """

    x: str
    ticks: list[float]
    end: float
    low: float
    high: float
    width: int
    height: int
    y: str = "cosine"

    @property
    def norm(self) -> float:
        return self.end * 1.05

    @property
    def right(self) -> float:
        return self.end * 1.09

    def place(self, curves: pl.DataFrame) -> pl.DataFrame:
        """`curves`, whose column x is at most `end`, with the final norm moved to its place."""
        after = pl.col("site") == AFTER_NORM
        return curves.with_columns(x=pl.when(after).then(self.norm).otherwise("x"))


def cosine_range(*frames: pl.DataFrame) -> tuple[float, float]:
    """Limits for the cosine axis: up to 1, and below 0 as far as values and intervals go."""
    ends = pl.min_horizontal(pl.col("^(cosine|low)$")).min()
    lowest = min(frame.select(ends).item() for frame in frames if len(frame))
    return min(-0.1, lowest - 0.05), 1.03


def layer_ticks(depth: int) -> list[float]:
    """At most nine whole layers, always with the first and the last."""
    step = math.ceil(depth / 8) or 1
    inner = [tick for tick in range(0, depth, step) if depth - tick > step / 2]
    return [float(tick) for tick in [*inner, depth]]


def panel(
    means: pl.DataFrame,
    texts: pl.DataFrame,
    axes: Axes,
    *,
    title: str,
    x_title: bool = True,
    y_title: bool = True,
) -> alt.LayerChart:
    """Lines of `means` over faint lines of `texts`: curves frames of one panel with a column x.

    Around a line lies its band, where `means` has its ends; the diamond has a bar.
    """
    span = (axes.high - axes.low) / axes.height  # cosine per pixel
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[0, axes.right], nice=False),
        axis=alt.Axis(values=axes.ticks, grid=False, format=".2~f", labelFlush=False),
        title=axes.x if x_title else None,
    )
    y_scale = alt.Scale(domain=[axes.low, axes.high], nice=False)
    y_name = axes.y if y_title else None
    y = alt.Y("cosine:Q", scale=y_scale, axis=alt.Axis(tickCount=6, format=".1~f"), title=y_name)
    tint = alt.Color("colour:N", scale=None)
    dash = alt.StrokeDash(
        "style:N",
        scale=alt.Scale(domain=list(_DASHES), range=[*_DASHES.values()]),
        legend=None,
    )
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("series", "label", "sense", "text", "site")),
        alt.Tooltip("layer:Q"),
        alt.Tooltip("cosine:Q", title=axes.y, format=".4f"),
    ]
    # Keys that chose this panel are not drawn; without them the file is smaller.
    means, texts = means.drop("run", "word"), texts.drop("run", "word")
    lines = means.filter(pl.col("site") == LINE)
    layers = [alt.Chart(pl.DataFrame({"cosine": [0.0]})).mark_rule(color=GREY).encode(y=y)]
    band = lines.drop_nulls(["low", "high"])
    if len(band):
        layers.append(
            alt.Chart(band.select("x", "style", "line", "colour", "low", "high"))
            .mark_area(opacity=0.12, line=False)
            .encode(
                x=x,
                y=alt.Y("low:Q", scale=y_scale, title=y_name),
                y2="high:Q",
                fill=alt.Fill("colour:N", scale=None),
                detail=_LINE,
            )
        )
    if len(texts):
        faint = alt.Chart(texts).encode(x=x, y=y)
        layers.append(
            faint.mark_line(strokeWidth=0.8, opacity=0.3).encode(color=tint, detail=_LINE)
        )
        layers.append(_targets(faint).encode(tooltip=tooltip))
    drawn = alt.Chart(lines).encode(x=x, y=y)
    layers.append(
        drawn.mark_line(strokeWidth=2.2, strokeCap="butt").encode(
            color=tint, strokeDash=dash, detail=_LINE
        )
    )
    layers.append(_targets(drawn).encode(tooltip=tooltip))
    after = means.filter(pl.col("site") == AFTER_NORM)
    bars = after.drop_nulls(["low", "high"])
    if len(bars):
        layers.append(
            alt.Chart(bars.select("x", "colour", "low", "high"))
            .mark_rule(strokeWidth=1.2, opacity=0.6)
            .encode(x=x, y=alt.Y("low:Q", scale=y_scale, title=y_name), y2="high:Q", color=tint)
        )
    if len(after):
        layers.append(
            alt.Chart(after)
            .mark_point(shape="diamond", size=55, strokeWidth=1.6, fill="white", opacity=1)
            .encode(x=x, y=y, stroke=alt.Stroke("colour:N", scale=None), tooltip=tooltip)
        )
    if len(lines):
        layers += end_labels(
            lines,
            keys=["style", "line"],
            place=("x", "cosine"),
            right=axes.right,
            gap=LINE_HEIGHT * span,
            limits=(axes.low, axes.high),
            x=x,
            y=y,
        )
    return alt.LayerChart(layer=layers).properties(
        width=axes.width, height=axes.height, title=alt.TitleParams(title, offset=8)
    )


def missing(axes: Axes, *, title: str, words: str = "not measured") -> alt.Chart:
    """A panel that says why it is empty: such as for a word that a model did not see."""
    return (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_text(text=words, color=GREY)
        .properties(width=axes.width, height=axes.height, title=alt.TitleParams(title, offset=8))
    )


def _targets(chart: alt.Chart) -> alt.Chart:
    """Invisible points that carry tooltips: a line alone would answer only for its first point."""
    return chart.mark_circle(size=70, opacity=0)
