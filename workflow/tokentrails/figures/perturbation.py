"""What another context, or another word that ends alike, does to a word's last state."""

import math
from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.forms import SUFFIXES, by_form
from .pieces.groups import KEPT, group_colour, group_name, stream, titles
from .pieces.lines import Frame, line_panel, panel_grid, value_range
from .pieces.notes import (
    counts,
    few_note,
    form_notes,
    interval_note,
    left_out,
    thinned_note,
    warnings_of,
)
from .pieces.points import distinct, mapped, points_frame
from .pieces.steps import log_spaced, step_axis
from .pieces.text import shorten
from .pieces.theme import LINE_HEIGHT, TINT, figure, nothing_to_show, ramp, shaded

_VARIANTS = {
    "P1": "the same word in other contexts",
    "P2": "the same context with other words that end in the same token",
}
_OVER, _FEW = "words and the contexts that they share", "words or contexts"
_MEAN = ("mean", ("ci_low", "ci_high"))
_COLUMNS = 3
_LEAST_SPAN = 0.05  # of an axis: states that hardly change lie near 1
_NARROW = 180  # width of one of five panels
_VARIANTS_AT = "{}: P1, P2"
_MOST_STEPS = 40  # of more, lines by layer would hide one another
_SHARES = (0, 0.25, 0.5, 0.75, 1)  # of the depth, whose layers are drawn over steps


