"""Hidden states on disk: what is read is what was written, whatever order it came in."""

import errno
import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokentrails.errors import TokentrailsError
from tokentrails.files import states
from tokentrails.files.atomic import replacing
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.files.tables import provenance_of

WORKFLOW = Path(__file__).parent.parent / "workflow"
SITES = ["resid", "resid_mid", "final_norm"]
PLACES = places(SITES, 2)
OCCURRENCES = [0, 1, 3, 4, 7]
PROVENANCE = {"model": "m", "checkpoint": "main", "experiment": "e", "source_revision": "abc"}


def random_states(seed=0, n=5, d=6):
    return np.random.default_rng(seed).normal(size=(len(PLACES), n, d)).astype(np.float32)


def write(path, hidden, batches, *, dtype="float32", provenance=PROVENANCE):
    n, d = hidden.shape[1:]
    with StatesWriter(path, PLACES, OCCURRENCES[:n], d, dtype) as writer:
        for rows in batches:
            writer.add(np.array(rows, dtype=int), hidden[:, rows])
        writer.finish(provenance)
    return path


ORDERS = [[[0, 1, 2, 3, 4]], [[4], [2], [0], [3], [1]], [[3, 0], [], [4, 1, 2]]]


def test_places_are_sorted_and_fit_the_depth():
    assert PLACES == [
        ("final_norm", 2),
        ("resid", 0),
        ("resid", 1),
        ("resid", 2),
        ("resid_mid", 0),
        ("resid_mid", 1),
    ]
    assert places(["resid_mid", "resid"], 1) == [("resid", 0), ("resid", 1), ("resid_mid", 0)]


@pytest.fixture
def in_a_file(monkeypatch):
    """States wait in the scratch file, however few they are."""
    monkeypatch.setattr(states, "IN_MEMORY", 0)


def test_states_are_read_as_they_were_written_in_any_order(tmp_path, monkeypatch):
    hidden, files = random_states(), set()
    for order, room in product(ORDERS, (0, states.IN_MEMORY)):
        monkeypatch.setattr(states, "IN_MEMORY", room)
        path = write(tmp_path / "s.parquet", hidden, order)
        files.add(path.read_bytes())
        reader = StatesReader(path)
        assert reader.places == tuple(PLACES) and reader.d_model == 6
        for expected, place, layer in zip(hidden, PLACES, reader, strict=True):
            assert (layer.site, layer.layer) == place
            assert layer.occurrence.tolist() == OCCURRENCES
            assert layer.hidden.dtype == np.float32
            np.testing.assert_array_equal(layer.hidden, expected)
            np.testing.assert_array_equal(reader.layer(*place).hidden, expected)
    assert len(files) == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_rows_in_any_order_come_to_their_places(tmp_path, dtype):
    n, draw = 5000, np.random.default_rng(0)
    hidden = draw.normal(size=(len(PLACES), n, 3)).astype(dtype)
    order = draw.permutation(n)
    with StatesWriter(tmp_path / "s.parquet", PLACES, range(n), 3, dtype) as writer:
        for rows in np.array_split(order, [1, 700, 3333]):
            writer.add(rows, hidden[:, rows])
        writer.finish({})
    for expected, layer in zip(hidden, StatesReader(tmp_path / "s.parquet"), strict=True):
        np.testing.assert_array_equal(layer.hidden, expected)


def test_there_is_one_row_group_for_each_place_in_order(tmp_path):
    file = pq.ParquetFile(write(tmp_path / "s.parquet", random_states(), ORDERS[0]))
    assert file.num_row_groups == len(PLACES)
    for group, (site, layer) in enumerate(PLACES):
        table = file.read_row_group(group)
        assert set(table["site"].to_pylist()) == {site}
        assert set(table["layer"].to_pylist()) == {layer}
        assert table["occurrence"].to_pylist() == OCCURRENCES
    whole = file.read()
    keys = list(zip(*(whole[k].to_pylist() for k in ("site", "layer", "occurrence")), strict=True))
    assert keys == sorted(keys)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_hidden_is_a_tensor_column_of_the_stored_precision(tmp_path, dtype):
    hidden = random_states()
    path = write(tmp_path / "s.parquet", hidden, ORDERS[1], dtype=dtype)
    schema = pq.read_schema(path)
    assert schema.names == ["occurrence", "site", "layer", "hidden"]
    assert schema.field("hidden").type == pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), [6])
    layer = StatesReader(path).layer("resid", 1)
    assert layer.hidden.dtype == np.float32
    expected = hidden[PLACES.index(("resid", 1))].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(layer.hidden, expected)


def test_states_too_large_for_float16_are_refused(tmp_path):
    hidden = random_states()
    hidden[3, 2, 1] = 70_000
    with pytest.raises(TokentrailsError, match="float16") as caught:
        write(tmp_path / "s.parquet", hidden, ORDERS[0], dtype="float16")
    assert "resid" in str(caught.value) and "float32" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "s.parquet", hidden, ORDERS[0])


