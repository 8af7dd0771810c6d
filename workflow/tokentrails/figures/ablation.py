"""What changes where heads and MLPs give their means, by layer."""

from collections.abc import Sequence
from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.lines import edges, line_panel
from .pieces.notes import CONTROL, band_note, control_notes, dashed_note
from .pieces.points import draw_means, mapped, points_frame
from .pieces.roots import block_frame, rooted
from .pieces.text import counted
from .pieces.theme import GREY, PALETTE, figure, nothing_to_show

_PANELS = {
    "contribution": ("contribution to identity, with the part", "change of identity"),
    "identity_difference": ("identity after the block", "difference, part at its mean"),
    "last_identity_difference": ("identity after the last block", "difference, part at its mean"),
    "loss_difference": ("loss, in nats", "difference, part at its mean"),
}
_MLP, _STRONGEST, _OTHER = "MLP", "strongest head", "another head"
_LINES = {_MLP: PALETTE[1], _STRONGEST: PALETTE[0], _OTHER: PALETTE[2]}
_CONTROLS = {name: f"{CONTROL}, {name}" for name in (_MLP, _STRONGEST)}
_GREY_DASHES = {_CONTROLS[_MLP]: 0, _CONTROLS[_STRONGEST]: 2}
_COLUMNS, _WIDTH, _HEIGHT = 2, 320, 200
_TOOLTIP = ("series", "head", "n", "n_texts")


def ablation(
    attribution_causal: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    title: str,
    confidence: float,
) -> alt.TopLevelMixin:
    """A panel per measure, a line for the MLPs, the strongest heads and heads drawn at random.

    `attribution_causal` is the table of that name of one model and checkpoint, `control` the same
    of random weights, of all draws.
    """
    rows = _rows(attribution_causal)
    parts = {}
    for measure, words in _PANELS.items():
        ends = [end for end in (f"{measure}_low", f"{measure}_high") if end in rows.columns]
        drawn = _points(rows, measure, ends, _LINES)
        if control is not None:
            grey = draw_means(_rows(control), measure, "line", "layer")
            grey = grey.with_columns(pl.col("line").replace(_CONTROLS))
            grey = grey.with_columns(few=pl.col("line").replace_strict(_GREY_DASHES, default=0))
            tints = dict.fromkeys(_CONTROLS.values(), GREY)
            drawn = pl.concat([drawn, _points(grey, measure, ("low", "high"), tints)])
        if len(drawn):
            parts[words] = drawn
    if not parts:
        return nothing_to_show(title)
    panels = [
        line_panel(
            points,
            replace(block_frame(points, value, _WIDTH, _HEIGHT), tooltip=_TOOLTIP),
            title=name,
            labels=index % _COLUMNS == _COLUMNS - 1 or index == len(parts) - 1,
            x_title=edge["x_title"],
        )
        for index, (((name, value), points), edge) in enumerate(
            zip(parts.items(), edges(len(parts), _COLUMNS), strict=True)
        )
    ]
    n, texts = rows.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    lows = rows.select(low=pl.coalesce("^.*_difference_low$"))
    without = [
        words[0] for measure, words in _PANELS.items() if f"{measure}_low" not in rows.columns
    ]
    band = band_note(lows, confidence, "texts", without=without)
    band += dashed_note(rows, "few texts")
    notes = [
        "The output of a part is set to its mean (over the baseline's texts, where there are any), "
        "at all positions but the first, and the model runs on: difference, with the mean minus as "
        "it is. Strongest: the head with the largest mean contribution to identity in its block, "
        "in the same texts; another head: drawn at random.",
        f"Means over {counted(n, 'token')} in {counted(texts, 'text')}, without position 0. {band} "
        "The scales follow the square root.",
        *control_notes(control, "Grey, solid of the MLP and dotted of the strongest head"),
    ]
    chart = alt.concat(*panels, columns=_COLUMNS)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * (_WIDTH + 110))


def _rows(attribution_causal: pl.DataFrame) -> pl.DataFrame:
    """A row for each block and line: of the heads that are not drawn, the strongest."""
    line = (
        pl.when(pl.col("head").is_null())
        .then(pl.lit(_MLP))
        .when("control")
        .then(pl.lit(_OTHER))
        .otherwise(pl.lit(_STRONGEST))
    )
    keys = ("model", "checkpoint", "line", "layer")
    rows = attribution_causal.with_columns(line=line, size=pl.col("contribution").abs())
    rows = rows.sort(*keys, -pl.col("size"), "head", nulls_last=True)
    return rows.unique(keys, keep="first", maintain_order=True)


def _points(
    rows: pl.DataFrame, measure: str, ends: Sequence[str], tints: dict[str, str]
) -> pl.DataFrame:
    shown = rows.filter(pl.col("line").is_in(list(tints)))
    kept = ("layer", "head", "n", "n_texts")
    tint = mapped("line", tints)
    dash = pl.col("few").cast(pl.Int64)
    frame = points_frame(shown, measure, ends, *kept, line="line", colour=tint, dashed=dash)
    return rooted(frame)
