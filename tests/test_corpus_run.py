"""A running text of any size in the workflow: in parts, killed, on a full disk, and as one part."""

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import polars as pl
import pytest
import tiny
import workflow as wf

TABLES = "results/metrics/llama/main/long"
SUMS = "results/corpora/llama/main/long"
TARGETS = (f"{TABLES}/corpus_by_layer.parquet", "results/figures/llama/main/long/corpus.svg")
PARTS = 5

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _make(folder: Path) -> None:
    wf.checkout(folder)
    tiny.save("llama", folder / "models/llama")
    words = " ".join(tiny.CORPUS).split()
    drawn = random.Random(0).choices(words, k=6000)
    lines = [" ".join(drawn[i : i + 30]) for i in range(0, len(drawn), 30)]
    rows = pl.DataFrame({"id": range(len(lines)), "body": lines})
    rows.write_ndjson(folder / "long.jsonl")
    corpus = {"text": "long.jsonl", "column": "body", "tokens": 5000, "length": 40}
    wf.write_yaml(folder / "long.yaml", {"corpus": corpus | {"states": "stream", "readout": 2}})
    config = {
        "models": {"llama": {"source": "path:models/llama", "threads": 1}},
        "experiments": {"long": {"file": "long.yaml", "sites": ["resid"]}},
        "extract": {"shard_tokens": 1000, "token_budget": 200},
        "statistics": {"bootstrap": 100},
        "figures": {"formats": ["svg"]},
        **wf.ALONE,
    }
    wf.write_yaml(folder / "config/config.yaml", config)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run in five parts."""

    def make(folder: Path) -> None:
        _make(folder)
        wf.run(folder, "--", *TARGETS)

    return wf.shared(tmp_path_factory, "corpus", make)


@pytest.fixture
def folder(made, tmp_path):
    return wf.copy_of(made, tmp_path / "run")


def _finished(folder: Path) -> list[Path]:
    return list((folder / SUMS).glob("[!.]*.products.parquet"))


def test_one_part_gives_the_same_bytes_as_five(folder):
    assert len(list((folder / SUMS).iterdir())) == 3 * PARTS
    tables = wf.contents(folder / TABLES, "*")
    assert len(tables) == 6 and all(tables.values())
    with wf.edited(folder / "config/config.yaml") as config:
        config["extract"]["shard_tokens"] = 100_000
    stale = wf.rules_to_run(folder, "--", *TARGETS)
    assert {
        rule: n for rule, n in stale.items() if rule.startswith("corpus_") and "figure" not in rule
    } == {"corpus_sums": 1, "corpus_tables": 1}
    assert not {"streamed_tokens", "model", "hidden_states"} & stale.keys()
    wf.run(folder, "--", *TARGETS)
    assert wf.contents(folder / TABLES, "*") == tables
    assert len(list((folder / SUMS).iterdir())) == 3


def test_tokens_are_those_of_the_text(folder):
    tokens = pl.read_parquet(folder / "results/tokens/llama/long.parquet")
    table = pl.read_parquet(folder / TARGETS[0])
    whole = table.filter(measure="length", grouping="all", layer=0).row(0, named=True)
    names = ("word_class", "frequency_band")
    classes = tokens.explode(names).filter(
        pl.int_range(pl.len()).over("occurrence") > 0,
        pl.any_horizontal(pl.col(names).is_not_null()),
    )
    assert whole["n"] == len(classes) > 4000
    assert whole["n_texts"] == tokens["document"].n_unique() > 100
    read_out = table.filter(measure="entropy", grouping="all", layer=0)["n"].item()
    assert read_out == 2 * len(tokens)


def test_parts_that_were_done_before_a_kill_are_not_done_again(folder):
    shutil.rmtree(folder / "results/corpora")
    shutil.rmtree(folder / TABLES)
    process = wf.start(folder, "--", *TARGETS)
    # Two run at a time: where there are three, one has ended well.
    wf.wait_until(lambda: len(_finished(folder)) >= 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = wf.rules_to_run(folder, "--rerun-incomplete", "--", *TARGETS)["corpus_sums"]
    assert PARTS - len(_finished(folder)) <= again < PARTS
    wf.run(folder, "--rerun-incomplete", "--", *TARGETS)
    assert wf.half_written(folder) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_in_one_part_loses_no_other(folder, made):
    sums = folder / SUMS
    shutil.rmtree(sums)
    shutil.rmtree(folder / TABLES)
    sums.mkdir()
    sizes = [path.stat().st_size for path in (made / SUMS).iterdir()]
    wf.mount_small(sums, f"{2 * sum(sizes) // PARTS // 1024 + 24}k")
    try:
        done = wf.snakemake(folder, "--jobs", "1", "--", *TARGETS)
        wf.one_message(done, "the disk is full", "make room")
        assert 1 <= len(whole := _finished(folder)) < PARTS and wf.half_written(folder) == []
        command = ["mount", "-o", "remount,size=64m", str(sums)]
        subprocess.run(command, check=True)
        assert wf.rules_to_run(folder, "--", *TARGETS)["corpus_sums"] == PARTS - len(whole)
        wf.run(folder, "--", *TARGETS)
        assert wf.contents(folder / TABLES, "*") == wf.contents(made / TABLES, "*")
    finally:
        subprocess.run(["umount", str(sums)], check=True)


def test_a_column_that_is_not_there_is_one_message(folder):
    with wf.edited(folder / "long.yaml") as data:
        data["corpus"]["column"] = "text"
    done = wf.snakemake(folder, "--", *TARGETS)
    wf.one_message(done, "streamed_tokens", "long.jsonl", "'text' is not there", "'body'")
