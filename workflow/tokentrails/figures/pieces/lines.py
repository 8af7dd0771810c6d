"""Panels of lines over layers, depth or steps, with intervals and labels at the lines' ends."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import altair as alt
import polars as pl

from .steps import step_axis
from .text import spread
from .theme import GREY, LINE_HEIGHT, TINT, sized

# Channels and not strings, which Altair compares with all that there are, here and everywhere.
DASHES = ([1, 0], [5, 3], [1.5, 2.5], [8, 2.5, 1.5, 2.5])
"""Solid, dashed, dotted and dash-dotted."""

_LINE, _HIGH = alt.Detail("line:N"), alt.Y2("high:Q")
_MOST_DOTS = 24  # of more points on a line, none is marked


def linear_x(
    column: str, right: float, ticks: Sequence[float], *, title: str | None, number: str = "d"
) -> alt.X:
    """The x channel of a column, from 0 to `right`; `number` is the format of the ticks."""
    return alt.X(
        f"{column}:Q",
        scale=alt.Scale(domain=[0, right], nice=False),
        axis=alt.Axis(values=ticks, grid=False, format=number, labelFlush=False),
        title=title,
    )


def layer_ticks(depth: int) -> list[float]:
    """At most nine whole layers, always with the first and the last.

    Where a tick stands too near to the last one and is left out, an axis looks as if it jumped: if
    there is a step without such a tick, that is taken.
    """
    least = math.ceil(depth / 8) or 1
    steps = range(least, math.ceil(depth / 3) + 1)
    step = next((n for n in steps if not 0 < depth % n <= n / 2), least)
    inner = [tick for tick in range(0, depth, step) if depth - tick > step / 2]
    return [float(tick) for tick in [*inner, depth]]


@dataclass(frozen=True)
class Frame:
    """What the panels of a figure share.

    Labels stand at `right` on the x axis; `low` and `high` bound the values, and where low is above
    high small ones are on top; width and height are in pixels; `tooltip` names further
    columns; `told` is the column, and its format, that stands for the value there; `zero`: whether
    there is a rule at 0.
    """

    x: alt.X
    right: float
    value: str
    low: float
    high: float
    width: int
    height: int
    tooltip: Sequence[str] = ()
    axis: alt.Axis | None = None
    told: tuple[str, str] = ("value", ".4f")
    zero: bool = True

    @classmethod
    def over_layers(
        cls, last: int, share: float, *rest: Any, title: str = "layer", **more: Any
    ) -> Self:
        """x is the layer; labels stand at `share` of the last one."""
        right = max(last, 1) * share
        return cls(linear_x("layer", right, layer_ticks(last), title=title), right, *rest, **more)

    @classmethod
    def over_depth(cls, column: str, title: str, share: float, *rest: Any, **more: Any) -> Self:
        """x is the layer as a share of the last one."""
        x = linear_x(column, share, [0.0, 0.25, 0.5, 0.75, 1.0], title=title, number=".2~f")
        return cls(x, share, *rest, **more)

    @classmethod
    def over_steps(
        cls, steps: Iterable[int], value: str, low: float, high: float, width: int, *rest: Any
    ) -> Self:
        """x is log(1 + step), with a twentieth of its length behind the last one for labels."""
        steps = list(steps)
        right = math.expm1(1.05 * math.log1p(max(*steps, 1)))
        return cls(step_axis(steps, width, right=right), right, value, low, high, width, *rest)

    def turned(self) -> Self:
        """The same with small values on top, as ranks have them: up is closer."""
        return replace(self, low=self.high, high=self.low)

    @property
    def scale(self) -> alt.Scale:
        """The scale of the values."""
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
    subtitle: list[str] | None = None,
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
    axis = frame.axis or alt.Axis(tickCount=6)
    y = alt.Y("value:Q", scale=frame.scale, axis=axis, title=frame.value if y_title else None)
    told, number = frame.told
    numbers = [False, True] if points["dashed"].dtype == pl.Boolean else [*range(len(DASHES))]
    dashes = alt.Scale(domain=numbers, range=DASHES[: len(numbers)])
    dash = alt.StrokeDash("dashed:N", scale=dashes, legend=None)
    style: dict[str, Any] = {"color": TINT, "strokeDash": dash, "detail": _LINE}
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in frame.tooltip),
        alt.Tooltip(f"{column(x)}:Q", title=frame.x["title"]),
        alt.Tooltip(f"{told}:Q", title=frame.value, format=number),
    ]
    layers: list[alt.Chart] = [*marks]
    low, high = sorted((frame.low, frame.high))
    if frame.zero and low <= 0 <= high:
        layers.append(level(y))
    if faint is not None and len(faint):
        under = alt.Chart(faint).encode(x=x, y=y)
        layers += [
            *bands(faint, x, y, opacity=0.1),
            under.mark_line(strokeWidth=1, strokeOpacity=0.75).encode(**style),
            targets(under, tooltip),
        ]
    layers += bands(points, x, y, opacity=0.16)
    drawn = alt.Chart(points).encode(x=x, y=y)
    layers.append(drawn.mark_line(strokeWidth=2, strokeCap="butt").encode(**style))
    if points[column(x)].n_unique() <= _MOST_DOTS:
        layers.append(drawn.mark_point(filled=True, size=16, opacity=1).encode(color=TINT))
    layers.append(targets(drawn, tooltip))
    named = points.drop_nulls("series")
    if labels and len(named):
        gap = LINE_HEIGHT * (high - low) / frame.height
        layers += end_labels(named, ["line"], x, y, frame.right, (low, high), gap)
    return sized(layers, frame.width, frame.height, title, subtitle)


def column(channel: alt.X | alt.Y | alt.Tooltip) -> str:
    """The column that a channel shows."""
    return channel["shorthand"].split(":")[0]


def level(y: alt.Y, value: float = 0.0) -> alt.Chart:
    """A rule at one value."""
    return alt.Chart(pl.DataFrame({column(y): [value]})).mark_rule(color=GREY).encode(y=y)


def targets(chart: alt.Chart, tooltip: list[Any], size: int = 70) -> alt.Chart:
    """Invisible points that carry tooltips: a line alone would answer only for its first point."""
    return chart.mark_circle(size=size, opacity=0).encode(tooltip=tooltip)


def bands(
    points: pl.DataFrame, x: alt.X, y: alt.Y, *, opacity: float, keys: Sequence[str] = ("line",)
) -> list[alt.Chart]:
    """The intervals of the lines that have any; `keys` are those of a line.

    A band ends where a point has no interval, and a point between two such has a bar.
    """
    known = pl.all_horizontal(pl.col("low", "high").is_not_null())
    own = keys or pl.lit(0)
    beside = (known.shift(n, fill_value=False).over(own, order_by=column(x)) for n in (1, -1))
    alone = known & ~pl.any_horizontal(*beside)
    # In their order, so that a page holds them once, for the lines and the bands.
    band = points.filter((known & ~alone).any().over(own))
    bar = points.filter(alone)
    ends = {"x": x, "y": _low(y), "y2": _HIGH}
    detail = [alt.Detail(f"{key}:N") for key in keys]
    layers = []
    # Of fills and strokes, here and everywhere: a PNG takes a picture to blend for each mark of an
    # opacity of its own.
    if len(band):
        fill = alt.Fill("colour:N", scale=None)
        area = alt.Chart(band).mark_area(fillOpacity=opacity, line=False)
        layers.append(area.encode(**ends, fill=fill, detail=detail))
    if len(bar):
        rule = alt.Chart(bar).mark_rule(strokeWidth=3, strokeOpacity=opacity * 2)
        layers.append(rule.encode(**ends, color=TINT))
    return layers


def norm_marks(
    after: pl.DataFrame, intervals: pl.DataFrame, x: alt.X, y: alt.Y, tooltip: Sequence[Any]
) -> list[alt.Chart]:
    """Hollow diamonds for states after the final norm, with the bars of their `intervals`."""
    layers = []
    ends = intervals.drop_nulls(["low", "high"])
    if len(ends):
        bar = alt.Chart(ends).mark_rule(strokeWidth=1.2, strokeOpacity=0.6)
        layers.append(bar.encode(x=x, y=_low(y), y2=_HIGH, color=TINT))
    if len(after):
        stroke = alt.Stroke("colour:N", scale=None)
        diamond = alt.Chart(after).mark_point(
            shape="diamond", size=55, strokeWidth=1.6, fill="white", opacity=1
        )
        layers.append(diamond.encode(x=x, y=y, stroke=stroke, tooltip=tooltip))
    return layers


def _low(y: alt.Y) -> alt.Y:
    return alt.Y("low:Q", scale=y["scale"], title=y["title"])


def end_labels(
    lines: pl.DataFrame,
    keys: list[str],
    x: alt.X,
    y: alt.Y,
    right: float,
    limits: tuple[float, float],
    gap: float,
    *,
    inside: bool = True,
    dotted: bool = False,
) -> list[alt.Chart]:
    """The series of every line at its end in its colour, and a hairline to it.

    Parameters
    ----------
    lines: one row per point, with the columns of `keys`, of x and y, series and colour.
    right: where the labels stand on the x axis.
    limits: ends of the y axis; `gap` is the least distance of two labels on it.
    inside: whether whole labels stay within them, lest one above a panel push its title up.
    dotted: whether hairlines are, lest they look like lines of the figure.
    """
    along, up = column(x), column(y)
    by_line = lines.sort(along, maintain_order=True).group_by(keys, maintain_order=True)
    # Where lines end together, labels stand in the order of their means, or else the first on top.
    ends = by_line.agg(pl.all().last(), _mean=pl.col(up).mean())
    ends = ends.reverse().sort("_mean", maintain_order=True)
    room = gap / 2 if inside else 0
    heights = spread(ends[up].to_list(), gap, limits[0] + room, limits[1] - room)
    names = ends.select(
        *keys, "series", "colour", pl.lit(right).alias(along), pl.Series(up, heights)
    )
    hairlines = pl.concat([ends.select(names.columns), names], how="vertical_relaxed")
    return [
        alt.Chart(hairlines)
        .mark_line(strokeWidth=0.7, strokeOpacity=0.6, strokeDash=[1, 3] if dotted else [1, 0])
        .encode(x=x, y=y, color=TINT, detail=[alt.Detail(f"{key}:N") for key in keys]),
        alt.Chart(names)
        .mark_text(align="left", baseline="middle", dx=4)
        .encode(x=x, y=y, text=alt.Text("series:N"), color=TINT),
    ]


def panel_grid(
    parts: Mapping[str, pl.DataFrame],
    frame: Frame | Mapping[str, Frame],
    columns: int,
    faint: Mapping[str, pl.DataFrame] | None = None,
) -> alt.ConcatChart:
    """A panel for each points frame, under its title; lines are labelled in the last column.

    `frame` is that of all, or by title; `faint` has the thin lines of panels by the same titles.
    What an axis says is left out where the title says it.
    """
    frames = dict.fromkeys(parts, frame) if isinstance(frame, Frame) else frame
    panels = [
        line_panel(
            points,
            frames[title],
            title=title,
            x_title=edge["x_title"],
            y_title=edge["y_title"] and frames[title].value != title,
            labels=index % columns == min(columns, len(parts)) - 1,
            faint=None if faint is None else faint.get(title),
        )
        for index, ((title, points), edge) in enumerate(
            zip(parts.items(), edges(len(parts), columns), strict=True)
        )
    ]
    return alt.concat(*panels, columns=columns)


def stacked(grids: Sequence[alt.ConcatChart]) -> alt.ConcatChart | alt.VConcatChart:
    """Grids of panels above one another; a single one as it is."""
    return grids[0] if len(grids) == 1 else alt.vconcat(*grids, spacing=30)


def evenly(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spaced, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[math.floor(i * (len(values) - 1) / (most - 1) + 0.5)] for i in range(most)]


def edges(count: int, columns: int) -> list[dict[str, Any]]:
    """Which titles of axes the panels of a grid have: those at its left and lower edge."""
    return [
        {"x_title": index + columns >= count, "y_title": index % columns == 0}
        for index in range(count)
    ]
