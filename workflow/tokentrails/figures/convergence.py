"""When during training a word's representation settles: similarity to the reference checkpoint."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from .pieces.groups import group_lines, layer_lines, stream
from .pieces.layer_panels import STEP_TOOLTIP, layer_panels
from .pieces.lines import Frame, line_panel, value_range
from .pieces.notes import interval_note, left_out, reference_name, warnings_of, words_note
from .pieces.theme import figure, nothing_to_show

_MEAN = ("mean", ("ci_low", "ci_high"))
_SLOPE = ("per_doubling", ("per_doubling_low", "per_doubling_high"))


def convergence(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine to the reference checkpoint by step: a panel per layer, a line per group.

    `by_group` is the table convergence_by_group of one model and experiment.
    """
    warnings = warnings_of(checkpoints)
    table = stream(by_group).drop_nulls("n_tokens")
    rows = table.drop_nulls(["step", "layer"])
    points = group_lines(rows, *_MEAN)
    if points.is_empty():
        return nothing_to_show(title, warnings)
    panels, thinned = layer_panels(points, "cosine")
    notes = [
        f"Cosine of a word's state with its state at {reference_name(table)}, the reference; "
        "mean over words with the same number of tokens.",
        *words_note(rows),
        interval_note(table, confidence),
        *left_out(table),
        *thinned,
    ]
    width = panels.columns * 210 + 110
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings)


def convergence_aggregate(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The same in two panels: groups over all layers, and all words at every layer."""
    about = "Cosine of a word's state with its state at {}, the reference."
    return _overview(
        by_group, checkpoints, *_MEAN, "cosine", about, title, confidence, {"top": 1.0}
    )


def convergence_slope(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """How fast that similarity rises at every step, in the same two panels."""
    name = "change per doubling"
    about = (
        "Change of the mean cosine with {}, the reference, per doubling of 1 + step, since the "
        "last checkpoint at least a quarter of one before."
    )
    return _overview(by_group, checkpoints, *_SLOPE, name, about, title, confidence, {"span": 0.02})


def _overview(
    by_group: pl.DataFrame,
    checkpoints: pl.DataFrame,
    value: str,
    interval: Sequence[str],
    name: str,
    about: str,
    title: str,
    confidence: float,
    limits: dict[str, float],
) -> alt.TopLevelMixin:
    warnings = warnings_of(checkpoints)
    table = stream(by_group)
    rows = table.drop_nulls("step")
    groups = group_lines(rows.filter(pl.col("layer").is_null()), value, interval)
    layers = layer_lines(rows, value, interval)
    parts = {"mean over layers, by number of tokens": groups, "all words, by layer": layers}
    parts = {heading: points for heading, points in parts.items() if len(points)}
    if not parts:
        return nothing_to_show(title, warnings)
    ends = value_range(pl.concat(parts.values(), how="vertical_relaxed"), **limits)
    frame = Frame.over_steps(rows["step"].unique(), name, *ends, 330, 280, STEP_TOOLTIP)
    panels = [
        line_panel(points, frame, title=heading, y_title=index == 0)
        for index, (heading, points) in enumerate(parts.items())
    ]
    notes = [
        about.format(reference_name(table)),
        *words_note(rows),
        interval_note(table, confidence),
    ]
    notes += left_out(table)
    width = len(panels) * 460
    return figure(alt.hconcat(*panels), title=title, notes=notes, width=width, warnings=warnings)
