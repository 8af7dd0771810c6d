"""The third study's own formula is what it says, and the rows it compares with."""

import json

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import places
from tokentrails.metrics.as_published import attention_weights, position_rows, published_resid_mid
from tokentrails.network.architectures import ARCHITECTURES
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.load import load_model
from tokentrails.network.stream import StreamReader

CPU = torch.device("cpu")
CLOSE = {"atol": 1e-4, "rtol": 1e-3}
ROBERTA_LIKE = ("bert", "roberta")
LEARNED = ("gpt2", "opt", "bert", "roberta", "distilbert")
IDS = np.random.default_rng(0).integers(5, 120, 11).tolist()
DEPTH = 3


@torch.inference_mode()
def read_states(folder, site):
    """The states of every token of one text, by layer."""
    model, architecture = load_model(folder, CPU)
    where = [place for place in places([site], DEPTH) if place[1] < DEPTH]
    with StreamReader(model, architecture, where) as reader:
        return reader(torch.tensor([IDS]), torch.arange(len(IDS))).numpy()


@torch.inference_mode()
def slow_published(folder):
    """The study's formula, head by head, with the model's own states and attention weights."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    seen = model(torch.tensor([IDS]), output_hidden_states=True, output_attentions=True)
    layers = []
    for layer, block in enumerate(model.encoder.layer):
        x, weights = seen.hidden_states[layer][0], seen.attentions[layer][0]
        values = torch.einsum("nd,df->nf", x, block.attention.self.value.weight)
        size = x.shape[1] // len(weights)
        heads = [
            torch.einsum("ij,jf->if", of_head, values[:, h * size : (h + 1) * size])
            for h, of_head in enumerate(weights)
        ]
        output = block.attention.output.dense.weight
        layers.append(torch.einsum("nd,df->nf", torch.cat(heads, dim=1), output) + x)
    return torch.stack(layers).numpy()


@pytest.mark.parametrize("model", ROBERTA_LIKE)
def test_the_corrected_formula_is_the_models_and_the_published_one_the_studys(prepared, model):
    resid, resid_mid = (read_states(prepared[model], site) for site in ("resid", "resid_mid"))
    slow = slow_published(prepared[model])
    for layer in range(DEPTH):
        block = attention_weights(Checkpoint(prepared[model]), layer)
        corrected = published_resid_mid(resid[layer], block, corrected=True)
        np.testing.assert_allclose(corrected, resid_mid[layer], **CLOSE)
        published = published_resid_mid(resid[layer], block)
        assert published.dtype == corrected.dtype == np.float32
        np.testing.assert_allclose(published, slow[layer], **CLOSE)
        apart = np.linalg.norm(published - corrected, axis=1)
        assert (apart > 0.1 * np.linalg.norm(corrected - resid[layer], axis=1)).all()


VALUE = [[0.0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3], [0, 0, 0, 0]]
OUTPUT = [[0.0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
TEXT = np.array([[1, 2, 3, 4], [3, 2, 1, 0]], np.float32)


def known_block(folder, query_bias=0.0, key=0.0):
    """A RoBERTa block of one head; the first dimension of its query and key can be set."""
    first = torch.tensor([1.0, 0, 0, 0])
    parts = {  # weight as stored, (out, in), and bias
        "self.query": (torch.zeros(4, 4), first * query_bias),
        "self.key": (torch.outer(first, first) * key, torch.zeros(4)),
        "self.value": (torch.tensor(VALUE), first),
        "output.dense": (torch.tensor(OUTPUT), first.flip(0)),
    }
    names = {name: f"roberta.encoder.layer.0.attention.{name}" for name in parts}
    tensors = {f"{names[name]}.weight": weight for name, (weight, _) in parts.items()}
    tensors |= {f"{names[name]}.bias": bias for name, (_, bias) in parts.items()}
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "roberta", "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps(config))
    return attention_weights(Checkpoint(folder), 0)


def test_known_small_weights_with_attention_to_one_position_alone(tmp_path):
    """Scores of 250 and 750, beyond what a float32 exponential holds: all on the second token."""
    block = known_block(tmp_path, query_bias=1000, key=0.5)
    # (3, 2, 1, 0) by VALUE is (0, 3, 4, 3).
    published = TEXT + np.array([3, 4, 3, 0])
    np.testing.assert_allclose(published_resid_mid(TEXT, block), published, rtol=1e-6)


@pytest.mark.parametrize("model", sorted(set(tiny.CONFIGS) - set(ROBERTA_LIKE)))
def test_the_published_formula_is_refused_elsewhere(prepared, model):
    with pytest.raises(TokentrailsError, match=f"as_published: true .* '{model}'"):
        attention_weights(Checkpoint(prepared[model]), 0)


# Position embeddings

# The module that takes the sum of token and position embeddings.
SUM = {"gpt2": "h.0", "opt": "decoder.layers.0"}


@torch.inference_mode()
def added_positions(model):
    """What the model's embedding layer adds to the token embeddings of `IDS`."""
    takes_it = model.get_submodule(SUM.get(model.config.model_type, "embeddings.LayerNorm"))
    with tiny.watched({"sum": takes_it}) as seen:
        model(torch.tensor([IDS]))
    rows = seen["sum"][0] - model.get_input_embeddings().weight[IDS]
    if model.config.model_type in ROBERTA_LIKE:
        rows -= model.embeddings.token_type_embeddings.weight[0]
    return rows.numpy()


@pytest.mark.parametrize("model", LEARNED)
def test_position_rows_are_what_the_embedding_layer_adds(prepared, model):
    checkpoint = Checkpoint(prepared[model])
    expected = added_positions(load_model(prepared[model], CPU)[0])
    rows = position_rows(checkpoint, range(len(IDS)))
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    np.testing.assert_array_equal(position_rows(checkpoint, [5, 0, 5]), rows[[5, 0, 5]])


def test_roberta_counts_from_its_padding(tmp_path):
    sizes = {**tiny.CONFIGS["roberta"], "num_hidden_layers": 1, "vocab_size": 130}
    config = AutoConfig.for_model("roberta", pad_token_id=3, max_position_embeddings=20, **sizes)
    model = AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path)
    rows = position_rows(Checkpoint(tmp_path), range(len(IDS)))
    np.testing.assert_allclose(rows, added_positions(model), atol=1e-6)
    table = model.embeddings.position_embeddings.weight
    np.testing.assert_array_equal(rows, table[4 : 4 + len(IDS)].detach().numpy())


def test_the_published_study_adds_row_2(prepared):
    checkpoint = Checkpoint(prepared["roberta"])
    table = checkpoint.weights.tensor(checkpoint.weights.find("position_embeddings"))
    np.testing.assert_array_equal(position_rows(checkpoint, [0]), table[[2]])


@pytest.mark.parametrize("model", sorted(set(tiny.CONFIGS) - set(LEARNED)))
def test_positional_is_refused_for_rotary_models(prepared, model):
    assert ARCHITECTURES[model].rotary
    with pytest.raises(TokentrailsError, match=f"positional: true .* '{model}'"):
        position_rows(Checkpoint(prepared[model]), [0])


@pytest.mark.parametrize("model", tiny.CONFIGS)
def test_heads_are_those_of_the_model(prepared, model):
    checkpoint = Checkpoint(prepared[model])
    loaded = AutoConfig.from_pretrained(prepared[model])
    assert checkpoint.architecture.heads(checkpoint.config) == loaded.num_attention_heads == 4
