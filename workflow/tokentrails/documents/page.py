"""Sheets as one HTML page: offline, with search, sorting and choices, printable."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..figures.pieces.text import visible
from ..files.atomic import write_text
from ..files.pages import embedded, html_page
from .sheet import HIGH_BIAS, Column, Sheet

MOST_PAIRS = 250_000
"""Rows of the sheet of all pairs that a browser opens at once: some 15 MB."""

_BODY = """<header>
<h1>{title}</h1>
<p id="text">{text}</p>
<div id="tabs" role="tablist" aria-label="Tables"></div>
<form id="tools" role="search">
<input id="search" type="search" placeholder="Search (press /)" aria-label="Search words">
<span id="choices"></span>
<button id="all" type="button">Show all</button>
<output id="count"></output>
</form>
<p id="note"></p>
</header>
<noscript>This page needs JavaScript, which it holds itself; the workbook does not.</noscript>
<main id="view" role="tabpanel" tabindex="0"><table id="table"></table></main>
<aside id="detail" aria-live="polite" hidden></aside>
{data}"""


def write_page(
    sheets: Sequence[Sheet], path: str | os.PathLike[str], *, title: str, text: str, first: str
) -> None:
    """Write sheets as one page, whole or not at all, with the same bytes every time.

    Parameters
    ----------
    text: what the sheets are about, below the title.
    first: name of the sheet that is open first, if it is there.
    """
    names = [sheet.name for sheet in sheets]
    data = {
        "first": names.index(first) if first in names else 0,
        "high_bias": HIGH_BIAS,
        "sheets": [_sheet(sheet) for sheet in sheets],
    }
    body = _BODY.format(
        title=html.escape(title), text=html.escape(visible(text)), data=embedded("data", data)
    )
    style, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    write_text(path, html_page(title, body, style=style, script=script))


def _sheet(sheet: Sheet) -> dict[str, Any]:
    """What page.js knows of a sheet."""
    return {
        "name": sheet.name,
        "note": sheet.note,
        "frozen": sheet.frozen,
        "lines": sheet.lines,
        "rows": len(sheet.frame),
        "columns": [_column(column, sheet.frame) for column in sheet.columns],
    }


def _column(column: Column, frame: pl.DataFrame) -> dict[str, Any]:
    """A column by its rows: numbers as they are, texts as indices into the list of their kinds."""
    values = frame[column.name]
    described: dict[str, Any] = {
        "name": column.name,
        "meaning": column.meaning,
        "width": column.width,
        "choices": column.choices,
        "digits": column.digits,
        "scale": [column.scale.low, column.scale.high] if column.scale else None,
        "shade": frame[column.shade].round(3).to_list() if column.shade else None,
    }
    if values.dtype != pl.String:
        return described | {"values": values.to_list()}
    texts = values.unique(maintain_order=True).drop_nulls()
    codes = values.cast(pl.Enum(texts)).to_physical().fill_null(-1)
    return described | {"texts": texts.to_list(), "values": codes.cast(pl.Int64).to_list()}
