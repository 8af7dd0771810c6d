"""A model that is spread over memory and disk gives what it gives in one piece."""

import numpy as np
import pytest
import torch
from test_parts import IDS, assert_adds_up
from test_streams import random_texts, states_of
from tiny import CONFIGS, EXPERTS

from tokentrails.network.ablation import mean_outputs
from tokentrails.network.parts import load_parts
from tokentrails.network.spread import device_of, is_spread
from tokentrails.network.trace import Trace, trace

CPU = torch.device("cpu")
LENGTHS = [60, 1, 33, 2, 7]
TEXTS = random_texts(LENGTHS)
TARGETS = [(text, length // 2, length - 1) for text, length in enumerate(LENGTHS)]


def spread(folder):
    """Half of the weights in memory."""
    return {"cpu": (folder / "model.safetensors").stat().st_size // 2}


@pytest.mark.parametrize("kind", [*CONFIGS, *EXPERTS])
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
