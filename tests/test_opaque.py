"""Models of which the stream alone is read: latent attention, or scaled and normalised queries."""

import json

import numpy as np
import pytest
import tiny
import torch
from config_files import load, refused
from conftest import local_source
from test_streams import random_texts, states_of
from test_supported import INSIDE, planned
from transformers import AutoModelForCausalLM

from tokentrails.files.states import places
from tokentrails.models.prepare import prepare
from tokentrails.models.supported import refuse_analyses
from tokentrails.network.architectures import PARTS, architecture_of
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.load import load_model
from tokentrails.network.parts import load_parts

CPU = torch.device("cpu")
MLP = {"deepseek_v2": "mlp", "deepseek_v3": "mlp", "llama4_text": "feed_forward"}
REASON = {
    "deepseek_v2": "latent space",
    "deepseek_v3": "latent space",
    "llama4_text": "scale queries by position",
}


def own_stream(folder, text):
    """The stream between blocks, inside of them and behind the norm, by the modules themselves."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    blocks = dict(enumerate(model.model.layers))
    wanted = {("block", i): block for i, block in blocks.items()}
    wanted |= {("attention", i): block.self_attn for i, block in blocks.items()}
    wanted[("norm", 0)] = model.model.norm
    with tiny.watched(wanted) as seen, torch.inference_mode():
        model(torch.tensor([text]))
        embedded = model.get_input_embeddings()(torch.tensor(text))
    outputs = [embedded, *(seen["block", i][1] for i in blocks)]
    mids = [outputs[i] + seen["attention", i][1] for i in blocks]
    return {"resid": outputs, "resid_mid": mids, "final_norm": seen["norm", 0][1]}


@pytest.mark.parametrize("kind", tiny.STATES)
def test_every_site_is_that_of_the_models_own_pass(prepared, kind):
    model, architecture = load_model(prepared[kind], CPU)
    texts = random_texts([20, 11])
    got = states_of(model, architecture, texts, [(0, 7, 7), (1, 10, 10), (0, 19, 19)])
    own = [own_stream(prepared[kind], text) for text in texts]
    for place, states in zip(places(architecture.sites, 3), got, strict=True):
        site, layer = place
        for (text, position), state in zip(((0, 7), (1, 10), (0, 19)), states, strict=True):
            stream = own[text][site]
            expected = (stream if site == "final_norm" else stream[layer])[position]
            np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-5)


def further_ahead(tensors):
    """A model's tensors with those of one block more, as DeepSeek-V3 is published."""
    depth = 1 + max(int(n.split(".")[2]) for n in tensors if n.startswith("model.layers."))
    last, new = f"model.layers.{depth - 1}.", f"model.layers.{depth}."
    more = {name.replace(last, new): t.clone() for name, t in tensors.items() if last in name}
    more |= {new + "embed_tokens.weight": tensors["model.embed_tokens.weight"].clone()}
    return tensors | more | {new + "eh_proj.weight": torch.ones(4, 8)}


def test_a_block_that_predicts_further_ahead_is_left_out(saved, prepared, tmp_path):
    folder = tiny.change(saved["deepseek_v3"], tmp_path / "published", further_ahead)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"num_nextn_predict_layers": 0}))
    with refused("models.m", "num_hidden_layers is 3, the weights have 4 blocks"):
        prepare(local_source("m", folder), "main", tmp_path / "unsaid")
    file.write_text(json.dumps(config | {"num_nextn_predict_layers": 1}))
    facts = prepare(local_source("m", folder), "main", tmp_path / "made")
    assert facts["left_out"] == ["model.layers.3."]
    own = json.loads((prepared["deepseek_v3"] / "provenance.json").read_text())
    assert facts["tensors_sha256"] == own["tensors_sha256"] and "left_out" not in own


@pytest.mark.parametrize("kind", tiny.STATES)
def test_the_state_before_the_first_block_is_the_tokens_own_row(prepared, kind):
    model, architecture = load_model(prepared[kind], CPU)
    text = random_texts([9])[0]
    got = states_of(model, architecture, [text], [(0, i, i) for i in range(9)])
    first = got[places(architecture.sites, 3).index(("resid", 0))]
    np.testing.assert_array_equal(first, Checkpoint(prepared[kind]).embedding_rows(np.array(text)))


@pytest.mark.parametrize("kind", tiny.STATES)
def test_what_needs_heads_is_refused_with_the_reason(prepared, saved, tmp_path, monkeypatch, kind):
    checkpoint = Checkpoint(prepared[kind])
    assert all(REASON[kind] in checkpoint.lacks[part] for part in PARTS)
    with refused("cannot be taken apart", REASON[kind], "its states can be read"):
        load_parts(prepared[kind], CPU)
    monkeypatch.chdir(tmp_path)
    refuse_analyses(load(planned(saved[kind], "ranks", "geometry")))
    for analysis in INSIDE:
        with refused(f"{analysis} cannot be had of 'm' ({kind})", REASON[kind]):
            refuse_analyses(load(planned(saved[kind], analysis)))


def test_every_branch_is_there_with_and_without_experts(prepared):
    for kind, name in MLP.items():
        config = json.loads((prepared[kind] / "config.json").read_text())
        row = architecture_of(config, where="x")
        model, _ = load_model(prepared[kind], CPU)
        branches = [getattr(block, name) for block in model.get_submodule(row.blocks)]
        assert {hasattr(branch, "experts") for branch in branches} == {True, False}
