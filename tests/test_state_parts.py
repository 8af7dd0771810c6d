"""States of a part of the texts: joined, they are what one job writes, to the last byte."""

import errno
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_streams import random_texts, tokens_table

from tokentrails.errors import TokentrailsError
from tokentrails.files.state_parts import PartWriter, join_parts
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model

PROVENANCE = {"model": "m", "checkpoint": "main", "experiment": "e"}
LENGTHS = [3, 40, 7, 7, 12, 25, 5, 31, 18, 9, 2, 50]
PLACES = places(["resid"], 1)
N, WIDTH = 5, 4


@pytest.fixture(scope="module", params=["gpt2", "bert", "texts alone"])
def run(request, prepared):
    """A function that writes the states of the texts, or of a part of them."""
    alone = request.param == "texts alone"
    folder = prepared["gpt2" if alone else request.param]
    model, architecture = load_model(folder, torch.device("cpu"))
    architecture = replace(architecture, alone=alone)
    texts = random_texts(LENGTHS)
    # Whole texts and single targets, of which two are of one text.
    targets = [(n, 0, 1) for n in range(len(texts))] + [(1, 30, 30), (1, 5, 9)]
    table, where = tokens_table(texts, targets), places(architecture.sites, 3)
    shape = (model.config.hidden_size,)

    def write(path, store, part=None):
        how = {"pooling": "mean", "token_budget": 60, "name": "tiny (main)"}
        if part:
            with PartWriter(path, where, *shape, store, PROVENANCE) as writer:
                extract(model, architecture, table, writer, part=part, **how)
        else:
            with StatesWriter(path, where, range(len(targets)), *shape, store) as writer:
                extract(model, architecture, table, writer, **how)
                writer.finish(PROVENANCE)
        return path

    return write


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_parts_are_joined_to_the_bytes_of_one_job(run, tmp_path, monkeypatch, store):
    monkeypatch.setattr("tokentrails.network.extract.CPU_STREAM_BYTES", 0)
    monkeypatch.setattr("tokentrails.network.extract.CPU_TOKENS", 60)
    expected = run(tmp_path / "one.parquet", store).read_bytes()
    for shards in (1, 2, 3, 5, 40):  # at the end more than there are batches
        parts = [
            run(tmp_path / f"{n}_of_{shards}.arrow", store, (n, shards))
            for n in range(1, shards + 1)
        ]
        rows = [pa.ipc.open_file(part).read_all().num_rows for part in parts]
        assert sum(rows) == len(LENGTHS) + 2
        assert shards == 1 or max(rows) < sum(rows)
        join_parts(parts, np.arange(len(LENGTHS) + 2), tmp_path / "joined.parquet")
        assert (tmp_path / "joined.parquet").read_bytes() == expected


def write_part(path, rows, *, places=PLACES, provenance=PROVENANCE, store="float32", value=1.0):
    hidden = np.full((len(places), len(rows), WIDTH), value)
    with PartWriter(path, places, WIDTH, store, provenance) as writer:
        writer.add(np.array(rows), hidden)
    return path


def test_the_states_of_a_row_lie_in_its_place(tmp_path):
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(len(PLACES), N, WIDTH)).astype(np.float32)
    parts = []
    for name, batches in {"a": [[3], [4, 0]], "b": [[2, 1]]}.items():
        with PartWriter(tmp_path / name, PLACES, WIDTH, "float32", PROVENANCE) as writer:
            for rows in batches:
                writer.add(np.array(rows), hidden[:, rows])
        parts.append(tmp_path / name)
    said = np.array([0, 0, 2, 5, 5], np.int32)
    join_parts(parts, said, tmp_path / "s.parquet")
    for layer, expected in zip(StatesReader(tmp_path / "s.parquet"), hidden, strict=True):
        assert layer.occurrence.tolist() == said.tolist()
        np.testing.assert_array_equal(layer.hidden, expected)


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        ([3], {}),
        ([3, 4, 4], {}),
        ([2, 3, 4], {}),
        ([3, 4], {"provenance": PROVENANCE | {"device": "cuda"}}),
        ([3, 4], {"store": "float16"}),
        ([3, 4], {"places": places(["resid"], 2)}),
    ],
    ids=["missing", "twice", "in two", "another device", "another type", "another depth"],
)
def test_parts_that_were_not_made_alike_are_refused(tmp_path, rows, how):
    folder = tmp_path / "e"
    parts = [write_part(folder / "1", [0, 1, 2]), write_part(folder / "2", rows, **how)]
    with pytest.raises(TokentrailsError, match="in one way") as caught:
        join_parts(parts, np.arange(N), tmp_path / "s.parquet")
    assert f"rm -r '{folder}'" in str(caught.value)
    assert not (tmp_path / "s.parquet").exists()


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.999])
def test_a_part_that_is_cut_short_is_an_error_that_says_so(tmp_path, left):
    part = write_part(tmp_path / "1", range(N))
    content = part.read_bytes()
    part.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(TokentrailsError, match="cut short") as caught:
        join_parts([part], np.arange(N), tmp_path / "s.parquet")
    assert str(part) in str(caught.value) and "delete it" in str(caught.value)


def test_a_part_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    with pytest.raises(TokentrailsError, match="float16"):
        write_part(tmp_path / "1", range(N), store="float16", value=70_000)
    with (
        pytest.raises(OSError, match="No space"),
        PartWriter(tmp_path / "2", PLACES, WIDTH, "float32", PROVENANCE) as writer,
    ):
        writer.add(np.arange(1), np.ones((len(PLACES), 1, WIDTH)))
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_one_layer_of_one_batch_is_read_at_a_time(tmp_path):
    n, wide = 20_000, 64
    deep = places(["resid"], 30)
    with PartWriter(tmp_path / "1", deep, wide, "float32", PROVENANCE) as writer:
        for rows in np.array_split(np.arange(n), 20):
            writer.add(rows, np.ones((len(deep), len(rows), wide), np.float32))
    own = pa.proxy_memory_pool(usual := pa.default_memory_pool())
    pa.set_memory_pool(own)
    try:
        join_parts([tmp_path / "1"], np.arange(n), tmp_path / "s.parquet")
    finally:
        pa.set_memory_pool(usual)
    layer = n * wide * 4
    assert layer / 20 < own.max_memory() < 6 * layer < len(deep) * layer / 5
