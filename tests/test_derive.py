"""Types outside the table of architectures are read by a row of it that fits, and adds up."""

import json

import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from tokentrails.figures.pieces.notes import derived_notes
from tokentrails.figures.pieces.theme import annotated, nothing_to_show
from tokentrails.models.derive import derived, readings
from tokentrails.models.prepare import prepare
from tokentrails.models.supported import refuse_config
from tokentrails.network.architectures import READ_AS, architecture_of, refuse_absurd
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.parts import load_parts

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 64}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}


@pytest.mark.parametrize(
    ("kind", "sizes", "row"),
    [
        ("cwm", GROUPED | {"sliding_window": 8}, "llama"),
        ("jais2", GROUPED, "arcee"),
        ("gpt_bigcode", {"n_embd": 32, "n_layer": 3, "n_head": 4}, "gpt2"),
        ("ernie", SIZES, "bert"),
    ],
)
def test_a_type_with_known_modules_is_read_by_their_row(tmp_path, kind, sizes, row):
    saved = tiny.save(kind, tmp_path / "saved", **sizes)
    facts = prepare(local_source("m", saved), "main", tmp_path / "made")
    assert facts["architecture"] == f"{kind}, read as {row}"
    assert facts["self_check"]["grade"] == "full"
    _, architecture, parts = load_parts(tmp_path / "made", torch.device("cpu"))
    assert architecture.model_type == kind and len(parts.blocks) == 3
    assert Checkpoint(tmp_path / "made").config[READ_AS] == row


@pytest.mark.parametrize("kind", ["diffllama", "bitnet"])
def test_of_a_type_with_another_attention_the_stream_is_read(tmp_path, kind):
    saved = tiny.save(kind, tmp_path / "saved", **GROUPED)
    facts = prepare(local_source("m", saved), "main", tmp_path / "made")
    assert facts["self_check"]["grade"] == "states"
    assert facts["architecture"] == f"{kind}, read as deepseek_v2"
    assert "no form known here" in Checkpoint(tmp_path / "made").lacks["heads"]


def test_a_type_whose_branches_are_scaled_in_its_blocks_is_refused(tmp_path):
    saved = tiny.save("minicpm3", tmp_path / "saved", **tiny.STATES["deepseek_v2"])
    with refused("models.m", "minicpm3", "attention is off by up to"):
        prepare(local_source("m", saved), "main", tmp_path / "made")


def test_an_embedding_of_another_width_than_the_stream_is_refused(tmp_path):
    sizes = SIZES | {"input_embedding_size": 16, "output_embedding_size": 16}
    saved = tiny.save("rembert", tmp_path / "saved", **sizes)
    with refused("models.m", "16 dimensions, its stream 32"):
        prepare(local_source("m", saved), "main", tmp_path / "made")


def test_a_known_type_is_read_as_it_is(saved):
    config = json.loads((saved["llama"] / "config.json").read_text())
    assert list(readings(config, where="x")) == [config]
    assert architecture_of(config | {READ_AS: "gpt2"}, where="x").blocks == "layers"


@pytest.mark.parametrize("kind", ["xlnet", "nosuch"])
def test_a_type_with_other_modules_is_refused(kind):
    (config,) = readings({"model_type": kind, READ_AS: "llama"}, where="x")
    with refused("x", f"{kind!r} is not supported"):
        architecture_of(config, where="x")


@pytest.mark.parametrize(
    ("kind", "near"),
    [("llamma", "llama"), ("gptneox", "gpt_neox"), ("qwen4", "qwen3"), ("zzz", None)],
)
def test_of_the_families_those_near_to_an_unknown_type_are_named(kind, near):
    with refused(
        "x", f"{kind!r} is not supported", "docs/catalogue.md lists the families"
    ) as found:
        architecture_of({"model_type": kind}, where="x")
    text = str(found.value)
    assert len(text) < 300 and ("did you mean" in text) is bool(near)
    assert not near or near in text


ABSURD = {
    "num_hidden_layers": 10**8,
    "hidden_size": 10**12,
    "vocab_size": 10**12,
    "num_attention_heads": 10**9,
    "num_local_experts": 10**9,
    "num_labels": 10**9,
}


@pytest.mark.parametrize("kind", ["llama", "cwm", "minimax", "nosuch"])
@pytest.mark.parametrize("key", ABSURD)
@pytest.mark.parametrize("inside", [False, True])
def test_sizes_that_no_model_has_are_refused_before_one_is_built(kind, key, inside):
    """Building one of a hundred million blocks would take days."""
    config = {"model_type": kind, **GROUPED}
    absurd = {key: ABSURD[key]}
    config |= {"vision_config": absurd} if inside else absurd
    part = f"{key} is {ABSURD[key]:,}, and no model has more than"
    with refused("models.m", part, "save or fetch it again"):
        refuse_config(config, local_source("m", "nowhere"))
    with refused("models.m", part):
        derived(config, where="models.m")


def test_the_models_of_transformers_are_not_absurd():
    kinds = [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_MASKED_LM_MAPPING_NAMES]
    for kind in set(kinds) - {"gemma4_assistant"}:  # which has no defaults
        refuse_absurd(CONFIG_MAPPING[kind]().to_dict(), where=kind)
    assert len(kinds) > 200


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, "do not add to one stream") for kind in ("gemma3n_text", "gemma4_text")),
        ("deepseek_v4", "do not add to one stream"),
        *((kind, "a state from token to token") for kind in ("mamba", "mamba2", "qwen3_next")),
        ("qwen3_5_text", "a state from token to token"),
        ("deberta-v2", "three products"),
        ("albert", "one block again and again"),
        ("t5", "two stacks"),
    ],
)
def test_models_of_another_kind_are_refused_by_name(kind, reason):
    with refused("x", f"{kind!r} is not supported", reason):
        architecture_of({"model_type": kind, READ_AS: "llama"}, where="x")


def test_figures_say_which_models_are_derived():
    provenances = [
        {"model": "mine", "architecture": "cwm, read as llama"},
        {"model": "mine", "architecture": "cwm, read as llama"},
        {"model": "other", "architecture": "llama"},
        {},
    ]
    notes = derived_notes(provenances)
    assert notes == ["mine: derived, its type is not supported by itself (cwm, read as llama)."]
    chart = annotated(nothing_to_show("t"), notes)
    assert chart.to_dict()["title"]["subtitle"] == notes
    assert annotated(nothing_to_show("t", ["w"]), notes).to_dict()["title"]["subtitle"][1:] == notes


def test_a_type_cannot_turn_the_text_of_a_figure_around():
    notes = derived_notes([{"model": "m", "architecture": "a\u202eb, read as llama"}])
    (line,) = annotated(nothing_to_show("t"), notes).to_dict()["title"]["subtitle"]
    assert "\u202e" not in line and "read as llama" in line
