"""Whether a rotation hides what a word's representation keeps: cosine, CKA and Procrustes."""

import altair as alt
import polars as pl

from .convergence import layer_panels
from .pieces.groups import points_of, stream
from .pieces.notes import left_out, reference_of, warnings_of
from .pieces.theme import GREY, colour, figure, nothing_to_show

_LINES = {
    "cosine": ("cosine", colour(0)),
    "cka": ("CKA", colour(1)),
    "procrustes": ("Procrustes", colour(2)),
    "procrustes_shuffled": ("at random", GREY),
}


def alignment(
    alignment: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """All words together beside the reference, by step: a panel per layer, a line per measure.

    `alignment` is the table of that name of one model and experiment. Of more than 12 layers 12 are
    drawn, evenly spaced.
    """
    table = stream(alignment).filter(pl.col("n_tokens").is_null())
    rows = table.drop_nulls("step")
    points = pl.concat(
        points_of(
            rows, measure, (f"{measure}_ci_low", f"{measure}_ci_high"), line=pl.lit(measure)
        ).with_columns(
            series=pl.lit(name),
            colour=pl.lit(tint),
            dashed=pl.lit(measure == "procrustes_shuffled"),
        )
        for measure, (name, tint) in _LINES.items()
    )
    if points.is_empty():
        return nothing_to_show(title, warnings_of(checkpoints))
    panels, thinned = layer_panels(points, "similarity")
    notes = [
        f"Words at a checkpoint beside the same words at {reference_of(table)}, the reference. A "
        "rotation between the two lowers the mean cosine, but neither CKA nor Procrustes "
        "similarity. Dashed: what Procrustes similarity finds in words matched at random.",
        f"Words: {points.item(0, 'n')}.",
        f"Band: {100 * confidence:g} % interval, jackknife over words.",
        *left_out(table),
        *thinned,
    ]
    width = panels.columns * 210 + 110
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings_of(checkpoints))
