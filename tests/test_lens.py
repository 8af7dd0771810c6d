"""Lenses of files: the numbers behind them, and files that do not fit."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from config_files import CONFIG, changed, load, refused, written
from pytest import approx
from safetensors.torch import save_file
from test_evolution import Case
from test_metrics import PROVENANCE
from test_own_token import NUMBERS, logs, slow
from tiny_models import CPU, frame

from tokentrails.metrics.own_token import Readout, own_token
from tokentrails.network.lens import FACTS, AffineLens
from tokentrails.training.lens import fit_lens

DEPTH, WIDTH = 3, 32
FOLDER = {
    **{"model": "tiny", "checkpoint": "main", "source": "hub:owner/Tiny-3l"},
    **{"depth": DEPTH, "d_model": WIDTH, "sha256": {"model.safetensors": "0123abcd" * 8}},
}


@pytest.fixture(scope="module", params=["llama", "roberta"])
def made(prepared, files, request):
    return Case(request.param, prepared[request.param], files(request.param))


def tensors(scale=0.1, bias=True):
    """Random maps for each layer."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return scale * torch.randn(shape, generator=random)

    found = {f"{layer}.weight": draw(WIDTH, WIDTH) for layer in range(DEPTH)}
    return found | {f"{layer}.bias": draw(WIDTH) for layer in range(DEPTH) if bias}


def read(folder, tensors, kind="tuned", facts=None, beside=None):
    path = folder / "lens.safetensors"
    save_file(tensors, path, {FACTS: json.dumps(facts)} if facts else None)
    if beside:
        (folder / "config.json").write_text(json.dumps(beside))
    return AffineLens.read(path, kind, FOLDER, CPU)


def table(made, **lenses):
    readout = Readout(made.model, made.architecture, made.parts, made.names, lenses)
    return frame(own_token(made.tokens, readout, provenance=PROVENANCE))


def test_a_lens_that_changes_nothing_gives_the_numbers_of_the_unembedding(made, tmp_path):
    same = read(tmp_path, tensors(scale=0))
    identity = {name: torch.eye(WIDTH) for name in tensors(bias=False)}
    mapped = read(tmp_path, identity, "affine")
    found = table(made, same=same, mapped=mapped)
    plain = found.filter(space="unembedding").drop("space")
    for name in ("same", "mapped"):
        assert found.filter(space=name).drop("space").equals(plain)


@pytest.mark.parametrize(("kind", "bias"), [("tuned", True), ("tuned", False), ("affine", True)])
def test_numbers_behind_a_lens_are_those_of_plain_loops(made, tmp_path, kind, bias):
    given = tensors(bias=bias)
    found = table(made, tuned=read(tmp_path, given, kind))
    for text in made.texts:
        states = made.states(text)
        output = logs(made, made.logits(states[-1]).detach())[:, made.known]
        for layer, x in enumerate(states):
            behind = np.zeros(x.shape)
            for i, state in enumerate(x.double().numpy()):
                for row in range(WIDTH):
                    if layer == DEPTH:
                        behind[i, row] = state[row]
                        continue
                    weights = given[f"{layer}.weight"][row].tolist()
                    behind[i, row] = sum(w * v for w, v in zip(weights, state, strict=True))
                    behind[i, row] += given[f"{layer}.bias"][row].item() if bias else 0
                    behind[i, row] += state[row] if kind == "tuned" else 0
            lens = logs(made, made.logits(torch.tensor(behind).float()).detach())
            rows = found.filter(label=text.label, layer=layer, space="tuned").select(NUMBERS)
            for i, row in enumerate(rows.to_numpy()[:-1].astype(float)):
                own, after, q = text.token_ids[i], text.token_ids[i + 1], lens[i, made.known]
                wanted = [slow(lens[i], own), lens[i, own], slow(lens[i], after), lens[i, after]]
                wanted += [-(np.exp(q) * q).sum()]
                wanted += [(np.exp(output[i]) * (output[i] - q)).sum()]
                assert row == approx(wanted, abs=1e-4)


def test_a_lens_needs_a_head_behind_it(made, tmp_path):
    headless = replace(made.parts, unembedding=None)
    lenses = {"tuned": read(tmp_path, tensors())}
    readout = Readout(made.model, made.architecture, headless, made.names, lenses)
    with refused("m (main)", "the weights have no head"):
        own_token(made.tokens, readout, provenance=PROVENANCE)
    with refused("m (main)", "the weights have no head"):
        fit_lens(made.texts, readout, seed=0, provenance=PROVENANCE)


@pytest.mark.parametrize(
    "facts",
    [
        {"weights_sha256": FOLDER["sha256"]["model.safetensors"], "base_model_name_or_path": "x"},
        {"base_model_name_or_path": "another/tiny-3L"},
        {"base_model_name_or_path": "../models/Tiny/", "d_model": WIDTH, "kind": "tuned"},
    ],
)
def test_a_lens_of_this_model_is_taken(tmp_path, facts):
    given = tensors()
    for lens in (read(tmp_path, given, facts=facts), read(tmp_path, given, beside=facts)):
        assert torch.equal(lens.weights[1], given["1.weight"])
    prefixed = {f"layer_translators.{name}": tensor for name, tensor in given.items()}
    assert torch.equal(read(tmp_path, prefixed).biases[2], given["2.bias"])
    half = {name: tensor.bfloat16() for name, tensor in given.items()}
    assert torch.equal(read(tmp_path, half).weights[0], half["0.weight"].float())


def test_the_config_of_something_else_says_nothing_of_a_lens(tmp_path):
    read(tmp_path, tensors(), beside={"d_model": 5, "num_hidden_layers": 9})


