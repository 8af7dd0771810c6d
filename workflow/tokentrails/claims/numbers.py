"""Every number that a text quotes, in one file: a text that quotes by name cannot go stale."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from ..errors import TokentrailsError
from .file import Quoted
from .sql import tables_of
from .table import Run

DIGITS = 4
"""Decimals of the numbers of claims."""

_KEYS = (
    *("value_as_published", "as_published_low", "as_published_high"),
    *("value_corrected", "ci_low", "ci_high"),
    *("n", "units", "verdict"),
)


def numbers(claims: pa.Table, quoted: Sequence[Quoted], run: Run) -> str:
    """JSON: `claims` by claim and model, `numbers` by name and model.

    Parameters
    ----------
    claims: the table of claims.
    quoted: further numbers; a model that lacks a table has none.

    Raises
    ------
    TokentrailsError: if a query does not run, or gives anything but one number.
    """
    tested: dict[str, dict[str, object]] = {}
    for row in claims.to_pylist():
        if row["model"] is not None:
            values = {key: _rounded(row[key], DIGITS) for key in _KEYS}
            tested.setdefault(row["claim"], {})[row["model"]] = values
    data = {"claims": tested, "numbers": {n.name: _by_model(n, run) for n in quoted}}
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _by_model(number: Quoted, run: Run) -> dict[str, object]:
    values = {}
    for model, files in run.sources[number.name].items():
        read = tables_of(number.sql, number.where) & files.keys()
        paths = {name: path for name in read if (path := files[name].path)}
        if len(paths) == len(read):
            found = run.query(number.sql, paths, run.models[model], number.where)
            values[model] = _values(found, number)
    return values


def _values(found: pl.DataFrame, number: Quoted) -> object:
    """One number, or by `key` those of each row by their columns."""
    if found.columns == ["value"] and found.height == 1:
        return _rounded(found.item(), number.digits)
    if "key" not in found.columns or not found["key"].is_unique().all():
        raise TokentrailsError(
            f"the query gives {found.height} rows of the columns {', '.join(found.columns)}",
            where=number.where,
            hint="a number is one row with the column 'value'; several have a 'key' each.",
        )
    return {
        str(row.pop("key")): {name: _rounded(value, number.digits) for name, value in row.items()}
        for row in found.to_dicts()
    }


def _rounded(value: object, digits: int) -> object:
    if isinstance(value, float):
        return round(value, digits) if math.isfinite(value) else None
    return value
