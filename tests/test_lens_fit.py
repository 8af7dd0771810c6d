"""Lenses that the workflow fits itself: what they gain on texts held out, and their bytes."""

import hashlib

import numpy as np
import pytest
import tiny
import torch
from config_files import refused, written
from pytest import approx
from test_own_token import logs, readout
from test_training import SMALL, TEXT
from tiny_models import CPU, TinyModel, frame

from tokentrails.config.experiments import load_experiment
from tokentrails.files.tables import provenance_of
from tokentrails.metrics import own_token
from tokentrails.metrics.own_token import Readout
from tokentrails.network.lens import AffineLens
from tokentrails.texts.tokenization import TokenizerFiles
from tokentrails.texts.whole import WholeText
from tokentrails.training import lens as module
from tokentrails.training.lens import HELD_OUT, _Map, _Moments, fit_lens, refuse_few
from tokentrails.training.train import train

PROVENANCE = {"model": "m", "checkpoint": "main", "weights_sha256": "ab"}
STEPS = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("trained")
    train(SMALL, 0, STEPS, TEXT, work)
    return work / f"checkpoints/step{STEPS}"


@pytest.fixture
def made(folder):
    made = TinyModel("neox", folder, TokenizerFiles.load(folder))
    made.known = np.array([name is not None for name in made.names])
    ids = [i for text in tiny.CORPUS for i in made.tokenizer.encode(text).ids]
    drawn = np.random.default_rng(0).choice(ids, (300, SMALL.context)).tolist()
    made.texts = [WholeText(f"t{i:03}", row, [""] * len(row)) for i, row in enumerate(drawn)]
    return made


def fit(made, seed=0):
    lens, table = fit_lens(made.texts, readout(made), seed=seed, provenance=PROVENANCE)
    return lens, frame(table), table


def divergences(made, lens):
    """By layer, of every second text held out, in plain loops of float64."""
    found = []
    for text in made.texts[:: 2 * HELD_OUT]:
        states = readout(made).stream(text)[:, 1:]
        p = logs(made, made.parts.logits(states[-1]))[:, made.known]
        for layer, x in enumerate(states[:-1].double().numpy()):
            if lens is not None:
                W, b = (m[layer].double().numpy() for m in (lens.weights, lens.biases))
                x = np.array([v + W @ v + b for v in x])
            q = logs(made, made.parts.logits(torch.from_numpy(x).float()))[:, made.known]
            found.append((layer, (np.exp(p) * (p - q)).sum(axis=1).mean()))
    return [np.mean([kl for at, kl in found if at == layer]) for layer in range(len(states) - 1)]


def test_a_lens_is_nearer_to_the_output_on_texts_that_it_was_not_fitted_to(made):
    lens, rows, _ = fit(made)
    assert rows["kl_plain"].to_list() == approx(divergences(made, None), rel=1e-3)
    assert rows["kl_fitted"].to_list() == approx(divergences(made, lens), rel=1e-3)
    assert (rows["kl_fitted"] < 0.5 * rows["kl_plain"]).all() and rows["kept"].all()
    assert rows["n"].unique().to_list() == [30 * (SMALL.context - 1)]
    assert rows["n_fit"].unique().to_list() == [240 * SMALL.context]


def test_the_descent_gains_on_texts_held_out(made, monkeypatch):
    _, after, _ = fit(made)
    monkeypatch.setattr(module, "_RATE", 0.0)
    _, before, _ = fit(made)
    assert (after["kl_fitted"] < before["kl_fitted"]).all()


def test_what_decides_on_a_map_is_not_what_is_reported(made, monkeypatch):
    """On one half of what is held out maps do harm: none is kept, whatever the others gain."""
    _, before, _ = fit(made)
    seen, whole = [], module._divergences

    def harm(every, lens, readout):
        sums = whole(every, lens, readout)
        seen.append(sums)
        return sums.flip(0) if len(seen) == 1 else sums

    monkeypatch.setattr(module, "_divergences", harm)
    lens, rows, _ = fit(made)
    assert not rows["kept"].any() and not lens.weights.any()
    assert rows["kl_fitted"].equals(before["kl_fitted"]) and len(seen) == 2
    assert [len(part) for part in module._parts(made.texts)] == [240, 30, 30]
    assert len({text.label for part in module._parts(made.texts) for text in part}) == 300


