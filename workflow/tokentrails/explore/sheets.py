"""What figures show as CSV files, by the rules of the workflow's own."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..files.tables import for_spreadsheets


def csv(table: pl.DataFrame, about: Mapping[str, str]) -> str:
    """A table without empty columns, behind those that are the same in every row."""
    empty = [column.name for column in table if column.null_count() == len(table)]
    new = [pl.lit(value).alias(n) for n, value in about.items() if n not in table.columns]
    shown = table.select(*new, pl.exclude(*empty, "experiment"))
    return for_spreadsheets(shown.to_arrow()).write_csv()
