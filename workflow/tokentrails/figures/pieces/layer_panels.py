"""A panel per layer over training steps."""

import altair as alt
import polars as pl

from .lines import Frame, evenly, panel_grid, value_range
from .notes import thinned_note
from .theme import LINE_HEIGHT

STEP_TOOLTIP = ("checkpoint", "series", "layer", "n")
_COLUMNS = 4
_MOST_LAYERS = 12


def layer_panels(
    points: pl.DataFrame, value: str, faint: pl.DataFrame | None = None
) -> tuple[alt.ConcatChart, list[str]]:
    """(The panels of a points frame, a note on layers that are not drawn).

    Of more than 12 layers 12 are drawn, evenly spaced; `faint` has their thin lines.
    """
    thin = points.clear() if faint is None else faint
    every = sorted(points["layer"].unique())
    layers = evenly(every, _MOST_LAYERS)
    points = points.filter(pl.col("layer").is_in(layers))
    height = max(150, LINE_HEIGHT * (points["line"].n_unique() + 1))
    thin = thin.filter(pl.col("layer").is_in(layers))
    limits = value_range(pl.concat([points, thin]), top=1.0)
    frame = Frame.over_steps(points["step"].unique(), value, *limits, 175, height, STEP_TOOLTIP)
    parts, thin_parts = (
        {f"layer {layer}": lines.filter(layer=layer) for layer in layers}
        for lines in (points, thin)
    )
    drawn = thinned_note(len(layers), len(every), "layers, evenly spaced")
    return panel_grid(parts, frame, min(len(layers), _COLUMNS), thin_parts), drawn
