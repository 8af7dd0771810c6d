"""A claim's number in every form of similarity, as a small drawing for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .file import Target

LETTER, PLOT, ROW = 6.2, 150, 15
"""Pixels: of a letter of the names on the left, of what is drawn beside them, and of a row."""


def strip(forms: Sequence[Mapping[str, Any]], target: Target) -> str:
    """SVG with a dot and an interval for each form, over what is claimed; empty without any.

    Parameters
    ----------
    forms: rows of the table `claims_forms` of one claim and model.
    """
    if not forms:
        return ""
    low, high = _claimed(target)
    ends = [end for end in (low, high) if end is not None]
    values = [row[name] for row in forms for name in ("value", "ci_low", "ci_high")]
    known = [*ends, *(value for value in values if value is not None)]
    least, span = min(known), max(known) - min(known) or 1.0
    names = round(LETTER * max(len(row["form"]) for row in forms)) + 8
    width = names + PLOT

    def x(value: float) -> str:
        return f"{names + 6 + (PLOT - 12) * (value - least) / span:.1f}"

    bottom = ROW * len(forms) + 1
    left = x(low) if low is not None else f"{names}"
    right = x(high) if high is not None else f"{width}"
    parts = [
        f"<rect class='claimed' x='{left}' y='0' width='{float(right) - float(left):.1f}' "
        f"height='{bottom}'/>",
        *(f"<line class='end' x1='{x(end)}' x2='{x(end)}' y1='0' y2='{bottom}'/>" for end in ends),
    ]
    for index, row in enumerate(forms):
        y = ROW * index + 8
        parts.append(f"<text x='0' y='{y + 4}'>{escape(row['form'])}</text>")
        if row["ci_low"] is not None and row["ci_high"] is not None:
            ends_x = f"x1='{x(row['ci_low'])}' x2='{x(row['ci_high'])}'"
            parts.append(f"<line class='interval' {ends_x} y1='{y}' y2='{y}'/>")
        parts.append(f"<circle cx='{x(row['value'])}' cy='{y}' r='3'/>")
    said = ", ".join(f"{row['form']} {row['value']:.3f}" for row in forms)
    return (
        f"<svg class='forms' width='{width}' height='{bottom}' viewBox='0 0 {width} {bottom}' "
        f"role='img' aria-label='{escape(said)}; claimed: {escape(str(target))}'>"
        f"{''.join(parts)}</svg>"
    )


def _claimed(target: Target) -> tuple[float | None, float | None]:
    """Where the number has to lie; None for an open end."""
    if target.value is not None:
        return target.value - target.tolerance, target.value + target.tolerance
    return target.above, target.below
