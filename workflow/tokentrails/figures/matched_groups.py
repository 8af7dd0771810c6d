"""What groups of words differ in, as they are and at the same frequency and position."""

import altair as alt
import polars as pl

from .pieces.forms import SUFFIXES
from .pieces.lines import Frame, panel_grid, value_range
from .pieces.notes import CONTROL, band_note, control_notes, dashed_note, form_notes
from .pieces.points import LINE, draw_means, layer_name, mapped, points_frame
from .pieces.rank_axis import factor_axis
from .pieces.theme import GREY, INK, colour, figure, nothing_to_show

_PANELS = {
    **{("embedding", form): f"cosine{suffix}" for form, suffix in SUFFIXES.items()},
    ("embedding", "log_rank"): "rank",
    ("embedding", "log_rank_standardised"): "rank, standardised",
    ("embedding", "own_log_rank"): "rank by cosine",
    ("unembedding", "own_log_rank"): "rank by logit",
    ("unembedding", "own_logprob"): "log-probability",
}
_GROUPS = {"word_class": "function − content", "n_tokens": "several − one token"}
_LINES = {"nothing": "all words", "frequency and position": "at equal frequency"}
_TINTS = {"nothing": INK, "frequency and position": colour(0)}
_COLUMNS = 4


def matched_groups(
    table: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """For each comparison a panel per measure, with a line for each way to compare.

    `table` is the table matched_groups of one model and checkpoint, `control` the same of random
    weights, of all draws, whose matched difference is drawn.
    """
    points = _points(table, ("ci_low", "ci_high"))
    if points.is_empty():
        return nothing_to_show(title)
    if control is not None:
        matched = control.filter(pl.col("matched_on") != "nothing")
        keys = ("comparison", "matched_on", "space", "measure", "site", "layer")
        grey = _points(draw_means(matched, "difference", *keys), ("low", "high"))
        label = pl.lit(f"{CONTROL}, {_LINES['frequency and position']}")
        grey = grey.with_columns(series=label, line=pl.lit(CONTROL), colour=pl.lit(GREY))
        points = pl.concat([points, grey], how="vertical_relaxed")
    last: int = points.select(pl.col("layer").max()).item()
    blocks = []
    for comparison, groups in _GROUPS.items():
        parts = {
            f"{groups}: {name}": here
            for (space, measure), name in _PANELS.items()
            if len(here := points.filter(comparison=comparison, space=space, measure=measure))
        }
        frames = {}
        for name, here in parts.items():
            low, high = value_range(here, top=0.0, span=0.1)
            is_rank = "rank" in name
            low, high = min(low, -0.02), max(high, 0.75 if is_rank else 0.02)
            frame = Frame.over_layers(
                *(last, 1.05, name, low, high, 190, 150, ("series", "n", "n_other", "cells")),
                title=layer_name(here["site"][0]),
                axis=factor_axis(low, high) if is_rank else alt.Axis(tickCount=5, minExtent=40),
            )
            frames[name] = frame.turned() if is_rank else frame
        blocks.append(panel_grid(parts, frames, _COLUMNS))
    notes = [
        *_counts(table),
        "Black: all words. In colour, at equal frequency: words with a counterpart at the same "
        "place of the list of frequent words and at the same position of its text, each within a "
        "factor of two. Ranks as factors, "
        "small ones on top: up is closer.",
        *form_notes(form for form in SUFFIXES if form in set(points["measure"])),
        band_note(points, confidence, "words and texts", few="words or texts")
        + dashed_note(points, "few of either"),
        *control_notes(control),
    ]
    chart = alt.vconcat(*blocks)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * 240 + 120)


def _points(table: pl.DataFrame, interval: tuple[str, str]) -> pl.DataFrame:
    """Those that have an interval, at the site that is drawn."""
    between = (pl.col("site") == LINE).any().over("measure", "space")
    rows = table.filter((pl.col("site") == LINE) | ~between)
    rows = rows.filter(pl.col("ci_low").is_not_null())
    return points_frame(
        rows,
        "difference",
        interval,
        *("comparison", "space", "measure", "site", "layer", "n", "n_other", "cells"),
        line="matched_on",
        series=mapped("matched_on", _LINES),
        colour=mapped("matched_on", _TINTS),
    )


def _counts(table: pl.DataFrame) -> list[str]:
    """How many words of each comparison are compared, and why one is not."""
    notes = []
    for comparison, groups in _GROUPS.items():
        rows = table.filter(pl.col("matched_on") != "nothing", comparison=comparison)
        for n, left, other, other_left, cells, units, low in (
            rows.select(
                *("n", "n_left_out", "n_other", "n_other_left_out", "cells", "units"),
                pl.col("ci_low").max(),
            )
            .head(1)
            .rows()
        ):
            few = f": {units} words or texts of a group, too few to test" if low is None else ""
            of = f"{n:,} of {n + left:,} and {other:,} of {other + other_left:,} words"
            notes.append(f"{groups}: {of} have a counterpart, in {cells:,} cells{few}.")
    return notes
