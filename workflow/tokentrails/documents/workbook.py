"""Sheets as an Excel workbook: numbers are numbers, text is text and never a formula."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from ..figures.pieces.text import shorten
from ..files.atomic import replacing
from .sheet import HIGH_BIAS, Scale, Sheet

MOST_ROWS = 1_048_575
"""Of a sheet, below its header: a limit of Excel's."""

_MOST_CHARACTERS = 32_767  # of a cell, also Excel's; in units of UTF-16
_LINE = 15  # points
_SHADES = 20  # steps between white and the full colour
_BLUE, _ORANGE, _WHITE = "#59A3CD", "#E49659", "#FFFFFF"
_TEXT = {"align": "left", "valign": "top", "indent": 1}
_NUMBER = {"align": "right", "valign": "top"}
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}

log = logging.getLogger(__name__)


def write_workbook(
    sheets: Sequence[Sheet], path: str | os.PathLike[str], *, title: str, first: str
) -> None:
    """Write sheets as one `.xlsx`, whole or not at all, with the same bytes every time.

    Parameters
    ----------
    sheets: one with more rows than Excel can show goes on in another one, `NAME 2`.
    title: of the document.
    first: name of the sheet that is open first, if it is there.
    """
    with replacing(path) as part, xlsxwriter.Workbook(part, _OPTIONS) as book:
        # The default is the time of writing.
        book.set_properties({"title": title, "created": datetime(2000, 1, 1)})
        looks = _Looks(book)
        for sheet in sheets:
            for number, frame in enumerate(_fitting(sheet.frame), start=1):
                name = sheet.name if number == 1 else f"{sheet.name} {number}"
                page = book.add_worksheet(name)
                if sheet.name == first and number == 1:
                    page.activate()
                _write_sheet(page, sheet, frame, looks)


def _fitting(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The frame in parts that Excel can show."""
    for start in range(0, max(len(frame), 1), MOST_ROWS):
        yield frame.slice(start, MOST_ROWS)


class _Looks:
    """The cell formats of a workbook; each is made once."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._made: dict[tuple[object, ...], Format] = {}

    def header(self, is_text: bool) -> Format:
        return self._format(
            bold=True,
            text_wrap=True,
            bottom=1,
            bg_color="#E8EDF2",
            **(_TEXT if is_text else _NUMBER),
        )

    def _format(self, **properties: object) -> Format:
        key = tuple(properties.items())
        if key not in self._made:
            self._made[key] = self._book.add_format(dict(properties))
        return self._made[key]

    def number(self, digits: int | None) -> Format:
        shape = "0" if digits is None else f"0.{'0' * digits}"
        return self._format(num_format=shape, **_NUMBER)

    def text(self, value: str, lines: int, shade: float | None = None) -> Format:
        # The prefix keeps text that looks like a formula text, even if somebody edits the cell.
        properties: dict[str, object] = {"quote_prefix": True} | _TEXT
        if lines > 1:
            properties["text_wrap"] = True
        if value.startswith(HIGH_BIAS):
            properties |= {"font_color": "#6B6B6B", "bg_color": "#EDEDED", "italic": True}
        elif shade:
            properties["bg_color"] = _between(_WHITE, _BLUE, round(shade * _SHADES) / _SHADES)
        return self._format(**properties)


def _between(low: str, high: str, share: float) -> str:
    pairs = zip(bytes.fromhex(low[1:]), bytes.fromhex(high[1:]), strict=True)
    return "#" + bytes(round(a + (b - a) * share) for a, b in pairs).hex().upper()


def _write_sheet(page: Worksheet, sheet: Sheet, frame: pl.DataFrame, looks: _Looks) -> None:
    columns = sheet.columns
    page.freeze_panes(1, sheet.frozen)
    page.autofilter(0, 0, len(frame), len(columns) - 1)
    page.repeat_rows(0)
    page.set_landscape()
    page.fit_to_pages(1, 0)
    page.set_row(0, 2 * _LINE + 2)
    for index, column in enumerate(columns):
        is_text = frame[column.name].dtype == pl.String
        page.set_column(index, index, column.width)
        page.write_string(0, index, _cell_text(column.name), looks.header(is_text))
        if column.scale is not None and len(frame):
            page.conditional_format(1, index, len(frame), index, _colours(column.scale))
    number = [looks.number(column.digits) for column in columns]
    shown = [frame.columns.index(column.name) for column in columns]
    shade = [frame.columns.index(column.shade) if column.shade else None for column in columns]
    for row, cells in enumerate(frame.iter_rows(), start=1):
        if sheet.lines > 1:
            page.set_row(row, sheet.lines * _LINE)
        for index, (cell, by) in enumerate(zip((cells[i] for i in shown), shade, strict=True)):
            if isinstance(cell, str):
                text = _cell_text(cell)
                tint = None if by is None else cells[by]
                page.write_string(row, index, text, looks.text(text, sheet.lines, tint))
            elif cell is not None:
                page.write_number(row, index, cell, number[index])


def _colours(scale: Scale) -> dict[str, object]:
    """A conditional format: white at 0 and blue above, orange below."""
    ends = {"min_type": "num", "max_type": "num", "min_value": scale.low, "max_value": scale.high}
    if scale.low >= 0:
        return ends | {"type": "2_color_scale", "min_color": _WHITE, "max_color": _BLUE}
    middle = {"mid_type": "num", "mid_value": 0, "mid_color": _WHITE}
    return ends | middle | {"type": "3_color_scale", "min_color": _ORANGE, "max_color": _BLUE}


def _cell_text(text: str) -> str:
    """A text that fits into a cell, and that XlsxWriter does not take for markup."""
    if len(text.encode("utf-16-le")) > 2 * _MOST_CHARACTERS:
        log.warning("A text of %d characters is cut to fit into a cell.", len(text))
        text = shorten(text, _MOST_CHARACTERS // 2)  # where each may take two units
    # What lies between these marks is written as it is, without escapes.
    return f"{text} " if text.startswith("<r>") and text.endswith("</r>") else text
