"""How well the two senses of each word separate: a heat map of word by layer."""

import altair as alt
import polars as pl

from .pieces.heat import head_grid, head_heat
from .pieces.points import LINE, exact, mapped
from .pieces.text import readable, shorten
from .pieces.theme import figure, nothing_to_show

_MOST_WORDS = 60
_TOOLTIP = ("auc", "auc_low", "auc_high", "gap", "p")
_LONGEST = 34  # characters of a word with its senses
_LEGEND = 60  # its least height


def senses_words(senses: pl.DataFrame, *, title: str) -> alt.TopLevelMixin:
    """The AUC of every word by layer, the words with the largest mean on top.

    `senses` is the table of that name of one model and checkpoint. Of more than 60 words those with
    the largest and the smallest means are drawn, 30 of each.
    """
    table = senses.filter(site=LINE, measure="cosine")
    means = table.group_by("word").agg(mean=pl.col("auc").cast(pl.Float64).mean())
    means = means.drop_nulls().sort("mean", "word", descending=[True, False])
    if means.is_empty():
        return nothing_to_show(title)
    words = means["word"].to_list()
    half = _MOST_WORDS // 2
    shown = words if len(words) <= _MOST_WORDS else words[:half] + words[-half:]
    cells = table.filter(pl.col("word").is_in(shown)).sort("word", "layer")
    names = {
        row["word"]: _name(row)
        for row in cells.unique("word", keep="first", maintain_order=True).iter_rows(named=True)
    }
    cells = cells.select(
        "layer",
        row=mapped("word", names),
        **{name: exact(name) for name in _TOOLTIP},
    )
    layers = cells["layer"].unique().sort().to_list()
    grid = head_grid(layers, [names[word] for word in shown], room=520)
    heat = head_heat(
        cells,
        grid,
        value="auc",
        x_title="layer",
        y_title=None,
        colour=alt.Color(
            "auc:Q",
            scale=alt.Scale(scheme="purpleorange", domain=[0, 1], domainMid=0.5),
            legend=alt.Legend(
                title="AUC",
                gradientLength=min(max(grid.height, _LEGEND), 200),
                values=[0, 0.5, 1],
                format=".2~f",
            ),
        ),
        tooltip=[
            alt.Tooltip("row:N", title="word"),
            alt.Tooltip("layer:Q"),
            *(alt.Tooltip(f"{n}:Q", format=".4f") for n in _TOOLTIP),
        ],
    )
    notes = [
        "AUC: the probability that two texts of one sense are more alike than two of different "
        "senses of the word; 0.5 is chance. Words by their mean over layers, the largest on top.",
    ]
    if left_out := table["word"].n_unique() - len(words):
        notes.append(f"Not drawn: {left_out} with less than two texts of a sense.")
    if len(shown) < len(words):
        notes.append(f"Drawn: the first and the last {half} of {len(words)} words.")
    return figure(heat, title=title, notes=notes, width=grid.width + 260)


def _name(row: dict[str, str]) -> str:
    return shorten(f"{readable(row['word'])}: {row['sense_a']} / {row['sense_b']}", _LONGEST)
