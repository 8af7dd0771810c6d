"""The shape of the states: by layer, and during training by layer and step."""

from typing import Any, NamedTuple

import altair as alt
import polars as pl

from ..settings import step_of
from .pieces.heat import Tints, step_grid, step_heat
from .pieces.lines import Frame, edges, panel_grid, value_range
from .pieces.notes import (
    CONTROL,
    band_note,
    control_notes,
    dashed_note,
    left_out,
    warnings_of,
)
from .pieces.points import LINE, draw_means, exact, mapped, points_frame
from .pieces.rank_axis import NUMBER_LABEL, number_axis, number_ticks
from .pieces.text import counted
from .pieces.theme import GREY, colour, figure, nothing_to_show


class _Panel(NamedTuple):
    """What one panel shows; `is_log` where values differ by powers of ten."""

    title: str
    number: str = ".3~r"
    is_log: bool = False


_PANELS = {
    "length": _Panel("length", is_log=True),
    "largest": _Panel("largest activation", is_log=True),
    "effective_rank": _Panel("effective rank"),
    "isoscore": _Panel("IsoScore*", ".2~r"),
    "slope": _Panel("slope of the spectrum"),
    "curvature": _Panel("curvature of the path, in degrees"),
    "cosine": _Panel("cosine with the layer before"),
    "cka": _Panel("CKA with the layer before"),
}
_LINES = {True: ("all tokens", colour(1)), False: ("without position 0", colour(0))}
_COLUMNS, _MAPS = 4, 2


def geometry(
    table: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per measure, a line with position 0 and one without.

    `table` is the table geometry of one model and checkpoint, `control` the same of random weights,
    of all draws, which are drawn without position 0.
    """
    rows = table.filter(site=LINE)
    if rows["n"].n_unique() == 1:  # no token is at position 0, or every one
        rows = rows.filter(pl.col("with_first") == rows["with_first"].min())
    shown = [name for name in _PANELS if rows[name].is_not_null().any()]
    if not shown:
        return nothing_to_show(title)
    grey = None if control is None else control.filter(with_first=False, site=LINE)
    last: int = rows.select(pl.col("layer").max()).item()
    parts, frames = {}, {}
    for name in shown:
        heading, points = _PANELS[name].title, _points(rows, name)
        if grey is not None:
            points = pl.concat([points, _control(grey, name)], how="vertical_relaxed")
        parts[heading] = points
        frames[heading] = Frame.over_layers(
            *(last, 1.05, heading, *_limits(name, points), 190, 150, ("series", "n")),
            axis=_axis(name, points),
            told=("told", ".4~g"),
            zero=not _PANELS[name].is_log,
        )
    n, texts = rows.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    ends = rows.select(low=pl.coalesce(pl.col("^.*_ci_low$"), pl.lit(None, pl.Float64)))
    without = [_PANELS[name].title for name in shown if f"{name}_ci_low" not in rows.columns]
    notes = [
        "Lengths and largest activations on a logarithmic scale. Effective rank, IsoScore* and the "
        "slope are of the covariance's eigenvalues; curvature is the angle between the steps from "
        "token to token.",
        f"{counted(n, 'state')} of {counted(texts, 'text')}. "
        + band_note(ends, confidence, "texts", without=without)
        + dashed_note(rows, "few texts"),
        *control_notes(control, "Solid grey, without position 0"),
    ]
    chart = panel_grid(parts, frames, _COLUMNS)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * 240 + 120)


def geometry_steps(
    table: pl.DataFrame, checkpoints: pl.DataFrame, *, title: str
) -> alt.TopLevelMixin:
    """A heat map of layer by step for each measure, without position 0.

    `table` holds the tables geometry of all checkpoints of one model and experiment.
    """
    warnings = warnings_of(checkpoints)
    steps = {name: step_of(name) for name in table["checkpoint"].unique()}
    with_first = table["with_first"].all()  # where every token is at position 0
    rows = table.filter(site=LINE, with_first=with_first).with_columns(
        step=pl.col("checkpoint").replace_strict(steps, return_dtype=pl.Int64)
    )
    known = rows.drop_nulls("step").sort("step", "layer")
    shown = [name for name in _PANELS if known[name].is_not_null().any()]
    if not shown:
        return nothing_to_show(title, warnings)
    grid = step_grid(
        known["step"].unique().sort().to_list(), known["layer"].unique().sort().to_list()
    )
    columns = min(_MAPS, len(shown))
    maps = [
        step_heat(
            known.select("checkpoint", "step", "layer", "n", *_values(name)),
            grid,
            title=_PANELS[name].title,
            tints=_tints(name, known),
            **edge,
        )
        for name, edge in zip(shown, edges(len(shown), columns), strict=True)
    ]
    first = "All tokens are at position 0." if with_first else "Without tokens at position 0."
    notes = [f"{first} Colours have a scale of their own in each panel.", *left_out(rows)]
    if any(known[name].has_nulls() for name in shown):
        notes.append("Grey: not defined.")
    chart = alt.concat(*maps, columns=columns).resolve_scale(color="independent")
    width = columns * (grid.width + 110)
    return figure(chart, title=title, notes=notes, width=width, warnings=warnings)


def _values(name: str) -> list[pl.Expr]:
    """What is drawn, and what is said of it."""
    value = exact(pl.col(name).log10() if _PANELS[name].is_log else name)
    return [value.alias("value"), pl.col(name).cast(pl.Float64).alias("told")]


def _points(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    ends = [end for end in (f"{name}_ci_low", f"{name}_ci_high") if end in rows.columns]
    names, tints = ({k: v[i] for k, v in _LINES.items()} for i in (0, 1))
    log = [pl.col(c).log10() for c in (name, *ends)] if _PANELS[name].is_log else []
    return points_frame(
        rows.with_columns(*log, told=pl.col(name)),
        name,
        ends,
        *("layer", "n", "told"),
        line=mapped("with_first", names),
        colour=mapped("with_first", tints),
    )


def _control(grey: pl.DataFrame, name: str) -> pl.DataFrame:
    if _PANELS[name].is_log:
        grey = grey.with_columns(pl.col(name).log10())
    drawn = draw_means(grey.drop_nulls(name), name, "layer")
    told = pl.lit(10.0).pow(pl.col(name)) if _PANELS[name].is_log else pl.col(name)
    return points_frame(
        drawn.with_columns(told=told),
        name,
        ("low", "high"),
        *("layer", "n", "told"),
        line=pl.lit(CONTROL),
        colour=pl.lit(GREY),
    )


def _limits(name: str, points: pl.DataFrame) -> tuple[float, float]:
    largest = max(map(abs, points["value"].to_list()))
    return value_range(points, span=0.1 if _PANELS[name].is_log else 0.05 * largest or 1.0)


def _axis(name: str, points: pl.DataFrame) -> alt.Axis:
    if not _PANELS[name].is_log:
        return alt.Axis(tickCount=5, format=".3~r", minExtent=40)
    return number_axis(*_limits(name, points))


def _tints(name: str, known: pl.DataFrame) -> Tints:
    values: list[Any] = known.select(_values(name)[0]).drop_nulls().to_series().to_list()
    low, high = min(values), max(values)
    log = (NUMBER_LABEL, number_ticks(low, high)) if _PANELS[name].is_log else ()
    return Tints(low, high, _PANELS[name].number, "told", *log)
