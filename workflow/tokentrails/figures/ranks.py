"""Dense Paths and Sparse Trails: how near each token of a text stays to its own embedding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import polars as pl

from .pieces.forms import VALUES
from .pieces.lines import bands, column, end_labels, layer_ticks, level, linear_x, targets
from .pieces.notes import CONTROL, form_notes
from .pieces.points import mapped
from .pieces.rank_axis import place, rank_axis
from .pieces.text_tokens import (
    COLOURS,
    PUBLISHED_NOTE,
    axis_name,
    text_notes,
    text_tokens,
    tooltips,
)
from .pieces.theme import GREY, LINE_HEIGHT, TINT, beside, colour, figure, nothing_to_show, sized

_WIDTH = 400
_NAMES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_SHAPES = dict(zip(COLOURS, _NAMES, strict=True))

# In a browser: the line under the pointer, and the token that was clicked, in all panels.
_OVER = alt.selection_point(name="over", fields=["position"], on="pointerover", clear="pointerout")
_PICKED = alt.selection_point(name="picked", fields=["position"])


@dataclass(frozen=True)
class Reference:
    """What tokens are compared with, by layer.

    Attributes
    ----------
    chance: low, value and high of random pairs.
    control: position, layer and value of the same tokens with random weights.
    pairs: whether chance is of the states of one token with what belongs to another.
    """

    chance: pl.DataFrame | None = None
    control: pl.DataFrame | None = None
    pairs: bool = True

    def mapped(self, function: Callable[[Any], float | None]) -> Reference:
        """The same of a function of the values, which keeps their order."""
        columns = pl.col("^(low|value|high)$").map_elements(function, return_dtype=pl.Float64)
        chance, control = (
            None if part is None else part.with_columns(columns)
            for part in (self.chance, self.control)
        )
        return replace(self, chance=chance, control=control)

    @property
    def values(self) -> list[float]:
        parts = [part for part in (self.chance, self.control) if part is not None]
        columns = (part[n] for part in parts for n in ("low", "high", "value") if n in part.columns)
        return [value for column in columns for value in column.drop_nulls().drop_nans()]

    @property
    def notes(self) -> list[str]:
        """What its lines are."""
        found = []
        if self.chance is not None:
            found.append(
                "Grey band, dotted line: middle 80 % and median of random tokens of the baseline's "
                + ("texts, each with another token in its place." if self.pairs else "texts.")
            )
        if self.control is not None:
            found.append(f"Dashed: the same tokens with {CONTROL}, before any training.")
        return found


NO_REFERENCE = Reference()


@dataclass(frozen=True)
class _Measure:
    """A column of tokens frames and the axis that shows it.

    Attributes
    ----------
    reverse: whether small values are on top.
    tinted: whether each token has a colour of its own, and not that of its kind.
    told: the column that tooltips have, where the axis shows another.
    x: what the columns of the axis across are, layers or blocks.
    """

    column: str
    name: str
    low: float
    high: float
    axis: alt.Axis
    reverse: bool = False
    reference: Reference = NO_REFERENCE
    tinted: bool = False
    told: str | None = None
    x: str = "layer"


def similarity_layers(
    ranks: pl.DataFrame,
    *,
    show: str,
    title: str,
    row: str = "embedding",
    form: str = "cosine",
    reference: Reference = NO_REFERENCE,
    tinted: bool = False,
) -> alt.TopLevelMixin:
    """Cosine of each token of a text with its own embedding, a line per token.

    `ranks` is the table of that name of one model and checkpoint, `show` the label of the text,
    `row` a key of `MATRICES`, `form` one of `VALUES`, which the column `cosine` is of;
    `tinted` gives each token a colour.
    What the published formula gives, if the table has it, is a panel of its own. In a browser the
    line under the pointer is thick, and a click on a line or a label makes the others faint.
    """
    tokens = text_tokens(ranks, show)
    columns = (tokens[name].drop_nulls() for name in ("cosine", "published_cosine"))
    values = [0.0, *itertools.chain(*columns), *reference.values]
    low, high = min(values), max(*values, min(values) + 0.2)
    room = 0.04 * (high - low)
    axis = alt.Axis(tickCount=6)
    name = f"{VALUES[form]} with own {row}"
    measure = _Measure("cosine", name, low - room, high + room, axis, False, reference, tinted)
    return _figure(ranks, tokens, measure, form_notes([form]), show=show, title=title, row=row)


def rank_layers(
    ranks: pl.DataFrame,
    *,
    show: str,
    title: str,
    row: str = "embedding",
    form: str = "cosine",
    reference: Reference = NO_REFERENCE,
    tinted: bool = False,
) -> alt.TopLevelMixin:
    """Rank of each token's own embedding, on an axis of log(1 + rank): rank 0 is on top.

    Otherwise as `similarity_layers`, so that up is closer in both.
    """
    tokens = text_tokens(ranks, show)
    reference = reference.mapped(place)
    columns = (tokens[name].drop_nulls() for name in ("place", "published_place"))
    high = max([place(1), *itertools.chain(*columns), *reference.values])
    room = 0.04 * high
    axis = rank_axis(0, high)
    name = f"rank of own {row}"
    measure = _Measure("place", name, -room, high + room, axis, True, reference, tinted)
    notes = [
        "Rank: how many vocabulary entries are closer to the state than the token's own "
        f"{row}. At the top, rank 0, none is; the axis is that of log(1 + rank).",
        *(form_notes([form]) if form != "scaled" else []),  # which has the same order
    ]
    return _figure(ranks, tokens, measure, notes, show=show, title=title, row=row)


def token_layers(
    tokens: pl.DataFrame,
    column: str,
    *,
    name: str,
    notes: list[str],
    title: str,
    reference: Reference = NO_REFERENCE,
    tinted: bool = False,
    is_log: bool = False,
) -> alt.TopLevelMixin:
    """Any number of each token at each layer, a line per token.

    `tokens` is a tokens frame with this column; `name` is what the axis says of it, in logarithms
    where `is_log`.
    """
    shown = column
    if is_log:
        shown, reference = "log", reference.mapped(_log)
        tokens = tokens.with_columns(log=pl.col(column).map_elements(_log, pl.Float64))
    values = tokens[shown].drop_nulls().to_list()
    if not values:
        return nothing_to_show(title)
    values += reference.values
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.1
    low, high = low - room, high + room
    axis = _log_axis(low, high) if is_log else alt.Axis(tickCount=6)
    measure = _Measure(shown, name, low, high, axis, False, reference, tinted, column)
    return _drawn({None: tokens}, measure, [*notes, *_token_notes(tokens, column)], title)


def _log(value: float) -> float | None:
    return math.log10(value) if value > 0 else None


def _log_axis(low: float, high: float) -> alt.Axis:
    """An axis of decimal logarithms with the roundest numbers of which at least four are there."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for digits in ([1], [1, 2, 5], range(1, 10), [n / 10 for n in range(10, 100)]):
        every = (round(power + math.log10(digit), 9) for power in powers for digit in digits)
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 4:
            break
    number = "format(pow(10, datum.value), ',.3~r')"
    return alt.Axis(values=ticks, labelExpr=number, labelOverlap=True)


