"""Models that run in half precision: their own states, exactly, in float32 tables and measures."""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch
import workflow as wf
from conftest import local_source
from safetensors.torch import load_file
from test_streams import random_texts, rms, states_of, tokens_table
from tiny import CONFIGS, ENCODERS
from transformers import AutoModel
from workflow import edited

from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.files.tables import provenance_of, read_table
from tokentrails.models.prepare import prepare
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.statistics.similarity import pair_cosines, row_cosine

CPU = torch.device("cpu")
HALF = ["bfloat16", "float16"]
TEXT = random_texts([20])[0]
EVERY = [(0, t, t) for t in range(20)]


@pytest.fixture(scope="module")
def in_half(prepared):
    """By architecture and precision: a tiny model, as extraction loads it, and its architecture."""
    return cache(lambda kind, dtype: load_model(prepared[kind], CPU, dtype))


@pytest.fixture(scope="module")
def own(saved):
    """By architecture and precision: the states that transformers itself reports for `TEXT`."""

    @cache
    def report(kind, dtype):
        model = AutoModel.from_pretrained(saved[kind], dtype=getattr(torch, dtype)).eval()
        with torch.inference_mode():
            reported = model(torch.tensor([TEXT]), output_hidden_states=True).hidden_states
        assert all(hidden.dtype == getattr(torch, dtype) for hidden in reported)
        return [hidden[0].to(torch.float64).numpy() for hidden in reported]

    return report


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("kind", CONFIGS)
def test_stored_states_are_the_models_own_cast_to_float32(in_half, own, tmp_path, kind, dtype):
    model, architecture = in_half(kind, dtype)
    path = tmp_path / "states.parquet"
    with StatesWriter(path, places(architecture.sites, 3), range(20), 32) as writer:
        table = tokens_table([TEXT], EVERY)
        extract(model, architecture, table, writer, pooling="last", token_budget=999, name="tiny")
        writer.finish({})
    assert pq.read_schema(path).field("hidden").type.value_type == pa.float32()
    stored = StatesReader(path)
    reported = own(kind, dtype)
    for layer in range(3):
        np.testing.assert_array_equal(stored.layer("resid", layer).hidden, reported[layer])
    last = "resid" if kind in ENCODERS else "final_norm"
    np.testing.assert_array_equal(stored.layer(last, 3).hidden, reported[3])


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_place_is_near_that_of_the_float32_model(in_half, kind, dtype):
    exact = states_of(*in_half(kind, "float32"), [TEXT], EVERY)
    states = states_of(*in_half(kind, dtype), [TEXT], EVERY)
    assert states.dtype == np.float32
    errors = [rms(half - full) / rms(full) for half, full in zip(states, exact, strict=True)]
    assert min(errors) > 0 and max(errors) < {"bfloat16": 0.1, "float16": 0.01}[dtype]


@pytest.mark.parametrize("dtype", HALF)
def test_means_over_tokens_are_taken_in_float32(in_half, own, dtype):
    model, architecture = in_half("llama", dtype)
    states = states_of(model, architecture, [TEXT], [(0, 7, 19)], pooling="mean")
    by_place = dict(zip(places(architecture.sites, 3), states, strict=True))
    for layer in range(3):
        reported = own("llama", dtype)[layer][7:]
        mean = reported.mean(axis=0)
        np.testing.assert_allclose(by_place["resid", layer][0], mean, rtol=1e-6, atol=1e-6)
        rounded = torch.tensor(reported).to(getattr(torch, dtype)).mean(dim=0).double().numpy()
        assert np.abs(rounded - mean).max() > 1e-5


@pytest.mark.parametrize("dtype", HALF)
def test_cosines_of_half_precision_states_keep_their_digits(in_half, dtype):
    for states in states_of(*in_half("gemma2", dtype), [TEXT], EVERY):
        np.testing.assert_allclose(row_cosine(states, states), 1, rtol=0, atol=1e-6)
        a, b = np.arange(20), np.roll(np.arange(20), 1)
        x, y = states.astype(np.longdouble)[a], states.astype(np.longdouble)[b]
        slow = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
        np.testing.assert_allclose(
            pair_cosines(states, states, a, b).cosine, slow.astype(float), atol=1e-7
        )


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_weights_in_half_precision_on_disk_run_in_the_precision_that_is_asked_for(
    saved, tmp_path, kind
):
    source = tiny.change(
        saved[kind], tmp_path / "saved", lambda t: {n: x.bfloat16() for n, x in t.items()}
    )
    prepare(local_source(kind, source), "main", tmp_path / "ready")
    kept = load_file(tmp_path / "ready/model.safetensors")
    for dtype in ("float32", *HALF):
        model, architecture = load_model(tmp_path / "ready", CPU, dtype)
        name = f"{architecture.embedding}.weight"
        (rows,) = (tensor for key, tensor in kept.items() if key.endswith(name))
        assert rows.dtype == torch.bfloat16
        parameters = list(model.parameters())
        assert {p.dtype for p in parameters} == {getattr(torch, dtype)}
        assert torch.equal(model.get_parameter(name), rows.to(getattr(torch, dtype)))


@pytest.mark.e2e
@pytest.mark.slow
def test_a_run_in_half_precision_says_so(tmp_path):
    folder = wf.small(tmp_path / "run")
    with edited(folder / "config/config.yaml") as config:
        config["extract"] |= {"dtype": "bfloat16", "device": "cpu"}
    states, identity = (
        "results/hidden_states/gpt2/main/senses.parquet",
        "results/metrics/gpt2/main/senses/identity.parquet",
    )
    wf.run(folder, identity, *wf.ONE_THREAD)
    for name in (states, identity):
        provenance = provenance_of(read_table(folder / name))
        assert (provenance["dtype"], provenance["device"]) == ("bfloat16", "cpu")
    for layer in StatesReader(folder / states):
        assert layer.hidden.dtype == np.float32
        rounded = torch.tensor(layer.hidden).bfloat16().float().numpy()
        np.testing.assert_array_equal(layer.hidden, rounded)  # no state has more digits
