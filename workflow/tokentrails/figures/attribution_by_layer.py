"""What heads and MLPs do to identity, by layer."""

import altair as alt
import polars as pl

from .pieces.heat import head_grid, head_heat, signed_colour
from .pieces.lines import edges, line_panel
from .pieces.notes import CONTROL, band_note, control_notes, dashed_note
from .pieces.points import distinct, draw_means, exact, mapped, points_frame, runs
from .pieces.roots import block_frame, root_range, rooted
from .pieces.text import counted
from .pieces.theme import GREY, INK, PALETTE, figure, nothing_to_show

_PARTS = {
    "total": "all parts",
    "mlp": "MLP",
    "heads": "heads",
    "attention_bias": "attention bias",
    "attention_norm": "attention norm",
    "mlp_norm": "MLP norm",
}
_COLOURS = dict(zip(_PARTS, (INK, PALETTE[1], PALETTE[0], PALETTE[2], *PALETTE[3:5]), strict=True))
_ROOM, _HEIGHT, _EXTENT = 620, 230, 46  # pixels
_CHANGE = "change of identity"


def attribution_by_layer(
    by_layer: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Lines of the sums of parts, and a heat map of the heads.

    `by_layer` is the table attribution_by_layer of one model and checkpoint, `control` the same of
    random weights, of all draws.
    """
    points = _points(by_layer)
    if points.is_empty():
        return nothing_to_show(title)
    cells = by_layer.filter(part="head").select(
        "layer",
        *(exact(name).alias(new) for name, new in (("mean", "change"), *_ENDS.items())),
        row=pl.col("head").cast(pl.String),
    )
    rows = cells["row"].unique().cast(pl.Int64).sort().cast(pl.String).to_list()
    grid = head_grid(by_layer["layer"].unique().sort().to_list(), rows, room=_ROOM, extent=_EXTENT)
    if control is not None:
        drawn = draw_means(control.filter(part="total"), "mean", "layer")
        name = pl.lit(f"{CONTROL}, {_PARTS['total']}")
        grey = _roots(drawn, ("low", "high"), line=name, colour=pl.lit(GREY))
        points = pl.concat([points, grey], how="diagonal_relaxed")
    tooltip = [
        alt.Tooltip("layer:Q", title="block"),
        alt.Tooltip("row:N", title="head"),
        alt.Tooltip("change:Q", title=_CHANGE, format=".4f"),
        *(alt.Tooltip(f"{end}:Q", format=".4f") for end in _ENDS.values()),
    ]
    heads = head_heat(
        cells,
        grid,
        "change",
        signed_colour("heads", cells["change"]),
        tooltip,
        title="the heads by themselves",
    )
    panels = [
        line_panel(points, block_frame(points, _CHANGE, grid.width, _HEIGHT), title="by part"),
        heads,
    ]
    notes = [_note(points), _units(by_layer, points, confidence), *control_notes(control)]
    chart = alt.vconcat(*panels, spacing=24).resolve_scale(color="independent")
    return figure(chart, title=title, notes=notes, width=max(grid.width, 420) + 100)


def identity_parts(by_layer: pl.DataFrame, *, title: str, confidence: float) -> alt.TopLevelMixin:
    """The lines of the sums of parts, a panel for each model."""
    points = _points(by_layer)
    if points.is_empty():
        return nothing_to_show(title)
    names = distinct(points["run"])
    columns = min(3, len(names))
    low, high = root_range(points)
    panels = [
        line_panel(here, block_frame(here, _CHANGE, 270, _HEIGHT, low, high), title=name, **edge)
        for name, edge in zip(names, edges(len(names), columns), strict=True)
        for here in [points.filter(run=name)]
    ]
    chart = alt.concat(*panels, columns=columns)
    notes = [_note(points), _units(by_layer, points, confidence)]
    return figure(chart, title=title, notes=notes, width=max(columns, 2) * 390)


_ENDS = {"ci_low": "low", "ci_high": "high"}


def _points(table: pl.DataFrame) -> pl.DataFrame:
    """A points frame of the sums of parts, without those that a model does not have."""
    shown = runs(table).filter(
        pl.col("part").is_in(list(_PARTS)), (pl.col("mean") != 0).any().over("run", "part")
    )
    tint = mapped("part", _COLOURS)
    return _roots(shown, tuple(_ENDS), line=mapped("part", _PARTS), colour=tint)


def _roots(table: pl.DataFrame, ends: tuple[str, ...], **columns: pl.Expr) -> pl.DataFrame:
    kept = [name for name in ("run", "layer", "n", "n_texts") if name in table.columns]
    return rooted(points_frame(table, "mean", ends, *kept, **columns))


def _note(points: pl.DataFrame) -> str:
    norms = "norm" in " ".join(points["line"].unique())
    return (
        "What each part of a block adds to the cosine with the token's own embedding, on the "
        "straight path from before the block to after it: all parts add up to the change, "
        "whatever their order. "
        + ("Norms: what each changes of the sum that it takes. " if norms else "")
        + "The scale follows the square root."
    )


def _units(table: pl.DataFrame, points: pl.DataFrame, confidence: float) -> str:
    n, texts = table.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    most = "at most " if table["model"].n_unique() > 1 else ""
    where = f"{counted(n, 'token')} in {counted(texts, 'text')}, without position 0."
    band = band_note(points, confidence, "texts") + dashed_note(points, "few texts")
    return f"Means over {most}{where} {band}"
