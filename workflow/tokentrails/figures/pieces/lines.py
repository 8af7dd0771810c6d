"""One panel of mean curves with their intervals, labelled at the ends of the lines.

A *points* frame has one row per point: line (what tells one line from another), series (its
direct label, null for none), colour, dashed, the column of the x axis, value, and the interval
low and high, null where there is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl

from .labels import end_labels
from .theme import GREY, LINE_HEIGHT, SHADE

_MOST_DOTS = 24  # of more points on a line, none is marked


@dataclass(frozen=True)
class Frame:
    """What the panels of a figure share.

    x is the channel of column `field`, labels stand at `right`; `low` and `high` bound the
    values, and where low is above high small ones are on top; width and height are in pixels;
    `tooltip` names columns beside x and value, `told` the column, with its format, that stands for
    the value there.
    """

    x: alt.X
    field: str
    right: float
    value: str
    low: float
    high: float
    width: int
    height: int
    tooltip: Sequence[str]
    axis: alt.Axis | None = None
    told: tuple[str, str] = ("value", ".4f")

    @property
    def scale(self) -> alt.Scale:
        """Of the values."""
        return alt.Scale(domain=[self.low, self.high], nice=False, zero=False)


def value_range(
    points: pl.DataFrame, *, top: float | None = None, span: float = 0.2
) -> tuple[float, float]:
    """Limits that hold every value, interval, and `top` if given; at least `span` apart."""
    low = points.select(pl.min_horizontal("value", "low").min()).item()
    high = points.select(pl.max_horizontal("value", "high").max()).item()
    high = high if top is None else max(high, top)
    low = min(low, high - span)
    room = 0.04 * (high - low)
    return low - room, high + room


def line_panel(
    points: pl.DataFrame,
    frame: Frame,
    *,
    title: str,
    x_title: bool = True,
    y_title: bool = True,
    labels: bool = True,
    faint: pl.DataFrame | None = None,
    marks: Sequence[alt.Chart] = (),
) -> alt.LayerChart:
    """The lines of `points` over thin lines of `faint`, another points frame, all with their bands.

    `marks` are drawn under the lines, in the channels that they bring along.
    """
    x = frame.x if x_title else frame.x.copy().title(None)
    y_name = frame.value if y_title else None
    y = alt.Y(
        "value:Q",
        scale=frame.scale,
        axis=frame.axis or alt.Axis(tickCount=6),
        title=y_name,
    )
    told, number = frame.told
    tint = alt.Color("colour:N", scale=None)
    dash = alt.StrokeDash(
        "dashed:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [5, 3]]), legend=None
    )
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in frame.tooltip),
        alt.Tooltip(f"{frame.field}:Q"),
        alt.Tooltip(f"{told}:Q", title=frame.value, format=number),
    ]
    layers: list[alt.Chart] = [*marks]
    low, high = sorted((frame.low, frame.high))
    if low <= 0 <= high:
        zero = alt.Chart(pl.DataFrame({"value": [0.0]}))
        layers.append(zero.mark_rule(color=GREY).encode(y=y))
    if faint is not None and len(faint):
        under = alt.Chart(faint).encode(x=x, y=y)
        layers += [
            *_bands(faint, frame, x, y_name, opacity=0.1),
            under.mark_line(strokeWidth=1, opacity=0.75).encode(
                color=tint, strokeDash=dash, detail="line:N"
            ),
            _targets(under).encode(tooltip=tooltip),
        ]
    layers += _bands(points, frame, x, y_name, opacity=0.16)
    drawn = alt.Chart(points).encode(x=x, y=y)
    layers.append(
        drawn.mark_line(strokeWidth=2, strokeCap="butt").encode(
            color=tint, strokeDash=dash, detail="line:N"
        )
    )
    if points[frame.field].n_unique() <= _MOST_DOTS:
        dots = drawn.mark_point(filled=True, size=16, opacity=1)
        layers.append(dots.encode(color=tint))
    layers.append(_targets(drawn).encode(tooltip=tooltip))
    named = points.drop_nulls("series")
    if labels and len(named):
        gap = LINE_HEIGHT * (high - low) / frame.height
        layers += end_labels(
            named,
            keys=["line"],
            place=(frame.field, "value"),
            right=frame.right,
            gap=gap,
            # Inside the panel, lest a label above it push its title up.
            limits=(low + gap / 2, high - gap / 2),
            x=x,
            y=y,
        )
    return alt.LayerChart(layer=layers).properties(
        width=frame.width, height=frame.height, title=alt.TitleParams(title, offset=8)
    )


def _bands(
    points: pl.DataFrame, frame: Frame, x: alt.X, y_name: str | None, *, opacity: float
) -> list[alt.Chart]:
    """The intervals of the lines that have any."""
    band = points.drop_nulls(["low", "high"])
    if band.is_empty():
        return []
    return [
        alt.Chart(band)
        .mark_area(opacity=opacity, line=False)
        .encode(
            x=x,
            y=alt.Y("low:Q", scale=frame.scale, title=y_name),
            y2="high:Q",
            fill=alt.Fill("colour:N", scale=None),
            detail="line:N",
        )
    ]


def empty_panel(words: str, frame: Frame, *, title: str) -> alt.Chart:
    """A panel that says why it shows nothing."""
    return (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_text(text=words, color=GREY)
        .properties(
            width=frame.width,
            height=frame.height,
            title=alt.TitleParams(title, offset=8),
            view=alt.ViewBackground(fill=SHADE),
        )
    )


def evenly(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spaced, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[math.floor(i * (len(values) - 1) / (most - 1) + 0.5)] for i in range(most)]


def _targets(chart: alt.Chart) -> alt.Chart:
    """Invisible points that carry tooltips: a line alone would answer only for its first point."""
    return chart.mark_circle(size=70, opacity=0)
