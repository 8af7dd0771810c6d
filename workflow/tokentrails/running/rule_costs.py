"""What a run costs, rule by rule, from the benchmark files that Snakemake writes for its jobs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from ..errors import TokentrailsError
from ..files.tables import describe

MEASURED = {"s": "seconds", "cpu_time": "cpu_seconds", "max_rss": "max_rss_mb"}
"""Columns of a benchmark file, and their names in the table."""

NOT_REPEATABLE = (
    "real times of this run on this machine: of all tables, these numbers alone differ from run to "
    "run. Each job counts as it last ran, those of an earlier configuration too as long as their "
    "benchmark files are there"
)
MEANINGS = {
    "rule": "rule of the workflow",
    "jobs": "how many jobs of it were measured",
    "seconds": "wall time of these jobs together; jobs that run side by side all count in full",
    "mean_seconds": "mean wall time of a job",
    "max_seconds": "wall time of the longest job",
    "cpu_seconds": "time on all cores, user and system, of these jobs together; null: not measured",
    "max_rss_mb": "largest resident memory of any job; null: all were too short to be measured",
    "share": "of the wall time of all jobs of all rules",
}
UNITS = {
    **dict.fromkeys(("seconds", "mean_seconds", "max_seconds", "cpu_seconds"), "s"),
    "max_rss_mb": "MB",
}


def jobs(folder: Path) -> pl.DataFrame:
    """Rule, seconds, cpu_seconds and max_rss_mb of each job; a row per benchmark file.

    Parameters
    ----------
    folder: where the files lie: `{rule}.tsv`, or any number of files below `{rule}/`. It may be
        missing, as where results are kept in a store.

    Raises
    ------
    TokentrailsError: naming a file that is no benchmark file.
    """
    rows = [_job(path, path.relative_to(folder).parts[0]) for path in folder.glob("**/*.tsv")]
    schema = {"rule": pl.String} | dict.fromkeys(MEASURED.values(), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").sort(*schema)


def costs(jobs: pl.DataFrame) -> pa.Table:
    """The table of costs, a row per rule, out of a table that `jobs` makes."""
    seconds = pl.col("seconds")
    measured = pl.col("cpu_seconds").is_not_null().any()
    table = (
        jobs.group_by("rule")
        .agg(
            jobs=pl.len().cast(pl.Int32),
            seconds=seconds.sum(),
            mean_seconds=seconds.mean(),
            max_seconds=seconds.max(),
            cpu_seconds=pl.when(measured).then(pl.col("cpu_seconds").sum()),
            max_rss_mb=pl.col("max_rss_mb").max(),
        )
        .with_columns(share=(seconds / seconds.sum()).round(4))
        .with_columns((cs.float() - cs.by_name("share")).round(2))  # as the files have them
        .sort("rule")
    )
    return describe(
        table.to_arrow(),
        title="What each rule of the workflow costs: time and memory of its jobs",
        provenance={"repeatable": f"no: {NOT_REPEATABLE}"},
        meanings=MEANINGS,
        units=UNITS,
    )


def _job(path: Path, top: str) -> list[str | float | None]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    try:
        names, values = lines
        found = dict(zip(names, values, strict=True))
        # A job of a moment ends before its memory is looked at: NA, or a dash.
        numbers = [None if found[name] in ("NA", "-") else float(found[name]) for name in MEASURED]
    except (ValueError, KeyError) as error:
        raise TokentrailsError(
            f"this is no benchmark file: {error}", where=path, hint="delete it; no result needs it."
        ) from error
    return [top.removesuffix(".tsv"), *numbers]
