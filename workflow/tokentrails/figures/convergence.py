"""When during training a word's representation settles: similarity to the reference checkpoint."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from .pieces.groups import group_lines, layer_lines, stream
from .pieces.lines import Frame, evenly, line_panel, value_range
from .pieces.notes import band_note, left_out, reference_of, warnings_of, words_note
from .pieces.steps import beyond, step_axis
from .pieces.theme import LINE_HEIGHT, figure, nothing_to_show

_COLUMNS = 4
_MOST_LAYERS = 12
_MEAN = ("mean", ("ci_low", "ci_high"))
_SLOPE = ("per_doubling", ("per_doubling_low", "per_doubling_high"))


def convergence(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine to the reference checkpoint by step: a panel per layer, a line per group.

    `by_group` is the table convergence_by_group of one model and experiment. Of more than 12
    layers 12 are drawn, evenly spaced.
    """
    table = stream(by_group).drop_nulls("n_tokens")
    rows = table.drop_nulls(["step", "layer"])
    points = group_lines(rows, *_MEAN)
    if points.is_empty():
        return nothing_to_show(title, warnings_of(checkpoints))
    panels, thinned = layer_panels(points, "cosine")
    notes = [
        f"Cosine of a word's state with its state at {reference_of(table)}, the reference; "
        "mean over words with the same number of tokens.",
        *words_note(rows),
        band_note(confidence),
        *left_out(table),
        *thinned,
    ]
    width = panels.columns * 210 + 110
    return figure(panels, title=title, notes=notes, width=width, warnings=warnings_of(checkpoints))


def layer_panels(points: pl.DataFrame, value: str) -> tuple[alt.ConcatChart, list[str]]:
    """(A panel per layer over steps, a note on layers that are not drawn) of a points frame."""
    every = sorted(points["layer"].unique())
    layers = evenly(every, _MOST_LAYERS)
    points = points.filter(pl.col("layer").is_in(layers))
    columns = min(len(layers), _COLUMNS)
    steps = points["step"].unique().to_list()
    height = max(150, LINE_HEIGHT * (points["line"].n_unique() + 1))
    frame = _frame(steps, value, value_range(points, top=1.0), width=175, height=height)
    panels = [
        line_panel(
            points.filter(pl.col("layer") == layer),
            frame,
            title=f"layer {layer}",
            x_title=index + columns >= len(layers),
            y_title=index % columns == 0,
            labels=index % columns == columns - 1,
        )
        for index, layer in enumerate(layers)
    ]
    thinned = len(layers) < len(every)
    drawn = [f"Drawn: {len(layers)} of {len(every)} layers, evenly spaced."] if thinned else []
    return alt.concat(*panels, columns=columns), drawn


def convergence_aggregate(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The same in two panels: groups over all layers, and all words at every layer."""
    table = stream(by_group)
    rows = table.drop_nulls("step")
    parts = _parts(rows, *_MEAN)
    if not parts:
        return nothing_to_show(title, warnings_of(checkpoints))
    limits = value_range(pl.concat(parts.values(), how="vertical_relaxed"), top=1.0)
    shown = f"Cosine of a word's state with its state at {reference_of(table)}, the reference."
    notes = [shown, *words_note(rows), band_note(confidence), *left_out(table)]
    return _overview(
        rows, parts, "cosine", limits, title=title, notes=notes, checkpoints=checkpoints
    )


def convergence_slope(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """How fast that similarity rises at every step, in the same two panels."""
    table = stream(by_group)
    rows = table.drop_nulls("step")
    parts = _parts(rows, *_SLOPE)
    if not parts:
        return nothing_to_show(title, warnings_of(checkpoints))
    limits = value_range(pl.concat(parts.values(), how="vertical_relaxed"), span=0.02)
    notes = [
        f"Change of the mean cosine with {reference_of(table)}, the reference, "
        "per doubling of 1 + step, since the last checkpoint at least a quarter of one before.",
        *words_note(rows),
        band_note(confidence),
        *left_out(table),
    ]
    value = "change per doubling"
    return _overview(rows, parts, value, limits, title=title, notes=notes, checkpoints=checkpoints)


def _parts(rows: pl.DataFrame, value: str, interval: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The points of the two panels by their headings; one without points is left out."""
    groups = group_lines(rows.filter(pl.col("layer").is_null()), value, interval)
    layers = layer_lines(rows, value, interval)
    parts = {"mean over layers, by number of tokens": groups, "all words, by layer": layers}
    return {heading: points for heading, points in parts.items() if len(points)}


def _overview(
    rows: pl.DataFrame,
    parts: dict[str, pl.DataFrame],
    value: str,
    limits: tuple[float, float],
    *,
    title: str,
    notes: list[str],
    checkpoints: pl.DataFrame,
) -> alt.TopLevelMixin:
    frame = _frame(rows["step"].unique().to_list(), value, limits, width=330, height=280)
    panels = [
        line_panel(points, frame, title=heading, y_title=index == 0)
        for index, (heading, points) in enumerate(parts.items())
    ]
    chart = alt.hconcat(*panels)
    return figure(
        chart, title=title, notes=notes, width=len(panels) * 460, warnings=warnings_of(checkpoints)
    )


def _frame(
    steps: list[int], value: str, limits: tuple[float, float], *, width: int, height: int
) -> Frame:
    right = beyond(max(steps), 0.05)
    return Frame(
        x=step_axis(steps, width, right=right),
        field="step",
        right=right,
        value=value,
        low=limits[0],
        high=limits[1],
        width=width,
        height=height,
        tooltip=("checkpoint", "series", "layer", "n"),
    )
