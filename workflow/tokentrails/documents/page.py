"""Sheets as one HTML page: offline, with search, sorting and choices, printable."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from ..files.atomic import replacing
from ..files.pages import embedded, policy_hash
from .sheet import HIGH_BIAS, Column, Sheet

MOST_PAIRS = 250_000
"""Rows of the sheet of all pairs that a browser opens at once: some 15 MB."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%(policy)s">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%(title)s</title>
<style>%(style)s</style>
</head>
<body>
<header>
<h1>%(title)s</h1>
<p id="text">%(text)s</p>
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
<script type="application/json" id="data">%(data)s</script>
<script>%(script)s</script>
</body>
</html>
"""


def write_page(
    sheets: Sequence[Sheet],
    path: str | os.PathLike[str],
    *,
    title: str,
    text: str,
    first: str,
) -> None:
    """Write sheets as one page, whole or not at all, with the same bytes every time.

    Parameters
    ----------
    title: of the page.
    text: what the sheets are about, below the title.
    first: name of the sheet that is open first, if it is there.
    """
    style, script = _part("page.css"), _part("page.js")
    names = [sheet.name for sheet in sheets]
    data = {
        "first": names.index(first) if first in names else 0,
        "high_bias": HIGH_BIAS,
        "sheets": [_sheet(sheet) for sheet in sheets],
    }
    content = _PAGE % {
        "policy": f"default-src 'none'; script-src '{policy_hash(script)}'; "
        f"style-src '{policy_hash(style)}'; base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "text": html.escape(text),
        "style": style,
        "data": embedded(data),
        "script": script,
    }
    with replacing(path) as part:
        part.write_text(content, encoding="utf-8")


@cache
def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


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
