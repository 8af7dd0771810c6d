"""Ablation against hooks of its own in transformers' modules; what changes nothing; its choices."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tiny
import torch
from config_files import refused
from measures import statistics
from test_metrics import PROVENANCE
from tiny import CONFIGS, MORE
from tiny_models import TinyModel, frame
from torch.nn import functional

from tokentrails.metrics import ablation as module
from tokentrails.metrics.ablation import Choice, attribution_causal, choose
from tokentrails.metrics.own_token import Readout
from tokentrails.network.ablation import Ablation, ablated, mean_outputs

CHOICES = [
    *(Choice(0, None, False, 0.5), Choice(0, 2, False, -0.25), Choice(0, 3, True, 0.125)),
    *(Choice(1, 1, False, 0.0), Choice(2, None, False, None)),
]


def table(made, **parts):
    readout = Readout(made.model, made.architecture, replace(made.parts, **parts), made.names)
    given = (made.tokens, made.tokens, CHOICES, readout, made.own, statistics(few=3))
    return frame(attribution_causal(*given, provenance=PROVENANCE))


def outputs(made, token_ids):
    """What goes into W_O, and what each MLP adds, by layer, from the model's own modules."""
    architecture = made.architecture
    mlp = architecture.mlp
    blocks = made.model.get_submodule(architecture.blocks)
    names = {"heads": architecture.attention.output, "mlp": mlp.post_norm or mlp.output}
    modules = {
        (layer, name): block.get_submodule(path)
        for layer, block in enumerate(blocks)
        for name, path in names.items()
    }
    with torch.inference_mode(), tiny.watched(modules) as seen:
        made.model(torch.tensor([token_ids]))
    return {key: into if key[1] == "heads" else out for key, (into, out) in seen.items()}


@pytest.mark.parametrize("name", [*CONFIGS, *MORE])
def test_means_are_over_all_tokens_but_the_first(tiny_model, name):
    made = tiny_model(name)
    ids = [text.token_ids for text in made.texts]
    ids.append([*ids[0][:-1], 5])  # as long as another one
    heads, mlp = mean_outputs(made.model, made.architecture, ids)
    seen = [outputs(made, each) for each in ids]
    for layer in range(3):
        wanted = torch.cat([each[layer, "heads"][1:] for each in seen]).mean(0)
        np.testing.assert_allclose(heads[layer].flatten(), wanted, atol=1e-6)
        wanted = torch.cat([each[layer, "mlp"][1:] for each in seen]).mean(0)
        np.testing.assert_allclose(mlp[layer], wanted, atol=1e-6)


@pytest.mark.parametrize("name", [*CONFIGS, *MORE])
def test_a_part_that_gives_what_it_gives_changes_nothing(tiny_model, name):
    made = tiny_model(name)
    token_ids = made.texts[1].token_ids
    own = outputs(made, token_ids)
    parts = [
        Ablation(layer, head, own[layer, "mlp"] if head is None else heads[:, head])
        for layer in range(3)
        for heads in [own[layer, "heads"].unflatten(1, (4, -1))]
        for head in (None, 0, 3)
    ]
    found = ablated(made.model, made.architecture, token_ids, parts)
    resid = made.trace(token_ids).resid
    assert found.after.shape[:2] == (9, 2) and len(found.last) == 10
    for row, part in enumerate(parts):
        for states in found.after[row]:
            assert_states(states, resid[part.layer + 1])
        assert_states(found.last[row + 1], resid[3])
    assert_states(found.last[0], resid[3])


def assert_states(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "bert"])
def test_each_ablation_is_alone_and_leaves_position_0_and_what_is_before(tiny_model, name):
    made = tiny_model(name)
    token_ids = made.texts[1].token_ids
    parts = [
        Ablation(layer, head, torch.ones(8 if head else 32))
        for layer in (0, 1)
        for head in (None, 2)
    ]
    there = hooks(made)
    found = ablated(made.model, made.architecture, token_ids, parts)
    for row, part in enumerate(parts):
        alone = ablated(made.model, made.architecture, token_ids, [part])
        assert_states(found.last[row + 1], alone.last[1])
        assert_states(found.after[row], alone.after[0])
        changed = (found.after[row, 0] - found.after[row, 1]).norm(dim=1)
        assert changed[0] < 1e-5 and (changed[1:] > 1e-3).all()
    assert hooks(made) == there


