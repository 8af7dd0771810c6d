"""The names of lines beside their ends."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from .text import spread


def end_labels(
    lines: pl.DataFrame,
    *,
    keys: Sequence[str],
    place: tuple[str, str],
    right: float,
    gap: float,
    limits: tuple[float, float],
    x: alt.X,
    y: alt.Y,
) -> list[alt.Chart]:
    """The series of every line beside its end in its colour, and a hairline to it.

    Parameters
    ----------
    lines: one row per point, with the columns of `keys` and `place`, series and colour.
    keys: what tells one line from another.
    place: the columns of the x and y axes, whose channels are `x` and `y`.
    right: where the labels stand on the x axis.
    gap: the least distance of two labels on the y axis, and `limits` of their places there.
    """
    along, height = place
    by_line = lines.sort(along, maintain_order=True).group_by(keys, maintain_order=True)
    # Where lines end together, labels stand in the order of their means, or else the first on top.
    ends = by_line.agg(pl.all().last(), _mean=pl.col(height).mean())
    ends = ends.reverse().sort("_mean", maintain_order=True)
    heights = spread(ends[height].to_list(), gap, *limits)
    names = ends.select(
        *keys, "series", "colour", pl.lit(right).alias(along), pl.Series(height, heights)
    )
    hairlines = pl.concat([ends.select(names.columns), names], how="vertical_relaxed")
    tint = alt.Color("colour:N", scale=None)
    return [
        alt.Chart(hairlines)
        .mark_line(strokeWidth=0.7, opacity=0.6)
        .encode(x=x, y=y, color=tint, detail=[f"{key}:N" for key in keys]),
        alt.Chart(names)
        .mark_text(align="left", baseline="middle", dx=4)
        .encode(x=x, y=y, text="series:N", color=tint),
    ]
