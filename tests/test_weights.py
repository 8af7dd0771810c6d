"""Rows of matrices, read without torch, are those that safetensors reads."""

import json
import os

import config_files
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from tokentrails.errors import TokentrailsError
from tokentrails.network.architectures import ARCHITECTURES
from tokentrails.network.weights import Weights

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def save(path, dtype=torch.float32):
    torch.manual_seed(0)
    tensors = {
        "model.first.weight": torch.randn(7, 3).to(dtype),
        "model.second.weight": torch.randn(11, 5).to(dtype),
        "bias": torch.randn(4).to(dtype),
    }
    save_file(tensors, path, {"format": "pt"})
    return path


def header_of(content):
    return content[8 : 8 + int.from_bytes(content[:8], "little")]


def with_header(content, header):
    """A safetensors file with another header."""
    return len(header).to_bytes(8, "little") + header + content[8 + len(header_of(content)) :]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ["model.first.weight", "model.second.weight"])
def test_rows_are_those_of_safetensors(tmp_path, dtype, name):
    path = save(tmp_path / "w.safetensors", dtype)
    index = np.array([2, 0, 6, 2])
    rows = Weights(path).rows(name, index)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, load_file(path)[name][index].float().numpy())


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_whole_tensors_are_those_of_safetensors(tmp_path, dtype):
    weights = Weights(save(tmp_path / "w.safetensors", dtype))
    for name, expected in load_file(weights.path).items():
        assert weights.tensor(name).dtype == np.float32
        np.testing.assert_array_equal(weights.tensor(name), expected.float().numpy())


def test_special_values_of_bfloat16_survive(tmp_path):
    values = torch.tensor([[0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-40, 3e38, -1.5]])
    save_file({"a.weight": values.bfloat16()}, tmp_path / "w.safetensors")
    rows = Weights(tmp_path / "w.safetensors").rows("a.weight", np.array([0]))
    np.testing.assert_array_equal(rows, values.bfloat16().float().numpy())
    np.testing.assert_array_equal(np.signbit(rows), torch.signbit(values.bfloat16()).numpy())


@pytest.mark.parametrize("model", tiny.CONFIGS)
def test_the_embedding_is_found_under_the_name_of_every_architecture(prepared, model):
    weights = Weights(prepared[model] / "model.safetensors")
    name = weights.find(ARCHITECTURES[model].embedding)
    expected = load_file(prepared[model] / "model.safetensors")[name]
    assert weights.shape(name) == tuple(expected.shape) and expected.shape[1] == 32
    index = np.arange(len(expected))
    np.testing.assert_array_equal(weights.rows(name, index), expected.numpy())


@pytest.mark.parametrize("prefix", ["", "model.", "transformer.", "a.b.c."])
def test_find_takes_any_prefix(tmp_path, prefix):
    tensors = {f"{prefix}wte.weight": torch.zeros(2, 2), f"{prefix}not_wte.weight": torch.ones(1)}
    tensors |= {f"{prefix}wte.weights": torch.ones(2), "other": torch.ones(3)}
    save_file(tensors, tmp_path / "w.safetensors")
    assert Weights(tmp_path / "w.safetensors").find("wte") == f"{prefix}wte.weight"


def test_find_takes_another_parameter_than_the_weight(tmp_path):
    tensors = {f"a.{name}": torch.zeros(2) for name in ("wte.weight", "wte.bias", "not_wte.bias")}
    save_file(tensors, tmp_path / "w.safetensors")
    assert Weights(tmp_path / "w.safetensors").find("wte", "bias") == "a.wte.bias"


@pytest.mark.parametrize("names", [[], ["a.wte.weight", "b.wte.weight"], ["not_wte.weight"]])
def test_find_refuses_what_is_not_there_once(tmp_path, names):
    save_file({name: torch.zeros(2) for name in [*names, "x"]}, tmp_path / "w.safetensors")
    count = 2 if len(names) == 2 else 0
    with pytest.raises(TokentrailsError, match=rf"{count} tensors are named 'wte\.weight'"):
        Weights(tmp_path / "w.safetensors").find("wte")


def content(path, tensors, metadata=None):
    save_file(tensors, path, metadata)
    return Weights(path).content_sha256()


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return {"b": torch.randn(2, 3), "a": torch.randn(7), "c": torch.zeros(0, 2)}