def hooks(made):
    """How many there are; transformers keeps some of its own."""
    modules = made.model.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_a_head_that_is_zero_changes_nothing(prepared, files, tmp_path):
    def without_head_2(tensors):
        (name,) = (name for name in tensors if name.endswith("h.0.attn.c_proj.weight"))
        tensors[name][16:24] = 0  # rows are inputs in a Conv1D
        return tensors

    folder = tiny.change(prepared["gpt2"], tmp_path / "zero", without_head_2)
    rows = table(TinyModel("gpt2", folder, files("gpt2"))).filter(layer=0)
    zero, other = (rows.filter(head=head) for head in (2, 3))
    for measure in module.MEASURES:
        assert zero[f"{measure}_difference"].item() == pytest.approx(0, abs=1e-7)
    assert max(abs(other[f"{name}_difference"].item()) for name in module.MEASURES) > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_differences_are_those_of_a_plain_loop(tiny_model, name):
    """With hooks of its own, a text at a time, on the model with its unembedding."""
    made = tiny_model(name)
    language_model, blocks = made.language_model, made.model.get_submodule(made.architecture.blocks)
    seen = [outputs(made, text.token_ids) for text in made.texts]
    known = [i for i, entry in enumerate(made.names) if entry is not None]
    rows = table(made)

    def run(token_ids, hooked=None, hook=None):
        """States after every block, and the loss of each token."""
        handle = getattr(hooked, hook.kind)(hook) if hooked else None
        ids = torch.tensor([token_ids])
        with torch.no_grad():
            output = language_model(ids, output_hidden_states=True)
        if handle:
            handle.remove()
        logprobs = output.logits[0][:, known].double().log_softmax(-1)
        of = token_ids if name == "bert" else [*token_ids[1:], token_ids[0]]
        loss = [-logprobs[i, known.index(token)].item() for i, token in enumerate(of)]
        loss[-1] = loss[-1] if name == "bert" else np.nan
        states = [x[0].double() for x in output.hidden_states]
        return states, np.array(loss)

    for choice in CHOICES:
        block = blocks[choice.layer]
        part = "mlp" if choice.head is None else "heads"
        mean = torch.cat([each[choice.layer, part][1:] for each in seen]).mean(0)

        def set_mlp(module, args, output, mean=mean):
            output = output.clone()
            output[0, 1:] = mean
            return output

        def set_head(module, args, mean=mean, head=choice.head):
            x = args[0].clone()
            x[0, 1:, 8 * head : 8 * head + 8] = mean[8 * head : 8 * head + 8]
            return (x,)

        set_mlp.kind, set_head.kind = "register_forward_hook", "register_forward_pre_hook"
        names = {
            ("gpt2", "mlp"): ("mlp.c_proj", set_mlp),
            ("gpt2", "heads"): ("attn.c_proj", set_head),
            ("bert", "mlp"): ("output.dense", set_mlp),
            ("bert", "heads"): ("attention.output.dense", set_head),
        }
        path, hook = names[name, part]
        differences, losses = [], []
        for text in made.texts:
            e = torch.from_numpy(made.own(text.token_ids)).double()
            (before, loss), (after, changed) = (
                run(text.token_ids),
                run(text.token_ids, block.get_submodule(path), hook),
            )
            words = [i for i, t in enumerate(text.tokens) if i and t not in ("[SEP]", "[UNK]", "Ġ")]
            # The last of transformers' states is after GPT-2's final norm.
            layer = choice.layer + 1
            if layer < 3 or name == "bert":
                cosines = (functional.cosine_similarity(x[layer], e) for x in (before, after))
                intact, ablated = cosines
                differences += (ablated - intact)[words].tolist()
            losses += (changed - loss)[words].tolist()
        row = rows.filter(pl.col("head").eq_missing(pl.lit(choice.head)), layer=choice.layer)
        if differences:
            assert row["identity_difference"].item() == pytest.approx(
                np.mean(differences), abs=1e-6
            )
            assert row["n"].item() == len(differences)
        losses = [x for x in losses if not np.isnan(x)]
        assert row["loss_difference"].item() == pytest.approx(np.mean(losses), abs=1e-5)
        assert row["n_loss"].item() == len(losses)
    assert rows["loss_difference"].abs().max() > 1e-3


def test_the_table_has_a_row_for_each_choice(tiny_model):
    found = table(tiny_model("llama"))
    keys = ("layer", "head", "control", "contribution")
    assert sorted(found.select(keys).rows(), key=str) == sorted(
        [(c[0], c[1], c[2], c[3]) for c in CHOICES], key=str
    )
    assert found["part"].to_list() == ["mlp" if head is None else "head" for head in found["head"]]
    for measure in module.MEASURES:
        change = found[f"{measure}_ablated"] - found[measure]
        np.testing.assert_allclose(found[f"{measure}_difference"], change, atol=1e-6)
        low, high = (found[f"{measure}_difference_{end}"] for end in ("low", "high"))
        assert (low <= found[f"{measure}_difference"]).all() and (low < high).all()
    last = found.filter(layer=2)
    assert last["identity_ablated"].equals(last["last_identity_ablated"].alias("identity_ablated"))
    assert found["few"].all() and (found["n_texts"] == 2).all()


