"""What kinds of heads there are: how often each head does what, by block and head."""

import altair as alt
import polars as pl

from .pieces.heat import head_grid, head_heat
from .pieces.theme import figure, nothing_to_show

# What is counted, in few words that stand below the titles, and the column that says of how many.
_MEASURES = {
    "self_pattern": ("query pattern nearest to the own word", "n_listed"),
    "repetition": ("messages of neighbours nearest to one word", "n_neighbours"),
    "past_identity": ("message nearest to the own word", "n_listed"),
    "same_first_letter": ("most of the message begins like the token", "n_lettered"),
    "first_position": ("mean attention weight on position 0", "n_neighbours"),
}
_ROOM, _NARROW = 430, 290  # pixels of a panel, and of one of three in a row


def head_summary(head_summary: pl.DataFrame, *, title: str) -> alt.TopLevelMixin:
    """A heat map of block by head for each measure; `head_summary` is the table of that name."""
    measures = [m for m in _MEASURES if head_summary[m].is_not_null().any()]
    if not measures:
        return nothing_to_show(title)
    cells = head_summary.sort("layer", "head").select(
        *("layer", "head", *{count for _, count in _MEASURES.values()}),
        *(pl.col(measure).cast(pl.Float64).fill_nan(None).round(4) for measure in measures),
        row=pl.col("head").cast(pl.String),
    )
    heads = cells["head"].unique().sort().cast(pl.String).to_list()
    grid = head_grid(cells["layer"].unique().sort().to_list(), heads, room=_ROOM)
    columns = min(3 if grid.width <= _NARROW else 2, len(measures))
    scale = alt.Scale(scheme="viridis", domain=[0, 1])
    legend = alt.Legend(title="share", tickCount=5, gradientLength=max(min(grid.height, 200), 80))
    panels = [
        head_heat(
            cells.select("layer", "head", "row", measure, n=count),
            grid,
            value=measure,
            colour=alt.Color(f"{measure}:Q", scale=scale, legend=legend),
            tooltip=[
                alt.Tooltip("layer:Q", title="block"),
                *map(alt.Tooltip, ("head:Q", "n:Q")),
                alt.Tooltip(f"{measure}:Q", title=name, format=".3f"),
            ],
            title=name,
            subtitle=subtitle,
        )
        for measure in measures
        for name, (subtitle, count) in [(measure.replace("_", " "), _MEASURES[measure])]
    ]
    notes = [
        "Share of tokens, or of neighbours, of all texts; the table head_summary says of which."
    ]
    if cells.select(pl.any_horizontal(pl.col(measures).has_nulls())).item():
        notes.append("Grey: not defined, or not listed.")
    width = columns * (grid.width + 60) + 60
    return figure(alt.concat(*panels, columns=columns), title=title, notes=notes, width=width)
