"""A running text of any size: identity, the token itself and the next one, by layer and group."""

from typing import NamedTuple

import altair as alt
import polars as pl

from ..texts.word_groups import BAND_NAMES, CLASSES
from .pieces.lines import Frame, edges, line_panel, value_range
from .pieces.notes import (
    CONTROL,
    band_note,
    class_notes,
    control_notes,
    dashed_note,
    frequency_notes,
)
from .pieces.points import LINE, draw_means, mapped, points_frame
from .pieces.rank_axis import place, rank_axis
from .pieces.text import counted
from .pieces.text_tokens import group_colours
from .pieces.theme import GREY, figure, nothing_to_show

_CLASSES = {"all": "all", **{name: name for name in CLASSES if name != "other"}}
_BANDS = {name: f"words {name}" for name in BAND_NAMES}


class _Panel(NamedTuple):
    """What one panel shows: a measure, the space it is read in, and what its lines are."""

    title: str
    measure: str
    space: str | None = None
    by_band: bool = False

    @property
    def is_rank(self) -> bool:
        return self.measure.endswith("log_rank")


_PANELS = (
    _Panel("identity", "identity"),
    _Panel("identity, scaled", "identity_scaled"),
    _Panel("identity by frequency", "identity", by_band=True),
    _Panel("cosine with the layer before", "neighbour"),
    _Panel("rank of the token itself", "own_log_rank", "unembedding"),
    _Panel("rank of the next token", "next_log_rank", "unembedding"),
    _Panel("log-probability of the next token", "next_logprob", "unembedding"),
    _Panel("effective rank", "effective_rank"),
)
_COLUMNS = 4
_UNITS = "documents, or pieces of a plain text"
_READ_OUT = (
    "Ranks and log-probabilities are of {}, through the final norm and the unembedding. Ranks: "
    "means of log(1 + rank), rank 0 on top."
)


def corpus(
    by_layer: pl.DataFrame,
    geometry: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """A panel per measure, with a line for each class of words, or band of frequency.

    `by_layer` is the table corpus_by_layer of one model and checkpoint, `geometry` its
    corpus_geometry, `control` the former of random weights, of all draws.
    """
    shape = geometry.select(
        "layer",
        "n",
        pl.lit("effective_rank").alias("measure"),
        *(pl.lit("all").alias(name) for name in ("grouping", "group")),
        pl.col("effective_rank").alias("mean"),
        pl.lit(value=False).alias("few"),
        site=pl.lit(LINE),
    )
    table = pl.concat([by_layer, shape], how="diagonal_relaxed").filter(site=LINE)
    parts = {panel: here for panel in _PANELS if len(here := _points(table, panel, control))}
    if not parts:
        return nothing_to_show(title)
    last: int = table.select(pl.col("layer").max()).item()
    panels: list[alt.LayerChart] = []
    for (panel, here), edge in zip(parts.items(), edges(len(parts), _COLUMNS), strict=True):
        largest = max(map(abs, here["value"].to_list()))
        low, high = value_range(
            here, top=place(1) if panel.is_rank else None, span=0.1 * largest or 1.0
        )
        frame = Frame.over_layers(
            *(last, 1.05, panel.title, low, high, 190, 150, ("series", "n", "n_texts")),
            axis=rank_axis(low, high) if panel.is_rank else alt.Axis(tickCount=5, minExtent=40),
        )
        frame = frame.turned() if panel.is_rank else frame
        panels.append(line_panel(here, frame, title=panel.title, **edge | {"y_title": False}))
    whole = by_layer.filter(measure="identity", grouping="all", site=LINE)
    n, texts = whole.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    ends = {panel: here for panel, here in parts.items() if panel.measure != "effective_rank"}
    resampled = pl.concat(ends.values())
    read_out = max(
        (n for panel, here in parts.items() if panel.space for n in here["n"].to_list()), default=0
    )
    notes = [
        *class_notes(by_layer["group"]),
        *frequency_notes(by_layer["group"]),
        f"Means over {counted(n, 'token')} of {texts:,} {_UNITS}, without the first of each piece."
        + (f" {_READ_OUT.format(counted(read_out, 'token'))}" if read_out else ""),
        band_note(resampled, confidence, _UNITS)
        + (" Effective rank has none." if len(ends) < len(parts) else "")
        + dashed_note(resampled, "few of them"),
        *control_notes(control),
    ]
    chart = alt.concat(*panels, columns=_COLUMNS)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * 300)


def _points(table: pl.DataFrame, panel: _Panel, control: pl.DataFrame | None) -> pl.DataFrame:
    space = pl.col("space").eq_missing(pl.lit(panel.space, pl.String))
    wanted = table.filter(space, measure=panel.measure)
    groups = _BANDS if panel.by_band else _CLASSES
    rows = wanted.filter(
        pl.col("group").is_in(list(groups)),
        pl.col("grouping").is_in(["frequency_band"] if panel.by_band else ["all", "word_class"]),
    )
    kept = ("layer", "n", "n_texts")
    points = points_frame(
        rows,
        "mean",
        ("ci_low", "ci_high"),
        *kept,
        line="group",
        series=mapped("group", groups),
        colour=mapped("group", group_colours(groups)),
    )
    if control is None or points.is_empty():
        return points
    grey = control.filter(space, measure=panel.measure, grouping="all", site=LINE)
    drawn = draw_means(grey, "mean", "layer")
    own = {"line": pl.lit(CONTROL), "series": pl.lit(CONTROL), "colour": pl.lit(GREY)}
    return pl.concat(
        [points, points_frame(drawn, "mean", ("low", "high"), *kept, **own)],
        how="vertical_relaxed",
    )
