"""The rank of each token of a text at every layer as a heat map, with the nearest words."""

import altair as alt
import polars as pl

from .pieces.heat import HEIGHT, WIDTH, text_lines, token_heat
from .pieces.rank_axis import RANK_LABEL, next_tick, rank_ticks
from .pieces.text_tokens import axis_name, text_notes, text_tokens, tooltips
from .pieces.theme import figure, nothing_to_show

_LEGEND = 150  # its least height


def rank_heatmap(ranks: pl.DataFrame, *, show: str, title: str) -> alt.TopLevelMixin:
    """Rank by token and layer, the nearest word written in each cell.

    `ranks` is the table of that name of one model and checkpoint, `show` the label of the text.
    Words longer than a cell are cut; a tooltip has them whole, and the next ones.
    """
    tokens = text_tokens(ranks, show)
    if tokens["place"].is_null().all():
        return nothing_to_show(title)
    high = next_tick(tokens.select(pl.col("place").max()).item())
    name = axis_name(ranks.filter(label=show))
    lines = text_lines(tokens["position"].unique().sort().to_list())
    panels = [_panel(tokens.filter(pl.col("position").is_in(line)), high, name) for line in lines]
    notes = [
        *text_notes(ranks, show),
        "Colour: rank, the number of vocabulary entries that are closer to the state than the "
        "token's own embedding. In the cell: the nearest entry.",
    ]
    if tokens["place"].has_nulls():
        notes.append("Grey: not defined.")
    width = max(len(lines[0]) * WIDTH, 320) + 110
    return figure(alt.vconcat(*panels, spacing=24), title=title, notes=notes, width=width)


def _panel(tokens: pl.DataFrame, high: float, y_title: str) -> alt.LayerChart:
    """The layers of some tokens, the first at the bottom; places run from 0 to `high`."""
    layers = tokens["layer"].unique().sort(descending=True).to_list()
    legend = alt.Legend(
        title="rank",
        values=rank_ticks(0, high),
        labelExpr=RANK_LABEL,
        labelOverlap="greedy",
        gradientLength=max(HEIGHT * len(layers), _LEGEND),
    )
    scale = alt.Scale(scheme="viridis", reverse=True, domain=[0, high])
    return token_heat(
        tokens,
        layers,
        row="layer",
        word="nearest_word",
        value="place",
        colour=alt.Color("place:Q", scale=scale, legend=legend),
        white=f"datum.place > {0.4 * high}",
        tooltip=tooltips(y_title),
        y_title=y_title,
    )
