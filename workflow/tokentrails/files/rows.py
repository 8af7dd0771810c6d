"""Rows of a file: CSV, TSV, JSON Lines or Parquet, one at a time.

They are read by the standard library and not by Polars, which neither knows on which line a row
stands, nor goes on behind a wrong one, nor draws a sample without holding the whole file.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import TokentrailsError, Where
from ..settings import TextTable, local_path
from .lfs import refuse_pointer

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
FORMATS = (*DELIMITERS, ".jsonl", ".ndjson", ".parquet")
"""What the name of a file may end in, with `.gz` behind it but for Parquet."""

_JSON_HINT = "write an object in each line, without brackets around all and commas between them."

_MOST_CHARACTERS = 2**31 - 1
"""Of a cell; a book may lie in one."""

_AT_ONCE = 256
"""Rows of Parquet that are held at a time, each of which may be a document."""

Row = Mapping[str, Any]


class Wrong(Exception):
    """A row cannot be used; the message says why."""


class Numbered(NamedTuple):
    """A row with its line, or why there is none."""

    line: int
    cells: Row | Wrong


@dataclass(frozen=True)
class Reader:
    """The rows of a table, and what is said where one cannot go on.

    Attributes
    ----------
    where: the key under which the columns are named.
    column_key: the key of every column, where they have not those of a table of texts.
    """

    table: TextTable
    where: Where
    column_key: str | None = None

    def rows(self) -> Iterator[Numbered]:
        """Every row with what is read of it; Parquet counts rows, the others count lines, from 1.

        Raises
        ------
        TokentrailsError: for a column that is not there, and what is no file of its kind.
        """
        suffix = suffix_of(self.table)
        refuse_pointer(Path(local_path(self.table.file)))
        try:
            if suffix == ".parquet":
                yield from self._parquet()
                return
            path = Path(local_path(self.table.file))
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
                yield from self._json(lines) if suffix in FORMATS[3:5] else self._cells(lines)
        except UnicodeDecodeError as error:
            raise self.error(f"the file is not UTF-8 text: {error}", "save it as UTF-8.") from error
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            problem = f"the file cannot be read: {error}"
            raise self.error(problem, "check that it is whole.") from None

    def error(self, problem: str, hint: str, line: int | None = None) -> TokentrailsError:
        where = f"{self.table.file}, line {line}" if line else self.table.file
        return TokentrailsError(problem, where=where, hint=hint)

    def empty(self) -> TokentrailsError:
        return self.error("the file is empty", "give one with rows.")

    def _parquet(self) -> Iterator[Numbered]:
        with pq.ParquetFile(local_path(self.table.file)) as file:
            self._check(file.schema_arrow.names)
            line = 0
            for batch in file.iter_batches(_AT_ONCE, columns=self.table.names):
                for row in batch.to_pylist():
                    yield Numbered(line := line + 1, row)

    def _json(self, lines: IO[str]) -> Iterator[Numbered]:
        seen: set[str] = set()
        first: Numbered | None = None
        has_objects = False
        for line, content in enumerate(lines, 1):
            if not content.strip():
                continue
            if first is None and content.lstrip().startswith("["):
                raise self.error("it is a list and not an object", _JSON_HINT, line)
            try:
                row = json.loads(content, object_pairs_hook=_once)
                wrong = "" if isinstance(row, dict) else "it is no JSON object"
            except (ValueError, RecursionError) as error:
                wrong = f"it is no JSON: {error}"
            if wrong:
                numbered = Numbered(line, Wrong(wrong))
            else:
                has_objects, seen = True, seen | row.keys()
                numbered = Numbered(line, {name: row.get(name) for name in self.table.names})
            first = first or numbered
            yield numbered
        if first is None:
            raise self.empty()
        if not has_objects:
            raise self.error(f"no line has an object: {first.cells}", _JSON_HINT, first.line)
        self._check(list(seen))

    def _cells(self, lines: IO[str]) -> Iterator[Numbered]:
        table = self.table
        delimiter = table.delimiter or DELIMITERS[suffix_of(table)]
        quotes = delimiter != "\t" if table.quotes is None else table.quotes
        csv.field_size_limit(_MOST_CHARACTERS)
        reader = csv.reader(
            lines,
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=True,
        )
        header: Sequence[str] = table.columns
        line = 0
        while True:
            begins, wrong = line + 1, None
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if not header or "expected after" not in str(error):
                    raise self.error(
                        f"the cells cannot be parted: {error}",
                        "a quote is never closed, or stands for itself: write 'quotes: false'; or "
                        "give the right 'delimiter'.",
                        begins,
                    ) from None
                cells, wrong = [""], "a quote ends within a cell; quotes in quotes are doubled"
            line = reader.line_num
            if not cells:
                continue
            if not header:
                self._check(cells)
                header = cells
                continue
            if not wrong and len(cells) != len(header):
                wrong = f"it has {len(cells)} cells, and there are {len(header)} columns"
            if wrong:
                yield Numbered(begins, Wrong(wrong))
                continue
            row = dict(zip(header, cells, strict=True))
            found = {name: row[name] for name in table.names}
            if table.quotes is None and not quotes and any(v[:1] == '"' for v in found.values()):
                raise self.error(
                    "a cell begins with a quote",
                    "write 'quotes: true' if cells are quoted, as spreadsheets do; 'quotes: false' "
                    "if it is part of the text.",
                    begins,
                )
            yield Numbered(begins, found)
        if not header:
            raise self.empty()

    def _check(self, columns: Sequence[str]) -> None:
        """Refuse a column that is not there, or is there twice."""
        for name in self.table.names:
            if columns.count(name) == 1:
                continue
            there = ", ".join(map(repr, columns[:20])) or "none"
            how = "is there twice" if name in columns else "is not there"
            hint = "check its spelling."
            if self.column_key is None:
                hint = (
                    "check its spelling; 'columns' names those of a file without a header, and "
                    "'delimiter' what parts them."
                )
            raise (self.where / (self.column_key or self.table.keys[name])).error(
                f"the column {name!r} {how} in {self.table.file}; the columns are {there}", hint
            )


def suffix_of(table: TextTable) -> str:
    """What says how a file is read: its suffix, that of a delimited text where one is given."""
    if table.delimiter:
        return ".csv"
    path = Path(table.file)
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def text_in(cells: Row, name: str) -> str:
    """A cell that must not be empty, as a text; raises `Wrong`."""
    value = value_in(cells, name)
    if value is None:
        raise Wrong(f"{name!r} is empty")
    return as_text(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises a `ValueError` for a key that it has twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is in it twice")
    return found


def value_in(cells: Row, name: str) -> Any:
    """A cell that is a text, a number, true, false, or None if it is empty; raises `Wrong`."""
    value = cells[name]
    match value:
        case str() if re.search("[\ud800-\udfff]", value):
            raise Wrong(f"{name!r} has half a character, a single surrogate")
        case str():
            return value if value.strip() else None
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            raise Wrong(f"{name!r} is infinite")
        case int() if not -(2**63) <= value < 2**63:
            raise Wrong(f"{name!r} has more than 64 bits")
        case bool() | int() | float() | None:
            return value
        case date() | time() | Decimal():
            return str(value)
    raise Wrong(f"{name!r} is of type {type(value).__name__}, and no text, number or truth value")


def as_text(value: object) -> str:
    """A value as files have it: 1, "1" and true in a configuration are what they look like."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain_text(text: str) -> str:
    """A whole number without a point and a truth value in small letters; pandas writes others."""
    if text.lower() in ("true", "false"):
        return text.lower()
    number = re.fullmatch(r"([+-]?\d+)\.0*", text)
    return number[1] if number else text


def number_of(given: str, least: int) -> int:
    """A whole number that is not too small; raises `Wrong`."""
    try:
        number = int(plain_text(given.strip()))
    except ValueError:
        raise Wrong(f"{given!r} is no whole number") from None
    if number < least:
        raise Wrong(f"the number {number} is below {least}")
    return number
