"""Predictions as plain text: what comes next after each prefix, in columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..figures.pieces.text import readable, visible

# Characters of a prefix that are shown: its end.
PREFIX_WIDTH = 48
NEXT = 4


def predictions_text(predictions: pa.Table) -> str:
    """The table `predictions` in aligned columns, one text below the other.

    Returns
    -------
    For each text its label, and a line for each position: the end of the prefix, the most probable
    entry with its probability, and those that come after it. Entries are shown as words, without
    the space in front.
    """
    by_text: dict[str, list[list[str]]] = {}
    for row in predictions.to_pylist():
        by_text.setdefault(row["label"], []).append(_cells(row))
    titles = ["prefix", "predicted", "probability", "then", *[""] * (2 * NEXT - 1)]
    lines = []
    for label, cells in by_text.items():
        lines += [visible(label), *_aligned([titles, *cells]), ""]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    """Prefix, and pairs of entry and probability."""
    pairs = list(zip(row["top"], row["top_probability"], strict=True))[: NEXT + 1]
    cells = [_end_of(visible(row["prefix"]))]
    for entry, probability in pairs:
        cells += [readable(entry), f"{probability:.3f}"]
    return cells + [""] * (2 * (NEXT - len(pairs) + 1))


def _end_of(text: str) -> str:
    """The last characters of a text, the first an ellipsis where some were cut."""
    return text if len(text) <= PREFIX_WIDTH else "…" + text[1 - PREFIX_WIDTH :].lstrip()


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of like width, prefixes and numbers to the right."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(cell))
            cells.append(space + cell if i % 2 == 0 else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; Chinese characters take two, accents none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