def test_metadata_says_what_the_columns_are_and_where_they_come_from(tmp_path):
    path = write(tmp_path / "s.parquet", random_states(), ORDERS[0])
    schema = pq.read_schema(path)
    assert {"title", "definitions", "units", "tokentrails_version"} <= {
        key.decode() for key in schema.metadata
    }
    definitions = json.loads(schema.metadata[b"definitions"])
    assert set(definitions) == set(schema.names)
    assert provenance_of(StatesReader(path).metadata) == PROVENANCE
    assert schema.field("hidden").metadata[b"unit"] == b"model units"


def test_writing_takes_any_layout_of_the_array(tmp_path):
    hidden = np.asfortranarray(random_states().astype(np.float64))
    for expected, layer in zip(
        hidden, StatesReader(write(tmp_path / "s.parquet", hidden, [[1, 0, 2, 4, 3]])), strict=True
    ):
        np.testing.assert_array_equal(layer.hidden, expected)


@pytest.mark.parametrize("batches", [[[0, 1, 2]], [[0, 1, 2, 3, 4], [4]], [[0, 1, 2, 3, 3]], []])
def test_every_row_must_come_exactly_once(tmp_path, batches):
    with pytest.raises(ValueError, match="rows"):
        write(tmp_path / "s.parquet", random_states(), batches)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_an_error_that_says_so(tmp_path, left):
    path = write(tmp_path / "s.parquet", random_states(), ORDERS[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(TokentrailsError, match="cut short") as caught:
        list(StatesReader(path))
    assert str(path) in str(caught.value) and "delete it" in str(caught.value)


def test_a_missing_file_is_an_error_that_says_so(tmp_path):
    with pytest.raises(TokentrailsError, match=r"gone\.parquet"):
        StatesReader(tmp_path / "gone.parquet")


# --- the disk ---------------------------------------------------------------------------------


def test_too_little_room_is_an_error_before_anything_is_computed(tmp_path, monkeypatch):
    size = 10 * len(PLACES) * 100 * 4
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * size - 1))
    with pytest.raises(TokentrailsError, match="free") as caught:
        StatesWriter(tmp_path / "s.parquet", PLACES, range(10), 100)
    assert "extract.store" in str(caught.value) and "s.parquet" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * size))
    StatesWriter(tmp_path / "s.parquet", PLACES, range(10), 100).close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=size))
    StatesWriter(tmp_path / "s.parquet", PLACES, range(10), 100, "float16").close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_room_is_taken_where_the_disk_can(tmp_path, monkeypatch, in_a_file, code):
    def fail(fd, offset, length):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    hidden, path = random_states(), tmp_path / "s.parquet"
    if code == errno.ENOSPC:
        with pytest.raises(TokentrailsError, match="free"):
            write(path, hidden, ORDERS[2])
        assert list(tmp_path.iterdir()) == []
    else:
        read = [layer.hidden for layer in StatesReader(write(path, hidden, ORDERS[2]))]
        np.testing.assert_array_equal(np.stack(read), hidden)


def test_many_states_lie_on_disk_and_not_in_memory_while_they_are_gathered(tmp_path, in_a_file):
    """The scratch file has no name, and the output appears at the end."""
    with StatesWriter(tmp_path / "s.parquet", PLACES, OCCURRENCES, 6) as writer:
        writer.add(np.arange(5), random_states())
        assert os.fstat(writer._scratch.fileno()).st_size == random_states().nbytes
        assert list(tmp_path.iterdir()) == []
        writer.finish({})
        assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, is_there):
    path = tmp_path / "s.parquet"
    if is_there:
        write(path, random_states(), ORDERS[0])
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    whole, written = pq.ParquetWriter.write_table, []

    def fail(self, table, *args, **kwargs):
        written.append(table)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, table, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space"):
        write(path, random_states(1), ORDERS[0])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("when", ["gathering", "writing"])
def test_after_a_kill_the_next_run_leaves_only_the_output(tmp_path, when):
    code = f"""
import os, signal, sys
import numpy as np
import pyarrow.parquet as pq
from tokentrails.files import states
from tokentrails.files.atomic import replacing
from tokentrails.files.states import StatesWriter
states.IN_MEMORY = 0
writer = StatesWriter(sys.argv[1], {PLACES!r}, {OCCURRENCES!r}, 6)
writer.add(np.arange(5), np.zeros(({len(PLACES)}, 5, 6), np.float32))
die = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
if {when!r} == "gathering":
    die()
pq.ParquetWriter.write_table = die
writer.finish({{}})
"""
    path = tmp_path / "s.parquet"
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW)}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False)
    assert done.returncode == -9
    assert not path.exists()
    if when == "gathering":
        assert list(tmp_path.iterdir()) == []
    write(path, random_states(), ORDERS[0])
    assert [left.name for left in tmp_path.iterdir()] == ["s.parquet"]


def test_what_another_job_writes_in_the_folder_is_left_alone(tmp_path):
    names = ("big-words.parquet", "words.parquet.csv", "1-words.parquet")
    others = [tmp_path / f".part-123-{name}" for name in names]
    abandoned = tmp_path / ".part-456-words.parquet"
    for path in (*others, abandoned):
        path.touch()
    with replacing(tmp_path / "words.parquet") as part:
        part.touch()
        assert set(tmp_path.iterdir()) == {*others, part}
