"""The whole of config/paper.yaml against a stand-in for the hub, and what its plan said of it.

The weights are random (models.py), so every number about models is meaningless; what is tried is
everything else: that each step runs at true size, that each figure and table is made, and that
time, memory, disk and jobs are what `plan` announced. The hub misbehaves as real ones do: one
checkpoint lacks its configuration until the second run, and downloads break off in the middle.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

sys.path[:0] = [str(Path(__file__).parent.parent)]

import hub as stand_in  # noqa: E402
import workflow as wf  # noqa: E402
from rehearsal import models  # noqa: E402

from tokentrails.catalogue import ANALYSES, TOKENS  # noqa: E402
from tokentrails.claims.verdict import UNTESTABLE  # noqa: E402
from tokentrails.config.load import load_config  # noqa: E402
from tokentrails.models.size import expected  # noqa: E402
from tokentrails.network.size import ModelSize  # noqa: E402
from tokentrails.running.cost import memory_mb, work  # noqa: E402
from tokentrails.running.plan import counted  # noqa: E402
from tokentrails.settings import Config  # noqa: E402

CONFIG = ("--configfile", "config/paper.yaml")
INCOMPLETE = "step1000"
"""The checkpoint that lacks its configuration in the first run."""
BREAKING = ("model.safetensors", "pytorch_model.bin")
"""Files whose first download breaks off."""
LEARNT_CLAIMS = ("gpt2-devil-neuron",)
"""Claims that random weights cannot show: a neuron of GPT-2 is known by what it stands for."""
WITHIN = 1.5
"""The factor within which a plan is called right."""
GPU_RULES = {"hidden_states", *filter(None, (row.gpu_rule for row in ANALYSES))}
MADE = ("results", "resources/models", "resources/training", "home")
"""Folders that a run fills."""


class Compared(NamedTuple):
    """What the plan said, and what it was."""

    what: str
    planned: float
    measured: float
    unit: str

    def __str__(self) -> str:
        ratio = self.planned / self.measured
        verdict = "" if 1 / WITHIN <= ratio <= WITHIN else f"  NOT within {WITHIN}"
        numbers = f"{self.planned:10,.0f} {self.measured:10,.0f}"
        return f"{self.what:30} {numbers} {self.unit:4} {ratio:5.2f}{verdict}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="models and the run; it takes some 45 GB")
    arguments.add_argument("--words", type=float, default=1.0, help="this share of the words alone")
    asked = arguments.parse_args()
    folder = asked.folder.resolve()
    repositories = models.make(folder / "hub")
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    wf.checkout(run)
    for name in ("words", "perturbation"):
        with wf.edited(run / f"config/experiments/{name}.yaml") as experiment:
            words = experiment["words"]
            words["per_group"] = max(2, round(asked.words * words["per_group"]))
    with stand_in.running() as hub:
        for name, revisions in repositories.items():
            for revision, path in revisions.items():
                hub.add(name, path, revision)
        env = wf.from_hub(hub.url, run / "home")
        vars(constants).update(hub.constants)
        print("== Plan, before and after texts are tokenized", flush=True)
        all_jobs = {"jobs": plan(run, env)["jobs"]}
        wf.run(run, "--until", "tokens", *CONFIG, **env)
        planned = plan(run, env) | all_jobs
        jobs = wf.jobs_to_run(run, *CONFIG)
        config = load_config(wf.read_yaml(run / "config/paper.yaml"))
        sizes = {name: expected(model, ()).size for name, model in config.models.items()}
        hub.cut = dict.fromkeys(BREAKING, 1)
        absent = hub.repos[models.PYTHIA][INCOMPLETE].pop("config.json")
        start = time.monotonic()
        with disk(run) as peak:
            print(f"== First run, without the configuration of {INCOMPLETE}", flush=True)
            first = logged(run, "first.log", env, "--keep-going")
            hub.repos[models.PYTHIA][INCOMPLETE]["config.json"] = absent
            print("== Second run", flush=True)
            second = logged(run, "second.log", env)
        seconds = time.monotonic() - start
        useless = sorted({*hub.downloaded()} & {*models.OTHER_FRAMEWORKS})
    faults = [
        *([] if first else ["the first run, with a file missing, did not fail"]),
        *(["the second run failed: second.log"] if second else []),
        *[f"{name} was downloaded, and is of no use" for name in useless],
        *unsaid(run, INCOMPLETE, "config.json"),
    ]
    if not second:
        wf.run(run, "--report", "results/report.html", *CONFIG)
        faults += [*missing(run, config), *untestable(run)]
        print(f"\n== {seconds:.0f} s in all; {'what':28} planned   measured")
        print(*compared(run, planned, jobs, config, sizes, peak[0]), sep="\n")
    print(f"\n== {len(faults)} faults", *faults, sep="\n")
    sys.exit(1 if faults else 0)


def plan(run: Path, env: dict[str, str]) -> dict[str, float]:
    """Jobs, and disk in MB, as `plan` prints them."""
    text = wf.run(run, "plan", *CONFIG, **env).stdout
    print(text)
    (run / "plan.txt").write_text(text)

    def number(pattern: str) -> float:
        found = re.search(pattern, text, re.MULTILINE)
        assert found, f"{pattern} is not in the plan"
        return float(found[1].replace(",", "")) * (1000 if found[0].endswith("GB") else 1)

    amount = r"[\d,.]+ [MG]B"
    return {
        "jobs": number(r"^total +([\d,]+) "),
        "states": number(rf"^total +\d+ +{amount} +{amount} +([\d,.]+) [MG]B"),
        "disk": number(r"^Disk: (?:at least )?([\d,.]+) [MG]B"),
    }


def logged(run: Path, log: str, env: dict[str, str], *args: str) -> int:
    """The exit code of a run, whose messages go to a file."""
    with (run / log).open("w") as file:
        command = wf.command(*args, *CONFIG)
        streams = {"stdout": file, "stderr": subprocess.STDOUT}
        return subprocess.run(command, cwd=run, env=wf.environment(**env), **streams).returncode


@contextmanager
def disk(run: Path) -> Iterator[list[float]]:
    """The most MB that a run's outputs and downloads take, looked at every other second."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(2):
            peak[0] = max(peak[0], sum(size_mb(run / name) for name in MADE))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def size_mb(folder: Path) -> float:
    done = subprocess.run(["du", "--bytes", "-s", folder], capture_output=True, text=True)
    return int(done.stdout.split()[0]) / 1e6 if done.stdout else 0.0


