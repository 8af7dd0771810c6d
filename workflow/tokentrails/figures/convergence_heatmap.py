"""When during training a word's representation settles: a heat map of layer by step."""

import altair as alt
import polars as pl

from .pieces.groups import stream, titles
from .pieces.heat import Grid, heat_panel
from .pieces.notes import left_out, reference_of, warnings_of, words_note
from .pieces.theme import figure, nothing_to_show

_COLUMNS = 2


def convergence_heatmap(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str
) -> alt.TopLevelMixin:
    """Mean cosine to the reference by layer and step: a panel per group of words.

    `by_group` is the table convergence_by_group of one model and experiment.
    """
    table = stream(by_group).drop_nulls(["n_tokens", "layer"])
    cells = table.drop_nulls("step").select(
        *("checkpoint", "step", "layer", "n", "n_tokens"), value=pl.col("mean").round(6)
    )
    panels = {
        name: of_group.drop("n_tokens")
        for tokens, name in titles(table).items()
        if len(of_group := cells.filter(pl.col("n_tokens") == tokens))
    }
    if not panels:
        return nothing_to_show(title, warnings_of(checkpoints))
    together = pl.concat(panels.values())
    grid = Grid(steps=sorted(together["step"].unique()), layers=sorted(together["layer"].unique()))
    columns = min(_COLUMNS, len(panels))
    maps = [
        heat_panel(
            of_group,
            grid,
            title=name,
            x_title=index + columns >= len(panels),
            y_title=index % columns == 0,
        )
        for index, (name, of_group) in enumerate(panels.items())
    ]
    notes = [
        f"The reference is {reference_of(table)}. "
        "Cosine of a word's state with its state there; mean over words.",
        *words_note(table, few=""),
    ]
    if (together["value"] < 0).any():
        notes.append("Values below 0 have the colour of 0.")
    if together["value"].has_nulls():
        notes.append("Grey: not defined.")
    return figure(
        alt.concat(*maps, columns=columns),
        title=title,
        notes=[*notes, *left_out(table)],
        width=columns * (grid.width + 40) + 60,
        warnings=warnings_of(checkpoints),
    )
