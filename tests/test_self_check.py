"""The check of a model when it is prepared: right rows pass it, wrong ones do not."""

import json
import shutil
from dataclasses import replace

import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source

from tokentrails.models.prepare import prepare
from tokentrails.models.self_check import TOLERANCE, errors_of, self_check
from tokentrails.network.architectures import ARCHITECTURES, architecture_of
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.parts import load_parts


@pytest.mark.parametrize("kind", [*tiny.CONFIGS, *tiny.MORE])
def test_every_family_passes_and_its_provenance_says_so(prepared, kind):
    found = json.loads((prepared[kind] / "provenance.json").read_text())["self_check"]
    assert found["grade"] == "full"
    parts = {"attention", "mlp", "patterns", "heads", "neurons", "logits"}
    parts -= {"neurons"} if kind in tiny.EXPERTS else set()
    rotary = ARCHITECTURES[kind].position_embedding is None
    assert found["errors"].keys() == parts | ({"embedding"} if rotary else set())
    assert max(found["errors"].values()) < 2e-5


@pytest.mark.parametrize("kind", tiny.STATES)
def test_of_those_whose_attention_is_not_taken_apart_the_stream_adds_up(prepared, kind):
    found = json.loads((prepared[kind] / "provenance.json").read_text())["self_check"]
    assert found["grade"] == "states"
    assert found["errors"].keys() == {"embedding", "attention", "mlp", "logits"}
    assert max(found["errors"].values()) < 2e-5


def attention(**changes):
    return lambda row: replace(row, attention=replace(row.attention, **changes))


def mlp(**changes):
    return lambda row: replace(row, mlp=replace(row.mlp, **changes))


def row(**changes):
    return lambda found: replace(found, **changes)


def without(name):
    return lambda found: replace(
        found, factors={key: value for key, value in found.factors.items() if key != name}
    )


def swapped(found):
    return replace(
        found, mid=found.attention.norm, attention=replace(found.attention, norm=found.mid)
    )


def post_norms_swapped(found):
    return replace(
        found,
        attention=replace(found.attention, post_norm=found.mlp.post_norm),
        mlp=replace(found.mlp, post_norm=found.attention.post_norm),
    )


def gates_swapped(found):
    return replace(found, mlp=replace(found.mlp, gate=found.mlp.input, input=found.mlp.gate))


def activation_of_the_head(found):
    return replace(found, unembedding=replace(found.unembedding, activation="relu"))


MISTAKES = [
    ("llama", swapped, "attention"),
    ("llama", gates_swapped, "neurons"),
    ("llama", row(final_norm="layers.0.input_layernorm"), "logits"),
    ("llama", attention(rotated_pairs=True), "patterns"),
    ("llama", row(rotary=None), "patterns"),
    ("mistral", attention(window_key=None), "patterns"),
    ("qwen3", attention(query_norm=None), "patterns"),
    ("qwen3", attention(key_norm=None), "patterns"),
    ("gemma2", attention(post_norm=None), "attention"),
    ("gemma2", mlp(post_norm=None), "mlp"),
    ("gemma2", post_norms_swapped, "attention"),
    ("gemma3_text", attention(query_norm="self_attn.k_norm"), "patterns"),
    ("granite", without("branch"), "attention"),
    ("granite", without("embedding"), "embedding"),
    ("granite", without("1/logits"), "logits"),
    ("cohere", attention(rotated_pairs=False), "patterns"),
    ("cohere", row(parallel_attention=None), "attention"),
    ("cohere", without("logits"), "logits"),
    ("cohere2", attention(rotated_windows_only=False), "patterns"),
    ("olmo2", attention(norm="post_attention_layernorm"), "heads"),
    ("gptj", attention(rotated_pairs=False), "patterns"),
    ("gpt_neo", attention(unscaled=False), "patterns"),
    ("gpt_neo", attention(window_key=None), "patterns"),
    ("gpt_neox", attention(fused="parts"), "patterns"),
    ("gpt_neox", row(parallel_attention=None), "attention"),
    ("bert", attention(value="attention.self.key"), "heads"),
    ("bert", attention(query="attention.self.key", key="attention.self.query"), "patterns"),
    ("bert", row(sum_norm="attention.output.LayerNorm"), "mlp"),
    ("bert", activation_of_the_head, "logits"),
    ("roberta", row(causal=True), "patterns"),
    ("modernbert", attention(norm="mlp_norm"), "heads"),
    ("deepseek_v3", row(mid="input_layernorm"), "attention"),
    ("deepseek_v2", attention(output="self_attn.kv_b_proj"), "attention"),
    ("deepseek_v2", mlp(output="self_attn"), "mlp"),
    ("llama4_text", row(final_norm="layers.0.input_layernorm"), "logits"),
    ("modernbert", mlp(gate=None), "neurons"),
]


@pytest.mark.parametrize(("kind", "mistake", "part"), MISTAKES)
def test_a_mistake_in_a_row_is_found(prepared, monkeypatch, kind, mistake, part):
    folder = prepared[kind]  # with the right row
    monkeypatch.setitem(ARCHITECTURES, kind, mistake(ARCHITECTURES[kind]))
    try:
        errors = errors_of(Checkpoint(folder))
    except RuntimeError:  # shapes that do not go together
        return
    assert errors[part] > 10 * TOLERANCE


