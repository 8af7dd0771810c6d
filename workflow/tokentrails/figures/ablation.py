"""What changes where heads and MLPs give their means, by layer."""

from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.lines import edges, line_panel
from .pieces.notes import band_note
from .pieces.points import points_frame
from .pieces.roots import block_frame, rooted
from .pieces.theme import GREY, PALETTE, figure, nothing_to_show

_PANELS = {
    "contribution": ("contribution to identity, with the part", "change of identity"),
    "identity_difference": ("identity after the block", "difference, part at its mean"),
    "last_identity_difference": ("identity after the last block", "difference, part at its mean"),
    "loss_difference": ("loss, in nats", "difference, part at its mean"),
}
_LINES = {"MLP": PALETTE[1], "strongest head": PALETTE[0], "another head": GREY}
_COLUMNS, _WIDTH, _HEIGHT = 2, 320, 200
_TOOLTIP = ("series", "head", "n", "n_texts")


def ablation(
    attribution_causal: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per measure, a line for the MLPs, the strongest heads and heads drawn at random.

    `attribution_causal` is the table of that name of one model and checkpoint.
    """
    strongest = pl.col("contribution").abs() == pl.col("contribution").abs().max()
    is_head = (pl.col("part") == "head") & ~pl.col("control")
    rows = attribution_causal.filter(~is_head | strongest.over("layer", "part", "control"))
    line = (
        pl.when(is_head)
        .then(pl.lit("strongest head"))
        .when("control")
        .then(pl.lit("another head"))
        .otherwise(pl.lit("MLP"))
    )
    rows = rows.with_columns(line=line).unique(["layer", "line"], keep="first", maintain_order=True)
    parts = {}
    for measure, words in _PANELS.items():
        drawn = _points(rows, measure)
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
    band = band_note(confidence, "texts") if texts > 1 else "One text has no interval."
    notes = [
        "The output of a part is set to its mean (over the baseline's texts, where there are any), "
        "at all positions but the first, and the model runs on: difference, with the mean minus as "
        "it is. Strongest: the head with the largest mean contribution to identity in its block, "
        "in the same texts; another head: drawn at random.",
        f"Means over {n:,} tokens in {texts:,} texts, without position 0. {band} "
        "The scales follow the square root.",
    ]
    chart = alt.concat(*panels, columns=_COLUMNS)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * (_WIDTH + 110))


def _points(rows: pl.DataFrame, measure: str) -> pl.DataFrame:
    nothing = pl.lit(None, pl.Float64)
    ends = {end: f"{measure}_{end}" for end in ("low", "high")}
    shown = rows.with_columns(
        **{
            f"_{end}": pl.col(name) if name in rows.columns else nothing
            for end, name in ends.items()
        }
    )
    tint = pl.col("line").replace_strict(_LINES, return_dtype=pl.String)
    kept = ("layer", "head", "n", "n_texts")
    return rooted(points_frame(shown, measure, ("_low", "_high"), *kept, line="line", colour=tint))
