"""Results on object storage: the same bytes, for every machine, and stale for the same reasons."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import object_storage
import pytest
import workflow as wf
from workflow import Job, contents, jobs_to_run, one_message, read_yaml, snakemake, write_yaml

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BUCKET = "results-of-us"
TARGETS = ("--", "metrics", "results/claims.csv", "results/paper/index.csv")
NOT_REPRODUCED = ("results/logs/",)

LONG = [
    {"label": f"t{n}", "word": " bank", "prompt": "The boat reached the bank. " * (n % 5 + 1)}
    for n in range(40)
]
"""An experiment in two parts."""

CLAIM = {
    "id": "some-identity",
    "study": "Token Identity Drift",
    "source": "here",
    "statement": "Identity is positive at layer 0.",
    "measure": "identity at layer 0 (cosine)",
    "claimed": {"above": 0.0},
    "tables": {"identity": "senses/identity"},
    "as_published": "SELECT label AS unit, cosine AS value FROM identity WHERE layer = 0",
}


def checkout(folder: Path, models: Path | None = None) -> Path:
    """`small` with one model, an experiment in parts, one claim and one published table."""
    wf.small(folder, models)
    config = read_yaml(folder / "config/config.yaml")
    del config["models"]["bert"]
    config["experiments"]["plain"]["models"] = ["gpt2"]
    long = {"analyses": ["identity"], "prompts": LONG}
    write_yaml(folder / "config/experiments/long.yaml", long)
    config["experiments"]["long"] = {"file": "config/experiments/long.yaml", "models": ["gpt2"]}
    config["extract"] |= {"shard_tokens": 1_000}
    config["claims"] = {"file": "config/own_claims.yaml"}
    config["paper"] = [
        {"study": "drift", "name": "identity", "file": "metrics/gpt2/main/senses/identity.csv"},
        {"study": "drift", "name": "curves", "file": "metrics/gpt2/main/plain/curves.csv"},
    ]
    write_yaml(folder / "config/config.yaml", config)
    write_yaml(folder / "config/own_claims.yaml", {"claims": [CLAIM]})
    return folder


def in_bucket(place: str, *args: str) -> tuple[str, ...]:
    """The arguments of a run whose results lie at a place in the bucket."""
    profile = ("--profile", "profiles/s3", "--default-storage-prefix", f"s3://{place}")
    return (*profile, *wf.ONE_THREAD, *args)


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Iterator[object_storage.ObjectStorage]:
    with object_storage.serving(tmp_path_factory.mktemp("storage")) as storage:
        storage.make_bucket(BUCKET)
        yield storage


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """A finished run without object storage."""
    folder = checkout(tmp_path_factory.mktemp("local") / "run")
    wf.run(folder, *wf.ONE_THREAD, *TARGETS)
    return folder


@pytest.fixture(scope="module")
def first(storage, local, tmp_path_factory) -> Path:
    """The machine that made the results in the bucket: its run was killed, and went on."""
    folder = checkout(tmp_path_factory.mktemp("first") / "run", local / "models")
    args = in_bucket(f"{BUCKET}/trails", *TARGETS)
    process = wf.start(folder, *args, **storage.env)
    tokens = "trails/results/tokens/gpt2/senses.parquet"
    wf.wait_until(lambda: storage.holds(BUCKET, tokens), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = wf.run(folder, *args, **storage.env)
    assert "Fetching gpt2" not in done.stdout + done.stderr  # what was finished is kept
    return folder


@pytest.fixture
def second(first, local, tmp_path) -> Path:
    """A fresh checkout on another machine: no weights, and every file is newer than the results."""
    folder = checkout(tmp_path / "elsewhere", local / "models")
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.touch()
    return folder


@pytest.fixture
def stale(storage, monkeypatch):
    """The jobs that a dry run on a machine would run."""
    for name, value in storage.env.items():
        monkeypatch.setenv(name, value)
    return lambda folder: jobs_to_run(folder, *in_bucket(f"{BUCKET}/trails", *TARGETS))


def made(found: dict[str, bytes]) -> dict[str, bytes]:
    """The results, without those that tell of time."""
    return {n: b for n, b in found.items() if not n.startswith(NOT_REPRODUCED)}


def of_plain(*rules: str) -> set[Job]:
    return {Job(rule, "gpt2/main/plain") for rule in rules} | {
        Job("tokens", "gpt2/plain"),
        Job("paper", ""),
    }


def edit_plain(folder: Path) -> None:
    path = folder / "config/experiments/plain.yaml"
    text = path.read_text(encoding="utf-8")
    assert "cold water" in text
    path.write_text(text.replace("cold water", "clear water"), encoding="utf-8")


def test_results_in_the_bucket_are_those_of_a_local_run(storage, first, local):
    found = storage.contents(BUCKET, "trails")
    assert "results/hidden_states/gpt2/main/senses.parquet" in found
    del found["records.json.gz"]
    expected = contents(local, "results/**/*")
    assert set(found) == set(expected)
    assert made(found) == made(expected)
    logs = [name for name in found if name.startswith("results/logs/partial_states/")]
    assert len(logs) == 2 and not [name for name in found if name.endswith(".arrow")]


def test_what_lies_on_the_machine_afterwards(first):
    assert not (first / "results").exists()
    assert (first / "resources/models/gpt2/main/model.safetensors").exists()
    assert made(contents(first / f".snakemake/storage/s3/{BUCKET}/trails")) == {}


def test_nothing_runs_again(first, stale):
    assert stale(first) == set()


def test_nothing_runs_on_a_second_machine(second, stale):
    assert stale(second) == set()


def test_a_changed_prompt_reruns_what_depends_on_it(first, stale, tmp_path):
    folder = wf.copy_of(first, tmp_path / "run")
    edit_plain(folder)
    assert stale(folder) == of_plain("hidden_states", "identity", "curves", "summary")


def test_a_changed_prompt_is_noticed_on_a_second_machine(second, stale):
    edit_plain(second)
    jobs = of_plain("hidden_states", "identity", "curves", "summary")
    weights = Job("model", "gpt2/main")  # are not there, and so all that depends on them is redone
    assert jobs | {weights} <= stale(second)


def test_weights_that_are_brought_along_are_not_fetched(first, second, stale):
    shutil.copytree(first / "resources/models", second / "resources/models", dirs_exist_ok=True)
    edit_plain(second)
    assert stale(second) == of_plain("hidden_states", "identity", "curves", "summary")


def test_the_report_is_made_from_the_bucket(second, storage):
    args = in_bucket(f"{BUCKET}/trails", "--report", "report.html", *TARGETS)
    wf.run(second, *args, **storage.env)
    assert "identity.csv" in (second / "report.html").read_text(encoding="utf-8")


def test_a_bucket_that_is_not_there(second, storage):
    done = snakemake(second, *in_bucket("nobody/trails", "-n"), **storage.env)
    one_message(done, "s3://nobody/trails", "default-storage-prefix")


def test_a_storage_that_does_not_answer(second, storage):
    env = storage.env | {"SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = snakemake(second, *in_bucket(f"{BUCKET}/trails", "-n"), **env)
    one_message(done, "http://127.0.0.1:9", "endpoint")


def test_keys_that_are_refused(second, storage):
    with storage.refusing():
        done = snakemake(second, *in_bucket(f"{BUCKET}/trails", "-n"), **storage.env)
    one_message(done, f"s3://{BUCKET}/trails", "secret key")
