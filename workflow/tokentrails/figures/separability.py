"""How well senses separate: similarity within and between them, the gap, and the AUC."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from ..statistics.forms import MATCHED, SOUND
from .pieces.forms import SUFFIXES, TINTS
from .pieces.lines import Frame, level, line_panel, value_range
from .pieces.notes import REPLACED, band_note, dashed_note, form_notes, grey_note
from .pieces.points import LINE, distinct, exact, points_frame, runs
from .pieces.text import counted
from .pieces.theme import GREY, INK, PALETTE, TINT, figure, model_colours, nothing_to_show, shaded

_BEYOND = 1.05  # where labels stand, as a share of the layers
_ALPHA = 0.05
_SIDES = {"within": PALETTE[0], "between": PALETTE[1]}
_CRITERIA = {"gap": "gap: within − between", "auc": "AUC"}
_CHANCE = {"gap": 0.0, "auc": 0.5}
_AXIS = alt.Axis(tickCount=5, minExtent=40)
_TOOLTIP = ("line", "n", "p_holm")
_REPLACED = f"the same texts with {REPLACED} in the word's place"
_SQUARES = "Squares: the best layer, of equally good ones the first"
_DOTS = (
    f"Large dots: layers where the gap is above that of permuted senses (p < {_ALPHA} after Holm's "
    "correction over layers). "
)
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
    gaps = pl.concat([_line(table.filter(measure=m), "gap", m) for m in TINTS])
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
    below_it = " Below, that of the cosine." if gaps["low"].count() else ""
    interval = "; below the title its interval." if best["best_low"].count() else "."
    notes = [
        f"Same word in two texts: {counted(words, 'word')} in {counted(texts, 'text')}. "
        f"{band_note(gaps, confidence)}{below_it}" + dashed_note(gaps, "few words"),
        _AUC_NOTE,
        _DOTS * bool((gaps["p_holm"] < _ALPHA).any()) + _SQUARES + interval,
        *form_notes(TINTS),
    ]
    if table["gap_control"].count():
        notes.append(f"Grey: {_REPLACED}, by the cosine.")
    return figure(alt.vconcat(*rows, spacing=24), title=title, notes=notes, width=1090)


def composite_separability(
    by_layer: pl.DataFrame,
    best: pl.DataFrame,
    *,
    title: str,
    confidence: float,
    controls: Collection[str] = (),
) -> alt.TopLevelMixin:
    """The gap and the AUC of all models in every form, over relative depth; thin, their controls.

    The tables are those of all models, below each other. The models in `controls`, of random
    weights, are grey.
    """
    table = runs(by_layer).filter(site=LINE).sort("layer")
    drawn = table.drop_nulls("gap")
    names = distinct(runs(by_layer)["run"])
    names = [name for name in names if name in set(drawn["run"])]
    if not names:
        return nothing_to_show(title)
    tints = model_colours(names, controls)
    tops = runs(best).filter(site=LINE).drop_nulls("best_layer")
    depths = pl.col("line").replace_strict(
        dict(tops.select("run", "depth").iter_rows()), return_dtype=pl.Float64
    )
    forms = [form for form in SOUND if form in set(drawn["measure"])]
    width = 330 if len(forms) == 1 else 175
    panel = ("", 0.0, 1.0, width, 190, _TOOLTIP, _AXIS)
    frame = Frame.over_depth("fraction", "layer / depth", _BEYOND, *panel)

    def lines(value: str, form: str) -> pl.DataFrame:
        """A line per model, in its colour."""
        parts = [
            _line(table.filter(run=run, measure=form), value, run, tint)
            for run, tint in tints.items()
        ]
        return pl.concat(parts).with_columns(fraction=(pl.col("layer") / depths).round(6))

    def cell(criterion: str, form: str) -> alt.LayerChart | alt.Chart:
        heading = _CRITERIA[criterion] + SUFFIXES[form]
        if (criterion, form) == ("auc", "scaled"):
            return shaded("the same as of the cosine", width, frame.height, heading)
        points, control = lines(criterion, form), lines(f"{criterion}_control", form)
        ranged = _ranged(frame, pl.concat([points, control]), criterion)
        marked = tops.filter(criterion=criterion, measure=form)
        marked = marked.select(line="run", layer="best_layer")
        return line_panel(
            points,
            ranged,
            title=heading,
            x_title=criterion == "auc",
            y_title=False,
            labels=form == forms[-1],
            faint=control.with_columns(series=pl.lit(None, pl.String)),
            marks=[*_chance(criterion), _squares(points, marked, ranged)],
        )

    cells = [cell(criterion, form) for criterion in _CRITERIA for form in forms]
    band = band_note(drawn.select(low="gap_low"), confidence) + dashed_note(drawn, "few words")
    notes = [f"Mean over words. {band} {_SQUARES}.", *grey_note(tints)]
    notes += [_AUC_NOTE, *form_notes(forms)]
    if drawn["gap_control"].count():
        notes.insert(1, f"Thin, in the colour of the model: {_REPLACED}.")
    chart = alt.concat(*cells, columns=len(forms))
    return figure(chart, title=title, notes=notes, width=max(len(forms) * (width + 50) + 90, 560))


def _similarity_panels(table: pl.DataFrame, frame: Frame) -> list[alt.LayerChart | alt.Chart]:
    """Within and between in every form."""
    panels: list[alt.LayerChart | alt.Chart] = []
    for name in TINTS:
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
    tints = {m: tint for m, tint in TINTS.items() if (criterion, m) != ("auc", "scaled")}
    control = _line(table.filter(measure="cosine"), f"{criterion}_control", REPLACED, GREY)
    points = pl.concat(
        [
            *(_line(table.filter(measure=m), criterion, m, tint) for m, tint in tints.items()),
            control.with_columns(p_holm=pl.lit(None, pl.Float64)),  # that of the word's own gap
        ]
    )
    # Bands of all forms would hide one another.
    of_cosine = pl.when(pl.col("line").is_in(["cosine", REPLACED]))
    points = points.with_columns(of_cosine.then(pl.col(end)).alias(end) for end in ("low", "high"))
    frame = _ranged(frame, points, criterion)
    best = pl.concat(best.filter(measure=m) for m in TINTS).drop_nulls("best_layer")
    significant = alt.Chart(points.filter(pl.col("p_holm") < _ALPHA))
    dots = significant.mark_point(filled=True, size=60, opacity=1)
    return line_panel(
        points,
        frame,
        title=_CRITERIA[criterion],
        subtitle=[
            _best(row, table.filter(measure=row["measure"])[criterion])
            if row["measure"] in tints
            else f"{row['measure']}: the same as of the cosine"
            for row in best.rows(named=True)
        ],
        y_title=False,
        marks=[
            *_chance(criterion),
            dots.encode(x=frame.x, y=_y(frame), color=TINT),
            _squares(points, best.select(line="measure", layer="best_layer"), frame),
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


def _best(row: dict[str, Any], values: pl.Series) -> str:
    """The best layer, of the `values` of all, with its interval."""
    best = "best" if (values.fill_nan(None) == values.max()).sum() == 1 else "first"
    interval = "" if row["best_low"] is None else f" [{row['best_low']}, {row['best_high']}]"
    return f"{row['measure']}: {best} at layer {row['best_layer']}{interval}, {row['value']:.3f}"


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


def _squares(points: pl.DataFrame, marked: pl.DataFrame, frame: Frame) -> alt.Chart:
    """Marks at the points whose line and layer are in `marked`."""
    chart = alt.Chart(points.join(marked, on=["line", "layer"]))
    marks = chart.mark_point(shape="square", size=130, strokeWidth=1.8, opacity=1)
    return marks.encode(x=frame.x, y=_y(frame), color=TINT)
