"""How far tokens have turned, and whether they are lost: identity beside what a map can decode."""

from collections.abc import Mapping, Sequence

import altair as alt
import polars as pl

from .pieces.lines import Frame, line_panel, value_range
from .pieces.notes import CONTROL, band_note, control_notes, not_drawn
from .pieces.points import DEPTH_SHARE, LINE, distinct, draw_means, mapped, points_frame, runs
from .pieces.text import counted
from .pieces.theme import GREY, colour, figure, nothing_to_show

_TURNED = "identity"
_DECODED = {"ridge": "decodable, ridge", "orthogonal": "decodable, rotation"}
_COLOURS = {name: colour(index) for index, name in enumerate((*_DECODED.values(), _TURNED))}
_GREY_DASHES = dict(zip(_COLOURS, (2, 3, 0), strict=True))
"""Of each line of random weights, where there are several, the number of its dash."""
_GREYS = "Grey (dotted: ridge, dash-dotted: rotation)"
_MAPS = {
    "ridge": "ridge",
    "orthogonal": "rotation",
    "standardised": "z-scores",
    "centred": "centred",
    "none": "as it is",
}
_TARGETS = {"own": "the token itself", "previous": "the token before it"}
_SHUFFLED = "shuffled targets"
_INTERVAL = ("low", "high")
_HAS_FIRST = pl.col("first").fill_null(0) > 0
_BEYOND = 1.05  # where labels stand, as a share of the layers
_SIZE = (270, 210, ("series", "n", "n_types"))
_SHARE, _OF_FIRST = "share decoded", "share of layer 0"
_NOTE = (
    "Identity: mean cosine of states with the token's own embedding, which says how far they have "
    "turned. Decodable: share of tokens found among all entries by a map to the embedding that is "
    "fitted to other types; what one map loses, another may find. Each type counts once; position "
    "0 is left out."
)


