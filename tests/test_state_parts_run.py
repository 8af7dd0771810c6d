"""An experiment whose states are stored, in parts: killed, on a full disk, and as one job."""

import os
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path

import checkpoints
import polars as pl
import pytest
import tiny
import workflow as wf

CONFIG = Path("config/config.yaml")
STEPS = ("step0", "step2")
STATES = "results/hidden_states"
MANY = f"{STATES}/m/step2/many.parquet"
RUNS = ("m/step0/many", "m/step2/many", "bert/main/rows")
ALONE = ("m/step0/alone", "m/step2/alone", "bert/main/alone")
TARGETS = ("--", *(f"{STATES}/{run}.parquet" for run in (*RUNS, *ALONE)))
SHARD_TOKENS, PARTS = 1600, {"many": 5, "rows": 3}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _make(folder: Path) -> None:
    """Prompts and a table of whole texts, in parts, and a small experiment."""
    wf.checkout(folder)
    checkpoints.save(folder / "models/m", STEPS)
    tiny.save("bert", folder / "models/bert")
    models = {
        "m": {"checkpoints": list(STEPS), "keep_weights": False, "threads": 1},
        "bert": {"threads": 1},
    }
    checkpoints.write_config(folder, models, ["alone"])
    words, draw = " ".join(tiny.CORPUS).split(), random.Random(0)
    texts = [" ".join(draw.choices(words, k=draw.randint(2, 20))) for _ in range(150)]
    prompts = [
        {"label": f"p{n}", "word": "water", "prompt": f"{text} water {text}"}
        for n, text in enumerate(texts)
    ]
    wf.write_yaml(folder / "many.yaml", {"analyses": ["identity"], "prompts": prompts})
    pl.DataFrame({"body": texts}).write_csv(folder / "rows.csv")
    table = {"file": "rows.csv", "text": "body"}
    wf.write_yaml(folder / "rows.yaml", {"analyses": ["identity"], "table": table})
    with wf.edited(folder / CONFIG) as config:
        config["experiments"] |= {
            "many": {"file": "many.yaml", "models": ["m"]},
            "rows": {"file": "rows.yaml", "models": ["bert"], "sites": ["resid"]},
        }
        config["extract"] = {"shard_tokens": SHARD_TOKENS, "token_budget": 64}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run in parts."""

    def make(folder: Path) -> None:
        _make(folder)
        process = wf.start(folder, *TARGETS, **wf.served())
        most, output = checkpoints.most_weights(folder / "resources/models/m", process)
        assert process.returncode == 0, output
        assert most == 1  # those of a checkpoint stay until what needs them has the states

    return wf.shared(tmp_path_factory, "state_parts", make)


@pytest.fixture
def folder(made, tmp_path):
    return wf.copy_of(made, tmp_path / "run")


def _change_shards(folder: Path, tokens: int) -> None:
    with wf.edited(folder / CONFIG) as config:
        config["extract"]["shard_tokens"] = tokens


def _parts(folder: Path) -> list[Path]:
    """Those that are whole."""
    return list((folder / STATES).rglob("[!.]*.arrow"))


def _again(folder: Path) -> Path:
    """The folder of the parts of `MANY`, which is to be made again."""
    (folder / MANY).unlink()
    return (folder / MANY).with_suffix("")


def test_parts_are_gone_when_they_are_joined(made):
    assert _parts(made) == [] and wf.half_written(made) == []
    logs = made / "results/logs/partial_states"
    for run in RUNS:
        assert len(list(logs.glob(f"{run}/*.log"))) == PARTS[run.split("/")[-1]]
    assert not list(logs.rglob("alone"))
    assert wf.jobs_to_run(made, *TARGETS) == set()


def test_one_job_gives_the_same_bytes(folder):
    before = wf.contents(folder / STATES, "**/*.parquet")
    assert len(before) == len(RUNS) + len(ALONE)
    _change_shards(folder, 100_000)
    stale = {job for job in wf.jobs_to_run(folder, *TARGETS) if "states" in job.rule}
    # One that is not in another number of parts is left alone.
    assert stale == {wf.Job("hidden_states", run) for run in RUNS}
    wf.run(folder, *TARGETS)
    assert wf.contents(folder / STATES, "**/*.parquet") == before


def test_another_number_of_parts_gives_the_same_bytes(folder):
    _change_shards(folder, 3900)
    before = (folder / MANY).read_bytes()
    stale = wf.rules_to_run(folder, "--", MANY)
    assert stale == {"passing_model": 1, "partial_states": 2, "joined_states": 1}
    left = _again(folder) / "1_of_9.arrow"  # of a run that was killed, before the change
    left.parent.mkdir(exist_ok=True)
    left.touch()
    wf.run(folder, "--", MANY)
    assert (folder / MANY).read_bytes() == before and not left.exists()


def test_what_changes_a_state_makes_all_parts_again(folder):
    with wf.edited(folder / CONFIG) as config:
        config["extract"]["store"] = "float16"
    stale = wf.rules_to_run(folder, *TARGETS)
    assert stale["partial_states"] == 2 * PARTS["many"] + PARTS["rows"]
    assert (stale["joined_states"], stale["hidden_states"]) == (3, 3)


def test_parts_that_were_done_before_a_kill_are_not_done_again(folder, made):
    _again(folder)
    process = wf.start(folder, "--jobs", "1", "--", MANY)
    wf.wait_until(lambda: len(_parts(folder)) >= 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    whole = len(_parts(folder))
    again = wf.rules_to_run(folder, "--", MANY)["partial_states"]
    assert PARTS["many"] - whole <= again < PARTS["many"]
    wf.run(folder, "--", MANY)
    assert (folder / MANY).read_bytes() == (made / MANY).read_bytes()
    assert _parts(folder) == [] and wf.half_written(folder) == []


def test_a_part_that_is_killed_alone_is_repeated_alone(folder, made):
    parts = _again(folder)
    process = wf.start(folder, "--retries", "1", "--", MANY, **wf.served())
    writing: list[Path] = []
    wf.wait_until(lambda: writing.extend(parts.glob(".part-*")) or writing, process)
    os.kill(int(writing[0].name.split("-")[1]), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert output.count("Running m (step2) on part") == PARTS["many"] + 1, output
    assert (folder / MANY).read_bytes() == (made / MANY).read_bytes()
    assert _parts(folder) == [] and wf.half_written(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_in_one_part_loses_no_other(folder, made):
    _again(folder)
    disk = (folder / MANY).parent
    (disk / "alone.parquet").unlink()
    size = (made / MANY).stat().st_size
    wf.mount_small(disk, f"{size * 5 // PARTS['many'] // 2 // 1024}k")
    try:
        done = wf.snakemake(folder, "--jobs", "1", "--", MANY)
        wf.one_message(done, "the disk is full", "make room")
        assert 1 <= len(whole := _parts(folder)) < PARTS["many"] and wf.half_written(folder) == []
        command = ["mount", "-o", "remount,size=64m", str(disk)]
        subprocess.run(command, check=True)
        again = wf.rules_to_run(folder, "--", MANY)["partial_states"]
        assert again == PARTS["many"] - len(whole)
        wf.run(folder, "--", MANY)
        assert (folder / MANY).read_bytes() == (made / MANY).read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_plan_counts_parts_as_jobs_of_one_experiment(folder):
    plans = []
    for tokens in (SHARD_TOKENS, 100_000):
        _change_shards(folder, tokens)
        shutil.rmtree(folder / "results", ignore_errors=True)
        plans.append(wf.run(folder, "plan").stdout)
    # Of all: states to be stored in MB, and jobs on a GPU.
    total = r"^total +2 .* ([\d.]+) MB +[\d.]+ \w+ +(\d+)$"
    in_parts, whole = (re.search(total, plan, re.MULTILINE).groups() for plan in plans)
    assert in_parts[0] == whole[0] != "0.0"
    assert int(whole[1]) == 6
    assert int(in_parts[1]) == 2 * PARTS["many"] + PARTS["rows"] + 3
