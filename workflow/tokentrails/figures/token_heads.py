"""How much one token attends to others, by block and head."""

import altair as alt
import polars as pl

from .attention import weight_colour
from .pieces.heat import head_grid, head_heat
from .pieces.points import mapped
from .pieces.text_tokens import token_labels, token_names
from .pieces.theme import figure

_ROOM = 620  # pixels of the grid
_MOST_LISTED = 5  # tokens in a tooltip


def token_heads(attention: pl.DataFrame, *, key: int | None, title: str) -> alt.TopLevelMixin:
    """A cell for each head: its weight on the token at `key`, or where that is None its largest.

    `attention` has the rows of the table of that name of one query.
    """
    names = token_labels(token_names(attention, "key", "key_token"))
    weight = pl.col("weight").cast(pl.Float64)
    shown = weight.first() if key is None else weight.filter(pl.col("key") == key).first()
    most = pl.format("{} {}", mapped("key", names), weight.round(3)).head(_MOST_LISTED)
    ranked = attention.sort("weight", descending=True, maintain_order=True)
    cells = ranked.group_by("layer", "head", maintain_order=True).agg(
        weight=shown.round(4), tokens=most.str.join(" · ")
    )
    cells = cells.sort("layer", "head").with_columns(row=pl.col("head").cast(pl.String))
    layers, heads = (cells[name].unique().sort().cast(pl.Int64) for name in ("layer", "head"))
    grid = head_grid(layers.to_list(), heads.cast(pl.String).to_list(), room=_ROOM)
    tooltip = [
        alt.Tooltip("layer:Q", title="block"),
        alt.Tooltip("head:Q"),
        alt.Tooltip("weight:Q", format=".3f"),
        alt.Tooltip("tokens:N", title="most"),
    ]
    chart = head_heat(cells, grid, "weight", weight_colour(grid.height), tooltip)
    (query,) = token_labels(token_names(attention, "query", "query_token")).values()
    of = "its largest weight" if key is None else f"its weight on {names.get(key, 'a later token')}"
    notes = [f"Attention of {query}: of each head {of}. Colours follow the square root."]
    if cells["weight"].has_nulls():
        notes.append("Grey: the mask hides the token.")
    return figure(chart, title=title, notes=notes, width=max(grid.width, 320) + 110)
