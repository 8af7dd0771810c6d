"""What each rule cost: every rule is measured, and the table is the sum of what was measured."""

import csv
import html
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import workflow as wf

from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import read_table
from tokentrails.running.rule_costs import costs, jobs

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def measure(path: Path, seconds: object, memory: object, cpu: object) -> None:
    """A benchmark file as Snakemake writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:01\t{memory}\t9\t9\t9\t0.0\t0.0\t50.0\t{cpu}\n")


def summed(folder: Path) -> dict[str, list[tuple[float, str, str]]]:
    """Seconds, memory and CPU time of every job by rule, read another way than the library does."""
    found = defaultdict(list)
    for path in folder.rglob("*.tsv"):
        rule = path.relative_to(folder).as_posix().split("/")[0].split(".")[0]
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        found[rule].append((float(row["s"]), row["max_rss"], row["cpu_time"]))
    return found


def test_jobs_of_a_rule_are_added_up(tmp_path):
    measure(tmp_path / "identity/a/main/x.tsv", 3.0, 500.0, 4.0)
    measure(tmp_path / "identity/b/main/x.tsv", 1.0, 700.0, "NA")
    measure(tmp_path / "claims.tsv", 12.0, 100.0, 11.0)
    measure(tmp_path / "summary_figure/a.tsv", 0.0, "NA", "-")
    table = costs(jobs(tmp_path))
    assert table.to_pylist() == [
        row("claims", 1, 12.0, 12.0, 12.0, 11.0, 100.0, 0.75),
        row("identity", 2, 4.0, 2.0, 3.0, 4.0, 700.0, 0.25),
        row("summary_figure", 1, 0.0, 0.0, 0.0, None, None, 0.0),
    ]


def row(rule, n, seconds, mean, longest, cpu, memory, share) -> dict:
    return {
        "rule": rule,
        "jobs": n,
        "seconds": seconds,
        "mean_seconds": mean,
        "max_seconds": longest,
        "cpu_seconds": cpu,
        "max_rss_mb": memory,
        "share": share,
    }


def test_without_benchmark_files_the_table_is_empty_and_says_what_it_would_hold(tmp_path):
    table = costs(jobs(tmp_path / "not there"))
    assert len(table) == 0
    assert table.schema.metadata[b"repeatable"].startswith(b"no: ")
    assert all(field.metadata[b"description"] for field in table.schema)


@pytest.mark.parametrize("text", ["", HEADER, "a\tb\n1\t2\n", f"{HEADER}1.0\t0:00:01\n"])
def test_a_file_that_is_cut_short_is_named(tmp_path, text):
    (tmp_path / "identity.tsv").write_text(text)
    with pytest.raises(TokentrailsError, match=r"identity\.tsv: .*\nHint: delete it"):
        jobs(tmp_path)


def test_every_rule_that_computes_is_measured_under_its_own_name():
    pattern = re.compile(r"results/benchmarks/(\w+)[./]")
    measured = {r.name: r.benchmark and pattern.match(r.benchmark)[1] for r in wf.rules()}
    assert len(measured) > 40
    # What sums up the others cannot take part in the sum.
    assert {n: under for n, under in measured.items() if under != n} == {"costs": None}


# A run


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return wf.finished(tmp_path_factory)


@pytest.mark.e2e
def test_the_table_of_a_run_is_the_sum_of_its_benchmark_files(small):
    table = read_table(small / "results/costs.parquet").to_pylist()
    expected = summed(small / "results/benchmarks")
    assert [row["rule"] for row in table] == sorted(expected)
    assert expected.keys() > {"model", "tokens", "hidden_states", "identity", "senses_figure"}
    total = sum(seconds for jobs in expected.values() for seconds, _, _ in jobs)
    for row in table:
        seconds, memory, _ = zip(*expected[row["rule"]], strict=True)
        assert row["jobs"] == len(seconds)
        assert row["seconds"] == pytest.approx(sum(seconds))
        assert row["max_seconds"] == max(seconds)
        assert row["share"] == pytest.approx(sum(seconds) / total, abs=5e-5)  # four digits
        known = [float(value) for value in memory if value not in ("NA", "-")]
        assert row["max_rss_mb"] == max(known, default=None)
    with (small / "results/costs.csv").open(newline="") as file:
        assert [line["rule"] for line in csv.DictReader(file)] == sorted(expected)


@pytest.mark.e2e
def test_costs_are_due_with_anything_else_and_never_alone(small, tmp_path):
    folder = wf.copy_of(small, tmp_path / "run")
    shutil.rmtree(folder / "results/benchmarks/summary_figure")
    assert "Nothing to be done" in dry_run(folder)
    (folder / "results/figures/bert/main/plain/summary.svg").unlink()
    assert re.search(r"^costs +1$", dry_run(folder), re.M)
    wf.run(folder)
    again = {row["rule"]: row["jobs"] for row in read_table(folder / COSTS).to_pylist()}
    before = {row["rule"]: row["jobs"] for row in read_table(small / COSTS).to_pylist()}
    assert before["summary_figure"] == 3
    assert again == before | {"summary_figure": 1}
    assert "Nothing to be done" in dry_run(folder)


COSTS = "results/costs.parquet"


def dry_run(folder: Path) -> str:
    done = wf.run(folder, "--dry-run")
    return done.stdout + done.stderr


@pytest.mark.e2e
def test_the_report_shows_the_table(small, tmp_path):
    folder = wf.copy_of(small, tmp_path / "run")
    wf.run(folder, "--report", "results/report.html")
    report = html.unescape((folder / "results/report.html").read_text())
    assert "results/costs.csv" in report and "What each rule took" in report
