"""What heads and MLPs add along a token's own embedding, and what its identity becomes."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from .pieces.heat import Grid, head_grid, head_heat, signed_colour
from .pieces.lines import end_labels, layer_ticks, level, targets
from .pieces.panel import cosine_range
from .pieces.points import exact, mapped, with_byte_marks
from .pieces.text import readable, shorten
from .pieces.text_tokens import token_labels, token_names, token_notes
from .pieces.theme import (
    GREY,
    INK,
    LINE_HEIGHT,
    PALETTE,
    TINT,
    figure,
    heading,
    nothing_to_show,
    sized,
)

_PARTS = {
    "attention_bias": "bias",
    "attention_norm": "attention norm",
    "mlp": "MLP",
    "mlp_norm": "MLP norm",
}
_GROUPS = {
    "heads": PALETTE[0],
    "bias": PALETTE[2],
    "MLP": PALETTE[1],
    "norms": PALETTE[3],
}
_KEYS = ("position", "layer", "part", "head")
_ROOM, _BARS, _CURVE = 620, 130, 150  # pixels: width of all panels, heights of the lower ones
_EXTENT = 46  # least width of what stands at the left of a panel
_MOST_LABELLED = 10  # lines of tokens
_MOST_LISTED = 8  # tokens in a tooltip


def attribution(
    attribution: pl.DataFrame,
    attribution_cosine: pl.DataFrame,
    attribution_sum: pl.DataFrame,
    *,
    show: str,
    title: str,
) -> alt.TopLevelMixin:
    """Contributions by layer and head, to the stream along the embedding and to identity.

    The tables are those of the same names of one model and checkpoint, `show` is the label of the
    text.
    """
    both = attribution.filter(label=show).join(
        attribution_cosine.filter(label=show).select(*_KEYS, change=exact("contribution")),
        on=_KEYS,
        nulls_equal=True,
        maintain_order="left",
    )
    parts = both.filter(
        # Most of today's decoders have none.
        (pl.col("part") != "attention_bias") | (pl.col("contribution") != 0).any().over("part")
    )
    sums = with_byte_marks(attribution_sum.filter(label=show), "token").sort("position", "layer")
    if parts.is_empty() or sums.is_empty():
        return nothing_to_show(title)
    names = token_names(sums)
    steps = _steps(parts)
    grid = _grid(parts)
    cells = _cells(steps, names)
    several = len(names) > 1
    total, mean = (", sum over tokens", ", mean over tokens") if several else ("", "")
    panels = [
        _heat(cells, "total", grid, title=f"contribution along the own embedding{total}"),
        _heat(cells, "change", grid, title=f"contribution to identity{mean}"),
        _bars(_changes(steps), sums, grid, title=f"what changes identity{mean}"),
        _curves(sums, names, grid),
    ]
    notes = [
        *(token_notes(show, names, len(names)) if several else [_only(show, names)]),
        "Contribution: e · output, where e is the token's own embedding at length 1; below zero it "
        "turns the stream away. Contribution to identity: to the cosine with e, on the straight "
        "path from before the block to after it; all parts add up to the change. Colours follow "
        "the square root, for heads and for the other parts on scales of their own.",
        "Dots: the whole change. "
        + "Thick: the mean over tokens; of one text, so it has no interval. " * several
        + "Block l turns layer l of the stream into layer l + 1.",
    ]
    notes += _dominant(parts, names)
    chart = alt.vconcat(*panels, spacing=24).resolve_scale(color="independent")
    return figure(chart, title=title, notes=notes, width=max(grid.width, 420) + 100)


def _only(show: str, names: Mapping[int, str]) -> str:
    ((position, token),) = names.items()
    return f"{show}: the token {readable(token)} at position {position}."


def _dominant(parts: pl.DataFrame, names: Mapping[int, str]) -> list[str]:
    """Which token the sums are mostly of, if one is most of them: often the first one."""
    sizes = parts.group_by("position", maintain_order=True).agg(
        pl.col("contribution").cast(pl.Float64).abs().sum()
    )
    position, size = sizes.sort("contribution", "position").row(-1)
    share = size / max(sizes["contribution"].sum(), 1e-12)
    if len(names) < 2 or share < 0.5:
        return []
    return [
        f"The sums are mostly of one token: {readable(names[position])}, at position {position}, "
        f"has {100 * share:.0f} % of the contributions' sizes."
    ]


def _steps(parts: pl.DataFrame) -> pl.DataFrame:
    """Contributions with the rows they stand in."""
    group = (
        pl.when(pl.col("part") == "head")
        .then(pl.lit("heads"))
        .when(pl.col("part").str.ends_with("norm"))
        .then(pl.lit("norms"))
        .otherwise(pl.col("part").replace(_PARTS))
    )
    return parts.select(
        *("position", "layer", "change"),
        row=pl.coalesce(pl.col("head").cast(pl.String), pl.col("part").replace(_PARTS)),
        group=group,
        contribution=pl.col("contribution").cast(pl.Float64),
    )


def _grid(parts: pl.DataFrame) -> Grid:
    """A row per head, a gap, and a row for each other part there is."""
    layers = parts["layer"].unique()
    heads = parts["head"].drop_nulls().unique().sort().cast(pl.String).to_list()
    others = [name for part, name in _PARTS.items() if part in set(parts["part"])]
    extent = max(_EXTENT, *(6 * len(name) for name in others), 0)
    every = range(min(layers), max(layers) + 1)
    return head_grid(every, [*heads, " ", *others], room=_ROOM, extent=extent)


def _cells(steps: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    """Sums and means over tokens, and in words those of the tokens that have most."""
    words = {position: shorten(readable(token), 18) for position, token in names.items()}
    value = pl.col("contribution")
    shown = pl.format("{} {}", mapped("position", words), value.round(3))
    shown = shown.sort_by(value.abs(), descending=True, maintain_order=True).head(_MOST_LISTED)
    cells = steps.sort("layer", "row", "position").group_by("layer", "row", maintain_order=True)
    return cells.agg(
        total=value.sum().round(6),
        change=pl.col("change").mean().round(6),
        tokens=shown.str.join(" · "),
    )


def _heat(cells: pl.DataFrame, value: str, grid: Grid, *, title: str) -> alt.LayerChart:
    """One measure by layer and row, blue where identity gains and orange where it loses.

    Heads have a scale of their own, or the other parts would make them all pale.
    """
    is_head = pl.col("row").str.contains(r"^\d+$")
    tooltip = [
        alt.Tooltip("layer:Q", title="block"),
        alt.Tooltip("row:N", title="part"),
        alt.Tooltip("total:Q", title="sum over tokens", format=".4f"),
        alt.Tooltip("change:Q", title="change of identity", format=".4f"),
        alt.Tooltip("tokens:N", title="most"),
    ]
    maps = [
        head_heat(part, grid, value, signed_colour(name, part[value]), tooltip, x_title=None)
        for name, part in (("heads", cells.filter(is_head)), ("others", cells.filter(~is_head)))
        if len(part)
    ]
    return alt.layer(*maps).resolve_scale(color="independent").properties(title=heading(title))


def _changes(steps: pl.DataFrame) -> pl.DataFrame:
    """What changes identity at each layer, as bars that stand on each other away from 0."""
    groups = steps.group_by("position", "layer", "group", maintain_order=True)
    parts = groups.agg(value=pl.col("change").sum())
    parts = parts.with_columns(pl.col("group").cast(pl.Enum(list(_GROUPS))))
    value = pl.col("value")
    means = parts.group_by("layer", "group", maintain_order=True).agg(value.mean())
    end = value.cum_sum().over("layer", value < 0)
    return means.sort("layer", "group").select(
        "layer",
        pl.col("group").cast(pl.String),
        value.round(6),
        start=(end - value).round(6),
        end=end.round(6),
    )


def _bars(changes: pl.DataFrame, sums: pl.DataFrame, grid: Grid, *, title: str) -> alt.LayerChart:
    """What changes identity at each layer, and how much it changes."""
    x = grid.layer_x("block")
    axis = alt.Axis(tickCount=5, minExtent=grid.extent)
    y = alt.Y("start:Q", axis=axis, title="change of identity")
    groups = [group for group in _GROUPS if group in set(changes["group"])]
    scale = alt.Scale(domain=groups, range=[_GROUPS[group] for group in groups])
    whole = pl.col("identity_after").cast(pl.Float64) - pl.col("identity_before")
    dots = sums.group_by("layer", maintain_order=True).agg(value=whole.mean().round(6))
    value = alt.Tooltip("value:Q", title="change of identity", format=".4f")
    bars = alt.Chart(changes).mark_bar(width=max(grid.cell[0] - 3, 4))
    points = alt.Chart(dots).mark_circle(size=22, color=INK, opacity=1)
    tint = alt.Color("group:N", scale=scale, legend=alt.Legend(symbolType="square"))
    block = alt.Tooltip("layer:Q", title="block")
    tooltip = [block, alt.Tooltip("group:N", title="part"), value]
    layers = [
        bars.encode(x=x, y=y, y2=alt.Y2("end:Q"), color=tint, tooltip=tooltip),
        level(y),
        points.encode(x=x, y=alt.Y("value:Q", axis=axis), tooltip=[block, value]),
    ]
    return sized(layers, grid.width, _BARS, title)


def _curves(sums: pl.DataFrame, names: Mapping[int, str], grid: Grid) -> alt.LayerChart:
    """Identity of each token at the borders of the blocks, above one another as in `grid`."""
    lines = _lines(sums, names)
    mean = lines.group_by("x", maintain_order=True).agg(pl.col("cosine").mean().round(6))
    mean = mean.sort("x").with_columns(
        position=pl.lit(-1), series=pl.lit("mean"), colour=pl.lit(INK)
    )
    first, last = grid.columns[0], grid.columns[-1] + 1
    low, high = cosine_range(lines)
    ticks = [tick for tick in layer_ticks(last) if tick >= first]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[first, last], nice=False),
        axis=alt.Axis(values=ticks, format="d", grid=False, labelFlush=False),
        title="layer",
    )
    y = alt.Y(
        "cosine:Q",
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(tickCount=6, format=".1~f", minExtent=grid.extent),
        title="cosine",
    )
    labelled = [mean] if len(names) > 1 else []
    labelled += [lines] if len(names) <= _MOST_LABELLED else []
    named = pl.concat(labelled, how="diagonal_relaxed")
    every = pl.concat([lines, mean], how="diagonal_relaxed")
    gap = LINE_HEIGHT * (high - low) / _CURVE
    right = last + 12 * len(grid.columns) / grid.width
    thin = alt.Chart(lines).mark_line(strokeWidth=1, strokeOpacity=0.5)
    tooltip = [
        alt.Tooltip("series:N", title="token"),
        alt.Tooltip("x:Q", title="layer"),
        alt.Tooltip("cosine:Q", format=".4f"),
    ]
    layers = [
        level(y),
        thin.encode(x=x, y=y, color=TINT, detail=alt.Detail("position:N")),
        alt.Chart(mean).mark_line(strokeWidth=2.4).encode(x=x, y=y, color=TINT),
        *end_labels(named, ["position"], x, y, right, (low, high), gap, inside=False),
        targets(alt.Chart(every).encode(x=x, y=y), tooltip),
    ]
    return sized(layers, grid.width, _CURVE, "identity: cosine with the own embedding")


def _lines(sums: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    """Identity of every token before and after each block; x counts the blocks passed."""
    ends = pl.concat(
        sums.select("position", x=pl.col("layer") + after, cosine=column)
        for after, column in ((0, "identity_before"), (1, "identity_after"))
    )
    return (
        ends.with_columns(exact("cosine"))
        .drop_nulls("cosine")
        .unique(["position", "x"], keep="first", maintain_order=True)
        .sort("position", "x")
        .with_columns(series=mapped("position", token_labels(names)), colour=pl.lit(GREY))
    )
