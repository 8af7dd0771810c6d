"""What is said at the end of a run: where to look, and what failed out of sight."""

import subprocess
import sys
from pathlib import Path

import pytest
import workflow as wf

from tokentrails.running.failures import failures
from tokentrails.running.made import where_to_look

FAILED = """Error in rule {rule}:
    message: None
    input: a
    log: {file} (check log file(s) for error details)
"""
GOES_ON = "Finished jobid: 3 (Rule: tokens)\n" * 40


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_text("A warning.\nmodel (model m): it is wrong\nHint: mend it.\n")
    Path("b.log").write_text("tokens (model m): tried\ntokens (model m): tried again\n")


@pytest.mark.usefixtures("logs")
def test_messages_are_those_of_the_logs_of_jobs():
    first, second = (
        FAILED.format(rule=r, file=f) for r, f in [("model", "a.log"), ("tokens", "b.log")]
    )
    said = ["model (model m): it is wrong\nHint: mend it.", "tokens (model m): tried again"]
    assert failures(first + GOES_ON) == said[:1]
    assert failures(first + second + GOES_ON) == said
    assert failures(second + GOES_ON + second) == said[1:]  # tried twice
    assert failures(FAILED.format(rule="ranks", file="c.log") + GOES_ON) == [
        "ranks: its log is c.log"
    ]
    many = "".join(FAILED.format(rule="ranks", file=f"{i}.log") for i in range(13)) + GOES_ON
    assert len(failures(many)) == 11 and failures(many)[-1] == "and 3 more"


@pytest.mark.usefixtures("logs")
def test_what_stands_just_above_is_not_said_again():
    assert failures("") == []
    assert failures(GOES_ON + FAILED.format(rule="model", file="a.log")) == []


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_ends_with_what_failed(small, tmp_path):
    folder = wf.small(tmp_path / "run", small / "models")
    with wf.edited(folder / "config/config.yaml") as config:
        config["experiments"]["strange"] = {"file": "config/experiments/strange.yaml"}
    experiment = wf.read_yaml(folder / "config/experiments/polysemy.yaml")
    experiment["prompts"][0]["word"] = " absent"
    wf.write_yaml(folder / "config/experiments/strange.yaml", experiment)
    done = wf.snakemake(folder, "--until", "identity")
    assert done.returncode == 1
    end = done.stderr[done.stderr.rindex("Failed, and what rests on it was not made:") :]
    assert end.count("absent") == end.count("Hint: ") == 2  # one of each model


def test_where_to_look_is_what_was_made_and_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = ["results/metrics/m/main/e/curves.parquet", "results/metrics/m/main/e/curves.csv"]
    figure, findings = "results/composites/e_senses.svg", "results/findings.html"
    assert where_to_look([*tables, findings]) == []  # on another disk
    for path in (*tables, figure, findings):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    report = "All in one page: the same command with --report results/report.html."
    assert where_to_look(tables) == ["Look at results/metrics/ (tables).", report]
    found = "results/findings.html (what the claims come to), results/composites/ (figures across "
    found += "models), results/metrics/ (tables)"
    assert where_to_look([*tables, figure, findings]) == [f"Look at {found}.", report]
    assert where_to_look(["resources/models/m/main/model.safetensors"]) == where_to_look([]) == []


def test_nothing_that_others_wrote_steers_the_terminal():
    """Such as what a model's chat template says where it refuses a text."""
    own, others = r"'a\x1b[2J\r\x07 b\x9b\n'", r"'é % s\n' * 9999"
    program = f"import _job; _job.warn({own} + _job.shortened({others}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=wf.ROOT / "workflow/scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("\nWarning: a\\x1b[2J\\r\\x07 b\\x9b\né % s é % s ")
    assert done.stderr.endswith(" …\n\n") and len(done.stderr) < 350
