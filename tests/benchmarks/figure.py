"""The figure of all benchmarks: how far each value is within what is required of it."""

import math
from collections.abc import Mapping

import altair as alt
import polars as pl
from machine import in_a_line

from tokentrails.figures.pieces.theme import GREY, INK, PALETTE, figure, nothing_to_show

_GOOD, _BAD = PALETTE[0], PALETTE[1]
_WIDTH, _ROW, _TOLD = 300, 21, 300
_NAMES = 420  # pixels for what was measured
_MOST = 16.0  # what is further within its bound stands at the edge


def ratios(table: pl.DataFrame, machine: Mapping[str, str], *, title: str) -> alt.TopLevelMixin:
    """A panel per area; the table is that of `gather`."""
    if table.is_empty():
        return nothing_to_show(title)
    rows = table.with_columns(
        pl.coalesce("what", pl.lit("not measured")).alias("name"),
        margin=_margin().round(6),
        told=pl.struct(table.columns).map_elements(told, return_dtype=pl.String),
    )
    worst = rows["margin"].min()
    low = 2.0 ** min(-1, math.floor(math.log2(max(worst, 2**-6)))) if worst else 0.5
    scale = alt.Scale(type="log", base=2, domain=[low, _MOST], nice=False, clamp=True)
    areas = rows["area"].unique(maintain_order=True).to_list()
    panels = [
        _panel(rows.filter(area=area), area, scale, low, last=area == areas[-1]) for area in areas
    ]
    notes = [
        "Dots: value / bound where at least the bound is required, bound / value where at most; "
        f"right of 1 the requirement is met. Triangles: beyond {_MOST:g}. No dot: nothing is "
        "required, or nothing was measured.",
        *described(machine),
    ]
    chart = alt.vconcat(*panels, spacing=10)
    return figure(chart, title=title, notes=notes, width=_NAMES + _WIDTH + _TOLD)


def told(row: Mapping[str, object]) -> str:
    """A row's value and what is required of it, in words; or why there is none."""
    if row["problem"] is not None:
        return str(row["problem"])
    said = f"{number(row['value'])} {row['unit']}"
    if row["bound"] is None:
        return said
    return f"{said} ({row['direction']} {number(row['bound'])})"


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def described(machine: Mapping[str, str]) -> list[str]:
    """The machine in two sentences."""
    names = ("torch", "numpy", "polars", "pyarrow")
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", *names))
    return [
        f"Machine: {in_a_line(machine)}.",
        f"Versions: {versions}; BLAS {machine['blas']}.",
    ]


def _margin() -> pl.Expr:
    """How far within the bound, from 0; null without one. What is at most 0 is all within."""
    value, bound = pl.col("value"), pl.col("bound")
    at_most = pl.when(value > 0).then(bound / value).otherwise(2 * _MOST)
    return pl.when(direction="at least").then(value / bound).when(direction="at most").then(at_most)


def _panel(
    rows: pl.DataFrame, area: str, scale: alt.Scale, low: float, *, last: bool
) -> alt.LayerChart:
    names = rows["name"].to_list()
    y = alt.Y(
        "name:N",
        sort=names,
        axis=alt.Axis(labelLimit=_NAMES, minExtent=_NAMES, domain=False, ticks=False),
        title=None,
    )
    axis = alt.Axis(values=_ticks(low), format="~g", labels=last, ticks=last, domain=last)
    heading = "how far within what is required, times" if last else None
    x = alt.X("margin:Q", scale=scale, axis=axis, title=heading)
    tint = alt.condition("datum.passed", alt.value(_GOOD), alt.value(_BAD))
    shown = rows.select("name", "margin", "passed", "told", "measured", bound=pl.lit(1.0))
    base = alt.Chart(shown).encode(y=y)
    judged = base.transform_filter("isValid(datum.margin)")
    edge = f"datum.margin > {_MOST}"
    tooltip = [
        alt.Tooltip("name:N", title="what"),
        alt.Tooltip("told:N", title="measured"),
        alt.Tooltip("measured:N", title="when, UTC"),
    ]
    bound = alt.X("bound:Q", scale=scale, axis=axis, title=heading)
    layers = [
        alt.Chart(shown[:1]).mark_rule(color=GREY, strokeWidth=1.5).encode(x=bound),
        judged.mark_rule(strokeWidth=2).encode(x=bound, x2="margin:Q", color=tint),
        judged.transform_filter(f"!({edge})")
        .mark_point(filled=True, size=70, opacity=1)
        .encode(x=x, color=tint, tooltip=tooltip),
        judged.transform_filter(edge)
        .mark_point(filled=True, size=80, opacity=1, shape="triangle-right")
        .encode(x=alt.value(_WIDTH), color=tint, tooltip=tooltip),
        base.mark_text(align="left", color=INK, limit=_TOLD).encode(
            x=alt.value(_WIDTH + 14), text="told:N"
        ),
    ]
    return alt.LayerChart(layer=layers).properties(
        width=_WIDTH,
        height=_ROW * len(names),
        title=alt.TitleParams(area, offset=4, anchor="start", frame="bounds"),
    )


def _ticks(low: float) -> list[float]:
    return [2.0**power for power in range(round(math.log2(low)), round(math.log2(_MOST)) + 1)]
