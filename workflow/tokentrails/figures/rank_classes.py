"""How near function words, content words and punctuation stay to their own embeddings."""

import itertools
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from .pieces.lines import Frame, line_panel, stacked, value_range
from .pieces.notes import band_note, class_notes, dashed_note
from .pieces.points import DEPTH_SHARE, distinct, layer_name, mapped, points_frame, runs
from .pieces.rank_axis import factor_axis, place, rank_axis
from .pieces.text import counted
from .pieces.text_tokens import COLOURS, PUBLISHED_NOTE, axis_name, drawn_site, site_note
from .pieces.theme import INK, TINT, figure, nothing_to_show, shaded

_RANKS = {"log_rank": "median rank", "log_rank_standardised": "median rank, standardised"}
_MEASURES = {"cosine": "mean cosine", **_RANKS, "own_closest": "share of rank 0"}
_GAPS = {"cosine": "function − content", **dict.fromkeys(_RANKS, "function / content")}
_ABREAST = 4  # most models in a row of the composite
_BEYOND = 1.06  # where labels stand, as a share of the layers
_INTERVAL = ("ci_low", "ci_high")
_NOTE = (
    "Cosine with a token's own embedding: mean over tokens. Rank, how many vocabulary entries are "
    "closer than that: median over tokens, on an axis of log(1 + rank). Up is closer. "
    "Standardised: of states and rows with every dimension as a z-score over the baseline's tokens."
)
_SUPPORT = " Per cent: of the bootstrap's draws, how many find the same one."


