"""What a sheet of a workbook, or a tab of a page, is made of."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

HIGH_BIAS = "(high bias)"
"""Stands in front of a list of words, in grey, that the vocabulary's bias alone would give."""


@dataclass(frozen=True)
class Scale:
    """The numbers at the ends of a colour scale; white lies at 0, or at `low` if that is above."""

    low: float
    high: float


@dataclass(frozen=True)
class Column:
    """How a column is shown.

    Attributes
    ----------
    name: the column of the sheet's frame, and what stands above it.
    meaning: what it holds, in a sentence without a full stop.
    digits: behind the decimal point; None for text and for whole numbers.
    width: in characters.
    scale: of the cells' colours.
    shade: the column of the frame, not shown itself, whose numbers from 0 to 1 colour the cells.
    choices: whether the page offers the column's values to choose from.
    """

    name: str
    meaning: str
    digits: int | None = None
    width: int = 9
    scale: Scale | None = None
    shade: str | None = None
    choices: bool = False


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes
    ----------
    name: at most 28 letters and spaces, so that a number fits behind it.
    frame: text, whole numbers and floats that are finite or null.
    columns: what is shown of the frame, from left to right.
    frozen: how many columns stay when the others are scrolled.
    lines: how many lines of text a row shows.
    note: what a reader must know first; what was left out.
    """

    name: str
    frame: pl.DataFrame
    columns: tuple[Column, ...]
    frozen: int = 0
    lines: int = 1
    note: str = ""