def unsaid(run: Path, *words: str) -> list[str]:
    """Whether the first run said in one line what was missing."""
    lines = (run / "first.log").read_text().splitlines()
    if any(all(word in line for word in words) for line in lines):
        return []
    return [f"no line of first.log has {' and '.join(words)}"]


def missing(run: Path, config: Config) -> list[str]:
    """Items of the paper, and pages, that are not there or empty."""
    index = pl.read_csv(run / "results/paper/index.csv")
    pages = ["claims.html", "report.html", "paper/index.html"]
    files = [run / name for name in (*(f"results/{page}" for page in pages), *index["file"])]
    gone = [f"{file.relative_to(run)} is missing" for file in files if not file.is_file()]
    if len({*index["title"]}) < len({entry["title"] for entry in config.paper}):
        gone.append("results/paper/index.csv lacks items")
    return gone + [
        f"{f.relative_to(run)} is empty" for f in files if f.is_file() and not f.stat().st_size
    ]


def untestable(run: Path) -> list[str]:
    """Claims that could be tested in no model of the configuration."""
    claims = pl.read_parquet(run / "results/claims.parquet")
    untested = pl.col("verdict").eq(UNTESTABLE).all()
    found = claims.group_by("claim", maintain_order=True).agg(untested, pl.col("reason").first())
    return [
        f"claim {row['claim']} is tested in no model: {row['reason']}"
        for row in found.filter("verdict").to_dicts()
        if row["claim"] not in LEARNT_CLAIMS
    ]


def compared(
    run: Path,
    planned: dict[str, float],
    jobs: set[wf.Job],
    config: Config,
    sizes: dict[str, ModelSize],
    peak_mb: float,
) -> list[Compared]:
    """What the plan said, and what it was."""
    costs = pl.read_parquet(run / "results/costs.parquet")
    took = {row["rule"]: row for row in costs.to_dicts()}
    speed, reading = flop_per_second(), mb_per_second(run)
    print(f"This machine: products at {speed / 1e9:.0f} GFLOP/s, weights at {reading:.0f} MB/s")
    seconds: dict[str, float] = {}
    for rule, wildcards in jobs:
        if rule in GPU_RULES:
            model, _, experiment = wildcards.split("/")
            counts = counted(run / TOKENS.format(model=model, experiment=experiment), sizes[model])
            made = config.experiments[experiment]
            flop, mb = work(rule, made, sizes[model], config.extract, counts)
            seconds[rule] = seconds.get(rule, 0.0) + flop / speed + mb / reading
    largest = max(size.weights_mb for size in sizes.values())
    asked = memory_mb(largest)
    memory = took["hidden_states"]["max_rss_mb"]
    return [
        Compared("jobs", planned["jobs"], float(costs["jobs"].sum()) + 1, ""),
        Compared("disk at its fullest", planned["disk"], peak_mb, "MB"),
        Compared(
            "hidden states on disk", planned["states"], size_mb(run / "results/hidden_states"), "MB"
        ),
        Compared("memory of extraction", asked, memory, "MB"),
        *(
            Compared(f"work of {rule}", s, took[rule]["seconds"], "s")
            for rule, s in seconds.items()
        ),
    ]


def flop_per_second() -> float:
    """Of a product as large as those of a large model, in float32."""
    left, right = torch.randn(512, 2048), torch.randn(2048, 8192)
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < 2:
        left @ right
        times += 1
    return times * 2 * 512 * 2048 * 8192 / (time.perf_counter() - start)


def mb_per_second(run: Path) -> float:
    """Of the weights that are kept, read into float32."""
    files = sorted((run / "resources/models").rglob("model.safetensors"))
    start = time.perf_counter()
    for file in files:
        sum(tensor.float().sum() for tensor in load_file(file).values())
    return sum(file.stat().st_size for file in files) / 1e6 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