def _figure(
    ranks: pl.DataFrame,
    tokens: pl.DataFrame,
    measure: _Measure,
    notes: list[str],
    *,
    show: str,
    title: str,
    row: str,
) -> alt.TopLevelMixin:
    if tokens[measure.column].is_null().all():
        return nothing_to_show(title)
    notes = [*text_notes(ranks, show, row), *notes, *_token_notes(tokens, measure.column)]
    parts: dict[str | None, pl.DataFrame] = {None: tokens}
    if tokens[f"published_{measure.column}"].is_not_null().any():
        # The published formula knows no nearest words.
        plain = ("cosine", "rank", "place")
        published = tokens.drop(*plain, "nearest").rename({f"published_{n}": n for n in plain})
        parts = {"right formula": tokens, "as published": published}
        notes.append(PUBLISHED_NOTE)
    measure = replace(measure, x=axis_name(ranks.filter(label=show)))
    return _drawn(parts, measure, notes, title)


def _drawn(
    parts: Mapping[str | None, pl.DataFrame], measure: _Measure, notes: list[str], title: str
) -> alt.TopLevelMixin:
    """A panel for each tokens frame, by its name; all have the same tokens."""
    notes = [*notes, *measure.reference.notes]
    if measure.tinted:
        parts = {name: _tinted(part) for name, part in parts.items()}
    tokens = next(iter(parts.values()))
    last: int = tokens.select(pl.col("layer").max()).item()
    height = max(300, (LINE_HEIGHT + 1) * tokens["position"].n_unique())
    panels = [
        _panel(part, measure, last, height, index, title=name)
        for index, (name, part) in enumerate(parts.items())
    ]
    width = len(panels) * (_WIDTH + 130)
    return figure(_linked(panels), title=title, notes=notes, width=width)


def _tinted(tokens: pl.DataFrame) -> pl.DataFrame:
    """The same with a colour for each token."""
    positions = tokens["position"].unique().sort()
    colours = {position: colour(index) for index, position in enumerate(positions)}
    return tokens.with_columns(colour=mapped("position", colours))


def _token_notes(tokens: pl.DataFrame, column: str) -> list[str]:
    """What labels hold besides tokens, and which tokens have no line."""
    notes = []
    if tokens.select(pl.col("series").str.ends_with(pl.format(" ({})", "position")).any()).item():
        notes.append("In brackets: the position, from 0, of tokens that read the same.")
    undefined = tokens.filter(pl.col(column).is_null().all().over("position"))["series"]
    if len(undefined):
        names = ", ".join(undefined.unique(maintain_order=True))
        notes.append(f"Not drawn, since it is not defined: {names}.")
    return notes


