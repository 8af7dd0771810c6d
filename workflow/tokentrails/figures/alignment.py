"""Whether a rotation hides what a word's representation keeps: cosine, CKA and Procrustes."""

import altair as alt
import polars as pl

from .pieces.groups import KEPT, stream
from .pieces.layer_panels import layer_panels
from .pieces.notes import TRAININGS, interval_note, left_out, reference_name, warnings_of
from .pieces.points import points_frame
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
    """All words together and the reference, by step: a panel per layer, a line per measure.

    `alignment` is the table of that name of one model and experiment.
    """
    warnings = warnings_of(checkpoints)
    table = stream(alignment).filter(pl.col("n_tokens").is_null())
    points = pl.concat(
        points_frame(
            table.drop_nulls("step"),
            measure,
            (f"{measure}_ci_low", f"{measure}_ci_high"),
            *KEPT,
            line=pl.lit(measure),
            series=pl.lit(name),
            colour=pl.lit(tint),
            dashed=pl.lit(measure == "procrustes_shuffled"),
        )
        for measure, (name, tint) in _LINES.items()
    )
    if points.is_empty():
        return nothing_to_show(title, warnings)
    panels, thinned = layer_panels(points, "similarity")
    few = f" Few {'trainings' if TRAININGS in table.columns else 'words'}: too few to lean on."
    notes = [
        f"Words at a checkpoint beside the same words at {reference_name(table)}, the reference. A "
        "rotation between the two lowers the mean cosine, but neither CKA nor Procrustes "
        "similarity. Dashed: what Procrustes similarity finds in words matched at random.",
        f"Words: {points.item(0, 'n')}." + (few if points["few"].any() else ""),
        interval_note(table, points, confidence, "words", "jackknife"),
        *left_out(table),
        *thinned,
    ]
    width = panels.columns * 210 + 110
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings)