def test_what_makes_states_wrong_is_refused_and_the_rest_has_a_grade(
    prepared, tmp_path, monkeypatch
):
    right, folder = ARCHITECTURES["gemma2"], prepared["gemma2"]
    capped = tiny.save("gemma2", tmp_path / "capped", attn_logit_softcapping=0.5)
    assert self_check(capped, "models.m")["grade"] == "full"
    monkeypatch.setitem(ARCHITECTURES, "gemma2", attention(capped=False)(right))
    assert self_check(capped, "models.m")["grade"] == "states"
    monkeypatch.setitem(ARCHITECTURES, "gemma2", attention(post_norm=None)(right))
    with refused("models.m", "attention is off by up to", "report it"):
        self_check(folder, "models.m")


def test_a_gpt_neo_may_leave_its_layers_to_its_types(prepared, tmp_path):
    folder = shutil.copytree(prepared["gpt_neo"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    del config["attention_layers"]
    (folder / "config.json").write_text(json.dumps(config))
    assert self_check(folder, "models.m")["grade"] == "full"


@pytest.mark.parametrize("value", [0, float("nan"), float("inf"), "1", True])
def test_factors_that_are_no_numbers_are_refused(saved, value):
    config = json.loads((saved["granite"] / "config.json").read_text())
    with refused("x", "residual_multiplier is"):
        architecture_of(config | {"residual_multiplier": value}, where="x")


def test_the_parts_of_a_model_that_failed_are_not_given(prepared, tmp_path):
    folder = shutil.copytree(prepared["llama"], tmp_path / "model")
    facts = json.loads((folder / "provenance.json").read_text())
    facts["self_check"] = {"grade": "states", "errors": {"heads": 0.25, "neurons": 1e-7}}
    (folder / "provenance.json").write_text(json.dumps(facts))
    with refused(
        "provenance.json",
        "apart: its parts do not add up",
        "heads are off by up to 0.25",
        "leave heads, neurons",
    ):
        load_parts(folder, torch.device("cpu"))


def test_first_middle_and_last_block_are_checked_and_not_all(tmp_path):
    """Of five blocks the second may be wrong in itself; what it adds is not looked at."""
    saved = tiny.save("gemma3_text", tmp_path / "saved", num_hidden_layers=5, layer_types=TYPES)
    broken = tiny.change(saved, tmp_path / "broken", lambda found: nan_in(found, 1))
    assert self_check(broken, "m")["grade"] == "full"
    for layer in (0, 2, 4):
        broken = tiny.change(saved, tmp_path / f"b{layer}", lambda t, n=layer: nan_in(t, n))
        assert self_check(broken, "m") == {"grade": "unchecked"}


TYPES = [*["sliding_attention"] * 4, "full_attention"]


def nan_in(tensors, layer):
    (name,) = (n for n in tensors if n.endswith(f"layers.{layer}.mlp.down_proj.weight"))
    tensors[name][:] = torch.nan
    return tensors


def test_a_model_that_cannot_run_is_said_in_one_message(prepared, tmp_path):
    folder = shutil.copytree(prepared["llama"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "nosuch"}))
    with refused("models.m", "transformers cannot run this model", "nosuch"):
        self_check(folder, "models.m")


SCALED = {
    "yarn": {"factor": 4.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "longrope": {"long_factor": [4.0] * 4, "short_factor": [1.0] * 4},
    "dynamic": {"factor": 4.0},
}


@pytest.mark.parametrize("kind", SCALED)
def test_rotations_that_change_in_long_texts_bound_the_heads(tmp_path, kind):
    """Of a text that is longer, cosines and sines are other ones than those of an offset."""
    rope = {"rope_type": kind, "rope_theta": 100.0, **SCALED[kind]}
    rope |= {} if kind == "dynamic" else {"original_max_position_embeddings": 32}
    saved = tiny.save("llama", tmp_path / "saved", rope_parameters=rope)
    facts = prepare(local_source("m", saved), "main", tmp_path / "made")
    assert facts["self_check"]["grade"] == "full"
    within = {"longrope": 32, "dynamic": 64}.get(kind)
    assert facts["self_check"].get("heads_within") == within
    checkpoint = Checkpoint(tmp_path / "made")
    checkpoint.refuse_far(within or 1_000)
    if within:
        with refused("the analysis heads", f"{within + 1} tokens", f"beyond {within}", "shorten"):
            checkpoint.refuse_far(within + 1)


@pytest.mark.parametrize(("beta", "within"), [(0.0, None), (2.0, 20)])
def test_queries_that_grow_in_long_texts_bound_the_heads(tmp_path, beta, within):
    rope = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 2.0}
    rope |= {"original_max_position_embeddings": 20, "llama_4_scaling_beta": beta}
    saved = tiny.save("ministral3", tmp_path / "saved", rope_parameters=rope)
    facts = prepare(local_source("m", saved), "main", tmp_path / "made")
    assert facts["self_check"]["grade"] == "full"
    assert facts["self_check"].get("heads_within") == within
