"""Names that wrappers of a model left on its tensors, when it was saved inside of one."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source
from safetensors.torch import load_file, save_file
from test_text_half import whole
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

from tokentrails.models.names import unwrapping
from tokentrails.models.prepare import prepare
from tokentrails.network.architectures import ARCHITECTURES
from tokentrails.network.load import load_language_model, load_model

CPU = torch.device("cpu")
BASES = {"gpt2": "transformer.", "llama": "model.", "opt": "model.", "bert": "bert."}


def before(prefix):
    return lambda base, name: prefix + name


def compiled(base, name):
    """`torch.compile` of the base alone."""
    return name.replace(base, f"{base}_orig_mod.", 1)


def sharded(base, name):
    """Blocks that FSDP wrapped, in a DistributedDataParallel."""
    return "module." + name.replace(".1.", ".1._fsdp_wrapped_module.", 1)


WRAPPERS = {
    "lightning": (before("model."), ["model."]),
    "parallel": (before("module."), ["module."]),
    "compiled": (before("_orig_mod."), ["_orig_mod."]),
    "lightning, compiled": (before("model._orig_mod."), ["_orig_mod.", "model."]),
    "parallel, lightning": (before("module.model."), ["module.model."]),
    "compiled base": (compiled, ["_orig_mod."]),
    "sharded": (sharded, ["_fsdp_wrapped_module.", "module."]),
}


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_model_that_was_saved_in_a_wrapper_is_the_model(saved, prepared, tmp_path, kind, wrapper):
    rename, removed = WRAPPERS[wrapper]
    wrapped = tiny.change(
        saved[kind],
        tmp_path / "wrapped",
        lambda tensors: {rename(BASES[kind], name): t for name, t in tensors.items()},
    )
    facts = prepare(local_source("m", wrapped), "main", tmp_path / "made")
    assert facts["wrappers"] == removed
    made, own = (load_file(f / "model.safetensors") for f in (tmp_path / "made", prepared[kind]))
    assert made.keys() == own.keys() and all(torch.equal(made[name], own[name]) for name in own)
    load_language_model(tmp_path / "made", CPU, name="m")


def test_a_pickle_of_a_bare_model_in_a_wrapper(saved, tmp_path):
    folder = shutil.copytree(saved["gpt2"], tmp_path / "wrapped")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    bare = {f"module.{n.removeprefix('transformer.')}": t for n, t in tensors.items()}
    torch.save(bare, folder / "pytorch_model.bin")
    source = replace(local_source("m", folder), allow_pickle=True)
    facts = prepare(source, "main", tmp_path / "made")
    assert facts["wrappers"] == ["module."] and facts["self_check"]["grade"] == "full"
    load_model(tmp_path / "made", CPU)


@pytest.mark.parametrize(
    ("wrapper", "removed"),
    [
        ("model.", None),  # as the files of newer models have it
        ("model.model.", ["model."]),
        ("module.", ["module."]),
        ("_orig_mod.", ["_orig_mod."]),
    ],
)
def test_a_model_that_sees_images_in_a_wrapper(tmp_path, wrapper, removed):
    model = whole(tmp_path, Mistral3ForConditionalGeneration, Mistral3Config, "mistral")
    folder = tmp_path / "saved"
    tensors = {f"{wrapper}{n}": t for n, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    facts = prepare(local_source("m", folder), "main", tmp_path / "made")
    assert facts.get("wrappers") == removed and facts["self_check"]["grade"] == "full"
    made = load_file(tmp_path / "made/model.safetensors")
    row = made["model.embed_tokens.weight"][5]
    torch.testing.assert_close(row, model.get_input_embeddings().weight[5].detach())


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("prefix", ["net.", "0.auto_model."])
def test_an_unknown_prefix_is_refused_when_the_model_is_prepared(saved, tmp_path, kind, prefix):
    wrapped = tiny.change(
        saved[kind], tmp_path / "wrapped", lambda t: {f"{prefix}{n}": v for n, v in t.items()}
    )
    embedding = f"{ARCHITECTURES[kind].embedding}.weight"
    with refused("models.m", f"'{prefix}{BASES[kind]}{embedding}', where", "is expected"):
        prepare(local_source("m", wrapped), "main", tmp_path / "made")


def test_a_wrapper_of_some_tensors_is_none(saved, tmp_path):
    wrapped = tiny.change(
        saved["gpt2"],
        tmp_path / "wrapped",
        lambda t: {n if ".h.1." in n else f"module.{n}": v for n, v in t.items()},
    )
    with refused("models.m", "'module.transformer.wte.weight', where 'transformer.wte.weight'"):
        prepare(local_source("m", wrapped), "main", tmp_path / "made")


def test_two_tensors_of_one_name_are_refused():
    rename = unwrapping(
        ARCHITECTURES["gpt2"],
        "transformer",
        half=False,
        removed=set(),
        left_out=set(),
        where="models.m",
    )
    with refused("models.m", "'h.0._orig_mod.a' and 'h.0.a' are the same tensor", "save the model"):
        rename(["wte.weight", "h.0._orig_mod.a", "h.0.a"])


def test_of_a_model_without_wrapper_nothing_is_said(prepared):
    facts = json.loads((prepared["gpt2"] / "provenance.json").read_text())
    assert "wrappers" not in facts and facts["warnings"] == []
