"""Where each token of a text looks: a small map of query by key for every head."""

import math
from typing import Any

import altair as alt
import polars as pl

from .pieces.points import readable_words, with_byte_marks
from .pieces.text import readable, shorten
from .pieces.text_tokens import token_names, token_notes
from .pieces.theme import GREY, INK, figure, nothing_to_show, sized

_MOST_TOKENS, _MOST_HEADS, _MOST_CELLS = 20, 400, 60_000
_WIDTH, _HEIGHT = 1500, 2400  # of the grid, in pixels, if cells can be so small
_LEAST_CELL, _MOST_CELL, _GAP = 3, 14, 6
_LABEL, _LETTER, _MOST_LETTERS = 8, 4.6, 10  # of the labels at the edge: height, width, how many
_LEAST = 0.005  # weights below it are not drawn
_COLOURS = ["#FFFFFF", "#7DB8DA", "#08306B"]  # of 0, of 0.25, which is in the middle, and of 1
_TICKS = [0, 0.01, 0.05, 0.2, 0.5, 1]


def attention(
    attention: pl.DataFrame, head_summary: pl.DataFrame, *, show: str, title: str
) -> alt.TopLevelMixin:
    """Attention weights of one text: a row of maps per layer, a column per head.

    The tables are those of the same names of one model and checkpoint, `show` is the label of the
    text. Of very many heads those are drawn that have the highest score in `head_summary`.
    """
    rows = with_byte_marks(attention.filter(label=show), "query_token", "key_token")
    names = token_names(rows, "query", "query_token")
    if not names:
        return nothing_to_show(title)
    shown = list(names)[:_MOST_TOKENS]
    rows = rows.filter(pl.col("query").is_in(shown), pl.col("key").is_in(shown))
    every = rows.select("layer", "head").unique().sort("layer", "head")
    pairs = rows.select("query", "key").n_unique()
    heads = _highest(every, head_summary, most=min(_MOST_HEADS, _MOST_CELLS // pairs))
    notes = token_notes(show, names, _MOST_TOKENS)
    if len(heads) < len(every):
        notes.append(
            f"Drawn: {len(heads)} of {len(every):,} heads, those with the highest score in the "
            "table head_summary."
        )
    notes.append(
        "A map per head: query tokens from the top, key tokens from the left. White: a weight "
        f"below {_LEAST}, or a key that the mask hides. Colours follow the square root."
    )
    grid = _Grid(heads, len(shown))
    if grid.labelled.step > 1:
        notes.append(f"Labelled: one of {grid.labelled.step} tokens.")
    return figure(_chart(rows, grid, names), title=title, notes=notes, width=max(grid.width, 480))


def _highest(heads: pl.DataFrame, head_summary: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many of the heads, in their order."""
    scores = head_summary.select("layer", "head", "score")
    ranked = heads.join(scores, on=["layer", "head"], how="left", maintain_order="left")
    ranked = ranked.sort("score", descending=True, nulls_last=True, maintain_order=True)
    return ranked.head(most).select("layer", "head").sort("layer", "head")


class _Grid:
    """Where the maps stand, in pixels: a row per block and a column per head that is drawn."""

    def __init__(self, heads: pl.DataFrame, tokens: int) -> None:
        self.layers = heads["layer"].unique().sort().to_list()
        self.columns = heads["head"].unique().sort().to_list()
        room = min(_WIDTH / len(self.columns), _HEIGHT / len(self.layers)) - _GAP
        self.cell = min(max(math.floor(room / tokens), _LEAST_CELL), _MOST_CELL)
        self.side = self.cell * tokens
        self.tops = {layer: i * (self.side + _GAP) for i, layer in enumerate(self.layers)}
        self.lefts = {head: i * (self.side + _GAP) for i, head in enumerate(self.columns)}
        self.maps = heads.with_columns(
            left=pl.col("head").replace_strict(self.lefts, return_dtype=pl.Int32),
            top=pl.col("layer").replace_strict(self.tops, return_dtype=pl.Int32),
        )
        self.width = len(self.columns) * (self.side + _GAP) - _GAP
        self.height = len(self.layers) * (self.side + _GAP) - _GAP
        # Which tokens have room for a label at the edge.
        self.labelled = range(0, tokens, math.ceil(_LABEL / self.cell))


def _chart(rows: pl.DataFrame, grid: _Grid, names: dict[int, str]) -> alt.LayerChart:
    cells = rows.filter(pl.col("weight") >= _LEAST).join(
        grid.maps, on=["layer", "head"], maintain_order="left"
    )
    cells = cells.sort("layer", "head", "query", "key").select(
        *("layer", "head", "query", "key"),
        query_token=readable_words("query_token"),
        key_token=readable_words("key_token"),
        weight=pl.col("weight").cast(pl.Float64).round(4),
        x=pl.col("left") + pl.col("key") * grid.cell,
        y=pl.col("top") + pl.col("query") * grid.cell,
    )
    weights = _boxes(cells, grid.cell, aria=False)  # or screen readers would read out every cell
    weights = weights.encode(
        color=weight_colour(grid.height),
        tooltip=[
            alt.Tooltip("layer:Q", title="block"),
            alt.Tooltip("head:Q"),
            alt.Tooltip("query_token:N", title="query"),
            alt.Tooltip("query:Q", title="its position"),
            alt.Tooltip("key_token:N", title="key"),
            alt.Tooltip("key:Q", title="its position "),
            alt.Tooltip("weight:Q", format=".3f"),
        ],
    )
    corners = grid.maps.select(x="left", y="top")
    frames = _boxes(corners, grid.side, fill=None, stroke=GREY, strokeWidth=0.5)
    return sized([weights, frames, *_labels(grid, names)], grid.width, grid.height)


def weight_colour(height: int) -> alt.Color:
    """The colour of the column weight, with a legend for a chart of so many pixels."""
    legend = alt.Legend(
        title="weight",
        values=_TICKS,
        format="~g",
        labelOverlap="greedy",
        gradientLength=min(max(height, 80), 200),
        offset=16,
    )
    scale = alt.Scale(
        type="pow", exponent=0.5, domain=[0, 0.25, 1], range=_COLOURS, interpolate="rgb"
    )
    return alt.Color("weight:Q", scale=scale, legend=legend)


_PLACE = {"x": alt.X("x:Q", scale=None, axis=None), "y": alt.Y("y:Q", scale=None, axis=None)}
"""Channels of the columns x and y, which are pixels."""


def _boxes(corners: pl.DataFrame, side: int, **mark: Any) -> alt.Chart:
    """Squares of so many pixels."""
    ends = {"right": f"datum.x + {side}", "bottom": f"datum.y + {side}"}
    chart = alt.Chart(corners).transform_calculate(**ends).mark_rect(**mark)
    return chart.encode(**_PLACE, x2="right", y2="bottom")


def _labels(grid: _Grid, names: dict[int, str]) -> list[alt.Chart]:
    """Tokens, blocks and heads at the left and upper edge."""
    tokens = [shorten(readable(token), _MOST_LETTERS) for token in names.values()]
    written = [(tokens[i], (i + 0.5) * grid.cell) for i in grid.labelled]
    beyond = 14 + _LETTER * max(len(token) for token, _ in written)
    tops, lefts, middle = grid.tops.values(), grid.lefts.values(), grid.side / 2
    layers = [(-beyond, y + middle, str(layer)) for layer, y in grid.tops.items()]
    heads = [(x + middle, -beyond, str(head)) for head, x in grid.lefts.items()]
    return [
        _texts([(-4, top + y, token) for top in tops for token, y in written], align="right"),
        _texts([(x + left, -4, token) for left in lefts for token, x in written], angle=270),
        _texts(layers, align="right", fontSize=11),
        _texts(heads, align="center", fontSize=11),
        _texts([(-beyond - 24, grid.height / 2, "block")], align="center", angle=270, fontSize=12),
        _texts([(grid.width / 2, -beyond - 18, "head")], align="center", fontSize=12),
    ]


def _texts(places: list[tuple[float, float, str]], **mark: Any) -> alt.Chart:
    """Words at places in pixels."""
    words = pl.DataFrame(places, schema=["x", "y", "text"], orient="row")
    style = {"fontSize": _LABEL, "baseline": "middle", "align": "left", "color": INK, **mark}
    return alt.Chart(words).mark_text(**style).encode(**_PLACE, text=alt.Text("text:N"))
