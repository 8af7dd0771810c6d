"""The rank of each token of a text at every layer as a heat map, with the nearest words."""

import math

import altair as alt
import polars as pl

from .rank_axis import RANK_LABEL, next_tick, rank_ticks
from .text_tokens import TOOLTIP, text_notes, text_tokens
from .theme import INK, SHADE, figure, nothing_to_show

_WIDTH, _HEIGHT = 58, 18  # of a cell, in pixels
_LEGEND = 150  # its least height
_MOST_COLUMNS = 14  # a longer text goes on below, as lines of a page do


def rank_heatmap(ranks: pl.DataFrame, *, show: str, title: str) -> alt.TopLevelMixin:
    """Rank by token and layer, the nearest word written in each cell.

    `ranks` is the table of that name of one model and checkpoint, `show` the label of the text.
    Words longer than a cell are cut; a tooltip has them whole, and the next ones.
    """
    tokens = text_tokens(ranks, show)
    if tokens["place"].is_null().all():
        return nothing_to_show(title)
    high = next_tick(tokens.select(pl.col("place").max()).item())
    positions = tokens["position"].unique().sort().to_list()
    rows = math.ceil(len(positions) / _MOST_COLUMNS)
    columns = math.ceil(len(positions) / rows)
    panels = [
        _panel(tokens.filter(pl.col("position").is_in(positions[start : start + columns])), high)
        for start in range(0, len(positions), columns)
    ]
    notes = [
        *text_notes(ranks, show),
        "Colour: rank, the number of vocabulary entries that are closer to the state than the "
        "token's own embedding. In the cell: the nearest entry.",
    ]
    if tokens["place"].has_nulls():
        notes.append("Grey: not defined.")
    width = max(columns * _WIDTH, 320) + 110
    return figure(alt.vconcat(*panels, spacing=24), title=title, notes=notes, width=width)


def _panel(tokens: pl.DataFrame, high: float) -> alt.LayerChart:
    """The layers of some tokens, the first at the bottom; places run from 0 to `high`."""
    positions, layers = (tokens[name].unique().sort().to_list() for name in ("position", "layer"))
    width, height = _WIDTH * len(positions), _HEIGHT * len(layers)
    x = alt.X(
        "position:O",
        scale=alt.Scale(domain=positions, paddingInner=0, paddingOuter=0),
        axis=None,
    )
    y = alt.Y(
        "layer:O",
        scale=alt.Scale(domain=layers[::-1], paddingInner=0, paddingOuter=0),
        axis=alt.Axis(domain=False, ticks=False, labelOverlap=True),
        title="layer",
    )
    legend = alt.Legend(
        title="rank",
        values=rank_ticks(0, high),
        labelExpr=RANK_LABEL,
        labelOverlap="greedy",
        gradientLength=max(height, _LEGEND),
    )
    scale = alt.Scale(scheme="viridis", reverse=True, domain=[0, high])
    contrast = alt.when(alt.datum.place > 0.4 * high).then(alt.value("white"))
    known = alt.Chart(tokens.drop_nulls("place")).encode(x=x, y=y, tooltip=TOOLTIP)
    heads = alt.Chart(tokens.unique("position", maintain_order=True)).encode(x=x)
    return alt.LayerChart(
        layer=[
            alt.Chart(tokens.filter(pl.col("place").is_null()))
            .mark_rect(color=SHADE)
            .encode(x=x, y=y),
            known.mark_rect().encode(color=alt.Color("place:Q", scale=scale, legend=legend)),
            known.mark_text(fontSize=10, baseline="middle", limit=_WIDTH - 4).encode(
                text="nearest_word:N", color=contrast.otherwise(alt.value(INK))
            ),
            heads.mark_text(baseline="top", dy=6, limit=_WIDTH - 4).encode(
                text="token:N", y=alt.value(height)
            ),
        ]
    ).properties(width=width, height=height)
