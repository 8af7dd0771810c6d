"""Words cut up against the whole word, by layer."""

import altair as alt
import polars as pl

from .pieces.forms import SUFFIXES
from .pieces.lines import Frame, line_panel, value_range
from .pieces.notes import CONTROL, band_note, control_notes, dashed_note, form_notes
from .pieces.points import LINE, draw_means, mapped, points_frame
from .pieces.rank_axis import place, rank_axis
from .pieces.text import counted
from .pieces.theme import GREY, INK, colour, figure, nothing_to_show

_RANKS = {
    "log_rank": "rank of the whole word",
    "log_rank_standardised": "rank, standardised",
    "closest": "whole word closest",
}
_FORMS = {form: f"cosine{suffix}" for form, suffix in SUFFIXES.items()}
_BEYOND = "split - other"
_LINES = {
    **{"whole": "whole word", "split": "split", "typo": "typo", "other": "another's split"},
    **{_BEYOND: "split", CONTROL: CONTROL},
}
_TINTS = dict(zip(_LINES, (INK, *map(colour, (0, 1, 2, 0)), GREY), strict=True))
_ROWS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    ("", ("split", "typo", "other"), _FORMS),
    ("beyond another's: ", (_BEYOND, CONTROL), _FORMS),
    ("", ("whole", "split", "typo", "other"), _RANKS),
)
"""Of each row of panels what titles begin with, the lines and the measures."""

_LACKS = {"split": "was split", "typo": "has a typo"}
_WHY = "the experiment's .skipped.csv under results/tokens says why"


def splits(
    by_layer: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per measure, a line per variant.

    `by_layer` is the table splits_by_layer of one model and checkpoint, `control` the same of
    random weights, of all draws, whose splits are drawn.
    """
    shown = by_layer.filter(pl.col("pieces").is_null(), site=LINE)
    points = _points(shown, ("ci_low", "ci_high"))
    if points.is_empty():
        return nothing_to_show(title)
    if control is not None:
        cut = control.filter(pl.col("pieces").is_null(), site=LINE, variant=_BEYOND)
        drawn = draw_means(cut, "mean", "variant", "measure", "layer")
        grey = _points(drawn.with_columns(variant=pl.lit(CONTROL)), ("low", "high"))
        points = pl.concat([points, grey], how="vertical_relaxed")
    last: int = points.select(pl.col("layer").max()).item()
    grids = []
    for begin, lines, measures in _ROWS:
        rows = points.filter(pl.col("line").is_in(lines))
        parts = {n: here for m, n in measures.items() if len(here := rows.filter(measure=m))}
        panels = [
            _panel(begin + name, here, last, is_last=name == [*parts][-1])
            for name, here in parts.items()
        ]
        if panels:
            grids.append(alt.hconcat(*panels))
    counts = shown.group_by("variant").agg(pl.col("n").max(), pl.col("n_texts").max())
    named = {name: (n, words) for name, n, words in counts.rows()}
    of = [f"{named[v][0]:,} {_LINES[v]}" for v in _LINES if v in named and v != _BEYOND]
    words = max(n for _, n in named.values())
    notes = [
        "The last token of words that are cut up. Cosine with the state of the whole word in the "
        "same text; rank of the whole word's embedding among all, on an axis of log(1 + rank), "
        "with rank 0 on top.",
        f"Texts: {', '.join(of)}; of {counted(words, 'word')}. Another's: of another word in the "
        "same place. What is beyond that is of the word or of its letters, which may be alike at "
        "layer 0 already: compare with the value there.",
        *form_notes(form for form in SUFFIXES if form in set(points["measure"])),
        band_note(points, confidence) + dashed_note(points, "few words"),
        *control_notes(control),
    ]
    warnings = [
        f"no word {lacks}; {_WHY}" for variant, lacks in _LACKS.items() if variant not in named
    ]
    chart = alt.vconcat(*grids)
    width = len(_FORMS) * 215 + 150
    return figure(chart, title=title, notes=notes, width=width, warnings=warnings)


def _panel(name: str, points: pl.DataFrame, last: int, *, is_last: bool) -> alt.LayerChart:
    is_rank = name.startswith("rank")
    low, high = value_range(points, top=place(1) if is_rank else None)
    low = min(low, -0.1) if is_rank else low
    frame = Frame.over_layers(
        *(last, 1.05, name, low, high, 165, 150, ("series", "n", "n_texts")),
        axis=rank_axis(low, high) if is_rank else alt.Axis(tickCount=5, minExtent=34),
    )
    frame = frame.turned() if is_rank else frame
    return line_panel(points, frame, title=name, y_title=False, labels=is_last)


def _points(table: pl.DataFrame, interval: tuple[str, str]) -> pl.DataFrame:
    rows = table.filter(pl.col("variant").is_in(list(_LINES)))
    return points_frame(
        rows,
        "mean",
        interval,
        *("measure", "layer", "n", "n_texts"),
        line="variant",
        series=mapped("variant", _LINES),
        colour=mapped("variant", _TINTS),
    )
