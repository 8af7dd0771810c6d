"""A plan of 20 models x 154 checkpoints x 5 experiments: the time and memory that it takes.

The models are on a hub, which a dry run does not ask. The experiments are lists of words, of which
there is one run per checkpoint, and tables and figures per model.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from harness import Measured
from material import checkout

# The checkpoints of Pythia.
STEPS = [0, *(2**power for power in range(10)), *range(1_000, 144_000, 1_000)]
# What it took is said by the process itself: the system's own number counts what was there before
# exec too, which is this benchmark.
SNAKEMAKE = """
import sys
from pathlib import Path
from snakemake.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(n for n in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in n))
"""
TEMPLATES = ("{bos}{space}{word}", "{word}", "{space}{word}", "{bos}{word}", "The{space}{word}")


def plan(keep_weights: bool) -> dict:
    """The configuration: models that differ in their names alone."""
    model = {"checkpoints": [f"step{step}" for step in STEPS], "keep_weights": keep_weights}
    words = {"file": "config/experiments/words.yaml"}
    return {
        "models": {f"m{i}": {"source": f"hub:owner/m{i}"} | model for i in range(20)},
        "experiments": {f"words{i}": words | {"template": t} for i, t in enumerate(TEMPLATES)},
    }


def dry_run(config: dict) -> tuple[int, float, float, float]:
    """Jobs, seconds on the clock and of the processor, and peak MB of a dry run in a new folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = checkout(Path(scratch))
        (folder / "plan.yaml").write_text(yaml.safe_dump(config))
        command = ["--dry-run", "--quiet", "rules", "--cores", "2", "--configfile", "plan.yaml"]
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(
            [sys.executable, "-c", SNAKEMAKE, *command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        spent, after = time.perf_counter() - start, os.times()
    assert done.returncode == 0, done.stdout
    jobs = re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.MULTILINE)
    assert jobs and peak, done.stdout
    processor = sum(after[2:4]) - sum(before[2:4])
    return int(jobs[1]), spent, processor, int(peak[1]) / 1024


def results() -> Iterator[Measured]:
    for keep_weights in (True, False):
        jobs, spent, processor, peak = dry_run(plan(keep_weights))
        what = "dry run of 20 models × 154 checkpoints × 5 experiments"
        if not keep_weights:
            what = "the same with weights that are not kept"
        print(f"  {jobs:,} jobs: {processor:.0f} s of the processor", flush=True)
        most_s, most_mb = (60, 1_000) if keep_weights else (None, None)  # asked of 15,000 jobs
        yield Measured(f"{what}: jobs", jobs, "jobs")
        yield Measured(what, spent, "s", at_most=most_s)
        yield Measured(f"{what}: peak memory", peak, "MB", at_most=most_mb)
