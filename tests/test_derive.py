"""Types outside the table of architectures are read by a row of it that fits, and adds up."""

import json

import pytest
import torch
import transformers
from config_files import refused
from conftest import local_source
from tiny import tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from tokentrails.models.derive import readings
from tokentrails.models.prepare import prepare
from tokentrails.network.architectures import READ_AS, architecture_of
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.parts import load_parts

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 64}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}


def made(kind, folder, auto=AutoModelForCausalLM, **sizes):
    cut = tokenizer(kind)
    config = AutoConfig.for_model(kind, vocab_size=len(cut) + 6, pad_token_id=1, **sizes)
    torch.manual_seed(1)
    model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    transformers.logging.set_verbosity_error()
    model.save_pretrained(folder)
    cut.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "auto", "sizes", "row"),
    [
        ("cwm", AutoModelForCausalLM, GROUPED | {"sliding_window": 8}, "llama"),
        ("jais2", AutoModelForCausalLM, GROUPED, "arcee"),
        ("gpt_bigcode", AutoModelForCausalLM, {"n_embd": 32, "n_layer": 3, "n_head": 4}, "gpt2"),
        ("ernie", AutoModelForMaskedLM, SIZES, "bert"),
    ],
)
def test_a_type_with_known_modules_is_read_by_their_row(tmp_path, kind, auto, sizes, row):
    saved = made(kind, tmp_path / "saved", auto, **sizes)
    facts = prepare(local_source("m", saved), "main", tmp_path / "made")
    assert facts["architecture"] == f"{kind}, read as {row}"
    assert facts["self_check"]["grade"] == "full"
    _, architecture, parts = load_parts(tmp_path / "made", torch.device("cpu"))
    assert architecture.model_type == kind and len(parts.blocks) == 3
    assert Checkpoint(tmp_path / "made").config[READ_AS] == row


def test_a_known_type_is_read_as_it_is(saved):
    config = json.loads((saved["llama"] / "config.json").read_text())
    assert list(readings(config)) == [config]
    assert architecture_of(config | {READ_AS: "gpt2"}, where="x").blocks == "layers"


@pytest.mark.parametrize("kind", ["xlnet", "nosuch"])
def test_a_type_with_other_modules_is_refused(kind):
    (config,) = readings({"model_type": kind})
    with refused("x", f"{kind!r} is not supported"):
        architecture_of(config, where="x")


@pytest.mark.parametrize("kind", ["gemma3n_text", "gemma4_text", "deepseek_v4"])
def test_streams_of_another_kind_are_refused_by_name(kind):
    with refused("x", kind, "do not add to one stream"):
        architecture_of({"model_type": kind, READ_AS: "llama"}, where="x")
