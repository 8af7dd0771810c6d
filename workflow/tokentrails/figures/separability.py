"""How well senses are told apart: similarity within and between them, the gap, and the AUC."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from .pieces.curves import in_order, runs
from .pieces.lines import Frame, empty_panel, line_panel, value_range
from .pieces.notes import band_note
from .pieces.panel import layer_ticks
from .pieces.theme import GREY, INK, PALETTE, colour, figure, nothing_to_show

SITE = "resid"
_BEYOND = 1.05  # where labels stand, as a share of the layers
_FRACTIONS = [0.0, 0.25, 0.5, 0.75, 1.0]
_ALPHA = 0.05
_SIDES = {"within": PALETTE[0], "between": PALETTE[1]}
_MEASURES = {"cosine": INK, "standardised": PALETTE[3]}
_CRITERIA = {"gap": "gap: within − between", "auc": "AUC"}
_CHANCE = {"gap": 0.0, "auc": 0.5}
_AUC_NOTE = (
    "AUC: the probability that two texts of one sense are more alike than two of different senses; "
    "0.5 is chance."
)


def senses_by_layer(
    by_layer: pl.DataFrame, best: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Similarity within and between senses by layer; below, the gap of the two and the AUC.

    The tables are senses_by_layer and senses_best of one model and checkpoint.
    """
    table = by_layer.filter(site=SITE).sort("measure", "layer")
    gaps = pl.concat([_line(table.filter(measure=m), "gap", m) for m in _MEASURES])
    if gaps.is_empty():
        return nothing_to_show(title)
    last = max(gaps.select(pl.col("layer").max()).item(), 1)
    axis = alt.Axis(values=layer_ticks(last), grid=False, format="d", labelFlush=False)
    x = _x("layer", last, axis, "layer")
    above = _similarity_panels(table, _frame(x, "layer", last, 205, 190))
    wide = _frame(x, "layer", last, 345, 170)
    below = [
        _criterion_panel(table, best.filter(site=SITE, criterion=name), name, wide)
        for name in _CRITERIA
    ]
    chart = alt.vconcat(alt.hconcat(*above), alt.hconcat(*below), spacing=24)
    count = table.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    notes = [
        f"Same word in two texts: {count[0]} words in {count[1]} texts. {band_note(confidence)}"
        + (" Dashed: few words." if gaps["dashed"].any() else ""),
        _AUC_NOTE,
        f"Large dots: layers where the gap is above that of permuted senses (p < {_ALPHA} "
        "after Holm's correction over layers). Diamonds: the best layer; below the title its "
        "interval.",
    ]
    return figure(chart, title=title, notes=notes, width=830)


