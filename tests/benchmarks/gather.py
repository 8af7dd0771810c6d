"""The rows of all benchmarks, in one table: every row is on the disk as soon as it is measured."""

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from harness import Measured, Skipped
from machine import in_a_line

from tokentrails import __version__
from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import describe, provenance_of, read_table, write_table

SCHEMA = {
    **dict.fromkeys(("area", "what"), pl.String),
    "value": pl.Float64,
    **dict.fromkeys(("unit", "direction"), pl.String),
    "bound": pl.Float64,
    "passed": pl.Boolean,
    **dict.fromkeys(("problem", "measured", "machine"), pl.String),
}
MEANINGS = {
    "area": "part of the benchmarks",
    "what": "what was measured, and against what; of a row with a problem empty",
    "value": "ratio of times within one run on one machine, or amount",
    "unit": "times as fast: time of the other way / ours; of its speed: the same, where the other "
    "does less; of its time: ours / time of the other; slope: of log time over log size; MB; s; "
    "min; jobs",
    "direction": "whether at least or at most the bound is required; null: nothing is",
    "bound": "what is required of the value; null: nothing",
    "passed": "whether the value meets the bound; null: no bound, or nothing was measured",
    "problem": "why nothing was measured: failed, skipped, or the benchmark was stopped",
    "measured": "when, in UTC",
    "machine": "on what, in short; all of it is in the table's metadata",
}
STOPPED = "stopped before its end"
FAILED = "failed"

Row = dict[str, object]


class Table:
    """The table on the disk, with rows by area in an order of areas.

    Rows of other areas stay if they were measured with the same version on the same machine, as
    their table says; a table of anything else is begun anew.
    """

    def __init__(self, path: Path, areas: Iterable[str], machine: Mapping[str, str]) -> None:
        self.path = path
        self.provenance = {"machine": json.dumps(machine, ensure_ascii=False)}
        self.machine = in_a_line(machine)
        kept = self._earlier()
        self.rows = {area: [row for row in kept if row["area"] == area] for area in areas}

    def write(self) -> None:
        write_table(self.table(), self.path, self.path.with_suffix(".csv"))

    def table(self) -> pa.Table:
        return describe(
            self.frame().to_arrow(),
            title="Speed and memory, measured by `make bench`, and what is required of them",
            provenance=self.provenance,
            meanings=MEANINGS,
        )

    def frame(self) -> pl.DataFrame:
        rows = [row for rows in self.rows.values() for row in rows]
        return pl.DataFrame(rows, schema=SCHEMA).with_columns(machine=pl.lit(self.machine))

    def _earlier(self) -> list[Row]:
        if not self.path.exists():
            return []
        table = read_table(self.path)
        same_version = table.schema.metadata[b"tokentrails_version"].decode() == __version__
        if not same_version or provenance_of(table) != self.provenance:
            print(f"{self.path.name} is of another machine or version: it is begun anew.")
            return []
        return table.to_pylist()


def gather(table: Table, parts: Mapping[str, Callable[[], Iterable[Measured]]]) -> list[str]:
    """Measure parts, each row written as it comes; the parts that failed are given.

    Rows of a part take the place of its earlier ones once the first is measured. A part that fails,
    or that this machine cannot measure, has a row that says so, and the others go on.
    """
    failed = []
    for area, measure in parts.items():
        print(f"== {area}", flush=True)
        rows: list[Row] = []
        for row in _rows(area, measure):
            rows.append(row)
            # What is killed from here on is seen to have been stopped.
            table.rows[area] = [*rows, _problem(area, STOPPED)]
            table.write()
        table.rows[area] = rows
        table.write()
        if any(str(row["problem"]).startswith(FAILED) for row in rows):
            failed.append(area)
    return failed


def _rows(area: str, measure: Callable[[], Iterable[Measured]]) -> Iterator[Row]:
    try:
        for measured in measure():
            yield _row(area, measured)
    except Skipped as reason:
        yield _problem(area, f"skipped: {reason}")
    except TokentrailsError as error:
        print(error, file=sys.stderr)
        yield _problem(area, f"{FAILED}: {error.problem}")
    except Exception as error:
        # What other errors say may name folders of this machine; the table must not.
        traceback.print_exc()
        yield _problem(area, f"{FAILED}: {type(error).__name__}")


def _row(area: str, measured: Measured) -> Row:
    value, bound, direction, passed = float(measured.value), None, None, None
    if measured.at_least is not None:
        bound, direction = measured.at_least, "at least"
        passed = value >= bound
    elif measured.at_most is not None:
        bound, direction = measured.at_most, "at most"
        passed = value <= bound
    known = {"area": area, "what": measured.what, "value": value, "unit": measured.unit}
    judged = {"direction": direction, "bound": bound, "passed": passed}
    return known | judged | {"problem": None, "measured": _now()}


def _problem(area: str, problem: str) -> Row:
    return dict.fromkeys(SCHEMA) | {"area": area, "problem": problem, "measured": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