def test_the_hash_is_that_of_the_tensors_alone(tmp_path, tensors):
    """Other metadata, and the tensors in another order in the file."""
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    digest = content(one, tensors)
    assert content(two, tensors, {"format": "pt", "step": "64"}) == digest
    assert one.read_bytes() != two.read_bytes()

    names = ["c", "b", "a"]
    raw = {name: tensors[name].numpy().tobytes() for name in names}
    header, start = {}, 0
    for name in names:
        shape, end = list(tensors[name].shape), start + len(raw[name])
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    two.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(raw.values()))
    assert Weights(two).content_sha256() == digest


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"a": t["a"] + torch.eye(7)[6] * 1e-6},
        lambda t: t | {"a": t["a"].view(torch.int32)},
        lambda t: t | {"b": t["b"].reshape(3, 2)},
        lambda t: t | {"c": torch.zeros(2, 0)},
        lambda t: {"aa" if name == "a" else name: value for name, value in t.items()},
        lambda t: {name: value for name, value in t.items() if name != "c"},
    ],
    ids=["a bit", "type", "shape", "empty shape", "name", "one less"],
)
def test_the_hash_tells_other_tensors(tmp_path, tensors, change):
    digest = content(tmp_path / "1.safetensors", tensors)
    assert content(tmp_path / "2.safetensors", change(tensors)) != digest


def test_the_hash_reads_more_than_one_piece(tmp_path):
    """The last byte counts in a tensor that is larger than what is read at a time."""
    large = torch.zeros(5 << 20, dtype=torch.uint8)
    digest = content(tmp_path / "1.safetensors", {"a": large})
    large[-1] = 1
    assert content(tmp_path / "2.safetensors", {"a": large}) != digest


@pytest.mark.parametrize("left", [0, 1, 7, 8, 9, 60, -1, -100])
def test_a_file_cut_short_is_refused(tmp_path, left):
    refused(tmp_path, lambda content: content[:left], "cut short", "w.safetensors")


def refused(folder, edit, *parts):
    path = save(folder / "w.safetensors")
    path.write_bytes(edit(path.read_bytes()))
    with config_files.refused(*parts):
        Weights(path)


def test_a_file_with_more_behind_it_is_refused(tmp_path):
    refused(tmp_path, lambda content: content + b"\0", "announces")


def test_tensors_that_share_bytes_or_leave_some_out_are_refused(tmp_path):
    path = save(tmp_path / "w.safetensors")
    content = path.read_bytes()
    for offset in (-4, 4):
        header = json.loads(header_of(content))
        begin, end = header["bias"]["data_offsets"]
        header["bias"]["data_offsets"] = [begin + offset, end + offset]
        path.write_bytes(with_header(content, json.dumps(header).encode()))
        with pytest.raises(TokentrailsError, match="not safetensors"):
            Weights(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_and_a_folder_are_refused(tmp_path, make):
    make(tmp_path / "w.safetensors")
    with pytest.raises(TokentrailsError, match="no regular file"):
        Weights(tmp_path / "w.safetensors")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TokentrailsError, match="No such file"):
        Weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        *(b"not json", b'{"a": ', b"\xff\xfe\xfd", b"[]", b'{"a": 3}', b'{"a": {"dtype": "F32"}}'),
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, -4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b"[" * 200_000,
    ],
)
def test_a_wrong_header_is_refused(tmp_path, header):
    refused(tmp_path, lambda content: with_header(content, header), "not safetensors")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((content, "not safetensors") for content in (b"", b"PK\x03\x04" * 40, b"\xff" * 100)),
        (config_files.POINTER, "git lfs pull"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path, content, words):
    refused(tmp_path, lambda _: content, words)


def test_a_shape_that_does_not_fit_the_bytes_is_refused(tmp_path):
    path = save(tmp_path / "w.safetensors")
    content = path.read_bytes()
    header = json.loads(header_of(content))
    header["model.second.weight"]["shape"] = [10, 5]
    path.write_bytes(with_header(content, json.dumps(header).encode()))
    with pytest.raises(TokentrailsError, match=r"model\.second\.weight"):
        Weights(path).rows("model.second.weight", np.array([0]))


def test_types_without_a_reading_are_refused(tmp_path):
    save_file({"a.weight": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "w.safetensors")
    with pytest.raises(TokentrailsError, match="has type I8") as caught:
        Weights(tmp_path / "w.safetensors").rows("a.weight", np.array([0]))
    assert "BF16" in str(caught.value)
