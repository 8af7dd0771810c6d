"""Runs the queries of a claims file in a process of its own.

One that takes too much ends that process and not the job, which says whose query it was.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import polars as pl

from ..errors import TokentrailsError
from ..files.near import near_name
from ..files.tables import read_frame
from .sql import tables_of

SECONDS = 120.0
ROWS = 10_000_000


def run_sql(sql: str, tables: Mapping[str, pl.DataFrame], where: object) -> pl.DataFrame:
    """The result of a query.

    Raises
    ------
    TokentrailsError: with what polars says, if it does not run.
    """
    read = {name: tables[name] for name in sorted(tables_of(sql, where) & tables.keys())}
    try:
        found = pl.SQLContext(read).execute(sql, eager=True)
    # Polars has a dozen error classes without a common base, and its parser may panic.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        problem = str(error).split("\n\n")[0].strip()
        raise TokentrailsError(
            f"the formula does not run: {_LISTED.sub('', problem)}",
            where=where,
            hint=_columns_hint(problem, read, tables),
        ) from None
    if found.height > ROWS:
        raise TokentrailsError(
            f"the formula gives {found.height:,} rows",
            where=where,
            hint=f"at most {ROWS:,} are read; group them, or join by more keys.",
        )
    return found


_LISTED = re.compile(r'; valid columns: \[("[^]]*")?\]$')
_MISSPELT = re.compile(r"""column (?:"([^"]+)"|named '([^']+)' found in table)""")


def _columns_hint(problem: str, read: Mapping[str, pl.DataFrame], tables: Iterable[str]) -> str:
    """What a column most likely stands for that there is not, or which columns there are.

    Parameters
    ----------
    problem: in words of polars, which may list the columns at this place of the formula.
    read: the tables that the formula reads, of all that it may.
    """
    columns = "; ".join(f"{name}: {', '.join(frame.columns)}" for name, frame in read.items())
    here = f"its tables are {', '.join(sorted(tables))}"
    here += f". Columns of {columns}." if columns else "."
    if not (found := _MISSPELT.search(problem)):
        return here
    listed = _LISTED.search(problem)
    known = re.findall('"([^"]*)"', listed[0]) if listed else []
    new = [name for name in known if not any(name in frame.columns for frame in read.values())]
    here += f" The formula names {', '.join(new)} itself." if new else ""
    known = known or [name for frame in read.values() for name in frame.columns]
    return near_name(found[1] or found[2], known, here)


class Queries:
    """Runs queries over the tables of files, in a process that one query cannot take others with.

    Parameters
    ----------
    paths: by the name of each table's file, where to read it.
    seconds: how long one query may take.
    memory: bytes that the process may take, by default half of what the machine has.
    """

    def __init__(
        self,
        paths: Mapping[str, str | Path],
        seconds: float = SECONDS,
        memory: int | None = None,
    ) -> None:
        self._paths, self._seconds = paths, seconds
        self._memory = memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        self._start()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        program = f"from {__name__} import serve; serve({theirs.fileno()}, {self._memory})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()

    def __enter__(self) -> Queries:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _restart(self) -> None:
        """For the next query, after one that the process does not answer."""
        self._stop()
        self._start()

    def __call__(
        self, sql: str, files: Mapping[str, str], model: pl.DataFrame, where: str
    ) -> pl.DataFrame:
        """The result of a query over tables of files, and the table `model`.

        Raises
        ------
        TokentrailsError: if it does not run, or takes more time or memory than there is.
        """
        paths = {name: self._paths[path] for name, path in files.items()}
        hint = "join by keys, group before joining, and nest less."
        try:
            self._connection.send((sql, paths, model, where))
            if not self._connection.poll(self._seconds):
                self._restart()
                problem = f"the formula takes longer than {self._seconds:g} s"
                raise TokentrailsError(problem, where=where, hint=hint)
            answer = self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            self._restart()
            raise TokentrailsError(
                f"the formula ends the process that runs it (code {code}): it needs more memory "
                "than there is, or is nested too deep",
                where=where,
                hint=hint,
            ) from None
        if isinstance(answer, pl.DataFrame):
            return answer
        problem, hint = answer
        raise TokentrailsError(problem, where=where, hint=hint)


def serve(handle: int, memory: int) -> None:
    """Answer queries from a pipe until it is closed: with a table, or a problem and its hint."""
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
    read = lru_cache(maxsize=16)(read_frame)
    with Connection(handle) as connection:
        while True:
            try:
                sql, paths, model, where = connection.recv()
            except EOFError:
                return
            try:
                tables = {name: read(path) for name, path in paths.items()}
                connection.send(run_sql(sql, tables | {"model": model}, where))
            except TokentrailsError as error:
                connection.send((error.problem, error.hint))
