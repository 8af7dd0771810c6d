"""Every number that a text quotes, in one file: a text that quotes by name cannot go stale."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from ..errors import TokentrailsError
from .file import Quoted
from .sql import tables_of
from .table import Run

DIGITS = 6
"""Decimals of the numbers of claims: texts round to fewer, and rounding twice would be wrong."""

_KEYS = (
    *("value_as_published", "as_published_low", "as_published_high"),
    *("value_corrected", "ci_low", "ci_high"),
    *("control", "control_low", "control_high"),
    *("form", "p_holm", "n", "units", "verdict"),
)


def numbers(claims: pa.Table, quoted: Sequence[Quoted], run: Run) -> str:
    """JSON: `claims` by claim and model, `verdicts` counted, `numbers` by name and model.

    Parameters
    ----------
    claims: the table of claims.
    quoted: further numbers; a model that lacks a table has none. What is wrong with one, as several
        rows without a key of their own, `run` notes.
    """
    tested: dict[str, dict[str, object]] = {}
    rows = [row for row in claims.to_pylist() if row["model"] is not None]
    for row in rows:
        values = {key: _rounded(row[key], DIGITS) for key in _KEYS}
        tested.setdefault(row["claim"], {})[row["model"]] = values
    verdicts = Counter(row["verdict"] for row in rows)
    data = {
        "claims": tested,
        "verdicts": verdicts | {"all": len(rows)},
        "numbers": {n.name: _by_model(n, run) for n in quoted},
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _by_model(number: Quoted, run: Run) -> dict[str, object]:
    values = {}
    for model, files in run.sources[number.name].items():
        read = tables_of(number.sql, number.where) & files.keys()
        paths = {name: path for name in read if (path := files[name].path)}
        if len(paths) == len(read) and number.where not in run.problems:
            with run.noting(number.where):
                found = run.query(number.sql, paths, run.models[model], number.where)
                values[model] = _values(found, number)
    return values


def _values(found: pl.DataFrame, number: Quoted) -> object:
    """The number `value`, or those of a row by column, or those of many by `key` and column.

    None where there is no row: the run has not what the number is about.
    """
    keyed = "key" in found.columns
    if not (found["key"].is_unique().all() if keyed else found.height <= 1):
        raise TokentrailsError(
            f"the query gives {found.height} rows of the columns {', '.join(found.columns)}",
            where=number.where,
            hint="give one row, or give each its 'key'.",
        )
    rows = [
        {name: _rounded(value, number.digits) for name, value in row.items()}
        for row in found.to_dicts()
    ]
    if keyed:
        return {str(row.pop("key")): row for row in rows}
    (row,) = rows or [{"value": None}]
    return row["value"] if row.keys() == {"value"} else row


def _rounded(value: object, digits: int) -> object:
    if isinstance(value, float):
        return round(value, digits) if math.isfinite(value) else None
    return value
