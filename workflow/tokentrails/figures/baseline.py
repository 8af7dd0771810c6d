"""How alike random pairs are, layer by layer, and which dimensions make them so."""

from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.lines import Frame, line_panel, norm_marks, value_range
from .pieces.notes import band_note
from .pieces.points import AFTER_NORM, LINE, mapped, points_frame
from .pieces.text import counted
from .pieces.theme import colour, figure, nothing_to_show, shaded

_KINDS = {"states": "two states", "embedding": "a state and an embedding"}
_COLOURS = {LINE: colour(0), "resid_mid": colour(1), AFTER_NORM: colour(0)}
_DIMENSIONS = 5  # most that are drawn


def baseline(
    table: pl.DataFrame, dimensions: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine of random pairs by layer, a panel for each kind, and the largest shares of it.

    The tables are baseline and baseline_dimensions of one model and checkpoint.
    """
    points = points_frame(
        table,
        "cosine",
        ("ci_low", "ci_high"),
        *("site", "layer", "kind"),
        line="site",
        colour=mapped("site", _COLOURS),
        dashed=pl.lit(value=False),
    ).sort("kind", "site", "layer")
    if points.is_empty():
        return nothing_to_show(title)
    last: int = points.select(pl.col("layer").max()).item()
    low, high = value_range(points, top=0.0)
    frame = Frame.over_layers(
        last, 1.06, "mean cosine", min(low, -0.04), high, 290, 230, tooltip=("site",)
    )
    panels: list[alt.Chart | alt.LayerChart] = [
        _chance_panel(points.filter(kind=kind), frame, title=name, y_title=kind == "states")
        for kind, name in _KINDS.items()
    ]
    panels.append(_share_panel(dimensions, frame))
    sample = table.row(0, named=True)
    has_norm = (points["site"] == AFTER_NORM).any()
    after = " Hollow diamond: the last layer after the final norm." if has_norm else ""
    notes = [
        "Pairs of tokens of different texts, and with different ids: "
        f"{counted(sample['n_tokens'], 'token')} of {counted(sample['n_texts'], 'text')}, without "
        "the first of each text. Layer of resid_mid: the block." + after,
        "Share: the part of two states' mean cosine that one dimension makes, at resid; it may be "
        "below 0, and all dimensions together make 1. The dimensions with the largest ones are "
        "named by their index.",
        band_note(points, confidence, "texts") + " Shares are those of these texts, "
        "without an interval.",
    ]
    chart = alt.hconcat(*panels, spacing=34)
    return figure(chart, title=title, notes=notes, width=3 * (frame.width + 100))


def _chance_panel(
    points: pl.DataFrame, frame: Frame, *, title: str, y_title: bool
) -> alt.LayerChart:
    """A line per site, with the final norm as a diamond."""
    lines = points.filter(pl.col("site") != AFTER_NORM)
    after = points.filter(site=AFTER_NORM)
    if lines.is_empty():  # only the final norm was read
        return line_panel(after, frame, title=title, y_title=y_title)
    drawn = line_panel(lines, frame, title=title, y_title=y_title)
    y = alt.Y("value:Q", scale=frame.scale, title=frame.value if y_title else None)
    tooltip = [alt.Tooltip("site:N"), alt.Tooltip("value:Q", title=frame.value, format=".4f")]
    drawn.layer += norm_marks(after, after, frame.x, y, tooltip)
    return drawn


def _share_panel(dimensions: pl.DataFrame, frame: Frame) -> alt.LayerChart | alt.Chart:
    """The shares of the dimensions whose share is largest at some layer of resid."""
    heading = "share of single dimensions"
    shares = dimensions.filter(site=LINE).drop_nulls("share")
    largest = shares.group_by("dimension").agg(pl.col("share").max())
    largest = largest.sort("share", "dimension", descending=[True, False]).head(_DIMENSIONS)
    if largest.is_empty():
        return shaded("not read at resid", frame.width, frame.height, heading)
    tints = {dimension: colour(index) for index, dimension in enumerate(largest["dimension"])}
    chosen = points_frame(
        shares.filter(pl.col("dimension").is_in(list(tints))),
        "share",
        (),
        *("layer", "dimension"),
        line=pl.col("dimension").cast(pl.String),
        series=pl.format("dimension {}", "dimension"),
        colour=mapped("dimension", tints),
        dashed=pl.lit(value=False),
    )
    low, high = value_range(chosen, top=1.0)
    own = replace(frame, value="share", low=min(low, -0.04), high=high, tooltip=("series",))
    return line_panel(chosen.sort("dimension", "layer"), own, title=heading)