MAPS = tensors().items()
WRONG = {
    "'1.weight' has the shape (31, 32), not (32, 32)": {"1.weight": torch.zeros(31, 32)},
    "'0.bias' has the shape (1, 32), not (32,)": {"0.bias": torch.zeros(1, 32)},
    "3 tensors N.bias, not one of each layer from 0 to 3": {"3.weight": torch.zeros(32, 32)},
    "2 tensors N.bias, not": {"1.bias": None},
    "2 tensors N.weight, not": {"1.weight": None},
    "its depth is 2, which is 3 here": {"2.weight": None, "2.bias": None},
    "its width is 8, which is 32 here": {name: torch.zeros((8,) * t.dim()) for name, t in MAPS},
    "'0.weight' has values that are not finite": {"0.weight": torch.full((32, 32), torch.nan)},
    "'2.bias' has values that are not finite": {"2.bias": torch.full((32,), -torch.inf)},
    "'2.bias' has the type I32": {"2.bias": torch.zeros(32, dtype=torch.int32)},
    "'unembed.weight' is no part of a lens": {"unembed.weight": torch.zeros(2)},
    "'layer_translators.0.bias' is no part": {"layer_translators.0.bias": torch.zeros(32)},
}


@pytest.mark.parametrize("problem", WRONG)
def test_maps_of_another_shape_or_kind_are_refused(tmp_path, problem):
    changed = {k: v for k, v in (tensors() | WRONG[problem]).items() if v is not None}
    with refused("lens.safetensors", problem):
        read(tmp_path, changed)


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"base_model_name_or_path": "gpt2"}, "fitted on the model 'gpt2'"),
        (
            {"weights_sha256": "ffff", "base_model_name_or_path": "Tiny-3l"},
            "fitted on weights ffff",
        ),
        ({"base_model_name_or_path": "tiny", "d_model": 768}, "d_model: 768, which is 32 here"),
        ({"base_model_name_or_path": "tiny", "num_hidden_layers": 12}, "12, which is 3 here"),
        ({"base_model_name_or_path": "tiny", "kind": "affine"}, "'affine', the configuration"),
    ],
)
def test_a_lens_of_another_stream_is_refused(tmp_path, facts, problem):
    with refused("lens.safetensors", problem):
        read(tmp_path, tensors(), facts=facts)
    with refused("lens.safetensors", problem):
        read(tmp_path, tensors(), beside=facts)


@pytest.mark.parametrize("content", [b"", pickle.dumps([1]), b"\x02\0\0\0\0\0\0\0[]"])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, content):
    path = tmp_path / "lens.safetensors"
    path.write_bytes(content)
    with refused(path, "the lens cannot be read"):
        AffineLens.read(path, "tuned", FOLDER, CPU)
    with refused("the lens cannot be read"):
        AffineLens.read(tmp_path / "none.safetensors", "tuned", FOLDER, CPU)


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_metadata_of_another_form_is_refused(tmp_path, text):
    save_file(tensors(), tmp_path / "lens.safetensors", {FACTS: text})
    problem = "no JSON object, but [1]" if text == "[1]" else "the lens cannot be read"
    with refused("lens.safetensors", problem):
        AffineLens.read(tmp_path / "lens.safetensors", "tuned", FOLDER, CPU)


def test_the_configuration_takes_safetensors_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written({"prompts": [{"label": "a", "word": "lead", "prompt": "lead"}]})
    save_file(tensors(), "a.safetensors")
    save_file({"0.weight": torch.zeros(4, 3)}, "wrong.safetensors")
    written(b"", "params.pt")

    def with_lens(name="tuned", **lens):
        return changed(CONFIG, "models.m.lenses", {name: lens})

    (lens,) = load(with_lens(file="a.safetensors")).models["m"].lenses
    assert (lens.name, lens.file, lens.kind) == ("tuned", "a.safetensors", "tuned")
    assert load(CONFIG).models["m"].lenses == ()
    with refused("lenses.tuned.file", "params.pt' is no .safetensors", "params.safetensors"):
        load(with_lens(file="params.pt"))
    with refused("lenses.tuned.file", "there is no lens 'b.safetensors'"):
        load(with_lens(file="b.safetensors"))
    with refused("c.yaml", "tuned.file: wrong.safetensors: the tensor '0.weight' has the shape"):
        load(with_lens(file="wrong.safetensors"))
    with refused("lenses", "'unembedding' is not valid"):
        load(with_lens("unembedding", file="a.safetensors"))
    with refused("lenses.tuned.kind", "'jacobian' is not allowed"):
        load(with_lens(file="a.safetensors", kind="jacobian"))


def test_the_configuration_fits_one_lens_to_a_running_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written({"prompts": [{"label": "a", "word": "lead", "prompt": "lead"}]})
    written({"corpus": {"tokens": 6000}}, "running.yaml")

    def with_lenses(**lenses):
        return load(changed(CONFIG, "models.m.lenses", lenses)).models["m"]

    fitted = {"train": "running.yaml"}
    made = with_lenses(own=fitted)
    assert made.lenses[0].kind == "tuned" and made.lenses[0].file is None
    assert made.lens_texts.corpus.tokens == 6000
    with refused("lenses.own", "none of file / train is given"):
        with_lenses(own={})
    with refused("lenses.own.kind", "'kind' is a key of lenses from files"):
        with_lenses(own=fitted | {"kind": "affine"})
    with refused("c.yaml, line 6, models.m.lenses.own.train: ", "'e.yaml' has no corpus"):
        with_lenses(own={"train": "e.yaml"})
    with refused("c.yaml, line 6, models.m.lenses.own.train: the file 'gone.yaml' cannot be read"):
        with_lenses(own={"train": "gone.yaml"})
    with refused("lenses.other.train", "'own' is fitted here already"):
        with_lenses(own=fitted, other=fitted)