def perturbation(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine to the base by layer: a row per variant, a column per group of words.

    `by_group` is the table perturbation_by_group of one model and experiment. There is a line per
    checkpoint with its interval, coloured by log(1 + step), and the last one is strong. Checkpoints
    without a step are drawn only where no other one is, in the order of the table. Below, both
    variants at the last checkpoint, a panel per form of similarity.
    """
    warnings = warnings_of(checkpoints)
    table = stream(by_group).drop_nulls(["n_tokens", "layer"])
    dated = table.drop_nulls("step")
    rows = (table if dated.is_empty() else dated).drop_nulls("mean")
    if rows.is_empty():
        return nothing_to_show(title, warnings)
    points = _checkpoint_lines(rows.sort("step", maintain_order=True))
    steps = sorted(rows["step"].drop_nulls().unique())
    spaced = log_spaced(steps, _MOST_STEPS)
    points = points.filter(pl.col("step").is_null() | pl.col("step").is_in(spaced))
    groups = sorted(points["n_tokens"].unique())
    depth: int = points.select(pl.col("layer").max()).item()
    last = points["checkpoint"][-1]
    at_last = {
        _VARIANTS_AT.format(last) + SUFFIXES[form]: _variant_lines(known)
        for form, known in by_form(rows.filter(checkpoint=last)).items()
    }
    width = 220 if len(groups) <= _COLUMNS else 160
    tooltip = ("checkpoint", "n")
    frame = Frame.over_layers(depth, 1.05, "cosine", *_limits(points), width, 170, tooltip=tooltip)
    chart: alt.ConcatChart | alt.VConcatChart = _grid(points, groups, last, frame)
    lines = f"A line per checkpoint; the strong one is the last, {last}."
    if points["step"].n_unique() > 1:
        chart = alt.vconcat(_step_colours(points), chart, spacing=24)
    low, high = _limits(*at_last.values())
    height = _label_height(*at_last.values())
    below = replace(
        frame, low=low, high=high, width=_NARROW, height=height, tooltip=(*tooltip, "series")
    )
    chart = alt.vconcat(chart, panel_grid(at_last, below, len(at_last)), spacing=24)
    if points["checkpoint"].n_unique() == 1:
        lines = f"Checkpoint: {last}."
    band = interval_note(table, points, confidence, _OVER, few=_FEW)
    notes = [*_variant_notes(rows), lines, band]
    notes += ["Lowest row: groups by colour. Solid: P1. Dashed: P2.", *form_notes(by_form(rows))]
    notes += thinned_note(len(spaced), len(steps), "steps, evenly spaced on a log scale")
    if rows["few"].any():
        notes.append(f"In the other rows: {few_note(rows)}")
    if len(dated):
        notes += left_out(table)
    width = max(len(groups) * (frame.width + 45), len(at_last) * (_NARROW + 45), 480) + 90
    return figure(chart, title=title, notes=notes, width=width, warnings=warnings)


def perturbation_steps(
    by_group: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The same by step, at five layers from the first to the last; over all layers, by form."""
    warnings = warnings_of(checkpoints)
    table = stream(by_group).drop_nulls("n_tokens")
    rows = table.drop_nulls(["step", "mean"])
    if rows.is_empty():
        return nothing_to_show(title, warnings)
    depth = rows.select(pl.col("layer").max()).item() or 0
    layers = sorted({math.floor(depth * share + 0.5) for share in _SHARES})
    forms = by_form(rows)
    grids = (
        {f"layer {layer}": _variant_lines(rows.filter(layer=layer)) for layer in layers},
        {
            "mean over layers" + SUFFIXES[form]: _variant_lines(
                known.filter(pl.col("layer").is_null())
            )
            for form, known in forms.items()
        },
    )
    drawn = [{heading: part for heading, part in grid.items() if len(part)} for grid in grids]
    parts = [part for grid in drawn for part in grid.values()]
    tooltip = ("checkpoint", "series", "n")
    size = (_NARROW, _label_height(*parts))
    frame = Frame.over_steps(rows["step"].unique(), "cosine", *_limits(*parts), *size, tooltip)
    chart = alt.vconcat(*(panel_grid(grid, frame, len(grid)) for grid in drawn if grid), spacing=24)
    every = pl.concat(parts, how="vertical_relaxed")
    notes = [
        *_variant_notes(rows),
        f"Solid: P1. Dashed: P2. {interval_note(table, every, confidence, _OVER, few=_FEW)}",
        *form_notes(forms),
        *thinned_note(len(drawn[0]), rows["layer"].drop_nulls().n_unique(), "layers"),
        *left_out(table),
    ]
    width = max(map(len, drawn)) * (frame.width + 45) + 110
    return figure(chart, title=title, notes=notes, width=width, warnings=warnings)


def _limits(*parts: pl.DataFrame) -> tuple[float, float]:
    """Limits of the values of all points frames."""
    every = pl.concat(part.select("value", "low", "high") for part in parts)
    return value_range(every, top=1.0, span=_LEAST_SPAN)


def _label_height(*parts: pl.DataFrame) -> int:
    """Pixels that the labels of all lines need."""
    return max(170, LINE_HEIGHT * (max(part["line"].n_unique() for part in parts) + 1))


def _grid(points: pl.DataFrame, groups: list[int], last: str, frame: Frame) -> alt.ConcatChart:
    """The panels of all variants and groups; the line of checkpoint `last` is the strong one."""
    drawn = set(points.select("variant", "n_tokens").iter_rows())

    def cell(variant: str, tokens: int) -> alt.LayerChart | alt.Chart:
        here = points.filter(variant=variant, n_tokens=tokens)
        heading = f"{variant} · {titles(here).get(tokens, group_name(tokens))}"
        if here.is_empty():
            words = "not defined: one token" if (variant, tokens) == ("P2", 1) else "no words"
            return shaded(words, frame.width, frame.height, heading)
        others = here.filter(pl.col("checkpoint") != last)
        return line_panel(
            here.filter(checkpoint=last),
            frame,
            title=heading,
            x_title=variant == max(v for v, n in drawn if n == tokens),
            y_title=tokens == groups[0],
            labels=tokens == groups[-1],
            # Dashes of many lines would make a pattern of their own.
            faint=others.with_columns(dashed=False),
        )

    return alt.concat(*(cell(v, t) for v in _VARIANTS for t in groups), columns=len(groups))


def _checkpoint_lines(rows: pl.DataFrame) -> pl.DataFrame:
    """A points frame with one line per checkpoint, in the order of `rows`, of every panel."""
    names = distinct(rows["checkpoint"])
    steps = dict(rows.select("checkpoint", "step").unique().iter_rows())
    end = math.log1p(max(steps[names[-1]] or 0, 1))
    # Without steps the colours follow the order.
    shares = {
        name: math.log1p(steps[name]) / end if steps[name] is not None else (index + 1) / len(names)
        for index, name in enumerate(names)
    }
    return points_frame(
        rows,
        *_MEAN,
        *(*KEPT, "variant", "n_tokens"),
        line="checkpoint",
        series=pl.col("checkpoint").map_elements(shorten, return_dtype=pl.String),
        colour=mapped("checkpoint", {name: ramp(share) for name, share in shares.items()}),
    )


def _variant_lines(rows: pl.DataFrame) -> pl.DataFrame:
    """A points frame with one line per variant and group."""
    return pl.concat(
        points_frame(
            rows.filter(variant=variant, n_tokens=tokens),
            *_MEAN,
            *KEPT,
            line=pl.lit(f"{variant}, {name}"),
            colour=pl.lit(group_colour(tokens)),
            dashed=pl.lit(variant == "P2"),
        )
        for variant in _VARIANTS
        for tokens, name in titles(rows.filter(variant=variant)).items()
    )


def _step_colours(points: pl.DataFrame) -> alt.Chart:
    """A legend: a mark at every step in the colour of its lines."""
    marks = points.select("step", "colour").unique().sort("step")
    x = step_axis(marks["step"].to_list(), 300)
    ticks = alt.Chart(marks).mark_tick(height=12, thickness=3, opacity=1)
    return ticks.encode(x=x, color=TINT).properties(width=300, height=14)


def _variant_notes(rows: pl.DataFrame) -> list[str]:
    """What each variant is, and of how many words."""
    return [
        f"{variant}: {meaning}; {counts(rows.filter(variant=variant)) or 'no words'}."
        for variant, meaning in _VARIANTS.items()
    ]