def composite_separability(
    by_layer: pl.DataFrame, best: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The gap and the AUC of all models in one plot each, over relative depth.

    The tables are those of all models, below each other.
    """
    table = runs(by_layer).filter(site=SITE, measure="cosine")
    names = in_order(table.drop_nulls("gap")["run"])
    if not names:
        return nothing_to_show(title)
    lines = {
        criterion: pl.concat(
            [
                _line(table.filter(run=name).sort("layer"), criterion, name, colour(index))
                for index, name in enumerate(names)
            ]
        )
        for criterion in _CRITERIA
    }
    tops = runs(best).filter(site=SITE, measure="cosine").drop_nulls("best_layer")
    depths = dict(tops.select("run", "depth").iter_rows())
    axis = alt.Axis(values=_FRACTIONS, grid=False, format=".2~f", labelFlush=False)
    frame = _frame(_x("fraction", 1, axis, "layer / depth"), "fraction", 1, 330, 260)
    panels = []
    for index, (criterion, points) in enumerate(lines.items()):
        share = pl.col("line").replace_strict(depths, return_dtype=pl.Float64)
        points = points.with_columns(fraction=(pl.col("layer") / share).round(6))
        ranged = _ranged(frame, points, criterion)
        at = tops.filter(criterion=criterion).select(line="run", layer="best_layer")
        panels.append(
            line_panel(
                points,
                ranged,
                title=_CRITERIA[criterion],
                y_title=False,
                labels=index == 1,
                marks=[
                    *_chance(criterion, ranged),
                    _diamonds(points.join(at, on=["line", "layer"]), ranged),
                ],
            )
        )
    few = table.drop_nulls("gap")["few"].any()
    band = band_note(confidence) + (" Dashed: few words." if few else "")
    notes = [f"Cosine, mean over words. {band} Diamonds: the best layers.", _AUC_NOTE]
    return figure(alt.hconcat(*panels), title=title, notes=notes, width=850)


def _similarity_panels(table: pl.DataFrame, frame: Frame) -> list[alt.LayerChart | alt.Chart]:
    """Within and between as they are, minus random pairs, and standardised."""
    cosine = table.filter(measure="cosine")
    chance = pl.col("within").cast(pl.Float64) - pl.col("within_adjusted")
    columns = [pl.col(f"{side}{end}") for side in _SIDES for end in ("", "_low", "_high")]
    parts = {
        "cosine": cosine,
        "minus random pairs": cosine.with_columns(column - chance for column in columns),
        "standardised": table.filter(measure="standardised"),
    }
    panels: list[alt.LayerChart | alt.Chart] = []
    for heading, part in parts.items():
        points = pl.concat([_line(part, side, side, tint) for side, tint in _SIDES.items()])
        if points.is_empty():
            panels.append(empty_panel("no baseline", frame, title=heading))
            continue
        low, high = value_range(points)
        panels.append(
            line_panel(
                points,
                replace(frame, low=low, high=high, value="similarity"),
                title=heading,
                y_title=heading == "cosine",
                labels=True,
            )
        )
    return panels


def _criterion_panel(
    table: pl.DataFrame, best: pl.DataFrame, criterion: str, frame: Frame
) -> alt.LayerChart:
    """The gap or the AUC by every measure, with significant layers and the best one."""
    points = pl.concat(
        [_line(table.filter(measure=m), criterion, m, tint) for m, tint in _MEASURES.items()]
    )
    frame = _ranged(frame, points, criterion)
    significant = points.filter(pl.col("p_holm") < _ALPHA)
    dots = alt.Chart(significant).mark_point(filled=True, size=60, opacity=1)
    at = best.drop_nulls("best_layer").select(line="measure", layer="best_layer")
    panel = line_panel(
        points,
        frame,
        title=_CRITERIA[criterion],
        y_title=False,
        marks=[
            *_chance(criterion, frame),
            dots.encode(x=frame.x, y=_y(frame), color=alt.Color("colour:N", scale=None)),
            _diamonds(points.join(at, on=["line", "layer"]), frame),
        ],
    )
    told = [_told(row) for row in best.drop_nulls("best_layer").sort("measure").rows(named=True)]
    return panel.properties(title=alt.TitleParams(_CRITERIA[criterion], subtitle=told, offset=8))


def _line(table: pl.DataFrame, value: str, name: str, tint: str = INK) -> pl.DataFrame:
    """A points frame (see `lines`) of one line; six decimals, as in any figure."""
    columns = {"value": value, "low": f"{value}_low", "high": f"{value}_high", "p_holm": "p_holm"}
    exact = {
        new: pl.col(old).cast(pl.Float64).fill_nan(None).round(6) for new, old in columns.items()
    }
    return table.select(
        "layer",
        "n",
        line=pl.lit(name),
        series=pl.lit(name),
        colour=pl.lit(tint),
        dashed="few",
        **exact,
    ).drop_nulls("value")


def _told(row: dict[str, Any]) -> str:
    interval = "" if row["best_low"] is None else f" [{row['best_low']}, {row['best_high']}]"
    return f"{row['measure']}: best at layer {row['best_layer']}{interval}, {row['value']:.3f}"


def _x(field: str, last: float, axis: alt.Axis, title: str) -> alt.X:
    scale = alt.Scale(domain=[0, last * _BEYOND], nice=False)
    return alt.X(f"{field}:Q", scale=scale, axis=axis, title=title)


def _y(frame: Frame) -> alt.Y:
    return alt.Y("value:Q", scale=frame.scale, title=None)


def _frame(x: alt.X, field: str, last: float, width: int, height: int) -> Frame:
    return Frame(
        x=x,
        field=field,
        right=last * _BEYOND,
        value="",
        low=0.0,
        high=1.0,
        width=width,
        height=height,
        tooltip=("line", "n", "p_holm"),
        axis=alt.Axis(tickCount=5, minExtent=40),
    )


def _ranged(frame: Frame, points: pl.DataFrame, criterion: str) -> Frame:
    """`frame` with limits that hold what chance gives."""
    low, high = value_range(points, top=_CHANCE[criterion], span=0.02)
    low = min(low, _CHANCE[criterion] - 0.04 * (high - low))
    return replace(frame, low=low, high=high, value=_CRITERIA[criterion])


def _chance(criterion: str, frame: Frame) -> Sequence[alt.Chart]:
    """A rule at what chance gives; line panels draw that at 0 themselves."""
    if _CHANCE[criterion] == 0:
        return []
    rule = alt.Chart(pl.DataFrame({"value": [_CHANCE[criterion]]}))
    return [rule.mark_rule(color=GREY).encode(y=alt.Y("value:Q", title=None))]


def _diamonds(points: pl.DataFrame, frame: Frame) -> alt.Chart:
    marks = alt.Chart(points).mark_point(shape="diamond", size=190, strokeWidth=1.8, opacity=1)
    return marks.encode(x=frame.x, y=_y(frame), color=alt.Color("colour:N", scale=None))