def _panel(
    tokens: pl.DataFrame,
    measure: _Measure,
    last: int,
    height: int,
    index: int,
    *,
    title: str | None,
) -> alt.LayerChart:
    """A line per token, labelled at its end; the layers run from 0 to `last`."""
    known = tokens.drop_nulls(measure.column)
    right = max(last, 1) * 1.09
    x = linear_x("layer", right, layer_ticks(last), title=measure.x)
    limits = (measure.low, measure.high)
    y = alt.Y(
        f"{measure.column}:Q",
        scale=alt.Scale(domain=list(limits), nice=False, reverse=measure.reverse),
        axis=measure.axis,
        title=None if index else measure.name,
    )
    # As channels, since of a bare condition Altair looks through all that it knows for its class.
    seen = alt.OpacityValue(**alt.when(_PICKED).then(alt.value(1)).otherwise(alt.value(0.12)))
    thick = alt.when(_OVER, empty=False).then(alt.value(4)).otherwise(alt.value(1.6))
    width = alt.StrokeWidthValue(**thick)
    # Where lines end together the first token stands on top, whichever way the axis runs.
    ordered = known.reverse() if measure.reverse else known
    gap = LINE_HEIGHT * (measure.high - measure.low) / height
    labels = end_labels(ordered, ["position"], x, y, right, limits, gap)
    tooltip = [each for each in tooltips(measure.x) if column(each) in tokens.columns]
    if measure.told:
        tooltip.append(alt.Tooltip(f"{measure.told}:Q", title=measure.name, format=".4f"))
    # With what is not defined, where a line is to break.
    lines = alt.Chart(tokens, name=f"lines_{index}").mark_line(strokeCap="butt")
    layers = [
        *([level(y)] if measure.low <= 0 <= measure.high and measure.column != "log" else []),
        *(_reference(tokens, measure, x, y) if index == 0 else []),  # which is of the right formula
        lines.encode(
            x=x, y=y, color=TINT, detail=alt.Detail("position:N"), strokeWidth=width, opacity=seen
        ),
        _ends(known, tinted=measure.tinted).encode(x=x, y=y, opacity=seen),
        # Only marks with a tooltip answer to the pointer.
        *(
            label.encode(opacity=seen, tooltip=alt.Tooltip("series:N", title="token"))
            for label in labels
        ),
        targets(alt.Chart(known).encode(x=x, y=y), tooltip, size=90),
    ]
    return sized(layers, _WIDTH, height, title)


def _reference(tokens: pl.DataFrame, measure: _Measure, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Chance as a band with a line, and a line for each control."""
    chance, control = (
        None if part is None else part.rename({"value": measure.column})
        for part in (measure.reference.chance, measure.reference.control)
    )
    layers = []
    if chance is not None:
        band = bands(chance.with_columns(colour=pl.lit(GREY)), x, y, opacity=0.16, keys=())
        line = alt.Chart(chance).mark_line(color=GREY, strokeWidth=1.2, strokeDash=[1.5, 2.5])
        layers += [*band, line.encode(x=x, y=y)]
    if control is not None:
        colours = dict(tokens.select("position", "colour").iter_rows()) if measure.tinted else {}
        control = control.with_columns(
            colour=pl.col("position").replace_strict(colours, default=GREY, return_dtype=pl.String)
        )
        line = alt.Chart(control).mark_line(strokeWidth=1.2, strokeDash=[5, 3])
        layers.append(line.encode(x=x, y=y, color=TINT, detail=alt.Detail("position:N")))
    return layers


def _ends(tokens: pl.DataFrame, *, tinted: bool) -> alt.Chart:
    """The last point of every line, with a legend of its shapes and, unless tinted, colours."""
    kinds = [kind for kind in COLOURS if kind in set(tokens["kind"])]
    colours = alt.Scale(domain=kinds, range=[COLOURS[kind] for kind in kinds])
    shapes = alt.Scale(domain=kinds, range=[_SHAPES[kind] for kind in kinds])
    grey: dict[str, Any] = {
        "title": "word class",
        "symbolFillColor": GREY,
        "symbolStrokeColor": GREY,
    }
    legend = alt.Legend(orient="top", symbolOpacity=1, **(grey if tinted else {}))
    ends = alt.Chart(tokens.group_by("position", maintain_order=True).last())
    return ends.mark_point(filled=True, size=40).encode(
        color=TINT if tinted else alt.Color("kind:N", scale=colours, legend=legend),
        shape=alt.Shape("kind:N", scale=shapes, legend=legend),
    )


def _linked(panels: list[alt.LayerChart]) -> alt.HConcatChart:
    """Panels side by side, in which the pointer marks the same token."""
    views = [f"lines_{index}" for index in range(len(panels))]
    selections: tuple[Any, ...] = (_OVER, _PICKED)
    params = [
        # By hand: a selection that belongs to several panels makes Altair warn.
        alt.TopLevelSelectionParameter(name=each.name, select=each.param.select, views=views)
        for each in selections
    ]
    return beside(panels, params=params)
