"""What figures show as CSV files, by the rules of the workflow's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import polars as pl

from ..files.tables import for_spreadsheets

_ENTRIES = re.compile(r"(.+_)?token|top|most_probable")
"""Columns of entries of the vocabulary, as the tokenizer has them, or of lists of these."""


def csv(table: pl.DataFrame, about: Mapping[str, str], read: Callable[[str], str]) -> str:
    """A table without empty columns, behind those that are the same in every row.

    Beside entries stands what the page shows of them: what `read` gives, behind `␣` where the entry
    begins with a space.
    """

    def shown(entry: str) -> str:
        return "␣" * (entry[:1] in "Ġ▁" and len(entry) > 1) + read(entry)

    def beside(name: str, kind: pl.DataType) -> list[pl.Expr]:
        if not _ENTRIES.fullmatch(name) or kind not in (pl.String, pl.List(pl.String)):
            return [pl.col(name)]
        entry = pl.element() if kind == pl.List else pl.col(name)
        read_entry = entry.map_elements(shown, return_dtype=pl.String)
        whole = pl.col(name).list.eval(read_entry) if kind == pl.List else read_entry
        return [pl.col(name), whole.alias(f"{name}_shown")]

    empty = [column.name for column in table if column.null_count() == len(table)]
    new = [pl.lit(value).alias(n) for n, value in about.items() if n not in table.columns]
    kept = {n: kind for n, kind in table.schema.items() if n not in (*empty, "experiment")}
    columns = [each for name, kind in kept.items() for each in beside(name, kind)]
    return for_spreadsheets(table.select(*new, *columns).to_arrow()).write_csv()
