"""Records of how results were made, merged from two machines."""

import base64
import gzip
import json

import pytest

from tokentrails.errors import TokentrailsError
from tokentrails.running.records import merge_records, pack_records

TABLE = "s3://bucket/results/table.parquet"


def record(folder, output, endtime, **more):
    file = folder / base64.urlsafe_b64encode(output.encode()).decode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"endtime": endtime} | more))
    return file


def test_records_arrive(tmp_path):
    file = record(tmp_path / "mine", TABLE, 1.0, params=["1"])
    deep = tmp_path / "mine/@cmVz" / "dWx0cw=="  # a long name, cut by Snakemake
    deep.parent.mkdir()
    deep.write_text('{"endtime": 2.0}')
    merge_records(pack_records(tmp_path / "mine"), tmp_path / "other", "here")
    there = [f for f in (tmp_path / "other").rglob("*") if f.is_file()]
    names = {str(f.relative_to(tmp_path / "other")) for f in there}
    assert names == {file.name, "@cmVz/dWx0cw=="}
    assert json.loads((tmp_path / "other" / file.name).read_text())["params"] == ["1"]


@pytest.mark.parametrize(("mine", "theirs", "stays"), [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0)])
def test_the_later_of_two_records_stays(tmp_path, mine, theirs, stays):
    file = record(tmp_path / "mine", TABLE, mine)
    record(tmp_path / "theirs", TABLE, theirs)
    merge_records(pack_records(tmp_path / "theirs"), tmp_path / "mine", "here")
    assert json.loads(file.read_text()) == {"endtime": stays}


def test_a_file_of_this_machine_keeps_its_record(tmp_path):
    weights = tmp_path / "model.safetensors"
    file = record(tmp_path / "mine", str(weights), 1.0)
    record(tmp_path / "theirs", str(weights), 2.0)
    weights.touch()
    merge_records(pack_records(tmp_path / "theirs"), tmp_path / "mine", "here")
    assert json.loads(file.read_text()) == {"endtime": 1.0}
    file.unlink()  # as if the weights had been copied from the other machine
    merge_records(pack_records(tmp_path / "theirs"), tmp_path / "mine", "here")
    assert json.loads(file.read_text()) == {"endtime": 2.0}
    record(tmp_path / "mine", str(weights), 1.0)
    weights.unlink()
    merge_records(pack_records(tmp_path / "theirs"), tmp_path / "mine", "here")
    assert json.loads(file.read_text()) == {"endtime": 2.0}


def test_a_record_that_was_cut_short_is_replaced(tmp_path):
    file = record(tmp_path / "mine", TABLE, 3.0)
    file.write_text('{"endtime": 3')
    record(tmp_path / "theirs", TABLE, 1.0)
    assert json.loads(gzip.decompress(pack_records(tmp_path / "mine"))) == {}
    merge_records(pack_records(tmp_path / "theirs"), tmp_path / "mine", "here")
    assert json.loads(file.read_text()) == {"endtime": 1.0}


@pytest.mark.parametrize(
    "content",
    ["{", "[1]", '{"../../stolen": {}}', '{"/stolen": {}}', '{"nobase64": {}, "abc": {}}', None],
)
def test_what_is_not_records_is_refused(tmp_path, content):
    packed = gzip.compress(content.encode()) if content else b"no gzip"
    with pytest.raises(TokentrailsError, match="s3://bucket/records") as refused:
        merge_records(packed, tmp_path / "mine", "s3://bucket/records")
    assert "Hint: " in str(refused.value)
    assert not any(tmp_path.iterdir())
