"""Whether formulas fit the columns of the tables that are there, before a job runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ..statistics.bootstrap import Bootstrap
from .file import ClaimsFile
from .models import model_table
from .numbers import numbers
from .query import Queries
from .sources import Pair, Source
from .table import SCHEMA, Run, measured_claims


def refuse_misfits(
    file: ClaimsFile,
    found: Mapping[str, Mapping[str, Mapping[str, Pair]]],
    models: Mapping[str, tuple[str, int]],
    replicates: Mapping[str, Sequence[str]],
) -> None:
    """Run every formula on its tables without their rows; a table that is not made takes no part.

    Parameters
    ----------
    found: as `claim_sources` gives it.
    models: the reference of each, and how many checkpoints it has.
    replicates: by the name of each set, its models.

    Raises
    ------
    TokentrailsError: for all formulas that fail, with what the job that runs them would say.
    """
    sources = {
        name: {
            model: {table: _made(path) for table, (path, _) in tables.items()}
            for model, tables in by_model.items()
        }
        for name, by_model in found.items()
    }
    paths = {
        each.path: each.path
        for by_model in sources.values()
        for tables in by_model.values()
        for each in tables.values()
        if each.path
    }
    about = {name: model_table(name, *each, {}) for name, each in models.items()}
    nothing = Bootstrap(0, 0.95, 0)
    known: dict[tuple[str, tuple[tuple[str, ...], ...]], pl.DataFrame] = {}
    with Queries(paths, rows=False) as queries:

        def query(
            sql: str, files: Mapping[str, str], model: pl.DataFrame, where: str
        ) -> pl.DataFrame:
            # In every model a table of an experiment has the same columns.
            read = ((name, *Path(path).parts[-2:]) for name, path in sorted(files.items()))
            key = sql, tuple(read)
            if key not in known:
                known[key] = queries(sql, files, model, where)
            return known[key]

        run = Run(about, sources, query, replicates)
        measured_claims(file.claims, run, nothing)
        numbers(SCHEMA.empty_table(), file.numbers, run)
    run.refuse()


def _made(path: str | None) -> Source:
    return Source(path) if path and Path(path).exists() else Source(None, "not made yet")
