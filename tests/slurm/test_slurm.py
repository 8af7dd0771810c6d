"""`snakemake --profile slurm` on a real cluster; what goes wrong on clusters, caused for real."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import object_storage
import pytest
import workflow as wf
from cluster import LIVE, NODES, Cluster, Job, keeps_accounts, wait_for, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.slurm]

PROFILE = (
    *("--profile", "slurm"),
    # It is asked more often than a real cluster.
    *("--slurm-init-seconds-before-status-checks", "5"),
    *("--latency-wait", "5"),
)
SQUEUE = ("--slurm-status-command", "squeue", "--slurm-no-account")
SACCT = () if keeps_accounts() else SQUEUE
"""As the profile has it, where there are accounts."""

LIMIT = 600
"""Seconds after which a run counts as hanging."""

GPU_RULES = {"hidden_states"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if reason := why_not():
        pytest.skip(f"no Slurm here: {reason}")
    running = Cluster(tmp_path_factory.mktemp("cluster") / "slurm")
    yield running
    running.stop()


@pytest.fixture
def jobs(cluster) -> Iterator:
    """A function that gives the jobs since the test began."""
    wait_for(lambda: cluster.idle() == set(NODES), "the last test's jobs to end")
    before = {job.number for job in cluster.jobs()}
    yield lambda: [job for job in cluster.jobs() if job.number not in before]
    for job in cluster.jobs():
        if job.state in LIVE:
            cluster.say("scancel", str(job.number))


def start(
    folder: Path, *args: str, asking: tuple[str, ...] = SQUEUE, **env: str
) -> subprocess.Popen[str]:
    """Start a run on the cluster, in a session of its own; its words go to the file `said`."""
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *PROFILE, *asking, *args],
            cwd=folder,
            env=wf.environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[str], folder: Path) -> str:
    """Wait for a run that has to succeed; what it said."""
    try:
        status = process.wait(LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = (folder / "said").read_text()
    assert status == 0, said
    return said


STATES = [f"results/hidden_states/gpt2/main/{name}.parquet" for name in ("senses", "plain")]

# What a job of hidden states, or of a part of them, does first in these tests.
HOLD = """
import time
from pathlib import Path
whose = snakemake.wildcards.experiment
if part := snakemake.wildcards.get("shard"):
    whose += f"_{part}"
hold = Path(f"hold-{whose}")
Path(f"begun-{whose}").touch()
while hold.exists():
    time.sleep(0.1)
"""
EAT = """
eaten = b"1" * 2_600_000_000
"""


@pytest.fixture
def folder(tmp_path, finished_small) -> Path:
    """Two experiments on one model, of which all but the states are made already."""
    folder = wf.copy_of(finished_small, tmp_path / "run")
    with wf.edited(folder / "config/config.yaml") as config:
        for experiment in config["experiments"].values():
            experiment["models"] = ["gpt2"]
    wf.run(folder, *(f"results/tokens/gpt2/{name}.parquet" for name in ("senses", "plain")))
    for states in STATES:
        (folder / states).unlink(missing_ok=True)
    begin_with(folder, HOLD)
    return folder


@pytest.fixture(scope="module")
def finished_small(tmp_path_factory) -> Path:
    return wf.finished(tmp_path_factory)


def begin_with(folder: Path, code: str) -> None:
    """Put code in front of what the job does; its imports stand above."""
    begin = "from _job import job\n"
    replace(folder / "workflow/scripts/hidden_states.py", begin, begin + code)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} in {file.name}"
    file.write_text(text.replace(old, new))


def running(jobs, experiment: str, folder: Path) -> Job:
    """The running job of an experiment's states, or of a part; waits until its script has begun."""
    begun = folder / f"begun-{experiment}"
    wait_for(begun.exists, f"{begun.name}", lambda: (folder / "said").read_text())
    begun.unlink()
    (job,) = [j for j in jobs() if j.state == "RUNNING" and experiment in j.wildcards]
    return job


def states_of(jobs, experiment: str) -> list[Job]:
    """The jobs of an experiment's states, or of a part, in their order."""
    rules = ("hidden_states", "partial_states")
    return [j for j in jobs() if j.rule in rules and experiment in j.wildcards]


