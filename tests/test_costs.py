"""What each rule cost: every rule is measured, and the table is the sum of what was measured."""

import csv
import html
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import workflow as wf

from tokentrails.files.tables import read_table
from tokentrails.running.job_cost import JobCost
from tokentrails.running.rule_costs import costs, jobs

LAST_LINE = re.compile(r"took (\S+) s, (\S+) s of CPU, (\S+) MB\n")


def ended(path: Path, seconds: float, cpu: float, memory: float) -> None:
    """The log of a job that has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"a line\ntook {seconds:.2f} s, {cpu:.2f} s of CPU, {memory:.0f} MB\n")


def summed(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """Seconds, CPU time and memory of every job by rule, read another way than the library does."""
    found = defaultdict(list)
    for path in folder.rglob("*.log"):
        rule = path.relative_to(folder).as_posix().split("/")[0].split(".")[0]
        if last := LAST_LINE.search(path.read_text()):
            found[rule].append(tuple(map(float, last.groups())))
    del found["costs"]
    return found


def test_jobs_of_a_rule_are_added_up(tmp_path):
    ended(tmp_path / "identity/a/main/x.log", 3.0, 4.0, 500)
    ended(tmp_path / "identity/b/main/x.log", 1.0, 0.5, 700)
    ended(tmp_path / "claims.log", 12.0, 11.0, 100)
    ended(tmp_path / "costs.log", 1.0, 1.0, 100)
    table = costs(jobs(tmp_path))
    assert table.to_pylist() == [
        row("claims", 1, 12.0, 12.0, 12.0, 11.0, 100.0, 0.75),
        row("identity", 2, 4.0, 2.0, 3.0, 4.5, 700.0, 0.25),
    ]


@pytest.mark.parametrize("text", ["", "an error\nHint: look\n", "took 1.00 s, 1.00 s of C"])
def test_a_job_that_has_not_ended_well_does_not_count(tmp_path, text):
    (tmp_path / "identity.log").write_text(text)
    assert len(jobs(tmp_path)) == 0


def test_a_process_knows_what_it_took():
    start = time.monotonic()
    total = 0
    while time.monotonic() - start < 0.2:
        total += 1
    cost = JobCost.since(start)
    assert 0.2 <= cost.seconds < 5 and cost.cpu_seconds > 0.1 and 5 < cost.max_rss_mb < 50_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    code = "from tokentrails.running.job_cost import JobCost; print(JobCost.since(0).max_rss_mb)"
    much = "x = bytearray(400 << 20); import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [sys.executable, "-c", much, sys.executable, "-c", code]
    library = wf.environment(PYTHONPATH="workflow")
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=library)
    assert 5 < float(done.stdout) < 200


def row(*values) -> dict:
    names = ("rule", "jobs", "seconds", "mean_seconds", "max_seconds", "cpu_seconds")
    return dict(zip((*names, "max_rss_mb", "share"), values, strict=True))


def test_without_logs_the_table_is_empty_and_says_what_it_would_hold(tmp_path):
    table = costs(jobs(tmp_path / "not there"))
    assert len(table) == 0
    assert table.schema.metadata[b"repeatable"].startswith(b"no: ")
    assert all(field.metadata[b"description"] for field in table.schema)


def test_every_rule_has_a_log_under_its_own_name():
    pattern = re.compile(r"results/logs/(\w+)[./]")
    logs = {rule.name: rule.log and pattern.match(rule.log)[1] for rule in wf.rules()}
    assert len(logs) > 40
    assert {name: under for name, under in logs.items() if under != name} == {}


# A run


@pytest.mark.e2e
def test_the_table_of_a_run_is_the_sum_of_what_the_logs_say(small):
    table = read_table(small / "results/costs.parquet").to_pylist()
    expected = summed(small / "results/logs")
    assert [row["rule"] for row in table] == sorted(expected)
    assert expected.keys() > {"model", "tokens", "hidden_states", "identity", "senses_figure"}
    total = sum(seconds for jobs in expected.values() for seconds, *_ in jobs)
    for row in table:
        seconds, cpu, memory = zip(*expected[row["rule"]], strict=True)
        assert row["jobs"] == len(seconds)
        assert row["seconds"] == pytest.approx(sum(seconds))
        assert row["max_seconds"] == max(seconds)
        assert row["share"] == pytest.approx(sum(seconds) / total, abs=5e-5)  # four digits
        assert row["cpu_seconds"] == pytest.approx(sum(cpu))
        assert row["max_rss_mb"] == max(memory)
    with (small / "results/costs.csv").open(newline="") as file:
        assert [line["rule"] for line in csv.DictReader(file)] == sorted(expected)


@pytest.mark.e2e
def test_costs_are_due_with_anything_else_and_never_alone(small, folder):
    shutil.rmtree(folder / "results/logs/summary_figure")
    assert wf.rules_to_run(folder) == {}
    (folder / "results/figures/bert/main/plain/summary.svg").unlink()
    wf.run(folder)
    again = {row["rule"]: row["jobs"] for row in read_table(folder / COSTS).to_pylist()}
    before = {row["rule"]: row["jobs"] for row in read_table(small / COSTS).to_pylist()}
    assert before["summary_figure"] == 3
    assert again == before | {"summary_figure": 1}


COSTS = "results/costs.parquet"


@pytest.mark.e2e
def test_the_report_shows_the_table(folder):
    wf.run(folder, "--report", "results/report.html")
    report = html.unescape((folder / "results/report.html").read_text())
    assert "results/costs.csv" in report and "What each rule took" in report