def rank_classes(
    by_class: pl.DataFrame,
    gap: pl.DataFrame,
    summary: pl.DataFrame,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """Mean cosine and median rank by layer, a line per class of words; below, their difference.

    The tables are ranks_by_class, ranks_gap and ranks_summary of one model and checkpoint. What
    the published formula gives, if they have it, has panels of its own.
    """
    points = _class_points(by_class.filter(pl.col("measure").is_in(list(_GAPS))))
    if points.is_empty():
        return nothing_to_show(title, notes=class_notes([]))
    gaps = _gap_points(gap)
    found = drawn_site(summary).drop_nulls(["layer", "value"])
    measures = _measures(points)
    last: int = points.select(pl.col("layer").max()).item()
    name = axis_name(by_class)
    base = Frame.over_layers(
        last, _BEYOND, "", 0.0, 1.0, 250, 200, ("word_class", "n", "texts"), title=name
    )
    frames = {m: _class_frame(points.filter(measure=m), m, base) for m in measures}
    gap_frames = {m: _gap_frame(gaps.filter(measure=m), m, frames[m]) for m in measures}
    # The published formula has no standardised ranks.
    there = set(points.select("as_published", "measure").iter_rows())
    places = [each for each in itertools.product((False, True), measures) if each in there]
    above = [
        _class_panel(
            points.filter(as_published=formula, measure=measure),
            frames[measure],
            found.filter(as_published=formula, measure=measure, quantity="largest_jump"),
            title=_MEASURES[measure] + (", as published" if formula else ""),
            labels=(formula, measure) == places[-1],
        )
        for formula, measure in places
    ]
    below = [
        _gap_panel(
            gaps.filter(as_published=formula, measure=measure),
            gap_frames[measure],
            found.filter(as_published=formula, measure=measure, quantity="largest_gap"),
            title=_GAPS[measure],
        )
        for formula, measure in (places if len(gaps) else [])
    ]
    notes = _notes(by_class, points, confidence)
    if len(found):
        notes.append(
            f"Thick, and below the titles: the largest change from one {name} to the next."
            + " Dotted rule: the largest gap." * bool(below)
            + _SUPPORT * bool(found["support"].count())
        )
    if points["as_published"].any():
        notes.append(PUBLISHED_NOTE)
    chart = alt.concat(*above, *below, columns=len(above))
    return figure(chart, title=title, notes=notes, width=len(above) * (base.width + 45) + 80)


def composite_ranks(by_class: pl.DataFrame, *, title: str, confidence: float) -> alt.TopLevelMixin:
    """The same lines of several models, a column for each, and the shares of tokens of rank 0.

    `by_class` holds the tables ranks_by_class of all of them; x is the layer as a share of each
    model's last one.
    """
    points = _class_points(by_class.filter(~pl.col("as_published")))
    if points.is_empty():
        return nothing_to_show(title, notes=class_notes([]))
    points = points.with_columns(share=DEPTH_SHARE)
    names, measures = distinct(points["run"]), _measures(points)
    panel = ("", 0.0, 1.0, 220, 200, ("word_class", "n", "texts"))
    name = axis_name(by_class)
    base = Frame.over_depth("share", f"{name} / last {name}", _BEYOND, *panel)
    frames = {m: _class_frame(points.filter(measure=m), m, base) for m in measures}
    grids = []
    for abreast in (names[i : i + _ABREAST] for i in range(0, len(names), _ABREAST)):
        panels = [
            line_panel(
                points.filter(measure=measure, run=run),
                frames[measure],
                title=run if measure == measures[0] else "",
                x_title=measure == measures[-1],
                y_title=run == abreast[0],
                labels=run == abreast[-1],
            )
            for measure, run in itertools.product(measures, abreast)
        ]
        grids.append(alt.concat(*panels, columns=len(abreast)))
    chart = stacked(grids)
    notes = _notes(by_class, points, confidence)
    width = min(max(len(names), 2), _ABREAST) * 265 + 80
    return figure(chart, title=title, notes=notes, width=width)


def _class_points(by_class: pl.DataFrame) -> pl.DataFrame:
    """A points frame with a line per class for every run, measure and formula."""
    kept = ("as_published", "measure", "word_class", "layer", "n", "texts", "few", "run")
    return points_frame(
        runs(drawn_site(by_class)),
        "value",
        _INTERVAL,
        *kept,
        line="word_class",
        colour=mapped("word_class", COLOURS),
    ).with_columns(rank=(10 ** pl.col("value") - 1).round(1))


def _gap_points(gap: pl.DataFrame) -> pl.DataFrame:
    """A points frame with one line for every measure and formula."""
    kept = ("as_published", "measure", "layer", "texts")
    return points_frame(
        drawn_site(gap),
        "gap",
        _INTERVAL,
        *[name for name in (*kept, "n", "few") if name in gap.columns],
        line=pl.lit("gap"),
        series=pl.lit(None, pl.String),
        colour=pl.lit(INK),
        dashed=pl.lit(value=False),
    ).with_columns(factor=(10 ** pl.col("value")).round(4))


def _measures(points: pl.DataFrame) -> list[str]:
    return [measure for measure in _MEASURES if measure in set(points["measure"])]


def _class_frame(points: pl.DataFrame, measure: str, base: Frame) -> Frame:
    """What the panels of one measure share; ranks have small values on top."""
    tops = {"own_closest": 1.0} | dict.fromkeys(_RANKS, place(10))
    low, high = value_range(points, top=tops.get(measure))
    frame = replace(base, value=_MEASURES[measure], low=low, high=high)
    if measure in _RANKS:
        axis = rank_axis(low, high)
        return replace(frame, axis=axis, told=("rank", ",.1f")).turned()
    return replace(frame, axis=alt.Axis(tickCount=6, minExtent=40))


def _gap_frame(gaps: pl.DataFrame, measure: str, frame: Frame) -> Frame:
    """What the panels of one gap share, each below one of `frame`; they hold 0."""
    frame = replace(frame, height=110, value=_GAPS[measure], tooltip=("texts",))
    if gaps.is_empty():
        return frame
    low, high = value_range(gaps, top=0.0, span=0.1)
    low = min(low, -0.04 * (high - low))
    if measure in _RANKS:
        axis = factor_axis(low, high)
        return replace(frame, low=low, high=high, axis=axis, told=("factor", ".3~g")).turned()
    return replace(frame, low=low, high=high, axis=alt.Axis(tickCount=4, minExtent=40))


def _class_panel(
    points: pl.DataFrame, frame: Frame, jumps: pl.DataFrame, *, title: str, labels: bool
) -> alt.LayerChart:
    """Lines of classes; where one changes most, according to `jumps`, it is thick."""
    y = alt.Y("value:Q", scale=frame.scale, title=None)
    rows = jumps.sort("word_class", descending=True).rows(named=True)
    thick = []
    for row in rows:
        ends = pl.col("layer").is_between(row["layer"] - 1, row["layer"])
        jump = alt.Chart(points.filter(ends, word_class=row["word_class"]))
        jump = jump.mark_line(strokeWidth=7, strokeOpacity=0.4, strokeCap="round")
        thick.append(jump.encode(x=frame.x, y=y, color=TINT))
    told = [f"{row['word_class']}: {_summary(row)}" for row in rows]
    return line_panel(
        points, frame, title=title, subtitle=told, y_title=False, labels=labels, marks=thick
    )


def _gap_panel(
    gaps: pl.DataFrame, frame: Frame, largest: pl.DataFrame, *, title: str
) -> alt.LayerChart | alt.Chart:
    """The line of a gap, with a rule where it is largest."""
    if gaps.is_empty():
        return shaded("not defined", frame.width, frame.height, title)
    rule = alt.Chart(largest.select("layer")).mark_rule(strokeDash=[2, 2], color=INK)
    marks = [rule.encode(x=frame.x)]
    told = [f"largest: {_summary(row)}" for row in largest.rows(named=True)]
    return line_panel(gaps, frame, title=title, subtitle=told, y_title=False, marks=marks)


def _summary(row: dict[str, Any]) -> str:
    """A row of the summary: layer, support, value and interval."""
    value, *interval = (
        _number(row[name], row["measure"])
        for name in ("value", *_INTERVAL)
        if row[name] is not None
    )
    support = "" if row["support"] is None else f" ({100 * row['support']:.0f} %)"
    size = f"{value} [{', '.join(interval)}]" if interval else value
    return f"{layer_name(row['site'])} {row['layer']}{support}, {size}"


def _number(value: float, measure: str) -> str:
    """A difference of cosines, or the factor between ranks that a difference of their logs is."""
    if measure not in _RANKS:
        return f"{value:+.2f}".replace("-", "−")
    return f"×{10**value:.2g}" if value < 1 else f"×{10**value:,.0f}"


def _notes(by_class: pl.DataFrame, points: pl.DataFrame, confidence: float) -> list[str]:
    """What classes and texts there are, where and what is measured, and what the bands are."""
    counts = dict(points.group_by("word_class").agg(pl.col("n").max()).rows())
    tokens = ", ".join(f"{counts[name]:,} {name}" for name in COLOURS if name in counts)
    texts = points.select(pl.col("texts").max()).item()
    band = band_note(points, confidence, "texts crossed with types", few="texts or types")
    band += dashed_note(points, "classes in few texts or of few types")
    most = "at most " if points["run"].n_unique() > 1 else ""  # tokenizers cut texts differently
    classes = f"Tokens: {most}{tokens}; in {counted(texts, 'text')}. Types: different tokens."
    without = class_notes(counts)
    return [*without, classes, site_note(by_class), _NOTE, band]
