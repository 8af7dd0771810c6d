"""Large plans: their jobs, and that the work of the workflow's own code is linear in them."""

import subprocess
import sys

import pytest
import workflow as wf

pytestmark = pytest.mark.slow

# Counts the lines that run in the workflow's own files while Snakemake plans. A scan of all runs in
# each job, which no profile of calls would show, makes this grow with the square of the plan.
COUNTING = """
import sys
from snakemake.cli import main

lines = 0

def count(frame, event, argument):
    global lines
    lines += event == "line"
    return count

def only_ours(frame, event, argument):
    return count if "/workflow/rules/" in frame.f_code.co_filename else None

sys.settrace(only_ours)
try:
    main()
finally:
    print("lines", lines)
"""

CHECKPOINTS = (2, 4, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return wf.checkout(tmp_path_factory.mktemp("scale"))


def planned(folder, checkpoints, **model):
    """How many jobs of each rule a plan has, and how many lines of the workflow's rules it ran."""
    steps = [f"step{step}" for step in range(checkpoints)]
    files = {
        name: f"config/experiments/{name}.yaml" for name in ("words", "polysemy", "vocabulary")
    }
    wf.write_yaml(
        folder / "plan.yaml",
        {
            "models": {
                name: {"source": f"hub:owner/{name}", "checkpoints": steps, **model}
                for name in ("one", "two")
            },
            "experiments": {name: {"file": file} for name, file in files.items()},
            "claims": {"enabled": False},
        },
    )
    arguments = ["--dry-run", "--quiet", "rules", "--cores", "2", "--configfile", "plan.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *arguments],
        cwd=folder,
        env=wf.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    counts = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return counts, counts.pop("lines")


@pytest.mark.parametrize("keep", [True, False])
def test_a_plan_grows_with_its_runs_and_no_faster(folder, keep):
    few, many, most = (planned(folder, n, keep_weights=keep) for n in CHECKPOINTS)
    for checkpoints, (jobs, _) in zip(CHECKPOINTS, (few, many, most), strict=True):
        runs = 2 * checkpoints
        assert jobs["hidden_states"] == 4 * runs  # the baseline too
        assert jobs["identity"] == 2 * runs
        assert jobs["ranks"] == jobs["summary_figure"] == runs
        assert jobs["convergence_tables"] == 2
        assert jobs.get("model", 0) == (runs if keep else 0)
        assert jobs.get("passing_model", 0) == (0 if keep else 4 * runs)
    growth, then = many[1] - few[1], most[1] - many[1]
    assert 0 < then < 2.02 * growth  # 2 is linear, 4 would be the square
