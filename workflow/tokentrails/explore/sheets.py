"""What figures show as CSV files, by the rules of the workflow's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from ..files.tables import for_spreadsheets

_OF_PLOTS = {"colour", "place", "series", "kind", "line"}
"""Columns that only say how something is drawn."""


def csv(figure: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The table of a figure, behind columns that are the same in every row; without one, what its
    specification draws.
    """
    frame = figure["table"] if "table" in figure else _drawn(figure["spec"])
    new = [pl.lit(value).alias(name) for name, value in about.items()]
    frame = frame.select(*new, pl.exclude(*about))
    return for_spreadsheets(frame.to_arrow()).write_csv()


def _drawn(spec: Mapping[str, Any]) -> pl.DataFrame:
    """The largest table of a specification, without what is of the plot alone or never there."""
    rows = max(spec.get("datasets", {}).values(), key=len, default=[])
    frame = pl.DataFrame(rows, infer_schema_length=None)
    empty = {column.name for column in frame if column.null_count() == len(frame)}
    return frame.drop(*(name for name in frame.columns if name in empty | _OF_PLOTS))
