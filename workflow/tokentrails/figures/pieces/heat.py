"""Heat maps: of layer by step, of layer by head, and of token by layer with words in the cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from .lines import layer_ticks
from .steps import STEP_LABEL, fitting
from .theme import INK, SHADE, sized

WIDTH, HEIGHT = 58, 18
"""Pixels of a cell with a word."""

_NUMBER = 27  # the width of a cell of layer and step that has room for its number
_MOST_COLUMNS = 14  # tokens abreast
_LEGEND = 75
_LOSS, _GAIN = "#B35806", "#2166AC"


@dataclass(frozen=True)
class Grid:
    """What heat maps of one figure share.

    Attributes
    ----------
    columns, rows: steps or layers from the left; layers or heads from the top; a blank is a gap.
    cell: width and height in pixels: whole ones, or the borders of cells would show.
    extent: least width of the names of rows, in pixels.
    """

    columns: Sequence[int]
    rows: Sequence[int | str]
    cell: tuple[int, int]
    extent: int = 0

    @property
    def width(self) -> int:
        return self.cell[0] * len(self.columns)

    @property
    def height(self) -> int:
        return self.cell[1] * len(self.rows)

    def layer_x(self, title: str | None) -> alt.X:
        """The axis of the column layer."""
        ticks = [int(tick) for tick in layer_ticks(self.columns[-1]) if tick in self.columns]
        axis = alt.Axis(values=ticks, labelAngle=0, labelOverlap=False, domain=False)
        return alt.X("layer:O", scale=cell_scale(self.columns), axis=axis, title=title)


def step_grid(steps: Sequence[int], layers: Sequence[int]) -> Grid:
    """A grid of layer, the first at the bottom, by step."""
    width = max(min(420 // len(steps), 34), math.ceil(130 / len(steps)))
    return Grid(steps, layers[::-1], (width, max(min(170 // len(layers), 34), 12)))


def head_grid(layers: Sequence[int], rows: Sequence[str], *, room: int, extent: int = 0) -> Grid:
    """A grid of head, or another row, by layer; `room` is about how wide it may be, in pixels."""
    cell = min(max(room // len(layers), 9), 40), min(max(300 // len(rows), 9), 18)
    return Grid(layers, rows, cell, extent)


def cell_scale(domain: Sequence[int | str]) -> alt.Scale:
    """A scale whose cells touch."""
    return alt.Scale(domain=list(domain), paddingInner=0, paddingOuter=0)


def _rects(
    cells: pl.DataFrame,
    value: str,
    x: alt.X,
    y: alt.Y,
    colour: alt.Color,
    tooltip: Any,
    **mark: Any,
) -> list[alt.Chart]:
    """Cells in the colour of their value, and grey ones where it is null."""
    known, unknown = cells.drop_nulls(value), cells.filter(pl.col(value).is_null())
    return [
        alt.Chart(unknown).mark_rect(color=SHADE).encode(x=x, y=y),
        alt.Chart(known).mark_rect(**mark).encode(x=x, y=y, color=colour, tooltip=tooltip),
    ]


@dataclass(frozen=True)
class Tints:
    """The colours of a heat map of layer by step, and the numbers in its cells.

    Attributes
    ----------
    low, high: values of the first and the last colour; what lies beyond has these.
    number: format of the numbers.
    told: the column of these.
    label: what ticks of the legend say, as a Vega expression; by default their number.
    ticks: their values.
    """

    low: float = 0.0
    high: float = 1.0
    number: str = ".2f"
    told: str = "value"
    label: str | None = None
    ticks: Sequence[float] | None = None

    def channel(self, length: int) -> alt.Color:
        scale = alt.Scale(scheme="viridis", domain=[self.low, self.high], clamp=True)
        words: dict[str, Any] = {"labelExpr": self.label} if self.label else {}
        words |= {"values": self.ticks} if self.ticks else {}
        legend = alt.Legend(gradientLength=length, tickCount=5, format=".3~g", **words)
        return alt.Color("value:Q", scale=scale, legend=legend)


SHARES = Tints()
"""Colours from 0 to 1."""


def step_heat(
    cells: pl.DataFrame,
    grid: Grid,
    *,
    title: str,
    tints: Tints = SHARES,
    x_title: bool = True,
    y_title: bool = True,
) -> alt.LayerChart:
    """One heat map of layer by step.

    `cells` has the columns checkpoint, step, layer, n, value and the one that is told; a null value
    is a grey cell.
    """
    ticks = fitting({step: grid.cell[0] * (i + 0.5) for i, step in enumerate(grid.columns)})
    plain: dict[str, Any] = {"domain": False, "labelOverlap": False}
    x = alt.X(
        "step:O",
        scale=cell_scale(grid.columns),
        axis=alt.Axis(values=ticks, labelAngle=0, labelExpr=STEP_LABEL, **plain),
        title="step" if x_title else None,
    )
    ticks = [int(tick) for tick in layer_ticks(int(grid.rows[0])) if tick in grid.rows]
    y = alt.Y(
        "layer:O",
        scale=cell_scale(grid.rows),
        axis=alt.Axis(values=ticks, **plain),
        title="layer" if y_title else None,
    )
    tooltip = [
        *map(alt.Tooltip, ("checkpoint:N", "layer:Q", "n:Q")),
        alt.Tooltip(f"{tints.told}:Q", title=title, format=".4~f"),
    ]
    layers = _rects(cells, "value", x, y, tints.channel(grid.height), tooltip)
    if grid.cell[0] >= _NUMBER:
        middle = tints.low + 0.6 * (tints.high - tints.low)
        light = alt.condition(f"datum.value < {middle:.6g}", alt.value("white"), alt.value(INK))
        numbers = alt.Chart(cells.drop_nulls("value")).mark_text(fontSize=9, baseline="middle")
        text = alt.Text(f"{tints.told}:Q", format=tints.number)
        layers.append(numbers.encode(x=x, y=y, text=text, color=light, tooltip=tooltip))
    return sized(layers, grid.width, grid.height, title)


def head_heat(
    cells: pl.DataFrame,
    grid: Grid,
    value: str,
    colour: alt.Color,
    tooltip: Sequence[Any],
    *,
    title: str | None = None,
    subtitle: str | None = None,
    x_title: str | None = "block",
    y_title: str | None = "head",
) -> alt.LayerChart:
    """One heat map of the column row by block, or by what `x_title` says it is.

    `cells` has the column `value`, whose nulls are grey.
    """
    axis = alt.Axis(
        domain=False,
        ticks=False,
        labelOverlap=False,
        labelFontSize=min(grid.cell[1], 11),
        minExtent=grid.extent,
    )
    x = grid.layer_x(x_title)
    y = alt.Y("row:O", scale=cell_scale(grid.rows), axis=axis, title=y_title)
    layers = _rects(cells, value, x, y, colour, tooltip, aria=False)
    return sized(layers, grid.width, grid.height, title, subtitle)


def text_lines(positions: Sequence[int]) -> list[Sequence[int]]:
    """The positions of a text cut into lines of one length, as those of a page are."""
    lines = max(-(-len(positions) // _MOST_COLUMNS), 1)
    length = max(-(-len(positions) // lines), 1)
    return [positions[start : start + length] for start in range(0, len(positions), length)]


def token_heat(
    cells: pl.DataFrame,
    rows: Sequence[int | str],
    *,
    row: str,
    word: str,
    value: str,
    colour: alt.Color,
    white: str,
    tooltip: Sequence[alt.Tooltip],
    bold: pl.Expr | None = None,
    extent: int = 0,
    title: str | None = None,
    y_title: str = "layer",
) -> alt.LayerChart:
    """Words by token and layer; a word that is longer than its cell is cut.

    Parameters
    ----------
    cells: one row per cell with the columns position and token, and those that are named here.
    rows: what the column `row` holds, from the top.
    row, word, value: columns; a null value is a grey cell.
    white: where words are white, as a Vega expression.
    bold: where they are bold.
    extent: least width of the names of rows, in pixels.
    """
    positions = cells["position"].unique().sort().to_list()
    x = alt.X("position:O", scale=cell_scale(positions), axis=None)
    axis = alt.Axis(domain=False, ticks=False, labelOverlap=True, minExtent=extent)
    y = alt.Y(f"{row}:O", scale=cell_scale(rows), axis=axis, title=y_title)
    height = HEIGHT * len(rows)
    known = cells.drop_nulls(value)
    ink = alt.when(white).then(alt.value("white")).otherwise(alt.value(INK))
    thick = pl.lit(False) if bold is None else bold
    layers = _rects(cells, value, x, y, colour, tooltip)
    for weight, part in (("normal", known.filter(~thick)), ("bold", known.filter(thick))):
        if len(part):
            mark: dict[str, Any] = {"fontSize": 10, "fontWeight": weight, "limit": WIDTH - 4}
            words = alt.Chart(part).mark_text(baseline="middle", **mark)
            layers.append(
                words.encode(x=x, y=y, text=alt.Text(f"{word}:N"), color=ink, tooltip=tooltip)
            )
    heads = alt.Chart(cells.unique("position", keep="first", maintain_order=True))
    heads = heads.mark_text(baseline="top", dy=6, limit=WIDTH - 4)
    layers.append(heads.encode(x=x, text=alt.Text("token:N"), y=alt.value(height)))
    return sized(layers, WIDTH * len(positions), height, title)


def signed_colour(name: str, values: pl.Series) -> alt.Color:
    """A scale that is even around 0, and its legend, whose ticks are as far apart."""
    most = _round_up(max(map(abs, values)))
    scale = alt.Scale(
        type="pow",
        exponent=0.5,
        domain=[-most, 0, most],
        range=[_LOSS, "#FFFFFF", _GAIN],
        interpolate="rgb",
    )
    ticks = [-most, -most / 4, 0, most / 4, most]
    legend = alt.Legend(title=name, values=ticks, format=",.4~r", gradientLength=_LEGEND)
    return alt.Color(f"{values.name}:Q", scale=scale, legend=legend)


def _round_up(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    if not value:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return round(next(power * step for step in (1, 2, 5, 10) if power * step >= value), 12)