def test_the_whole_run_is_the_same_as_without_slurm(cluster, jobs, finished_small, tmp_path):
    folder = wf.small(tmp_path / "run", finished_small / "models")
    finish(start(folder, *wf.ONE_THREAD, asking=SACCT), folder)

    kinds = ("results/**/*.parquet", "results/**/*.csv", "results/figures/**/*")
    kinds += ("results/composites/*",)
    made, expected = wf.contents(folder, *kinds), wf.contents(finished_small, *kinds)
    assert len(expected) > 50
    assert made.keys() == expected.keys()
    assert [name for name in expected if made[name] != expected[name]] == []

    done = jobs()
    assert {job.state for job in done} == {"COMPLETED"}
    assert {job.number for job in done if job.gpus} == {
        job.number for job in done if job.rule in GPU_RULES
    }
    assert sum(job.rule in GPU_RULES for job in done) == 3
    assert {job.gpus for job in done if job.rule in GPU_RULES} == {1}
    # Tokens and states of each of three runs, and one job for the tables of each.
    assert len(done) == 9
    for node in NODES:
        on_gpu = sorted((job.start, job.end) for job in done if job.gpus and job.node == node)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(on_gpu)), on_gpu
    assert {job.node for job in done if job.gpus} == set(NODES)

    again = start(folder, *wf.ONE_THREAD)
    assert "Nothing to be done" in finish(again, folder)


def test_results_in_a_bucket_are_those_of_a_local_run(cluster, jobs, finished_small, tmp_path):
    folder = wf.small(tmp_path / "run", finished_small / "models")
    tables = (f"results/metrics/bert/main/plain/{name}.*" for name in ("identity", "curves"))
    expected = wf.contents(finished_small, *tables)
    assert len(expected) == 4
    with object_storage.serving(tmp_path) as storage:
        storage.make_bucket("ours")
        # Keys reach the jobs from the environment; the endpoint from the command line.
        keys = {name: value for name, value in storage.env.items() if name.endswith("_KEY")}
        place = ("--default-storage-provider", "s3", "--default-storage-prefix", "s3://ours/trails")
        typed = (*place, "--storage-s3-endpoint-url", storage.url, *wf.ONE_THREAD)
        finish(start(folder, *typed, "--", *expected, **keys), folder)
        found = storage.contents("ours", "trails")
    assert {name: found.get(name) for name in expected} == expected
    assert not (folder / "results").exists()

    # In the group, one member reads what another makes.
    rules = ["tokens", "hidden_states", "tables_curves_identity"]
    assert [(job.rule, job.state) for job in jobs()] == [(rule, "COMPLETED") for rule in rules]
    secret = object_storage.KEYS["SECRET_KEY"].encode()
    written = [folder / "said", *(folder / ".snakemake").rglob("*")]
    assert [file for file in written if file.is_file() and secret in file.read_bytes()] == []


def test_a_cancelled_job_is_done_again(cluster, jobs, folder):
    (folder / "hold-senses").touch()
    run = start(folder, *STATES, asking=SACCT)
    job = running(jobs, "senses", folder)
    cluster.say("scancel", str(job.number))
    (folder / "hold-senses").unlink()
    finish(run, folder)

    first, second = states_of(jobs, "senses")
    assert (first.number, first.state, second.state) == (job.number, "CANCELLED", "COMPLETED")
    assert all((folder / states).exists() for states in STATES)
    assert [j.state for j in states_of(jobs, "plain")] == ["COMPLETED"]


def test_a_job_over_its_time_gets_more(cluster, jobs, folder):
    replace(
        folder / "workflow/tokentrails/running/cost.py", "START_MINUTES = 10", "START_MINUTES = 0"
    )
    (folder / "hold-senses").touch()
    run = start(folder, STATES[0])
    job = running(jobs, "senses", folder)
    assert job.minutes == 1
    wait_for(
        lambda: states_of(jobs, "senses")[0].state == "TIMEOUT", "Slurm to end it", seconds=180
    )
    (folder / "hold-senses").unlink()
    finish(run, folder)

    first, second = states_of(jobs, "senses")
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert second.minutes == 2 * first.minutes
    assert second.memory_mb == 2 * first.memory_mb


def test_a_job_over_its_memory_gets_more(cluster, jobs, folder):
    begin_with(folder, EAT)
    finish(start(folder, STATES[0]), folder)

    first, second = states_of(jobs, "senses")
    assert 2_000 < first.memory_mb < 2_600
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert "exceeded memory limit" in (cluster.folder / f"slurmd-{first.node}.log").read_text()
    assert second.memory_mb == 2 * first.memory_mb