def decodability(
    table: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """Turned and lost relative to layer 0, then the share decoded by map, of each target.

    `table` is the table decodability of one model and checkpoint, `control` the same of random
    weights, of all draws.
    """
    stream = _stream(table)
    turned = _relative(stream)
    if turned.is_empty():
        return nothing_to_show(title)
    depth: int = stream.select(pl.col("layer").max()).item()
    both = [turned]
    maps = [_by_map(stream)]
    streams = [stream]
    if control is not None:
        streams.append(grey := _stream(control))
        both.append(_of_draws(_relative(grey), "layer"))
        ridge = _by_map(grey).filter(line="ridge")
        maps.append(_of_draws(ridge, "target", "layer"))
    turned, decoded = (pl.concat(each, how="diagonal_relaxed") for each in (both, maps))
    frame = Frame.over_layers(depth, _BEYOND, _OF_FIRST, *value_range(turned, top=1), *_SIZE)
    panels = [line_panel(turned, frame, title="turned, and lost")]
    frame = Frame.over_layers(depth, _BEYOND, _SHARE, *value_range(decoded, top=1), *_SIZE)
    panels += [
        line_panel(decoded.filter(target=target), frame, title=name)
        for target, name in _TARGETS.items()
    ]
    n, n_types, n_fit = stream.filter(target="own").select("n", "n_types", "n_fit").row(0)
    notes = [
        _NOTE,
        f"Tested: {counted(n, 'token')} of {counted(n_types, 'type')}. "
        f"Fitted: {counted(n_fit, 'token')} of other types.",
        band_note(_by_map(stream), confidence, "types", without=[_TURNED])
        + " Dashed grey: chance, by ridge with targets shuffled among the fitted types, and among "
        "the tested ones.",
    ]
    notes += [*_few(stream), *_not_drawn(streams), *control_notes(control, _GREYS)]
    chart = alt.concat(*panels, columns=3)
    return figure(chart, title=title, notes=notes, width=3 * (frame.width + 120))


def turned_and_lost(
    decodability: pl.DataFrame, *, title: str, confidence: float, controls: Mapping[str, str]
) -> alt.TopLevelMixin:
    """Identity and what maps decode, relative to layer 0: a panel per model, over its depth.

    `controls` gives the model of each one of random weights, in whose panel that is grey.
    """
    stream = _stream(decodability)
    names = dict(stream.select("model", "run").iter_rows())
    panel = {run: names.get(controls.get(model, ""), run) for model, run in names.items()}
    points = _relative(stream)
    if points.is_empty():
        return nothing_to_show(title)
    points = points.with_columns(
        share=DEPTH_SHARE,
        panel=mapped("run", panel),
        untrained=pl.col("run") != mapped("run", panel),
    )
    grey = _of_draws(points.filter("untrained"), "panel", "share")
    points = pl.concat([points.filter(~pl.col("untrained")), grey], how="diagonal_relaxed")
    frame = Frame.over_depth(
        "share", "layer / depth", _BEYOND, _OF_FIRST, *value_range(points, top=1), *_SIZE
    )
    panels = [
        line_panel(points.filter(panel=name), frame, title=name)
        for name in distinct(points["panel"])
    ]
    columns = min(3, len(panels))
    chart = alt.concat(*panels, columns=columns)
    width = max(columns, 2) * (frame.width + 110)
    decoded = points.filter(pl.col("line") != _TURNED)
    notes = [_NOTE, band_note(decoded, confidence, "types", without=[_TURNED])]
    notes += [*_few(stream), *_not_drawn([stream])]
    if len(grey):
        first = grey["panel"][0]
        untrained = [run for run, own in panel.items() if own == first != run]
        notes += control_notes(stream.filter(pl.col("run").is_in(untrained)), _GREYS)
    return figure(chart, title=title, notes=notes, width=width)


def _stream(table: pl.DataFrame) -> pl.DataFrame:
    return runs(table.filter(site=LINE))


def _relative(stream: pl.DataFrame) -> pl.DataFrame:
    """A points frame of identity and of what fitted maps decode, as shares of their layer 0."""
    columns = pl.col("value", "low", "high")
    shares = _lines(stream).filter(_HAS_FIRST).with_columns(columns / pl.col("first"))
    kept = ("run", "layer", "n", "n_types")
    tint = mapped("line", _COLOURS)
    return points_frame(shares, "value", _INTERVAL, *kept, line="line", colour=tint)


def _not_drawn(streams: Sequence[pl.DataFrame]) -> list[str]:
    """Which lines cannot be shares of their layer 0; by run, where there are several."""
    lines = pl.concat([_lines(stream) for stream in streams])
    name = mapped("map", _MAPS | {"none": _TURNED})
    if lines["run"].n_unique() > 1:
        name = pl.format("{} of {}", name, "run")
    names = lines.filter(~_HAS_FIRST).select(name.unique(maintain_order=True)).to_series()
    return not_drawn("without a value above 0 at layer 0 to be a share of", names.to_list())


def _lines(stream: pl.DataFrame) -> pl.DataFrame:
    """Identity and what fitted maps decode of the token itself, with first, that at layer 0."""
    own = stream.filter(~pl.col("control"), target="own")
    identity = own.filter(map="none").with_columns(
        line=pl.lit(_TURNED),
        value="cosine",
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
    )
    decoded = own.filter(pl.col("map").is_in(list(_DECODED))).with_columns(
        line=mapped("map", _DECODED), value="top1", low="ci_low", high="ci_high"
    )
    first = pl.col("value").filter(pl.col("layer") == 0).first().over("run", "line")
    return (
        pl.concat([identity, decoded], how="vertical_relaxed")
        .with_columns(pl.col("value", "low", "high").cast(pl.Float64))
        .with_columns(first=first)
    )


def _by_map(stream: pl.DataFrame) -> pl.DataFrame:
    """A points frame of the share decoded by each map, and by ridge with shuffled targets."""
    shown = stream.filter(~pl.col("control") | (pl.col("map") == "ridge"))
    tints = {name: colour(index) for index, name in enumerate(_MAPS)}
    shuffled = pl.col("control")
    return points_frame(
        shown,
        "top1",
        ("ci_low", "ci_high"),
        *("target", "layer", "n", "n_types"),
        line=pl.when(shuffled).then(pl.lit(_SHUFFLED)).otherwise(mapped("map", _MAPS)),
        colour=pl.when(shuffled).then(pl.lit(GREY)).otherwise(mapped("map", tints)),
        dashed=shuffled | pl.col("few"),
    )


def _of_draws(points: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """The mean of points over the draws of random weights, in grey, with their range."""
    means = draw_means(points.drop("low", "high"), "value", "line", *keys)
    alone = means["line"].n_unique() == 1
    named = pl.lit(CONTROL) if alone else pl.format("{}, {}", "line", pl.lit(CONTROL))
    dash = pl.lit(0) if alone else pl.col("line").replace_strict(_GREY_DASHES)
    return means.with_columns(line=named, series=named, colour=pl.lit(GREY), dashed=dash)


def _few(stream: pl.DataFrame) -> list[str]:
    few = "Dashed, in colour: few tokens, and the curves are no more than a hint."
    return [few] if stream["few"].any() else []