def test_few_tokens_at_once_give_the_same_lens(made, monkeypatch):
    lens, rows, _ = fit(made)
    asked, logprobs = [], Readout.logprobs
    monkeypatch.setattr(own_token, "LOGITS_BYTES", 4 * len(made.names) * 7)
    monkeypatch.setattr(
        Readout, "logprobs", lambda self, x: asked.append(len(x)) or logprobs(self, x)
    )
    again, cut, _ = fit(made)
    assert max(asked) == 7
    assert again.weights.numpy() == approx(lens.weights.numpy(), abs=1e-3)
    assert cut["kl_fitted"].to_list() == approx(rows["kl_fitted"].to_list(), rel=1e-3)


def test_too_few_pieces_to_hold_any_out_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = load_experiment("e", {"file": written({"corpus": {"tokens": 5000, "length": 4096}})})

    def pieces(*lengths):
        return [WholeText(str(i), [1] * n, ["a"] * n) for i, n in enumerate(lengths)]

    refuse_few(pieces(1, 5, 1, 1, 1, 9, 1, 1, 1, 1, 2), made)
    for few in ([], [9], [9] * 5, [9, 9, 9, 9, 9, 1], [9, 1, 1, 1, 1, 9]):
        with refused("e.yaml, corpus.length", "4096", f"has {len(few)},", "at least 6", "lower it"):
            refuse_few(pieces(*few), made)


def test_the_same_seed_gives_the_same_bytes_which_can_be_read(made, tmp_path):
    def digest(seed):
        lens, _, table = fit(made, seed)
        lens.write(tmp_path / f"{seed}.safetensors", provenance_of(table))
        return hashlib.sha256((tmp_path / f"{seed}.safetensors").read_bytes()).hexdigest(), lens

    first, lens = digest(0)
    assert digest(0)[0] == first and digest(1)[0] != first
    facts = {"model": "x", "checkpoint": "main", "source": "path:x", "depth": 2, "d_model": 64}
    facts["sha256"] = {"model.safetensors": "ab"}
    again = AffineLens.read(tmp_path / "0.safetensors", "tuned", facts, CPU)
    assert torch.equal(again.weights, lens.weights) and torch.equal(again.biases, lens.biases)


def test_where_nothing_follows_there_is_nothing_to_map(made):
    """The last block adds nothing: its map is as good as none, and the lens has none."""
    block = made.model.get_submodule(made.architecture.blocks)[-1]
    for last in (block.attention.dense, block.mlp.dense_4h_to_h):
        torch.nn.init.zeros_(last.weight), torch.nn.init.zeros_(last.bias)
    lens, rows, _ = fit(made)
    assert rows["kl_plain"][-1] == approx(0, abs=1e-6) and rows["kl_fitted"][-1] < 1e-4
    assert rows["kept"].to_list() == [True, False]
    assert not lens.weights[-1].any() and not lens.biases[-1].any() and lens.weights[0].any()


def test_maps_begin_at_weighted_least_squares():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 6)) * [1, 2, 3, 4, 50, 0] + 7
    y = x + x @ random.normal(size=(6, 6)) + random.normal(size=(500, 6)) + 3
    y[:5] *= 100  # a few states much longer than all others
    weights = 1 / (y**2).mean(axis=1, keepdims=True)
    sums = _Moments.zeros(6, CPU)
    for part in (slice(0, 200), slice(200, 500)):
        sums.add(*(torch.from_numpy(each[part]) for each in (x, y, weights)))
    found = _Map.least_squares(sums, 500)
    # Ridge as further rows: of each dimension one, as long as its deviation.
    share = weights / weights.sum()
    centred = [each - share.T @ each for each in (x, y - x)]
    rows, targets = (np.sqrt(share) * each for each in centred)
    deviation = np.sqrt((rows**2).sum(axis=0))
    deviation[deviation < 1e-6] = 1
    rows = np.vstack([rows, np.sqrt(1e-3) * np.diag(deviation)])
    wanted = np.linalg.lstsq(rows, np.vstack([targets, np.zeros((6, 6))]), rcond=None)[0].T
    assert found.weight.numpy() == approx(wanted, abs=1e-4)
    mean, goal = (share.T @ each for each in (x, y - x))
    assert found.bias.numpy() == approx((goal - mean @ wanted.T)[0], abs=1e-2)
    weight, bias = found.now()
    assert torch.equal(weight, found.weight) and torch.equal(bias, found.bias)
