"""How near function words, content words and punctuation stay to their own embeddings."""

from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from .pieces.curves import in_order, runs
from .pieces.lines import Frame, empty_panel, line_panel, value_range
from .pieces.notes import band_note
from .pieces.panel import layer_ticks
from .pieces.rank_axis import factor_axis, place, rank_axis
from .pieces.text_tokens import COLOURS, PUBLISHED_NOTE, at_site, site_note
from .pieces.theme import INK, figure, nothing_to_show

_MEASURES = {"cosine": "mean cosine", "log_rank": "median rank", "own_closest": "share of rank 0"}
_GAPS = {"cosine": "function − content", "log_rank": "function / content"}
_FRACTIONS = [0.0, 0.25, 0.5, 0.75, 1.0]
_BEYOND = 1.06  # where labels stand, as a share of the layers
_NOTE = (
    "Cosine with a token's own embedding: mean over tokens. Rank, how many vocabulary entries are "
    "closer than that: median over tokens, on an axis of log(1 + rank). Up is closer."
)


def rank_classes(
    by_class: pl.DataFrame,
    gap: pl.DataFrame,
    summary: pl.DataFrame,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """Mean cosine and median rank by layer, a line per class of words; below, how far apart.

    The tables are ranks_by_class, ranks_gap and ranks_summary of one model and checkpoint. What
    the published formula gives, if they have it, stands beside the right one.
    """
    points = _class_points(by_class.filter(pl.col("measure").is_in(list(_GAPS))))
    if points.is_empty():
        return nothing_to_show(title)
    gaps = _gap_points(gap)
    found = at_site(summary).drop_nulls(["layer", "value"])
    measures = _measures(points)
    last = points.select(pl.col("layer").max()).item()
    ticks = alt.Axis(values=layer_ticks(last), grid=False, format="d", labelFlush=False)
    last = max(last, 1)
    x = _x("layer", last, ticks, title="layer")
    frames = {m: _frame(points.filter(measure=m), m, x, "layer", last) for m in measures}
    gap_frames = {m: _gap_frame(gaps.filter(measure=m), m, frames[m]) for m in measures}
    formulas = sorted(set(points["as_published"]))
    above, below = [], []
    for formula in formulas:
        for measure in measures:
            here = {"as_published": formula, "measure": measure}
            above.append(
                _class_panel(
                    points.filter(**here),
                    frames[measure],
                    found.filter(quantity="largest_jump", **here),
                    title=_MEASURES[measure] + (", as published" if formula else ""),
                    labels=here == {"as_published": formulas[-1], "measure": measures[-1]},
                )
            )
            below.append(
                _gap_panel(
                    gaps.filter(**here),
                    gap_frames[measure],
                    found.filter(quantity="largest_gap", **here),
                    title=_GAPS[measure],
                )
            )
    notes = [
        *_notes(by_class, points, confidence),
        "Thick, and below the titles: the largest change from one layer to the next. Dotted rule: "
        "the largest gap. Per cent: of the bootstrap's draws, how many find the same layer.",
    ]
    if True in formulas:
        notes.append(PUBLISHED_NOTE)
    chart = alt.concat(*above, *below, columns=len(above))
    width = len(above) * (frames[measures[0]].width + 45) + 80
    return figure(chart, title=title, notes=notes, width=width)


def composite_ranks(by_class: pl.DataFrame, *, title: str, confidence: float) -> alt.TopLevelMixin:
    """The same lines of several models, a column for each, and the shares of tokens of rank 0.

    `by_class` holds the tables ranks_by_class of all of them; x is the layer as a share of each
    model's last one.
    """
    points = _class_points(by_class.filter(~pl.col("as_published")))
    if points.is_empty():
        return nothing_to_show(title)
    last = pl.max_horizontal(pl.col("layer").max().over("run"), 1)
    points = points.with_columns(share=(pl.col("layer") / last).round(6))
    names, measures = in_order(points["run"]), _measures(points)
    ticks = alt.Axis(values=_FRACTIONS, grid=False, format=".2~f", labelFlush=False)
    x = _x("share", 1, ticks, title="layer / last layer")
    frames = {m: _frame(points.filter(measure=m), m, x, "share", 1) for m in measures}

    def cell(measure: str, name: str) -> alt.LayerChart | alt.Chart:
        here = points.filter(measure=measure, run=name)
        return line_panel(
            here,
            replace(frames[measure], width=220),
            title=name if measure == measures[0] else "",
            x_title=measure == measures[-1],
            y_title=name == names[0],
            labels=name == names[-1],
        )

    chart = alt.concat(*(cell(m, n) for m in measures for n in names), columns=len(names))
    notes = _notes(by_class, points, confidence)
    return figure(chart, title=title, notes=notes, width=max(len(names), 2) * 265 + 80)


def _class_points(by_class: pl.DataFrame) -> pl.DataFrame:
    """A points frame (see `lines`) with a line per class for every run, measure and formula."""
    return _exact(runs(at_site(by_class)), "value").with_columns(
        line="word_class",
        series="word_class",
        colour=pl.col("word_class").replace_strict(COLOURS, return_dtype=pl.String),
        dashed="few",
        rank=(10 ** pl.col("value") - 1).round(1),
    )


def _gap_points(gap: pl.DataFrame) -> pl.DataFrame:
    """A points frame with one line for every measure and formula."""
    return _exact(at_site(gap), "gap").with_columns(
        line=pl.lit("gap"),
        series=pl.lit(None, pl.String),
        colour=pl.lit(INK),
        dashed=pl.lit(False),
        factor=(10 ** pl.col("value")).round(4),
    )


def _exact(table: pl.DataFrame, value: str) -> pl.DataFrame:
    """The rows that have a value, so called, with its interval; six decimals as in any figure."""
    names = {"value": value, "low": "ci_low", "high": "ci_high"}
    exact = {
        new: pl.col(old).cast(pl.Float64).fill_nan(None).round(6) for new, old in names.items()
    }
    keys = ("as_published", "measure", "word_class", "layer", "n", "texts", "few", "run")
    kept = [name for name in keys if name in table.columns]
    return table.select(*kept, **exact).drop_nulls("value")


def _measures(points: pl.DataFrame) -> list[str]:
    return [measure for measure in _MEASURES if measure in set(points["measure"])]


def _x(field: str, last: float, ticks: alt.Axis, *, title: str) -> alt.X:
    scale = alt.Scale(domain=[0, last * _BEYOND], nice=False)
    return alt.X(f"{field}:Q", scale=scale, axis=ticks, title=title)


def _frame(points: pl.DataFrame, measure: str, x: alt.X, field: str, last: float) -> Frame:
    """What the panels of one measure share; ranks have small values on top."""
    tops = {"log_rank": place(10), "own_closest": 1.0}
    low, high = value_range(points, top=tops.get(measure))
    frame = Frame(
        x=x,
        field=field,
        right=last * _BEYOND,
        value=_MEASURES[measure],
        low=low,
        high=high,
        width=250,
        height=200,
        tooltip=("word_class", "n", "texts"),
        axis=alt.Axis(tickCount=6, minExtent=40),
    )
    if measure != "log_rank":
        return frame
    axis = rank_axis(low, high)
    return replace(frame, low=high, high=low, axis=axis, told=("rank", ",.1f"))


def _gap_frame(gaps: pl.DataFrame, measure: str, frame: Frame) -> Frame:
    """What the panels of one gap share, each below one of `frame`; they hold 0."""
    frame = replace(frame, height=110, value=_GAPS[measure], tooltip=("texts",))
    if gaps.is_empty():
        return frame
    low, high = value_range(gaps, top=0.0, span=0.1)
    low = min(low, -0.04 * (high - low))
    if measure != "log_rank":
        return replace(frame, low=low, high=high, axis=alt.Axis(tickCount=4, minExtent=40))
    return replace(frame, low=high, high=low, axis=factor_axis(low, high), told=("factor", ".3~g"))


def _class_panel(
    points: pl.DataFrame, frame: Frame, jumps: pl.DataFrame, *, title: str, labels: bool
) -> alt.LayerChart:
    """Lines of classes; where one changes most, according to `jumps`, it is thick."""
    y = alt.Y("value:Q", scale=frame.scale, title=None)
    tint = alt.Color("colour:N", scale=None)
    rows = jumps.sort("word_class", descending=True).rows(named=True)
    thick = [
        alt.Chart(
            points.filter(
                pl.col("layer").is_between(row["layer"] - 1, row["layer"]),
                word_class=row["word_class"],
            )
        )
        .mark_line(strokeWidth=7, opacity=0.4, strokeCap="round")
        .encode(x=frame.x, y=y, color=tint)
        for row in rows
    ]
    panel = line_panel(points, frame, title=title, y_title=False, labels=labels, marks=thick)
    return _with_lines(panel, title, [f"{row['word_class']}: {_told(row)}" for row in rows])


def _gap_panel(
    gaps: pl.DataFrame, frame: Frame, largest: pl.DataFrame, *, title: str
) -> alt.LayerChart | alt.Chart:
    """The line of a gap, with a rule where it is largest."""
    if gaps.is_empty():
        return empty_panel("not defined", frame, title=title)
    rule = alt.Chart(largest.select("layer")).mark_rule(strokeDash=[2, 2], color=INK)
    panel = line_panel(gaps, frame, title=title, y_title=False, marks=[rule.encode(x=frame.x)])
    return _with_lines(panel, title, [f"largest: {_told(row)}" for row in largest.rows(named=True)])


def _with_lines(panel: alt.LayerChart, title: str, lines: list[str]) -> alt.LayerChart:
    """`panel` with lines below its title."""
    return panel.properties(title=alt.TitleParams(title, subtitle=lines, offset=8))


def _told(row: dict[str, Any]) -> str:
    """A row of the summary: layer, support, value and interval."""
    value, *interval = (
        _number(row[name], row["measure"])
        for name in ("value", "ci_low", "ci_high")
        if row[name] is not None
    )
    support = "" if row["support"] is None else f" ({100 * row['support']:.0f} %)"
    size = f"{value} [{', '.join(interval)}]" if interval else value
    return f"layer {row['layer']}{support}, {size}"


def _number(value: float, measure: str) -> str:
    """A difference of cosines, or the factor between ranks that a difference of their logs is."""
    if measure != "log_rank":
        return f"{value:+.2f}".replace("-", "−")
    return f"×{10**value:.2g}" if value < 1 else f"×{10**value:,.0f}"


def _notes(by_class: pl.DataFrame, points: pl.DataFrame, confidence: float) -> list[str]:
    """What classes and texts there are, where and what is measured, and what the bands are."""
    most = points.group_by("word_class").agg(pl.col("n").max())
    counts = dict(most.rows())
    tokens = ", ".join(f"{counts[name]:,} {name}" for name in COLOURS if name in counts)
    texts = points.select(pl.col("texts").max()).item()
    band = band_note(confidence, over="texts")
    if points["dashed"].any():
        band += " Dashed: classes in few texts."
    counted = f"Tokens: {tokens}; in {texts:,} text{'' if texts == 1 else 's'}."
    return [counted, site_note(by_class), _NOTE, band]
