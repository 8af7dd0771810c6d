"""Configurations that make no sense are refused before weights are read, with key and value."""

import json

import pytest
import tiny
from config_files import refused
from conftest import local_source

from tokentrails.models.prepare import prepare
from tokentrails.models.readable import checked_config
from tokentrails.models.trial import base_name, tried
from tokentrails.network.architectures import ARCHITECTURES

SENSELESS = [
    ("llama", "hidden_act", "nosuch"),
    ("llama", "rope_parameters", {"rope_type": "nosuch", "rope_theta": 1e4}),
    ("llama", "num_attention_heads", 5),
    ("llama", "num_attention_heads", 0),
    ("llama", "num_attention_heads", True),
    ("llama", "num_key_value_heads", 3),
    ("llama", "num_key_value_heads", "2"),
    ("llama", "num_hidden_layers", -1),
    ("llama", "num_hidden_layers", 3.0),
    ("llama", "hidden_size", "32"),
    ("llama", "hidden_size", None),
    ("llama", "intermediate_size", -64),
    ("llama", "intermediate_size", 64.5),
    ("llama", "head_dim", 7),
    ("llama", "rms_norm_eps", "small"),
    ("llama", "vocab_size", "many"),
    ("llama", "max_position_embeddings", 0),
    ("llama", "dtype", "nosuch"),
    ("llama", "dtype", 3),
    ("llama", "attention_bias", "yes"),
    ("llama", "tie_word_embeddings", "maybe"),
    ("gpt2", "n_head", 5),
    ("gpt2", "activation_function", "nosuch"),
    ("bert", "hidden_act", "nosuch"),
    ("bert", "num_attention_heads", 7),
    ("roberta", "max_position_embeddings", 2),
    ("gemma3_text", "layer_types", ["nosuch"] * 3),
    ("mixtral", "num_local_experts", "four"),
]


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(("kind", "key", "value"), SENSELESS)
def test_what_makes_no_sense_is_named(saved, tmp_path, kind, key, value):
    folder = tmp_path / "senseless"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(saved[kind]) | {key: value}))
    with refused("models.m: ", f"{key} is {value!r}"):
        checked_config(folder, ["config.json", "model.safetensors"], where="models.m")


@pytest.mark.parametrize(
    ("kind", "key", "value", "said"),
    [
        ("gpt2", "n_head", 5, "n_embd is 32 and n_head is 5, which does not divide it"),
        (
            "llama",
            "num_key_value_heads",
            3,
            "num_attention_heads is 4 and num_key_value_heads is 3",
        ),
        ("llama", "hidden_act", "nosuch", "hidden_act is 'nosuch', which it does not know"),
    ],
)
def test_what_is_wrong_with_it_is_said(saved, kind, key, value, said):
    with refused(said):
        tried(config_of(saved[kind]) | {key: value}, where="models.m")


@pytest.mark.parametrize("kind", [*tiny.CONFIGS, *tiny.MORE])
def test_what_makes_sense_is_not_refused(saved, kind):
    config = config_of(saved[kind])
    before = json.dumps(config)
    model = tried(config, where="models.m")
    assert model.get_submodule(f"{base_name(model)}.{ARCHITECTURES[kind].embedding}")
    assert json.dumps(config) == before


def test_a_vocabulary_of_fewer_rows_than_the_tokenizer_has_entries(saved, tmp_path):
    folder = tiny.change(saved["llama"], tmp_path / "short", dict)
    (folder / "model.safetensors").write_bytes(b"never read")
    config = config_of(folder)
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 40}))
    with refused("models.m: its tokenizer has the entry", "beyond the 40 rows"):
        prepare(local_source("m", folder), "main", tmp_path / "made")
