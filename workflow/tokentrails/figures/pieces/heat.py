"""Heat maps of layer by step, with one colour scale for all of a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import polars as pl

from .panel import layer_ticks
from .steps import STEP_LABEL, fitting
from .theme import INK, SHADE

# In pixels. Cells have whole ones, or their borders would show.
_WIDTH, _LEAST_WIDTH, _HEIGHT = 420, 130, 170
_CELL, _LEAST_CELL_HEIGHT = 34, 12
_NUMBER = 27  # the width of a cell that has room for its number


@dataclass(frozen=True)
class Grid:
    """The steps and layers that all panels of a figure have, both in order."""

    steps: Sequence[int]
    layers: Sequence[int]

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a cell."""
        steps, layers = len(self.steps), len(self.layers)
        width = max(min(_WIDTH // steps, _CELL), math.ceil(_LEAST_WIDTH / steps))
        return width, max(min(_HEIGHT // layers, _CELL), _LEAST_CELL_HEIGHT)

    @property
    def width(self) -> int:
        return self.cell[0] * len(self.steps)

    @property
    def height(self) -> int:
        return self.cell[1] * len(self.layers)

    @property
    def step_ticks(self) -> list[int]:
        return fitting({step: self.cell[0] * (i + 0.5) for i, step in enumerate(self.steps)})

    @property
    def layer_ticks(self) -> list[int]:
        return [int(tick) for tick in layer_ticks(self.layers[-1]) if tick in self.layers]


def heat_panel(
    cells: pl.DataFrame, grid: Grid, *, title: str, x_title: bool = True, y_title: bool = True
) -> alt.LayerChart:
    """One heat map.

    `cells` has the columns checkpoint, step, layer, n and value; a null value is a grey cell. The
    colours run from 0 to 1, and smaller values have the colour of 0.
    """
    x = alt.X(
        "step:O",
        scale=alt.Scale(domain=list(grid.steps), paddingInner=0, paddingOuter=0),
        axis=alt.Axis(
            values=grid.step_ticks,
            labelAngle=0,
            labelOverlap=False,
            labelExpr=STEP_LABEL,
            domain=False,
        ),
        title="step" if x_title else None,
    )
    y = alt.Y(
        "layer:O",
        scale=alt.Scale(domain=list(reversed(grid.layers)), paddingInner=0, paddingOuter=0),
        axis=alt.Axis(values=grid.layer_ticks, domain=False, labelOverlap=False),
        title="layer" if y_title else None,
    )
    tooltip = [
        alt.Tooltip("checkpoint:N"),
        alt.Tooltip("layer:Q"),
        alt.Tooltip("n:Q"),
        alt.Tooltip("value:Q", title=title, format=".4f"),
    ]
    tint = alt.Color(
        "value:Q",
        scale=alt.Scale(scheme="viridis", domain=[0, 1], clamp=True),
        legend=alt.Legend(gradientLength=grid.height, tickCount=5, format=".1f"),
    )
    known = alt.Chart(cells.drop_nulls("value")).encode(x=x, y=y)
    layers = [
        alt.Chart(cells.filter(pl.col("value").is_null())).mark_rect(color=SHADE).encode(x=x, y=y),
        known.mark_rect().encode(color=tint, tooltip=tooltip),
    ]
    if grid.cell[0] >= _NUMBER:
        light = alt.condition("datum.value < 0.6", alt.value("white"), alt.value(INK))
        numbers = known.mark_text(fontSize=9, baseline="middle")
        text = alt.Text("value:Q", format=".2f")
        layers.append(numbers.encode(text=text, color=light, tooltip=tooltip))
    return alt.LayerChart(layer=layers).properties(
        width=grid.width, height=grid.height, title=alt.TitleParams(title, offset=8)
    )