def test_without_a_head_for_words_there_is_no_loss(tiny_model):
    found = table(tiny_model("bert"), unembedding=None)
    assert found["loss_difference"].null_count() == len(found) == found["n_loss"].eq(0).sum()
    assert found["identity_difference"].null_count() == 0


@pytest.mark.parametrize("length", [1, 2])
def test_a_short_text_has_no_loss(tiny_model, length):
    made = tiny_model("gpt2")
    tokens = made.tokens.filter(pc.equal(made.tokens["label"], made.texts[0].label))
    ids = made.texts[0].token_ids[:length]
    tokens = tokens.slice(0, length)
    column = pa.array([ids] * length, tokens["token_ids"].type)
    tokens = tokens.set_column(tokens.column_names.index("token_ids"), "token_ids", column)
    readout = Readout(made.model, made.architecture, made.parts, made.names)
    given = (tokens, made.tokens, CHOICES, readout, made.own, statistics(few=3))
    found = frame(attribution_causal(*given, provenance=PROVENANCE))
    assert found["loss_difference"].null_count() == len(found)
    assert found["identity_difference"].null_count() == (len(found) if length == 1 else 0)


def test_a_token_without_a_direction_takes_no_part_in_identity(tiny_model):
    made = tiny_model("gpt2")
    absent = made.texts[1].token_ids[1]
    readout = Readout(made.model, made.architecture, made.parts, made.names)

    def rows(ids):
        own = made.own(ids).copy()
        own[np.array(ids) == absent] = 0
        return own

    given = (made.tokens, made.tokens, CHOICES, readout, rows, statistics(few=3))
    found, whole = frame(attribution_causal(*given, provenance=PROVENANCE)), table(made)
    left = sum(text.token_ids[1:].count(absent) for text in made.texts)
    assert left and (found["n"] == whole["n"] - left).all()
    assert found["n_loss"].equals(whole["n_loss"])
    for name in ("identity", "identity_ablated", "last_identity_difference"):
        assert found[name].null_count() == 0 and not found[name].is_nan().any()
        assert (found[name] != whole[name]).all()


def test_texts_without_a_word_behind_the_first_position_are_refused(tiny_model):
    made = tiny_model("gpt2")
    readout = Readout(made.model, made.architecture, made.parts, made.names)
    given = (made.tokens, made.tokens, [], readout, made.own, statistics(few=3))
    with refused("no text has a word behind its first position"):
        attribution_causal(*given, provenance=PROVENANCE)


def test_few_at_once_is_all_at_once(tiny_model, monkeypatch):
    at_once = table(tiny_model("gpt2"))
    monkeypatch.setattr(module, "AT_ONCE", 20)
    again = table(tiny_model("gpt2"))
    floats = pl.selectors.float()
    assert again.select(~floats).equals(at_once.select(~floats))
    wanted = at_once.select(floats).fill_null(0).to_numpy()
    np.testing.assert_allclose(again.select(floats).fill_null(0).to_numpy(), wanted, atol=1e-5)


def test_the_strongest_heads_are_chosen_and_another_one_drawn():
    means = [[0.1, -0.4, 0.2, None], [0.0, 0.0, 0.3, 0.1]]
    rows = [
        {"layer": layer, "part": "head", "head": head, "mean": mean}
        for layer, here in enumerate(means)
        for head, mean in enumerate(here)
    ]
    rows += [{"layer": layer, "part": "mlp", "head": None, "mean": 0.5 + layer} for layer in (0, 1)]
    by_layer = pl.DataFrame(rows)
    found = choose(by_layer, 2, seed=0)
    assert [c.head for c in found if not c.control] == [None, 1, 2, None, 2, 3]
    assert [c.contribution for c in found if not c.control] == [0.5, -0.4, 0.2, 1.5, 0.3, 0.1]
    assert found == choose(by_layer, 2, seed=0)
    drawn = {tuple(c.head for c in choose(by_layer, 2, seed=s) if c.control) for s in range(30)}
    assert drawn == {(a, b) for a in (0, 3) for b in (0, 1)}
    assert not any(c.control for c in choose(by_layer, 4, seed=0))
