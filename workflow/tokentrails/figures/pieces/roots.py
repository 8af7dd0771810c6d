"""Axes on which values stand at the square root of their size, on the side of their sign.

Small changes are then seen beside large ones, and 0 has a place.
"""

import math

import altair as alt
import polars as pl

from .lines import Frame, layer_ticks, value_range

_TICKS = [step * 10.0**power for power in range(-4, 3) for step in (1, 2, 5)]
_SPAN = 0.02
"""At least so wide are axes, from a ten-thousandth to its negative: less is nothing to look at."""
_APART = 22  # pixels between two ticks
_EXTENT = 46  # pixels: lines up panels above one another
_LABEL = "format(datum.value * abs(datum.value), '.2~g')"


def rooted(points: pl.DataFrame) -> pl.DataFrame:
    """A points frame at the places of its values, which the column `plain` keeps."""
    values = pl.col("value", "low", "high")
    return points.with_columns(plain="value").with_columns(
        (values.sign() * values.abs().sqrt()).round(6)
    )


def root_range(points: pl.DataFrame) -> tuple[float, float]:
    """The least and largest place on the axis of a rooted points frame, and of 0."""
    low, high = value_range(points, top=0.0, span=_SPAN)
    return min(low, 0.0), high


def block_frame(points: pl.DataFrame, name: str, width: int, height: int, *limits: float) -> Frame:
    """The frame of a rooted points frame over blocks, each as wide as a cell of a heat map.

    Parameters
    ----------
    name: of the values.
    limits: places of the least and largest value; by default those of the points.
    """
    low, high = limits or root_range(points)
    last: int = points.select(pl.col("layer").max()).item()
    x = alt.X(
        "layer:Q",
        scale=alt.Scale(domain=[-0.5, last + 0.5], nice=False),
        axis=alt.Axis(values=layer_ticks(last), grid=False, format="d", labelFlush=False),
        title="block",
    )
    apart, sizes = _APART * (high - low) / height, [0.0]
    for size in map(math.sqrt, _TICKS):
        sizes += [round(size, 6)] if size - sizes[-1] > apart else []
    ticks = [x for x in (*(-size for size in sizes[:0:-1]), *sizes) if low <= x <= high]
    axis = alt.Axis(values=ticks, tickCount=len(ticks), labelExpr=_LABEL, minExtent=_EXTENT)
    about = ("series", "n", "n_texts")
    return Frame(x, last + 0.5, name, low, high, width, height, about, axis, ("plain", ".4f"))
