"""How alike random pairs are, layer by layer, and which dimensions make them so."""

from dataclasses import replace

import altair as alt
import polars as pl

from .pieces.lines import Frame, empty_panel, line_panel, value_range
from .pieces.notes import band_note
from .pieces.panel import layer_ticks
from .pieces.theme import colour, figure, nothing_to_show

_KINDS = {"states": "two states", "embedding": "a state and an embedding"}
_LINES = ("resid", "resid_mid")
_DIMENSIONS = 5  # most that are drawn
_BEYOND = 1.06  # where labels stand, as a share of the layers


def baseline(
    table: pl.DataFrame, dimensions: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Mean cosine of random pairs by layer, a panel for each kind, and the largest shares of it.

    The tables are baseline and baseline_dimensions of one model and checkpoint.
    """
    points = _points(table)
    if points.is_empty():
        return nothing_to_show(title)
    last = points.select(pl.col("layer").max()).item()
    low, high = value_range(points, top=0.0)
    end = max(last, 1) * _BEYOND
    frame = Frame(
        x=alt.X(
            "layer:Q",
            scale=alt.Scale(domain=[0, end], nice=False),
            axis=alt.Axis(values=layer_ticks(last), grid=False, format="d", labelFlush=False),
            title="layer",
        ),
        field="layer",
        right=end,
        value="mean cosine",
        low=min(low, -0.04),
        high=high,
        width=290,
        height=230,
        tooltip=("site",),
    )
    panels: list[alt.Chart | alt.LayerChart] = [
        _chance_panel(points.filter(kind=kind), frame, title=heading, y_title=kind == "states")
        for kind, heading in _KINDS.items()
    ]
    panels.append(_share_panel(dimensions, frame))
    sample = table.row(0, named=True)
    has_norm = (points["site"] == "final_norm").any()
    after = " Hollow diamond: the last layer after the final norm." if has_norm else ""
    notes = [
        f"Pairs of tokens of different texts, and with different ids: {sample['n_tokens']:,} "
        f"tokens of {sample['n_texts']:,} texts, without the first of each text. Layer of "
        "resid_mid: the block." + after,
        "Share: the part of two states' mean cosine that one dimension makes, at resid; it may be "
        "below 0, and all dimensions together make 1. The dimensions with the largest ones are "
        "named by their index.",
        band_note(confidence, over="texts") + " Shares are those of these texts, without one.",
    ]
    chart = alt.hconcat(*panels, spacing=34)
    return figure(chart, title=title, notes=notes, width=3 * (frame.width + 100))


def _chance_panel(
    points: pl.DataFrame, frame: Frame, *, title: str, y_title: bool
) -> alt.LayerChart:
    """A line per site, with the final norm as a diamond."""
    lines = points.filter(pl.col("site").is_in(_LINES))
    after = points.filter(pl.col("site") == "final_norm")
    if lines.is_empty():  # only the final norm was read
        return line_panel(after, frame, title=title, y_title=y_title)
    y = alt.Y("value:Q", scale=frame.scale, title=frame.value if y_title else None)
    drawn = line_panel(lines, frame, title=title, y_title=y_title)
    if len(after):
        diamond = alt.Chart(after).mark_point(
            shape="diamond", size=55, strokeWidth=1.6, fill="white", opacity=1
        )
        tint = alt.Stroke("colour:N", scale=None)
        ends = after.drop_nulls(["low", "high"])
        if len(ends):
            bar = alt.Chart(ends).mark_rule(strokeWidth=1.2, opacity=0.6)
            low = alt.Y("low:Q", scale=frame.scale, title=frame.value if y_title else None)
            colour_of = alt.Color("colour:N", scale=None)
            drawn.layer.append(bar.encode(x=frame.x, y=low, y2="high:Q", color=colour_of))
        tooltip = ["site:N", alt.Tooltip("value:Q", title=frame.value, format=".4f")]
        drawn.layer.append(diamond.encode(x=frame.x, y=y, stroke=tint, tooltip=tooltip))
    return drawn


def _share_panel(dimensions: pl.DataFrame, frame: Frame) -> alt.LayerChart | alt.Chart:
    """The shares of the dimensions whose share is largest at some layer of resid."""
    heading = "share of single dimensions"
    shares = dimensions.filter(pl.col("site") == "resid").drop_nulls("share")
    largest = (
        shares.group_by("dimension")
        .agg(pl.col("share").max())
        .sort("share", "dimension", descending=[True, False])
        .head(_DIMENSIONS)["dimension"]
        .to_list()
    )
    if not largest:
        return empty_panel("not read at resid", frame, title=heading)
    tints = {dimension: colour(index) for index, dimension in enumerate(largest)}
    chosen = shares.filter(pl.col("dimension").is_in(largest)).select(
        "layer",
        "dimension",
        line=pl.col("dimension").cast(pl.String),
        series=pl.format("dimension {}", "dimension"),
        colour=pl.col("dimension").replace_strict(tints, return_dtype=pl.String),
        dashed=pl.lit(False),
        value=pl.col("share").cast(pl.Float64).round(6),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
    )
    low, high = value_range(chosen, top=1.0)
    own = replace(frame, value="share", low=min(low, -0.04), high=high, tooltip=("series",))
    return line_panel(chosen.sort("dimension", "layer"), own, title=heading)


def _points(table: pl.DataFrame) -> pl.DataFrame:
    """A points frame (see `lines`) with a line per site for every kind."""
    tints = {site: colour(index) for index, site in enumerate((*_LINES, "final_norm"))}
    tints["final_norm"] = tints["resid"]
    return (
        table.select(
            *("site", "layer", "kind"),
            line="site",
            series="site",
            colour=pl.col("site").replace_strict(tints, return_dtype=pl.String),
            dashed=pl.lit(False),
            value=pl.col("cosine").cast(pl.Float64).round(6),
            low=pl.col("ci_low").cast(pl.Float64).round(6),
            high=pl.col("ci_high").cast(pl.Float64).round(6),
        )
        .drop_nulls("value")
        .sort("kind", "site", "layer")
    )
