"""The one look of every figure: fonts, colours, sizes, titles."""

import textwrap
from typing import Any

import altair as alt

from .text import visible

# vl-convert carries Liberation Sans, so static renders do not depend on installed fonts;
# Arial and Helvetica have the same widths and stand in for it in a browser.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

# Okabe and Ito's colour-blind-safe hues without black and yellow; the light ones are darkened
# until text set in them reads on white.
PALETTE = ("#0072B2", "#D55E00", "#00855F", "#B4528B", "#A87200", "#2F8FC4")
INK, GREY, GRID, SHADE = "#222222", "#777777", "#ECECEC", "#F3F3F3"

LABEL_SIZE = 11.5
LINE_HEIGHT = 14  # pixels that one direct label needs

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
        "subtitleColor": "#555555",
        "subtitleFontSize": 11.5,
    },
    "text": {"color": INK, "fontSize": LABEL_SIZE},
    "concat": {"spacing": 18},
}


def colour(index: int) -> str:
    """The colour of the index-th series; the palette repeats after its last colour."""
    return PALETTE[index % len(PALETTE)]


def figure(
    chart: alt.TopLevelMixin, *, title: str, notes: list[str], width: int
) -> alt.TopLevelMixin:
    """`chart` with the theme, a title and one subtitle line per note.

    `width` is the drawn width in pixels: title and notes are wrapped to it.
    """
    heading = alt.TitleParams(
        text=textwrap.wrap(visible(title), max(20, int(width / 8.3))) or [""],
        subtitle=[
            line for note in notes for line in textwrap.wrap(visible(note), int(width / 5.7))
        ],
        fontSize=16,
        lineHeight=20,
        subtitleLineHeight=16,
        subtitlePadding=6,
        offset=16,
        frame="bounds",
    )
    return chart.properties(title=heading).configure(**_CONFIG)


def nothing_to_show(title: str) -> alt.TopLevelMixin:
    """A figure for an empty table: it says so, and the workflow goes on."""
    words = alt.Chart(alt.InlineData(values=[{}])).mark_text(text="nothing to show", color=GREY)
    return figure(words.properties(width=320, height=120), title=title, notes=[], width=320)
