"""Tables and running texts of data sets on the hub, fetched from a stand-in on loopback."""

import gzip
import json
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import workflow as wf
from config_files import refused, written
from huggingface_hub import constants

from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.files.hashes import DATA_PROVENANCE, facts_of, sha256_of
from tokentrails.files.hub import fetch_data
from tokentrails.files.tables import read_provenance
from tokentrails.running.cost import occurrences_of, shards_of, tokens_of
from tokentrails.settings import HUB_FOLDER, TextTable, local_path
from tokentrails.texts.table import read_prompts

SET = "datasets/owner/set"
PARQUET = "data/rows [1].parquet"
ROWS = [{"text": f"a text {i}", "id": f"r{i}"} for i in range(3)]


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data set with the same rows in each format; the working directory lies beside it."""
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    lines = {
        "csv": ["text,id", *(",".join(row.values()) for row in ROWS)],
        "tsv": ["text\tid", *("\t".join(row.values()) for row in ROWS)],
        "jsonl": map(json.dumps, ROWS),
    }
    for suffix, each in lines.items():
        content = "".join(f"{line}\n" for line in each).encode()
        (folder / f"data/rows.{suffix}").write_bytes(content)
        (folder / f"data/rows.{suffix}.gz").write_bytes(gzip.compress(content))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / PARQUET)
    (folder / "set.py").write_text("raise SystemExit")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    return folder


def table(file: str, **keys: object) -> TextTable:
    entry = {"file": file, "text": "text", "label": "id", "revision": "main"} | keys
    content = load_experiment_file(written({"analyses": ["identity"], "table": entry}))
    assert content.table is not None
    return content.table


def fetch(file: str) -> Path:
    """Fetch what a table names, as the rule does."""
    path = Path(local_path(file))
    path.parent.mkdir(parents=True, exist_ok=True)
    fetch_data(str(path.relative_to(HUB_FOLDER)), path, Path(DATA_PROVENANCE.format(path)))
    return path


FORMATS = ["csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz"]


@pytest.mark.parametrize("name", [*(f"data/rows.{f}" for f in FORMATS), PARQUET])
def test_a_file_of_one_commit_is_read_as_a_local_one(hub, data, name):
    sha = hub.add(SET, data, "refs/convert/parquet")
    given = table(f"hub:owner/set/{name}", revision="refs/convert/parquet")
    path = fetch(given.file)
    prompts, _, skipped = read_prompts(given)
    assert [(p.label, p.prompt) for p in prompts] == [(r["id"], r["text"]) for r in ROWS]
    assert skipped.num_rows == 0
    assert path.read_bytes() == (data / name).read_bytes()
    digest = sha256_of(data / name)
    assert facts_of(path, "table") == {"table_sha256": digest, "table_revision": sha}
    provenance = json.loads(Path(DATA_PROVENANCE.format(path)).read_text())
    assert provenance == {
        "source": "hub:owner/set",
        "file": name,
        "requested_revision": "refs/convert/parquet",
        "revision": sha,
        "sha256": digest,
    }
    assert hub.downloaded() == [name]
    assert {f.name for f in path.parent.iterdir()} == {path.name, f"{path.name}.provenance.json"}


def test_a_file_that_was_edited_is_not_what_the_commit_has(hub, data):
    hub.add(SET, data)
    path = fetch(table("hub:owner/set/data/rows.csv").file)
    path.write_text("text,id\nb,c\n")
    with refused(str(path), "not what was fetched", "rm '"):
        facts_of(path, "table")


def test_jobs_are_as_many_before_a_table_is_fetched_as_after(hub, data):
    hub.add(SET, data)
    entry = {"file": f"hub:owner/set/{PARQUET}", "revision": "main", "text": "text", "word": "id"}
    given = [
        load_experiment("e", {"file": written({"table": entry | asked})})
        for asked in ({}, {"limit": 5}, {"limit": 10_000, "sample": 2_000})
    ]
    shards = [shards_of(each, 1000) for each in given]
    assert shards[0] == 1 and 1 < shards[1] < shards[2]
    assert [occurrences_of(each) for each in given[1:]] == [5, 2_000]
    with pytest.raises(FileNotFoundError):
        tokens_of(given[0])
    fetch(given[0].table.file)
    assert [shards_of(each, 1000) for each in given] == shards
    assert tokens_of(given[0]) > 0


def not_fetched(file: str, *parts: str) -> None:
    with refused(file, *parts):
        fetch(file)
    assert not Path(local_path(file)).exists()


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("none@main/x.csv", ["the data set does not exist on the hub: 'owner/none'", "HF_TOKEN"]),
        ("set@v9/x.csv", ["the data set 'owner/set' has no revision 'v9'", "branches and tags"]),
        (
            "set@main/data/row.jsonl",
            ["has no file 'data/row.jsonl' at 'main'", "such as 'data/rows.jsonl'"],
        ),
        ("set@main/test.parquet", ["has no file 'test.parquet'", "refs/convert/parquet"]),
    ],
    ids=["data set", "revision", "near file", "no file"],
)
def test_what_is_not_there_is_refused(hub, data, file, parts):
    hub.add(SET, data)
    not_fetched(f"hub:owner/{file}", *parts)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""), "401"),
        ((403, {}, b""), "answers 403 for 'owner/set'"),
        ((403, {"X-Error-Code": "GatedRepo"}, b""), "'owner/set' asks for an agreement"),
    ],
    ids=["token", "forbidden", "gated"],
)
def test_what_may_not_be_read_is_refused(hub, data, answer, part):
    hub.answer = answer
    not_fetched("hub:owner/set@main/x.csv", part, "HF_TOKEN")


def test_a_wrong_hash_is_refused(hub, data):
    hub.add(SET, data)
    hub.lies[PARQUET] = "0" * 64
    not_fetched(f"hub:owner/set@main/{PARQUET}", "arrived with sha256", "0" * 64)


def test_a_download_that_was_cut_goes_on(hub, data):
    # huggingface_hub keeps what it has got by pieces of ten MB.
    (data / PARQUET).write_bytes(random.Random(0).randbytes(30_000_000))
    hub.add(SET, data)
    hub.cut[PARQUET] = 1
    path = fetch(f"hub:owner/set@main/{PARQUET}")
    assert path.read_bytes() == (data / PARQUET).read_bytes()
    assert hub.ranges(PARQUET) == [None, "bytes=10485760-"]


def test_no_network(hub, data):
    hub.shutdown()
    hub.server_close()
    not_fetched("hub:owner/set@main/x.csv", "cannot be reached", hub.url, "a file of this machine")


def test_what_is_asked_to_stay_offline_does(hub, data, monkeypatch):
    hub.add(SET, data)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    not_fetched("hub:owner/set@main/data/rows.csv", "cannot be reached")
    assert hub.log == []


@pytest.mark.parametrize(
    ("keys", "key", "part"),
    [
        ({"file": "hub:owner/set"}, "file", "names no file of a data set"),
        ({"file": "hub:x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set/../x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:../set/x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set//etc/x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set/a\\..\\x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set/{model}.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set/x:y.csv"}, "file", "names no file of a data set"),
        ({"file": f"hub:owner/set/{'n' * 240}.csv"}, "file", "longer than 239 bytes"),
        ({"revision": "/" * 80}, "file", "longer than 239 bytes"),
        ({"file": "hub:owner/set@main/x.csv"}, "file", "names no file of a data set"),
        ({"file": "hub:owner/set/set.py"}, "file", "is a script that loads data"),
        ({"file": "hub:owner/set/x.txt"}, "file", "does not say how the file is read"),
        ({"revision": None}, "file", "has no revision"),
        ({"file": "x.csv"}, "revision", "'x.csv' is a file on this machine"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_names_are_refused_before_anything_is_fetched(tmp_path, monkeypatch, keys, key, part):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").touch()
    entry = {"text": "t", "file": "hub:owner/set/x.csv", "revision": "main"} | keys
    entry = {name: value for name, value in entry.items() if value is not None}
    with refused(f"table.{key}", part):
        load_experiment_file(written({"analyses": ["identity"], "table": entry}))


@pytest.mark.parametrize(
    ("corpus", "key", "part"),
    [
        ({"text": "hub:owner/set/../x.txt"}, "text", "names no file of a data set"),
        ({"text": "hub:owner/set/x.txt"}, "text", "has no revision"),
        ({"revision": "main"}, "revision", "'plays' is a file on this machine"),
        (
            {"text": "hub:owner/set/x.parquet", "revision": "main", "states": "stream"},
            "text",
            "no column is named",
        ),
    ],
    ids=["path", "revision", "plays", "column"],
)
def test_names_of_running_texts_are_refused_too(corpus, key, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(f"corpus.{key}", part):
        load_experiment_file(written({"corpus": corpus}))


@pytest.mark.parametrize("revision", ["..", "a/../../b", "{model}", "<logs>", " "])
def test_a_revision_is_one_name_of_a_folder(revision, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(local_path(table("hub:owner/set/x.csv", revision=revision).file))
    assert path.parts[:4] == (*Path(HUB_FOLDER).parts, "owner")
    assert path.parts[4].startswith("set@") and path.parts[5:] == ("x.csv",)
    assert not set(path.parts[4]) & set("{}<> ")


METRICS = ("--", "metrics")


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_reads_it_as_its_prompts(hub, folder, tmp_path):
    path = folder / "config/experiments/senses.yaml"
    prompts = wf.read_yaml(path)["prompts"]
    data = tmp_path / "set"
    data.mkdir()
    (data / "senses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    sha = hub.add(SET, data)
    keys = {"text": "prompt", "word": "word", "label": "label", "sense": "sense"}
    keys |= {"file": "hub:owner/set/senses.jsonl", "revision": "main"}
    wf.write_yaml(path, {"table": keys})
    env = wf.from_hub(hub.url, tmp_path / "home")
    planned = wf.run(folder, "--dry-run", **env)
    assert "hub_table" in planned.stdout
    assert "the table of senses is not fetched yet" in wf.run(folder, "plan", **env).stdout
    assert hub.log == []
    made = wf.contents(folder / "results/metrics")
    wf.run(folder, *wf.ONE_THREAD, *METRICS, **env)
    assert wf.contents(folder / "results/metrics") == made
    facts = read_provenance(folder / "results/texts/senses.parquet")
    assert facts["table"] == "hub:owner/set@main/senses.jsonl"
    assert (facts["table_revision"], facts["table_sha256"]) == (
        sha,
        sha256_of(data / "senses.jsonl"),
    )
    assert hub.downloaded() == ["senses.jsonl"]
    assert wf.rules_to_run(folder, *METRICS) == {}
    wf.write_yaml(path, {"table": keys | {"revision": "v2"}})
    jobs = wf.jobs_to_run(folder)
    assert {"hub_table", "texts", "tokens", "hidden_states"} <= {job.rule for job in jobs}
    assert not [job for job in jobs if "plain" in job.wildcards]
    offline = wf.snakemake(folder, HF_HUB_OFFLINE="1")
    wf.one_message(offline, "hub_table", "cannot be reached")
    assert wf.half_written(folder) == []


@pytest.mark.e2e
@pytest.mark.slow
def test_a_running_text_is_read_as_the_same_file_here(hub, folder, tmp_path):
    words = random.Random(0).choices(" ".join(tiny.CORPUS).split(), k=6000)
    rows = [{"body": " ".join(words[i : i + 30])} for i in range(0, len(words), 30)]
    data = tmp_path / "set"
    data.mkdir()
    with gzip.open(data / "long.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    sha = hub.add(SET, data, "v1")
    here = {"text": str(data / "long.jsonl.gz"), "column": "body", "states": "stream"}
    here |= {"tokens": 5000, "length": 40}
    there = here | {"text": "hub:owner/set/long.jsonl.gz", "revision": "v1"}
    with wf.edited(folder / "config/config.yaml") as config:
        for name, corpus in {"here": here, "there": there}.items():
            file = wf.write_yaml(folder / f"{name}.yaml", {"corpus": corpus})
            config["experiments"][name] = {"file": file.name, "models": ["gpt2"]}
    paths = [f"results/tokens/gpt2/{name}.parquet" for name in ("here", "there")]
    wf.run(folder, "--", *paths, **wf.from_hub(hub.url, tmp_path / "home"))
    tables = [pl.read_parquet(folder / path) for path in paths]
    assert tables[0].equals(tables[1]) and len(tables[0]) > 0
    facts = read_provenance(folder / paths[1])
    assert facts["text_revision"] == sha
    assert facts["text_sha256"] == sha256_of(data / "long.jsonl.gz")
