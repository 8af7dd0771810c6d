"""When during training a word's representation settles: a heat map of layer by step."""

import altair as alt
import polars as pl

from .pieces.groups import stream, titles
from .pieces.heat import step_grid, step_heat
from .pieces.lines import edges
from .pieces.notes import left_out, reference_name, trainings_note, warnings_of, words_note
from .pieces.points import exact
from .pieces.theme import figure, nothing_to_show

_COLUMNS = 2


def convergence_heatmap(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str
) -> alt.TopLevelMixin:
    """Mean cosine to the reference by layer and step: a panel per group of words.

    `by_group` is the table convergence_by_group of one model and experiment.
    """
    warnings = warnings_of(checkpoints)
    table = stream(by_group).drop_nulls(["n_tokens", "layer"])
    cells = table.drop_nulls("step").select(
        *("checkpoint", "step", "layer", "n", "n_tokens"), value=exact("mean")
    )
    panels = {
        name: group.drop("n_tokens")
        for tokens, name in titles(table).items()
        if len(group := cells.filter(n_tokens=tokens))
    }
    if not panels:
        return nothing_to_show(title, warnings)
    together = pl.concat(panels.values())
    grid = step_grid(sorted(together["step"].unique()), sorted(together["layer"].unique()))
    columns = min(_COLUMNS, len(panels))
    maps = [
        step_heat(group, grid, title=name, **edge)
        for (name, group), edge in zip(panels.items(), edges(len(panels), columns), strict=True)
    ]
    notes = [
        f"The reference is {reference_name(table)}. "
        "Cosine of a word's state with its state there; mean over words.",
        *words_note(table, few=""),
        *trainings_note(table),
    ]
    if (together["value"] < 0).any():
        notes.append("Values below 0 have the colour of 0.")
    if together["value"].has_nulls():
        notes.append("Grey: not defined.")
    notes += left_out(table)
    chart = alt.concat(*maps, columns=columns)
    width = columns * (grid.width + 40) + 60
    return figure(chart, title=title, notes=notes, width=width, warnings=warnings)
