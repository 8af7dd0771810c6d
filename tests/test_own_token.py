"""The logit lens against transformers' own modules and plain loops; its means by layer."""

from dataclasses import replace

import measures
import numpy as np
import polars as pl
import pytest
import torch
from pytest import approx
from test_evolution import case as case  # a fixture
from test_metrics import PROVENANCE
from tiny import CONFIGS
from tiny_models import TinyModel, frame

from tokentrails.errors import TokentrailsError
from tokentrails.metrics import own_token as module
from tokentrails.metrics.own_token import HEADLESS, Readout, own_token
from tokentrails.metrics.own_token_by_layer import own_token_by_layer

KEYS = ["label", "position", "layer", "space"]
NUMBERS = ["own_rank", "own_logprob", "next_rank", "next_logprob", "entropy", "kl"]


def readout(made, **parts):
    return Readout(made.model, made.architecture, replace(made.parts, **parts), made.names)


def table(made, **parts):
    return own_token(made.tokens, readout(made, **parts), provenance=PROVENANCE)


def logs(made, logits):
    """Log-probabilities of the tokenizer's entries, in float64; others have none."""
    z = logits.double().numpy()
    z[:, ~made.known] = -np.inf
    top = z.max(axis=1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(axis=1, keepdims=True))


def slow(scores, entry):
    return sum(score > scores[entry] for score in scores)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_number_is_that_of_a_plain_lens(case, name):
    made = case(name)
    found = frame(table(made))
    E = made.parts.embedding.double().numpy()
    assert found.select(KEYS).equals(found.select(KEYS).sort(KEYS))
    for text in made.texts:
        states = made.states(text)
        own = made.language_model(torch.tensor([text.token_ids])).logits[0].detach()
        output = logs(made, own)[:, made.known]
        for layer, x in enumerate(states):
            here = found.filter(label=text.label, layer=layer)
            lens = logs(made, made.logits(x).detach())
            q = lens[:, made.known]
            rows = here.filter(space="unembedding").select(NUMBERS).to_numpy()
            following = [*text.token_ids[1:], None]
            for i, (token, after) in enumerate(zip(text.token_ids, following, strict=True)):
                wanted = [slow(lens[i], token), lens[i, token]]
                wanted += [np.nan] * 2 if after is None else [slow(lens[i], after), lens[i, after]]
                wanted += [-(np.exp(q[i]) * q[i]).sum()]
                wanted += [(np.exp(output[i]) * (output[i] - q[i])).sum()]
                assert rows[i].astype(float) == approx(wanted, abs=1e-4, nan_ok=True)
            x = x.double().numpy()
            lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(E, axis=1)
            with np.errstate(invalid="ignore"):
                cosines = np.where(made.known, x @ E.T / lengths, -2)
            closest = here.filter(space="embedding")
            assert closest["own_rank"].to_list() == [
                slow(c, t) for c, t in zip(cosines, text.token_ids, strict=True)
            ]
            assert closest["next_rank"].to_list()[:-1] == [
                slow(c, t) for c, t in zip(cosines, text.token_ids[1:], strict=False)
            ]
            for column in ("own_logprob", "next_logprob", "entropy", "kl"):
                assert closest[column].null_count() == len(closest)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_blocks_change_nothing(case, monkeypatch, name):
    made = case(name)
    at_once = frame(table(made))
    monkeypatch.setattr(module, "LOGITS_BYTES", 5 * 4 * len(made.names))
    again = frame(table(made))
    ranks = ["own_rank", "next_rank"]
    assert again.select(*KEYS, *ranks).equals(at_once.select(*KEYS, *ranks))
    for column in NUMBERS:
        found, wanted = (t[column].to_numpy().astype(float) for t in (again, at_once))
        assert found == approx(wanted, abs=2e-5, nan_ok=True)


def test_a_model_without_a_head_has_the_embedding_space_alone(case):
    made = case("bert")
    whole, without = table(made), table(made, unembedding=None)
    assert frame(without).equals(frame(whole).filter(space="embedding"))
    assert without.schema.metadata[b"spaces"].decode() == HEADLESS
    assert b"spaces" not in whole.schema.metadata


def test_states_that_are_not_finite_are_refused(prepared, files):
    made = TinyModel("opt", prepared["opt"], files("opt"))
    block = made.model.get_submodule(made.architecture.blocks)[1]
    block.register_forward_hook(lambda module, args, output: torch.full_like(output, torch.nan))
    with pytest.raises(TokentrailsError, match="not finite at site resid, layer 2, label 't0'"):
        table(made)


def test_means_are_of_words_behind_the_first_position(case):
    made = case("llama")
    every = table(made)
    means = frame(
        own_token_by_layer(every, made.tokens, measures.statistics(few=3), provenance=PROVENANCE)
    )
    tokens = frame(every).filter(pl.col("position") > 0).drop_nulls("word_class")
    for group in (None, "content", "function"):
        rows = tokens.filter(layer=2, space="unembedding")
        rows = rows if group is None else rows.filter(word_class=group)
        wanted = {
            "own_first": np.mean([r == 0 for r in rows["own_rank"]]),
            "next_log_rank": np.mean([np.log10(1 + r) for r in rows["next_rank"].drop_nulls()]),
            "kl": rows["kl"].mean(),
        }
        for measure, value in wanted.items():
            here = means.filter(
                pl.col("word_class").eq_missing(pl.lit(group)),
                measure=measure,
                space="unembedding",
                layer=2,
            )
            assert here["mean"].to_list() == approx([value], rel=1e-5)
            assert (here["ci_low"] <= here["mean"]).all() and here["few"].all()
    assert set(means.filter(space="embedding")["measure"]) == {
        *("own_log_rank", "own_first", "next_log_rank", "next_first")
    }
    assert means["layer"].unique().to_list() == [0, 1, 2, 3]
