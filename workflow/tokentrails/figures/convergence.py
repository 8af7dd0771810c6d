"""When during training a word's representation settles: similarity to the reference checkpoint."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from .pieces.forms import SUFFIXES, by_form
from .pieces.groups import group_lines, layer_lines, stream
from .pieces.layer_panels import STEP_TOOLTIP, layer_panels
from .pieces.lines import Frame, panel_grid, value_range
from .pieces.notes import (
    form_notes,
    interval_note,
    left_out,
    reference_name,
    warnings_of,
    words_note,
)
from .pieces.theme import figure, nothing_to_show

_THIN = "standardised"
_MEAN = ("mean", ("ci_low", "ci_high"))
_SLOPE = ("per_doubling", ("per_doubling_low", "per_doubling_high"))


def convergence(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine to the reference checkpoint by step: a panel per layer, a line per group.

    Thin lines are the standardised cosine; all forms are in `convergence_aggregate`. `by_group` is
    the table convergence_by_group of one model and experiment.
    """
    warnings = warnings_of(checkpoints)
    table = stream(by_group).drop_nulls("n_tokens")
    rows = table.drop_nulls(["step", "layer"])
    points = group_lines(rows, *_MEAN)
    if points.is_empty():
        return nothing_to_show(title, warnings)
    thin = by_form(rows).get(_THIN, rows.clear())
    panels, thinned = layer_panels(points, "cosine", group_lines(thin, "mean", ()))
    notes = [
        f"Cosine of a word's state with its state at {reference_name(table)}, the reference; "
        "mean over words with the same number of tokens. Thin: the standardised cosine.",
        *form_notes([_THIN], during_training=True),
        *words_note(rows),
        interval_note(table, points, confidence),
        *left_out(table),
        *thinned,
    ]
    width = panels.columns * 210 + 110
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings)


def convergence_aggregate(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The same in every form: groups over all layers, and below all words at every layer."""
    about = "Cosine of a word's state with its state at {}, the reference."
    forms = by_form(stream(by_group))
    return _overview(
        by_group, checkpoints, forms, *_MEAN, "cosine", about, title, confidence, {"top": 1.0}
    )


def convergence_slope(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """How fast the cosine rises at every step, in two panels of the same kind."""
    name = "change per doubling"
    about = (
        "Change of the mean cosine with {}, the reference, per doubling of 1 + step, since the "
        "last checkpoint at least a quarter of one before."
    )
    cosine, limits = {"cosine": stream(by_group)}, {"span": 0.02}
    return _overview(by_group, checkpoints, cosine, *_SLOPE, name, about, title, confidence, limits)


def _overview(
    by_group: pl.DataFrame,
    checkpoints: pl.DataFrame,
    forms: Mapping[str, pl.DataFrame],
    value: str,
    interval: Sequence[str],
    name: str,
    about: str,
    title: str,
    confidence: float,
    limits: dict[str, float],
) -> alt.TopLevelMixin:
    """Two rows with a column for each form."""
    warnings = warnings_of(checkpoints)
    table = stream(by_group)
    groups, layers = {}, {}
    for form, known in forms.items():
        rows = known.drop_nulls("step")
        over_layers = rows.filter(pl.col("layer").is_null())
        groups["mean over layers" + SUFFIXES[form]] = group_lines(over_layers, value, interval)
        layers["all words by layer" + SUFFIXES[form]] = layer_lines(rows, value, interval)
    parts = {heading: points for heading, points in (groups | layers).items() if len(points)}
    if not parts:
        return nothing_to_show(title, warnings)
    ends = value_range(pl.concat(parts.values(), how="vertical_relaxed"), **limits)
    rows = table.drop_nulls("step")
    size = (330, 280) if len(forms) == 1 else (190, 190)
    frame = Frame.over_steps(rows["step"].unique(), name, *ends, *size, STEP_TOOLTIP)
    panels = panel_grid(parts, frame, columns=len(forms))
    notes = [
        about.format(reference_name(table)),
        *words_note(rows),
        interval_note(table, pl.concat(parts.values(), how="vertical_relaxed"), confidence),
    ]
    notes += [*form_notes(forms, during_training=True), *left_out(table)]
    width = max(2, len(forms)) * (size[0] + 40) + 90
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings)
