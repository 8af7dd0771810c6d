"""Heat maps of layer by head."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl

from .panel import layer_ticks
from .theme import SHADE

# In pixels. Cells have whole ones, or their borders would show.
_HEIGHT = 300
_LEAST, _MOST_WIDTH, _MOST_HEIGHT = 9, 40, 18


@dataclass(frozen=True)
class HeadGrid:
    """What heat maps of one figure share.

    Attributes
    ----------
    layers: of the blocks, from the left.
    rows: heads, and what else a block has, from the top; a blank one is a gap.
    room: about how wide it may be, in pixels.
    extent: least width of the names of rows, in pixels.
    """

    layers: Sequence[int]
    rows: Sequence[str]
    room: int
    extent: int = 0

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a cell."""
        width = min(max(self.room // len(self.layers), _LEAST), _MOST_WIDTH)
        return width, min(max(_HEIGHT // len(self.rows), _LEAST), _MOST_HEIGHT)

    @property
    def width(self) -> int:
        return self.cell[0] * len(self.layers)

    @property
    def height(self) -> int:
        return self.cell[1] * len(self.rows)

    def x(self, title: str | None) -> alt.X:
        """The axis of the column layer."""
        ticks = [int(tick) for tick in layer_ticks(self.layers[-1]) if tick in self.layers]
        return alt.X(
            "layer:O",
            scale=alt.Scale(domain=list(self.layers), paddingInner=0, paddingOuter=0),
            axis=alt.Axis(values=ticks, labelAngle=0, labelOverlap=False, domain=False),
            title=title,
        )


def head_heat(
    cells: pl.DataFrame,
    grid: HeadGrid,
    *,
    value: str,
    colour: alt.Color,
    tooltip: Sequence[alt.Tooltip],
    x_title: str | None = "layer",
    y_title: str | None = "head",
) -> alt.LayerChart:
    """One heat map.

    `cells` has the columns layer and row, those of the tooltip, and `value`, whose nulls are grey.
    """
    x = grid.x(x_title)
    y = alt.Y(
        "row:O",
        scale=alt.Scale(domain=list(grid.rows), paddingInner=0, paddingOuter=0),
        axis=alt.Axis(
            domain=False,
            ticks=False,
            labelOverlap=False,
            labelFontSize=min(grid.cell[1], 11),
            minExtent=grid.extent,
        ),
        title=y_title,
    )
    known, unknown = cells.drop_nulls(value), cells.filter(pl.col(value).is_null())
    return alt.LayerChart(
        layer=[
            alt.Chart(unknown).mark_rect(color=SHADE).encode(x=x, y=y),
            alt.Chart(known).mark_rect(aria=False).encode(x=x, y=y, color=colour, tooltip=tooltip),
        ]
    ).properties(width=grid.width, height=grid.height)
