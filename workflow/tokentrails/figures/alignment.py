"""How alike the layers of every checkpoint are to those of the reference, as heat maps."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from .groups import stream, titles
from .heat import Grid, heat_panel
from .notes import left_out, reference_of, words_note
from .theme import figure, nothing_to_show

_COLUMNS = 2
_MEASURES = {
    "mean cosine": pl.col("cosine"),
    "debiased linear CKA": pl.col("cka"),
    "Procrustes similarity": pl.col("procrustes"),
    "Procrustes similarity above shuffled words": pl.col("procrustes")
    - pl.col("procrustes_shuffled"),
}


def alignment(
    alignment: pl.DataFrame, *, title: str, warnings: Sequence[str] = ()
) -> alt.TopLevelMixin:
    """Cosine, CKA and Procrustes similarity with the reference, for all words together.

    `alignment` is the table of that name of one model and experiment.
    """
    table = stream(alignment).filter(pl.col("n_tokens").is_null())
    panels = {
        name: _cells(table, measure)
        for name, measure in _MEASURES.items()
        if table.select(measure.is_not_null().any()).item()
    }
    notes = [
        "A rotation between checkpoints lowers the cosine, but neither CKA nor Procrustes "
        "similarity. Shuffled words: what Procrustes similarity finds in words matched at random."
    ]
    return _figure(panels, table, notes, title, warnings)


def convergence_heatmap(
    by_group: pl.DataFrame, *, title: str, warnings: Sequence[str] = ()
) -> alt.TopLevelMixin:
    """Mean cosine to the reference by layer and step: a panel per group of words.

    `by_group` is the table convergence_by_group of one model and experiment.
    """
    table = stream(by_group).drop_nulls(["n_tokens", "layer"])
    panels = {
        name: _cells(table.filter(pl.col("n_tokens") == tokens), pl.col("mean"))
        for tokens, name in titles(table).items()
    }
    notes = [
        "Cosine of a word's state with its state there; mean over words.",
        *words_note(table, few=""),
    ]
    return _figure(panels, table, notes, title, warnings)


def _cells(table: pl.DataFrame, measure: pl.Expr) -> pl.DataFrame:
    return table.drop_nulls(["step", "layer"]).select(
        "checkpoint", "step", "layer", "n", value=measure.round(6)
    )


def _figure(
    panels: dict[str, pl.DataFrame],
    table: pl.DataFrame,
    notes: list[str],
    title: str,
    warnings: Sequence[str],
) -> alt.TopLevelMixin:
    panels = {name: cells for name, cells in panels.items() if len(cells)}
    if not panels:
        return nothing_to_show(title, warnings)
    together = pl.concat(panels.values())
    grid = Grid(steps=sorted(together["step"].unique()), layers=sorted(together["layer"].unique()))
    columns = min(_COLUMNS, len(panels))
    maps = [
        heat_panel(
            cells,
            grid,
            title=name,
            x_title=index + columns >= len(panels),
            y_title=index % columns == 0,
        )
        for index, (name, cells) in enumerate(panels.items())
    ]
    notes = [f"The reference is {reference_of(table)}. {notes[0]}", *notes[1:]]
    if (together["value"] < 0).any():
        notes.append("Values below 0 have the colour of 0.")
    if together["value"].has_nulls():
        notes.append("Grey: not defined.")
    return figure(
        alt.concat(*maps, columns=columns),
        title=title,
        notes=[*notes, *left_out(table)],
        width=columns * (grid.width + 40) + 60,
        warnings=warnings,
    )
