"""Any measure that has a table of mean curves: by layer and group, and over models."""

from collections.abc import Collection
from typing import Any

import altair as alt
import polars as pl

from .pieces.lines import Frame, line_panel, value_range
from .pieces.notes import band_note, dashed_note, grey_note
from .pieces.points import DEPTH_SHARE, distinct, layer_name, mapped, runs
from .pieces.text import shorten
from .pieces.theme import colour, figure, model_colours, nothing_to_show

_QUANTITIES = {"value": "", "standardised": ", in deviations of the baseline"}
_MOST_LINES = 10
_LONGEST = 30  # characters of the title of an axis
_NUMBERS: dict[str, Any] = {"axis": alt.Axis(tickCount=6, format=".3~g"), "told": ("value", ".4~g")}
_BEYOND = 1.05  # where labels stand, as a share of the layers


def measure(
    curves: pl.DataFrame, *, title: str, confidence: float, unit: str = ""
) -> alt.TopLevelMixin:
    """Means by layer: a row of panels per group, a column per site, a line per series.

    `unit` is that of the measure, in words of its file.
    """
    curves = _drawable(curves)
    if curves.is_empty():
        return nothing_to_show(title)
    columns = _columns(curves)
    rows = sorted(distinct(curves["group"]), key=lambda group: group != "all")
    panels, cut = [], False
    for group in rows:
        here = curves.filter(group=group)
        series = distinct(here["series"])
        cut |= len(series) > _MOST_LINES
        here = here.filter(pl.col("series").is_in(series[:_MOST_LINES]))
        for site, quantity in columns:
            every = _points(curves.filter(site=site, quantity=quantity), "series", "layer")
            points = _points(here.filter(site=site, quantity=quantity), "series", "layer")
            last = curves.filter(site=site).select(pl.col("layer").max()).item()
            y = _axis(quantity, unit)
            x, panel = layer_name(site), (y, *_limits(every), 250, 190)
            frame = Frame.over_layers(last, _BEYOND, *panel, title=x, **_NUMBERS)
            name = f"{group} · {site}{_QUANTITIES[quantity]}"
            panels.append(line_panel(points, frame, title=name))
    notes = [_band(curves, confidence)]
    if cut:
        notes.append(f"The first {_MOST_LINES} lines of each panel.")
    chart = alt.concat(*panels, columns=len(columns))
    return figure(chart, title=title, notes=notes, width=len(columns) * 400)


def composite_measure(
    curves: pl.DataFrame,
    *,
    title: str,
    confidence: float,
    unit: str = "",
    controls: Collection[str] = (),
) -> alt.TopLevelMixin:
    """The mean over all occurrences of several models: a line per model over relative depth.

    Those in `controls`, of random weights, are grey.
    """
    curves = _drawable(curves).filter(group="all")
    if curves.is_empty():
        return nothing_to_show(title)
    curves = runs(curves).with_columns(share=DEPTH_SHARE)
    tints, panels = model_colours(distinct(curves["run"]), controls), []
    for site, quantity in _columns(curves):
        here = curves.filter(site=site, quantity=quantity)
        points = _points(here, "run", "share").with_columns(colour=mapped("line", tints))
        panel = (_axis(quantity, unit), *_limits(points), 300, 240)
        frame = Frame.over_depth("share", "layer / depth", _BEYOND, *panel, **_NUMBERS)
        panels.append(line_panel(points, frame, title=f"{site}{_QUANTITIES[quantity]}"))
    notes = [_band(curves, confidence), *grey_note(tints)]
    return figure(
        alt.concat(*panels, columns=2), title=title, notes=notes, width=min(len(panels), 2) * 450
    )


def _band(curves: pl.DataFrame, confidence: float) -> str:
    """What the bands are, over the units that there are."""
    units = " or ".join(f"{unit}s" for unit in distinct(curves["unit"].sort()))
    ends = curves.select(low="ci_low")
    return band_note(ends, confidence, units) + dashed_note(curves, f"few {units}")


def _axis(quantity: str, unit: str) -> str:
    """What the axis of a quantity says."""
    unit = "standard deviations" if quantity == "standardised" else unit
    return shorten(f"mean ({unit})" if unit else "mean", _LONGEST)


def _drawable(curves: pl.DataFrame) -> pl.DataFrame:
    """The quantities that are drawn, at sites with several layers if there are any."""
    curves = curves.filter(pl.col("quantity").is_in(list(_QUANTITIES))).drop_nulls("mean")
    curves = curves.with_columns(pl.col("group", "series").fill_null("all"))
    layers = pl.col("layer").n_unique().over("site")
    several = curves.filter(layers > 1)
    return curves if several.is_empty() else several


def _columns(curves: pl.DataFrame) -> list[tuple[str, str]]:
    """Site and quantity of each column of panels."""
    pairs = curves.select("site", "quantity").unique().rows()
    return sorted(pairs, key=lambda pair: (pair[1] == "standardised", pair))


def _points(curves: pl.DataFrame, line: str, x: str) -> pl.DataFrame:
    tints = {name: colour(index) for index, name in enumerate(distinct(curves[line]))}
    numbers = {"value": "mean", "low": "ci_low", "high": "ci_high"}
    return curves.select(
        *(x, "n", "n_units"),
        line=line,
        series=line,
        colour=mapped(line, tints),
        dashed="few",
        # A measure has a scale of its own: digits count, not decimals.
        **{k: pl.col(v).cast(pl.Float64).round_sig_figs(6) for k, v in numbers.items()},
    )


def _limits(points: pl.DataFrame) -> tuple[float, float]:
    """Limits that hold every value, at least a tenth of the largest apart."""
    largest = max(map(abs, points["value"].to_list()), default=0.0)
    return value_range(points, span=0.1 * largest or 1.0)
