"""How well senses separate: similarity within and between them, the gap, and the AUC."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from ..statistics.forms import MATCHED, SOUND
from .pieces.lines import Frame, level, line_panel, value_range
from .pieces.notes import band_note, form_notes
from .pieces.points import LINE, exact, in_order, points_frame, runs
from .pieces.theme import INK, PALETTE, TINT, colour, figure, nothing_to_show, shaded

_BEYOND = 1.05  # where labels stand, as a share of the layers
_ALPHA = 0.05
_SIDES = {"within": PALETTE[0], "between": PALETTE[1]}
_MEASURES = dict(zip(SOUND, (INK, *(PALETTE[i] for i in (2, 5, 4, 3))), strict=True))
_CRITERIA = {"gap": "gap: within − between", "auc": "AUC"}
_CHANCE = {"gap": 0.0, "auc": 0.5}
_AXIS = alt.Axis(tickCount=5, minExtent=40)
_TOOLTIP = ("line", "n", "p_holm")
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
    table = by_layer.filter(site=LINE).sort("measure", "layer")
    gaps = pl.concat([_line(table.filter(measure=m), "gap", m) for m in _MEASURES])
    if gaps.is_empty():
        return nothing_to_show(title)
    last: int = gaps.select(pl.col("layer").max()).item()
    above = Frame.over_layers(last, _BEYOND, "", 0.0, 1.0, 155, 190, _TOOLTIP, _AXIS)
    below = replace(above, width=475, height=170)
    panels = [
        _criterion_panel(table, best.filter(site=LINE, criterion=name), name, below)
        for name in _CRITERIA
    ]
    rows = alt.hconcat(*_similarity_panels(table, above)), alt.hconcat(*panels)
    words, texts = table.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    notes = [
        f"Same word in two texts: {words} words in {texts} texts. {band_note(confidence)} Below, "
        "that of the cosine." + (" Dashed: few words." if gaps["dashed"].any() else ""),
        _AUC_NOTE,
        f"Large dots: layers where the gap is above that of permuted senses (p < {_ALPHA} "
        "after Holm's correction over layers). Diamonds: the best layer; below the title its "
        "interval.",
        *form_notes(gaps["line"].unique(maintain_order=True)),
    ]
    return figure(alt.vconcat(*rows, spacing=24), title=title, notes=notes, width=1090)


def composite_separability(
    by_layer: pl.DataFrame, best: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """The gap and the AUC of all models in one plot each, over relative depth.

    The tables are those of all models, below each other.
    """
    table = runs(by_layer).filter(site=LINE, measure="cosine")
    drawn = table.drop_nulls("gap")
    names = in_order(drawn["run"])
    if not names:
        return nothing_to_show(title)
    tops = runs(best).filter(site=LINE, measure="cosine").drop_nulls("best_layer")
    depth = pl.col("line").replace_strict(
        dict(tops.select("run", "depth").iter_rows()), return_dtype=pl.Float64
    )
    panel = ("", 0.0, 1.0, 330, 260, _TOOLTIP, _AXIS)
    frame = Frame.over_depth("fraction", "layer / depth", _BEYOND, *panel)
    panels = []
    for criterion, name in _CRITERIA.items():
        lines = [
            _line(table.filter(run=run).sort("layer"), criterion, run, colour(index))
            for index, run in enumerate(names)
        ]
        points = pl.concat(lines).with_columns(fraction=(pl.col("layer") / depth).round(6))
        ranged = _ranged(frame, points, criterion)
        marked = tops.filter(criterion=criterion).select(line="run", layer="best_layer")
        marks = [*_chance(criterion), _diamonds(points, marked, ranged)]
        labels = criterion == "auc"
        panels.append(
            line_panel(points, ranged, title=name, y_title=False, labels=labels, marks=marks)
        )
    band = band_note(confidence) + (" Dashed: few words." if drawn["few"].any() else "")
    notes = [f"Cosine, mean over words. {band} Diamonds: the best layers.", _AUC_NOTE]
    return figure(alt.hconcat(*panels), title=title, notes=notes, width=850)


def _similarity_panels(table: pl.DataFrame, frame: Frame) -> list[alt.LayerChart | alt.Chart]:
    """Within and between in every form."""
    panels: list[alt.LayerChart | alt.Chart] = []
    for name in _MEASURES:
        part = table.filter(measure=name)
        points = pl.concat([_line(part, side, side, tint) for side, tint in _SIDES.items()])
        if points.is_empty():
            reason = "too few pairs" if name == MATCHED else "no baseline"
            panels.append(shaded(reason, frame.width, frame.height, name))
            continue
        low, high = value_range(points)
        ranged = replace(frame, low=low, high=high, value="similarity")
        panels.append(line_panel(points, ranged, title=name, y_title=name == "cosine"))
    return panels


def _criterion_panel(
    table: pl.DataFrame, best: pl.DataFrame, criterion: str, frame: Frame
) -> alt.LayerChart:
    """The gap or the AUC in every form, with significant layers and the best one.

    The AUC of scaled similarities is that of the cosines, and not drawn.
    """
    tints = {m: tint for m, tint in _MEASURES.items() if (criterion, m) != ("auc", "scaled")}
    points = pl.concat(
        [_line(table.filter(measure=m), criterion, m, tint) for m, tint in tints.items()]
    )
    # Bands of all forms would hide one another.
    of_cosine = pl.when(line="cosine")
    points = points.with_columns(of_cosine.then(pl.col(end)).alias(end) for end in ("low", "high"))
    frame = _ranged(frame, points, criterion)
    best = pl.concat(best.filter(measure=m) for m in _MEASURES).drop_nulls("best_layer")
    significant = alt.Chart(points.filter(pl.col("p_holm") < _ALPHA))
    dots = significant.mark_point(filled=True, size=60, opacity=1)
    return line_panel(
        points,
        frame,
        title=_CRITERIA[criterion],
        subtitle=[_best(row) for row in best.rows(named=True)],
        y_title=False,
        marks=[
            *_chance(criterion),
            dots.encode(x=frame.x, y=_y(frame), color=TINT),
            _diamonds(points, best.select(line="measure", layer="best_layer"), frame),
        ],
    )


def _line(table: pl.DataFrame, value: str, name: str, tint: str = INK) -> pl.DataFrame:
    """A points frame of one line."""
    return points_frame(
        table.with_columns(p_holm=exact("p_holm")),
        value,
        (f"{value}_low", f"{value}_high"),
        *("layer", "n", "p_holm"),
        line=pl.lit(name),
        colour=pl.lit(tint),
    )


def _best(row: dict[str, Any]) -> str:
    interval = "" if row["best_low"] is None else f" [{row['best_low']}, {row['best_high']}]"
    return f"{row['measure']}: best at layer {row['best_layer']}{interval}, {row['value']:.3f}"


def _y(frame: Frame) -> alt.Y:
    return alt.Y("value:Q", scale=frame.scale, title=None)


def _ranged(frame: Frame, points: pl.DataFrame, criterion: str) -> Frame:
    """`frame` with limits that hold what chance gives."""
    low, high = value_range(points, top=_CHANCE[criterion], span=0.02)
    low = min(low, _CHANCE[criterion] - 0.04 * (high - low))
    return replace(frame, low=low, high=high, value=_CRITERIA[criterion])


def _chance(criterion: str) -> Sequence[alt.Chart]:
    """A rule at what chance gives; line panels draw that at 0 themselves."""
    chance = _CHANCE[criterion]
    return [level(alt.Y("value:Q", title=None), chance)] if chance else []


def _diamonds(points: pl.DataFrame, marked: pl.DataFrame, frame: Frame) -> alt.Chart:
    """Marks at the points whose line and layer are in `marked`."""
    chart = alt.Chart(points.join(marked, on=["line", "layer"]))
    marks = chart.mark_point(shape="diamond", size=190, strokeWidth=1.8, opacity=1)
    return marks.encode(x=frame.x, y=_y(frame), color=TINT)