def test_a_lost_node_loses_one_part_alone(cluster, jobs, folder):
    prompt = " ".join(["The bank approved the loan."] * 4)
    prompts = [{"label": f"p{n}", "word": " bank", "prompt": prompt} for n in range(70)]
    many = {"analyses": ["identity"], "prompts": prompts}
    file = "config/experiments/many.yaml"
    wf.write_yaml(folder / file, many)
    with wf.edited(folder / "config/config.yaml") as config:
        config["experiments"]["many"] = {"file": file, "models": ["gpt2"]}
        config["extract"]["shard_tokens"] = 1000
    states = "results/hidden_states/gpt2/main/many.parquet"
    table = "results/metrics/gpt2/main/many/identity.parquet"
    one_thread = ("--set-threads", "partial_states=1")
    wf.run(folder, *one_thread, "--", table)
    made = wf.contents(folder, states, f"{Path(table).parent}/*")
    assert len(made) == 3
    for file in (states, "begun-many_2"):
        (folder / file).unlink()

    (folder / "hold-many_2").touch()
    run = start(folder, *one_thread, "--", states)
    job = running(jobs, "many_2", folder)
    cluster.set_down(job.node)  # until its daemon registers again
    (folder / "hold-many_2").unlink()
    finish(run, folder)

    lost, last = states_of(jobs, "many_2")
    assert (lost.number, lost.state, last.state) == (job.number, "NODE_FAIL", "COMPLETED")
    assert lost.end <= last.start
    if keeps_accounts():  # else it may come to the same one, which comes back by itself
        assert lost.node != last.node
    others = [states_of(jobs, f"many_{part}") for part in (1, 3)]
    assert [[j.state for j in tries] for tries in others] == [["COMPLETED"]] * 2
    wf.run(folder, *one_thread, "--", table)
    assert wf.contents(folder, *made) == made


def test_a_killed_run_leaves_no_orphan_beside_its_successor(cluster, jobs, folder):
    (folder / "hold-plain").touch()
    run = start(folder, *STATES)
    orphan = running(jobs, "plain", folder)
    wait_for((folder / STATES[0]).exists, STATES[0])
    # The run has to know that it is done: a job that ended unseen is done again.
    wait_for(
        lambda: re.search(r"^1 of 2 steps", (folder / "said").read_text(), re.MULTILINE),
        "the run to see the end of the first job",
    )
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert states_of(jobs, "plain")[-1].state == "RUNNING"
    written = (folder / STATES[0]).stat().st_mtime_ns

    again = start(folder, *STATES)
    running(jobs, "plain", folder)
    (folder / "hold-plain").unlink()
    said = finish(again, folder)

    assert f"Cancelled jobs of a run that was killed: {orphan.number}" in said
    first, second = states_of(jobs, "plain")
    assert (first.number, first.state, second.state) == (orphan.number, "CANCELLED", "COMPLETED")
    assert first.end <= second.start
    assert [j.state for j in states_of(jobs, "senses")] == ["COMPLETED"]
    assert (folder / STATES[0]).stat().st_mtime_ns == written
    assert wf.half_written(folder) == []


def test_jobs_of_other_folders_are_left_alone(cluster, jobs, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    sleep = (
        "--wrap",
        "sleep 600",
        "--mem",
        "100",
        "--time",
        "60",
        "--output",
        "/dev/null",
        "--parsable",
    )
    mine = cluster.say("sbatch", "--job-name", "tokentrails_1", "-D", str(folder), *sleep)
    theirs = cluster.say("sbatch", "--job-name", "tokentrails_2", "-D", str(other), *sleep)
    unlike = cluster.say("sbatch", "--job-name", "training", "-D", str(folder), *sleep)
    finish(start(folder, STATES[0]), folder)
    states = {job.number: job.state for job in jobs()}
    assert states[int(mine)] == "CANCELLED"
    assert states[int(theirs)] == states[int(unlike)] == "RUNNING"


# Last, since it takes the controller long to see that the node is free again.
def test_an_outage_of_slurm_is_waited_for(cluster, jobs, folder):
    (folder / "hold-senses").touch()
    run = start(folder, STATES[0], asking=SACCT)
    job = running(jobs, "senses", folder)
    cluster.stop_control()
    (folder / "hold-senses").unlink()
    said = folder / "said"
    wait_for(lambda: "Slurm does not answer" in said.read_text(), "a look", said.read_text)
    cluster.start_control()
    finish(run, folder)

    assert [j.number for j in states_of(jobs, "senses")] == [job.number]
    assert (folder / STATES[0]).exists()
