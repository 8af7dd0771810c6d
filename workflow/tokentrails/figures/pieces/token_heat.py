"""Heat maps of token by layer with a word in each cell."""

from collections.abc import Sequence
from typing import Literal

import altair as alt
import polars as pl

from .theme import INK, SHADE

WIDTH, HEIGHT = 58, 18
"""Of a cell, in pixels."""

_MOST_COLUMNS = 14
_WEIGHTS: tuple[Literal["normal", "bold"], ...] = ("normal", "bold")


def lines_of(positions: Sequence[int]) -> list[Sequence[int]]:
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
) -> alt.LayerChart:
    """Words by token and layer; a word that is longer than its cell is cut.

    Parameters
    ----------
    cells: one row per cell with the columns position and token, and those that are named here.
    rows: what the column `row` holds, from the top.
    row, word, value: columns; a null value is a grey cell.
    colour: of the column `value`.
    white: where words are white, as a Vega expression.
    bold: where they are bold.
    extent: least width of the names of rows, in pixels.
    """
    positions = cells["position"].unique().sort().to_list()
    x = alt.X(
        "position:O", scale=alt.Scale(domain=positions, paddingInner=0, paddingOuter=0), axis=None
    )
    y = alt.Y(
        f"{row}:O",
        scale=alt.Scale(domain=list(rows), paddingInner=0, paddingOuter=0),
        axis=alt.Axis(domain=False, ticks=False, labelOverlap=True, minExtent=extent),
        title="layer",
    )
    height = HEIGHT * len(rows)
    known = cells.drop_nulls(value)
    ink = alt.when(white).then(alt.value("white")).otherwise(alt.value(INK))
    thick = pl.lit(False) if bold is None else bold
    words = [
        alt.Chart(some)
        .mark_text(fontSize=10, fontWeight=weight, baseline="middle", limit=WIDTH - 4)
        .encode(x=x, y=y, text=f"{word}:N", color=ink, tooltip=tooltip)
        for weight, some in zip(_WEIGHTS, (known.filter(~thick), known.filter(thick)), strict=True)
        if len(some)
    ]
    heads = alt.Chart(cells.unique("position", keep="first", maintain_order=True))
    return alt.LayerChart(
        layer=[
            alt.Chart(cells.filter(pl.col(value).is_null()))
            .mark_rect(color=SHADE)
            .encode(x=x, y=y),
            alt.Chart(known).mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip),
            *words,
            heads.mark_text(baseline="top", dy=6, limit=WIDTH - 4).encode(
                x=x, text="token:N", y=alt.value(height)
            ),
        ]
    ).properties(width=WIDTH * len(positions), height=height)
