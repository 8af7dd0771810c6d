"""The model of texts inside one that sees images too."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import local_source
from safetensors import safe_open
from tiny import CONFIGS, MORE, tokenizer
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from tokentrails.models.prepare import prepare
from tokentrails.network.architectures import text_tensor
from tokentrails.network.load import load_language_model, load_model
from tokentrails.network.weights import Weights

VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"intermediate_size": 16, "image_size": 28, "patch_size": 14}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder of a Gemma 3 with images in two shards, and the model."""
    folder = tmp_path_factory.mktemp("images")
    cut = tokenizer("gemma3_text")
    text = MORE["gemma3_text"] | {"vocab_size": len(cut), "max_position_embeddings": 64}
    torch.manual_seed(2)
    config = Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4)
    model = Gemma3ForConditionalGeneration(config).eval()
    model.save_pretrained(folder, max_shard_size="60KB")
    cut.save_pretrained(folder)
    return folder, model


def test_its_states_are_those_of_the_whole_model(both, tmp_path):
    folder, model = both
    shards = {file: file.read_bytes() for file in folder.glob("*.safetensors")}
    assert len(shards) > 1
    facts = prepare(local_source("m", folder), "main", tmp_path / "made")
    assert facts["architecture"] == "gemma3_text"
    assert facts["self_check"]["grade"] == "full"
    assert facts["part"] == "the model of texts in one of 'gemma3'"
    bare, _ = load_model(tmp_path / "made", torch.device("cpu"))
    ids = torch.tensor([[5, 9, 60, 7, 33, 8, 21, 90, 14, 6, 77]])
    with torch.no_grad():
        own = model(input_ids=ids, output_hidden_states=True).hidden_states[2]
        found = bare(input_ids=ids, output_hidden_states=True).hidden_states[2]
    np.testing.assert_allclose(found, own, atol=1e-5)
    assert shards == {file: file.read_bytes() for file in folder.glob("*.safetensors")}


def test_of_a_download_only_the_tensors_of_texts_take_room(both, hub, tmp_path):
    """Its shards, some of which have none of them, are removed one after the other."""
    folder, _ = both
    hub.add("owner/both", folder)
    source = replace(local_source("m", "owner/both"), spec="hub:owner/both", kind="hub")
    prepare(source, "main", tmp_path / "fetched")
    prepare(local_source("m", folder), "main", tmp_path / "made")
    fetched, made = (tmp_path / name / "model.safetensors" for name in ("fetched", "made"))
    assert fetched.read_bytes() == made.read_bytes()


def test_its_tensors_are_copied_as_they_are_and_those_of_images_left_out(both, tmp_path):
    folder, _ = both
    prepare(local_source("m", folder), "main", tmp_path / "made")
    made = Weights(tmp_path / "made/model.safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    wanted = {new: name for name in index if (new := text_tensor(name))}
    assert made.entries.keys() == wanted.keys()
    for name, own in wanted.items():
        with safe_open(folder / index[own], "np") as file:
            np.testing.assert_array_equal(made.tensor(name), file.get_tensor(own))


def test_pickled_weights_and_an_embedding_that_is_tied_outside(both, tmp_path):
    folder, model = both
    other = shutil.copytree(folder, tmp_path / "pickled")
    for file in other.glob("*.safetensors*"):
        file.unlink()
    torch.save(dict(model.state_dict()), other / "pytorch_model.bin")
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["tie_word_embeddings"] = False
    (other / "config.json").write_text(json.dumps(config))
    source = replace(local_source("m", other), allow_pickle=True)
    facts = prepare(source, "main", tmp_path / "made")
    assert "logits" in facts["self_check"]["errors"]
    assert facts["part"] == "the model of texts in one of 'gemma3'"


@pytest.mark.parametrize(
    ("name", "new"),
    [
        (
            "language_model.model.layers.0.mlp.down_proj.weight",
            "model.layers.0.mlp.down_proj.weight",
        ),
        ("model.language_model.norm.weight", "model.norm.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("lm_head.weight", "lm_head.weight"),
        ("vision_tower.encoder.layers.0.mlp.fc1.bias", None),
        ("model.vision_tower.embeddings.patch_embedding.bias", None),
        ("multi_modal_projector.mm_soft_emb_norm.weight", None),
    ],
)
def test_names_of_both_generations_of_files(name, new):
    assert text_tensor(name) == new


@pytest.mark.parametrize("inner", ["mistral", "ministral3"])
def test_that_of_a_mistral_3(tmp_path, inner):
    model = whole(tmp_path, Mistral3ForConditionalGeneration, Mistral3Config, inner)
    assert_text_half(tmp_path, model, inner)


def test_that_of_a_smolvlm(tmp_path):
    model = whole(tmp_path, SmolVLMForConditionalGeneration, SmolVLMConfig, "llama")
    assert_text_half(tmp_path, model, "llama")


def whole(folder, kind, config, inner):
    """A model of images and texts, saved with the tokenizer of its model of texts."""
    cut = tokenizer(inner)
    text = (CONFIGS | MORE)[inner] | {"vocab_size": len(cut) + 6, "max_position_embeddings": 64}
    text |= {"model_type": inner, "pad_token_id": cut.pad_token_id}
    torch.manual_seed(3)
    model = kind(config(text_config=text, vision_config=VISION)).eval()
    model.save_pretrained(folder / "saved")
    cut.save_pretrained(folder / "saved")
    return model


def assert_text_half(folder, model, inner):
    """What is prepared is the inner model, with its states and logits."""
    facts = prepare(local_source("m", folder / "saved"), "main", folder / "made")
    assert (facts["architecture"], facts["self_check"]["grade"]) == (inner, "full")
    own, _ = load_language_model(folder / "made", torch.device("cpu"), name="m")
    ids = torch.tensor([[5, 9, 60, 7, 33, 8, 21, 90, 14, 6, 77]])
    with torch.no_grad():
        torch.testing.assert_close(own(ids).logits, model(input_ids=ids).logits)
