"""A model that is spread over memory and disk gives what it gives in one piece."""

import numpy as np
import pytest
import torch
from test_parts import IDS, assert_adds_up
from test_streams import random_texts, states_of
from tiny import CONFIGS, MORE

from tokentrails.network.ablation import mean_outputs
from tokentrails.network.load import load_model
from tokentrails.network.parts import load_parts
from tokentrails.network.spread import device_of, is_spread, most_bytes
from tokentrails.network.trace import Trace, trace

CPU = torch.device("cpu")
LENGTHS = [60, 1, 33, 2, 7]
TEXTS = random_texts(LENGTHS)
TARGETS = [(text, length // 2, length - 1) for text, length in enumerate(LENGTHS)]


def spread(folder):
    """Half of the weights in memory."""
    return {"cpu": (folder / "model.safetensors").stat().st_size // 2}


@pytest.mark.parametrize("most", [most_bytes((CPU,), None, None), {"cpu": 10**20}])
def test_a_model_that_fits_into_memory_is_in_one_piece(prepared, most):
    model, _ = load_model(prepared["llama"], CPU, spread=most)
    assert not is_spread(model)
    assert {weight.device for weight in model.parameters()} == {CPU}


def test_nothing_in_memory_is_all_on_the_disk(prepared):
    model, architecture = load_model(prepared["llama"], CPU, spread={"cpu": 0})
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    expected = states_of(*load_model(prepared["llama"], CPU), TEXTS, TARGETS)
    found = states_of(model, architecture, TEXTS, TARGETS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [*CONFIGS, *MORE])
def test_states_and_parts_are_those_of_the_model_in_one_piece(prepared, kind):
    folder = prepared[kind]
    model, architecture, parts = load_parts(folder, CPU)
    other, _, gathered = load_parts(folder, CPU, spread(folder))
    assert is_spread(other) and not is_spread(model) and device_of(other) == CPU
    assert "meta" in {weight.device.type for weight in other.parameters()}  # is on the disk
    states = [states_of(m, architecture, TEXTS, TARGETS, pooling="mean") for m in (other, model)]
    np.testing.assert_allclose(*states, rtol=1e-5, atol=1e-6)
    expected, found = (trace(each, architecture, IDS) for each in (model, other))
    for name in Trace.__dataclass_fields__:
        one, two = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    assert torch.equal(gathered.embedding, parts.embedding)
    with torch.no_grad():
        for layer, block in enumerate(gathered.blocks):
            assert_adds_up(layer, block, found)
        if parts.unembedding is not None:
            last = found.resid[-1]
            assert torch.equal(gathered.logits(last), parts.logits(last))
    for one, two in zip(
        *(mean_outputs(each, architecture, [*TEXTS[:1], *TEXTS[2:]]) for each in (model, other)),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
