"""What a run costs, rule by rule, from the last lines of its jobs' logs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from ..files.tables import describe
from .job_cost import JobCost

NOT_COUNTED = ("costs", "plan")
"""Rules that look at the others."""

NOT_REPEATABLE = (
    "real times of this run on this machine: of all tables, these numbers alone differ from run to "
    "run. Each job counts as it last ran, those of an earlier configuration too as long as their "
    "logs are there"
)
MEANINGS = {
    "rule": "rule of the workflow",
    "jobs": "how many jobs of it were measured",
    "seconds": (
        "wall time of these jobs together, without the start of Python; jobs that run side by side "
        "all count in full"
    ),
    "mean_seconds": "mean wall time of a job",
    "max_seconds": "wall time of the longest job",
    "cpu_seconds": "time on all cores, user and system, of these jobs together",
    "max_rss_mb": "largest resident memory of any job",
    "share": "of the wall time of all jobs of all rules",
}
UNITS = {
    **dict.fromkeys(("seconds", "mean_seconds", "max_seconds", "cpu_seconds"), "s"),
    "max_rss_mb": "MB",
}


def jobs(folder: Path) -> pl.DataFrame:
    """Rule, seconds, cpu_seconds and max_rss_mb of each job that has ended well.

    Parameters
    ----------
    folder: where the logs lie: `{rule}.log`, or any number of files below `{rule}/`. It may be
        missing, as where results are kept in a store.
    """
    logs = {path: path.relative_to(folder).parts[0] for path in folder.glob("**/*.log")}
    rows = [
        (rule.removesuffix(".log"), *cost)
        for path, rule in logs.items()
        if (cost := JobCost.read(path)) and rule.removesuffix(".log") not in NOT_COUNTED
    ]
    schema = {"rule": pl.String} | dict.fromkeys(JobCost._fields, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").sort(*schema)


def costs(jobs: pl.DataFrame) -> pa.Table:
    """The table of costs, a row per rule, out of a table that `jobs` makes."""
    seconds = pl.col("seconds")
    table = (
        jobs.group_by("rule")
        .agg(
            jobs=pl.len().cast(pl.Int32),
            seconds=seconds.sum(),
            mean_seconds=seconds.mean(),
            max_seconds=seconds.max(),
            cpu_seconds=pl.col("cpu_seconds").sum(),
            max_rss_mb=pl.col("max_rss_mb").max(),
        )
        .with_columns(share=(seconds / seconds.sum()).round(4))
        .with_columns((cs.float() - cs.by_name("share")).round(2))  # as the files have them
        .sort("rule")
    )
    table = table.to_arrow()
    title = "What each rule of the workflow costs: time and memory of its jobs"
    return describe(table, title, {"repeatable": f"no: {NOT_REPEATABLE}"}, MEANINGS, UNITS)
