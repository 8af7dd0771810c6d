"""The one look of every figure: fonts, colours, sizes, titles."""

import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import altair as alt

from .text import visible

# vl-convert carries Liberation Sans, so static renders do not depend on installed fonts;
# Arial and Helvetica have the same widths and stand in for it in a browser. A Linux without any of
# them has a sans-serif that is wider than the room of the labels; condensed it is as wide.
FONT = "Liberation Sans, Arial, Helvetica, Nimbus Sans, DejaVu Sans Condensed, sans-serif"

# Okabe and Ito's colour-blind-safe hues without black and yellow, then those of Tol's muted scheme
# that differ from these; the light ones are darkened until text set in them reads on white.
PALETTE = (
    *("#0072B2", "#D55E00", "#00855F", "#B4528B", "#A87200", "#2F8FC4"),
    *("#332288", "#C0505F", "#7A7A29", "#882255"),
)
INK, GREY, GRID, SHADE = "#222222", "#777777", "#ECECEC", "#F3F3F3"
_NOTE, _WARNING = "#555555", "#B3261E"

# Of a sequence: from light to dark in even steps, its first colour still readable on white.
_RAMP = ("#D9730D", "#C2355F", "#7A1FA2", "#1B1464")

LABEL_SIZE = 11.5
LINE_HEIGHT = 14  # pixels that one direct label needs

TINT = alt.Color("colour:N", scale=None)
"""The channel of a column that holds colours."""

_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": FONT,
    "padding": 12,
    "view": {"stroke": None},
    "axis": {
        "domainColor": GREY,
        "gridColor": GRID,
        "labelColor": INK,
        "labelFontSize": 11,
        "tickColor": GREY,
        "tickSize": 4,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 11.5,
        "labelLimit": 400,
        "symbolStrokeWidth": 2,
        "title": None,
    },
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": 13,
        "fontWeight": "bold",
        "subtitleColor": _NOTE,
        "subtitleFontSize": 11.5,
    },
    "text": {"color": INK, "fontSize": LABEL_SIZE},
    "concat": {"spacing": 18},
}


def colour(index: int) -> str:
    """The colour of the index-th series; the palette repeats after its last colour."""
    return PALETTE[index % len(PALETTE)]


def model_colours(names: Sequence[str], controls: Collection[str]) -> dict[str, str]:
    """The colour of each model in its order; grey of those of random weights among others."""
    trained = [name for name in names if name not in controls] or names
    return dict.fromkeys(names, GREY) | {name: colour(i) for i, name in enumerate(trained)}


def ramp(share: float) -> str:
    """The colour at a share, from 0 to 1, of a sequence such as layers or steps."""
    before = min(int(share * (len(_RAMP) - 1)), len(_RAMP) - 2)
    weight = share * (len(_RAMP) - 1) - before
    pairs = zip(bytes.fromhex(_RAMP[before][1:]), bytes.fromhex(_RAMP[before + 1][1:]), strict=True)
    return "#" + bytes(round(a + (b - a) * weight) for a, b in pairs).hex().upper()


def sized(
    layers: Sequence[alt.Chart],
    width: int,
    height: int,
    title: str | None = None,
    subtitle: str | list[str] | None = None,
) -> alt.LayerChart:
    """A panel of layers; without a title if it is None."""
    # All at once, and properties of charts below by assignment: each step with Altair's methods
    # copies everything that a chart holds.
    titled: dict[str, Any] = {} if title is None else {"title": heading(title, subtitle)}
    return _Panel(layer=list(layers), width=width, height=height, **titled)


class _Panel(alt.LayerChart):
    """Layers that share nothing which Altair would have to join.

    To look for that, its own charts of several copy all of them again and again: wherever they are
    made, copied or written.
    """

    def __init__(self, **parts: Any) -> None:
        super(alt.LayerChart, self).__init__(**parts)


class _Beside(alt.HConcatChart):
    """The same of panels."""

    def __init__(self, **parts: Any) -> None:
        super(alt.HConcatChart, self).__init__(**parts)


def beside(panels: Sequence[alt.LayerChart], **more: Any) -> alt.HConcatChart:
    """Panels of `sized`, side by side."""
    return _Beside(hconcat=list(panels), **more)


def heading(title: str, subtitle: str | list[str] | None = None) -> alt.TitleParams:
    """The title of a panel."""
    params = alt.TitleParams(title, offset=8)
    if subtitle is not None:
        params.subtitle = subtitle
    return params


def message(words: str, width: int, height: int, title: str | None = None) -> alt.Chart:
    """A panel that says why it shows nothing."""
    chart = alt.Chart(alt.InlineData(values=[{}])).mark_text(text=words, color=GREY)
    chart = chart.properties(width=width, height=height)
    return chart if title is None else chart.properties(title=heading(title))


def shaded(words: str, width: int, height: int, title: str) -> alt.Chart:
    """The same on a ground of its own, for a panel among others that have lines."""
    return message(words, width, height, title).properties(view=alt.ViewBackground(fill=SHADE))


def figure(
    chart: alt.TopLevelMixin,
    *,
    title: str,
    notes: list[str],
    width: int,
    warnings: Sequence[str] = (),
) -> alt.TopLevelMixin:
    """`chart` with the theme, a title and one subtitle line per note.

    `width` is the drawn width in pixels: title and notes are wrapped to it. `warnings` stand
    between title and notes, in red.
    """
    whole: Any = chart
    # The notes are the title of a chart inside the figure where warnings take their place.
    common: dict[str, Any] = {"lineHeight": 16, "offset": 16, "frame": "bounds"}
    top = alt.TitleParams(
        text=textwrap.wrap(visible(title), max(20, int(width / 8.3))) or [""],
        subtitle=_wrapped(notes, width),
        subtitleLineHeight=16,
        subtitlePadding=6,
        **common | {"fontSize": 16, "lineHeight": 20},
    )
    if warnings:
        whole.title = alt.TitleParams(
            _wrapped(notes, width), color=_NOTE, fontSize=11.5, fontWeight="normal", **common
        )
        whole = alt.vconcat(whole)
        top.subtitle = _wrapped([f"Warning: {warning}" for warning in warnings], width)
        top.subtitleColor, top.subtitleFontWeight, top.offset = _WARNING, "bold", 4
    whole.title, whole.config = top, alt.Config(**_CONFIG)
    return whole


def annotated(
    chart: alt.TopLevelMixin, notes: Sequence[str], last: Sequence[str] = ()
) -> alt.TopLevelMixin:
    """A figure with further lines below its title, before the others but for warnings, and last."""
    whole: Any = chart
    lines = [] if whole.title.subtitle is alt.Undefined else whole.title.subtitle
    warned = whole.title.subtitleColor is not alt.Undefined
    own = _wrapped(notes, 570)
    own_first = [*lines, *own] if warned else [*own, *lines]
    whole.title.subtitle = [*own_first, *_wrapped(last, 570)]
    return whole


def _wrapped(notes: Sequence[str], width: int) -> list[str]:
    return [line for note in notes for line in textwrap.wrap(visible(note), int(width / 5.7))]


def nothing_to_show(
    title: str, warnings: Sequence[str] = (), notes: list[str] | None = None
) -> alt.TopLevelMixin:
    """A figure for an empty table: it says so, and the workflow goes on."""
    words = message("nothing to show", 320, 120)
    return figure(words, title=title, notes=notes or [], width=320, warnings=warnings)
