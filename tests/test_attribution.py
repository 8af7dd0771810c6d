"""Attribution against hooks in transformers' own modules; sums, identities, refusals."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import tiny
import torch
from measures import statistics
from scipy.integrate import quad_vec
from test_metrics import PROVENANCE
from tiny import CONFIGS, ENCODERS, MORE
from tiny_models import TinyModel, frame
from torch.nn import functional

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import Layer
from tokentrails.metrics.attribution import attribution
from tokentrails.metrics.attribution_by_layer import attribution_by_layer
from tokentrails.metrics.cosine_path import mean_gradient
from tokentrails.metrics.identity import identity, own_token_ids

KEYS = ["model", "checkpoint", "experiment", "label", "position", "token", "layer"]
PARTS = ["attention_bias", "head", "head", "head", "head", "mlp"]
WITH_NORMS = ["attention_bias", "attention_norm", "head", "head", "head", "head", "mlp", "mlp_norm"]


def tables(model, **changed):
    given = {"run": model.trace, "parts": model.parts, "own": model.own} | changed
    return [frame(x) for x in attribution(model.texts, **given, provenance=PROVENANCE)]


def by_hand(model, token_ids):
    """Contributions of each block's parts to e · x."""
    e = functional.normalize(torch.from_numpy(model.own(token_ids)).double(), dim=1)
    for outputs in outputs_by_hand(model, token_ids):
        parts = [x for name in sorted(outputs) for x in outputs[name]]
        yield torch.stack([(e * x).sum(1) for x in parts], dim=1)


def outputs_by_hand(model, token_ids):
    """What each block's parts add, by name, from what the modules of the model take and give."""
    architecture = model.architecture
    attention, mlp = architecture.attention, architecture.mlp
    blocks = list(model.model.get_submodule(architecture.blocks))
    names = {
        "out": attention.output,
        "post": attention.post_norm,
        "mid": architecture.mid if architecture.sum_norm else None,
        "sum": architecture.sum_norm,
        "mlp": mlp.post_norm or mlp.output,
    }
    modules = {
        (layer, name): block.get_submodule(path)
        for layer, block in enumerate(blocks)
        for name, path in names.items()
        if path
    }
    with torch.inference_mode(), tiny.watched(modules) as states:
        model.model(torch.tensor([token_ids]))
    seen = {key: [x.double() for x in both] for key, both in states.items()}
    for layer in range(len(blocks)):
        project = modules[layer, "out"]
        heads_input, added = seen[layer, "out"]
        factor = 0.5 if model.name == "granite" else 1.0
        scale = factor * torch.ones_like(added)
        if attention.post_norm:
            before, after = seen[layer, "post"]
            scale = after / before
        found = []
        with torch.inference_mode():
            nothing = project(torch.zeros_like(heads_input).float()).double()
            for head in range(4):
                alone = torch.zeros_like(heads_input)
                own = slice(head * 8, head * 8 + 8)
                alone[:, own] = heads_input[:, own]
                found.append(scale * (project(alone.float()).double() - nothing))
        parts = {"attention_bias": [scale * nothing], "head": found}
        parts["mlp"] = [factor * seen[layer, "mlp"][1]]
        if architecture.sum_norm:
            for part, norm in (("attention_norm", "mid"), ("mlp_norm", "sum")):
                before, after = seen[layer, norm]
                parts[part] = [after - before]
        yield parts


@pytest.mark.parametrize("name", [*CONFIGS, *MORE])
def test_contributions_are_those_of_the_models_own_modules(tiny_model, name):
    assert_by_hand(tiny_model(name))


def test_a_post_norm_takes_the_bias_of_the_attention_too(tmp_path, files):
    tiny.save("gemma2", tmp_path, attention_bias=True)
    made = TinyModel("gemma2", tmp_path, files("gemma2"))
    assert made.parts.blocks[0].heads.b_O.abs().max() > 0.1
    assert_by_hand(made)


def assert_by_hand(made):
    table, _, _ = tables(made)
    for text in made.texts:
        rows = table.filter(pl.col("label") == text.label)
        got = rows["contribution"].to_numpy().reshape(len(text.tokens), 3, -1)
        wanted = torch.stack(list(by_hand(made, text.token_ids)), dim=1).numpy()
        np.testing.assert_allclose(got, wanted, atol=2e-6, rtol=1e-5)
        assert np.abs(got).min(axis=(0, 1))[1:].max() > 0
        resid = made.trace(text.token_ids).resid.norm(dim=2).numpy()[:-1].T
        np.testing.assert_allclose(rows["share"].to_numpy(), (got / resid[..., None]).ravel(), 1e-4)


@pytest.mark.parametrize("name", [*CONFIGS, *MORE])
def test_the_parts_of_a_block_add_up_to_its_change(tiny_model, name):
    table, _, sums = tables(tiny_model(name))
    added = table.group_by("label", "position", "layer", maintain_order=True).agg(
        pl.col("contribution").cast(pl.Float64).sum()
    )
    np.testing.assert_allclose(added["contribution"], sums["total"], atol=1e-5)
    change = sums["after"] - sums["before"]
    np.testing.assert_allclose(change, sums["total"] + sums["error"], atol=1e-5)
    assert sums["error"].abs().max() < 1e-5 and change.abs().max() > 0.1


def slow_split(e, before, parts, nodes=64):
    """The integral of the cosine's gradient, times each part, by autograd and Gauss-Legendre."""
    t, weights = np.polynomial.legendre.leggauss(nodes)
    t, weights = torch.from_numpy((t + 1) / 2), torch.from_numpy(weights / 2)
    change = sum(parts)
    path = (before + t[:, None, None] * change).requires_grad_()
    functional.cosine_similarity(path, e, dim=-1, eps=0).sum().backward()
    gradient = (weights[:, None, None] * path.grad).sum(dim=0)
    return torch.stack([(gradient * part).sum(dim=1) for part in parts], dim=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_identity_is_split_along_the_straight_path(tiny_model, name):
    made = tiny_model(name)
    _, of_cosine, sums = tables(made)
    assert sums["identity_error"].abs().max() < 2e-6
    change = sums["identity_after"] - sums["identity_before"]
    assert change.abs().max() > 0.2
    added = of_cosine.group_by("label", "position", "layer", maintain_order=True).agg(
        pl.col("contribution").cast(pl.Float64).sum()
    )
    np.testing.assert_allclose(added["contribution"], change, atol=2e-6)
    text = made.texts[1]
    e = functional.normalize(torch.from_numpy(made.own(text.token_ids)).double(), dim=1)
    resid = made.trace(text.token_ids).resid.double()
    rows = of_cosine.filter(label=text.label)["contribution"].to_numpy()
    rows = rows.reshape(len(text.tokens), 3, -1)
    for layer, outputs in enumerate(outputs_by_hand(made, text.token_ids)):
        parts = [x for name in sorted(outputs) for x in outputs[name]]
        wanted = slow_split(e, resid[layer], parts)
        np.testing.assert_allclose(rows[:, layer], wanted, atol=2e-5)
        assert wanted[:, 1:].abs().max() > 0.02


@pytest.mark.parametrize("angle", [0, 1e-12, 1e-7, 1e-4, 0.02, 0.06, 1.0, 3.0, 3.14])
@pytest.mark.parametrize("longer", [0.01, 1.0, 1 + 1e-9, 30.0])
def test_the_mean_gradient_is_the_integral(angle, longer):
    x, aside, e = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 3)))[0].T
    e = (e + x + 2 * aside) / 6**0.5
    after = longer * (np.cos(angle) * x + np.sin(angle) * aside)
    found = mean_gradient(*map(torch.from_numpy, (e, x, after))).numpy()

    def gradient(t):
        y = x + t * (after - x)
        length = np.linalg.norm(y)
        return e / length - (e @ y) * y / length**3

    wanted, _ = quad_vec(gradient, 0, 1, epsabs=1e-12, epsrel=1e-12, limit=2000)
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())
    change = e @ after / np.linalg.norm(after) - e @ x
    assert found @ (after - x) == pytest.approx(change, abs=1e-7)


def test_a_path_through_0_has_no_mean_gradient():
    x = torch.tensor([1.0, 2.0, 3.0]).double()
    e = torch.tensor([1.0, 0.0, 0.0]).double()
    for after in (-x, -2 * x, 0 * x):
        assert mean_gradient(e, x, after).isnan().all()


def test_means_are_of_words_behind_the_first_position(tiny_model):
    made = tiny_model("bert")
    given = {"run": made.trace, "parts": made.parts, "own": made.own}
    _, of_cosine, sums = attribution(made.texts, **given, provenance=PROVENANCE)
    found = frame(
        attribution_by_layer(of_cosine, made.tokens, statistics(few=3), provenance=PROVENANCE)
    )
    words = ~pl.col("token").is_in(["[CLS]", "[SEP]", "[UNK]"])  # [CLS] is at position 0
    rows = frame(of_cosine).filter(words)
    change = frame(sums).filter(words, layer=1)
    change = (change["identity_after"] - change["identity_before"]).mean()
    wanted = {("mlp", None): rows.filter(part="mlp", layer=1)["contribution"].mean()}
    wanted |= {("total", None): change}
    for head in range(4):
        wanted["head", head] = rows.filter(part="head", head=head, layer=1)["contribution"].mean()
    wanted["heads", None] = sum(wanted["head", head] for head in range(4))
    for (part, head), mean in wanted.items():
        here = found.filter(pl.col("head").eq_missing(pl.lit(head)), part=part, layer=1)
        assert here["mean"].to_list() == pytest.approx([mean], abs=1e-6)
        assert (here["ci_low"] <= here["mean"]).all() and here["few"].all()
        assert here["n"].to_list() == [len(rows.filter(part="mlp", layer=1))]


def test_a_sum_of_what_is_not_known_is_not_known(tiny_model):
    made = tiny_model("bert")
    given = {"run": made.trace, "parts": made.parts, "own": made.own}
    _, of_cosine, _ = attribution(made.texts, **given, provenance=PROVENANCE)
    here = (pl.col("label") == made.texts[0].label) & (pl.col("position") == 2)
    null = frame(of_cosine).with_columns(
        contribution=pl.when(~here | (pl.col("part") == "mlp")).then("contribution")
    )
    found = frame(
        attribution_by_layer(null.to_arrow(), made.tokens, statistics(few=3), provenance=PROVENANCE)
    ).filter(layer=0)
    n = dict(found.filter(pl.col("head").is_null()).select("part", "n").rows())
    assert n["mlp"] - 1 == n["heads"] == n["total"] == found.filter(part="head")["n"][0]


@pytest.mark.parametrize("name", CONFIGS)
def test_identities_are_those_of_the_table_identity(tiny_model, name):
    made = tiny_model(name)
    _, _, sums = tables(made)
    resid = np.concatenate(
        [made.trace(text.token_ids).resid.numpy() for text in made.texts], axis=1
    )
    rows = made.own(own_token_ids(made.tokens, "last"))
    layers = [
        Layer("resid", layer, np.arange(len(hidden)), hidden) for layer, hidden in enumerate(resid)
    ]
    table = identity(layers, made.tokens, rows, pooling="last", groups=[], provenance=PROVENANCE)
    cosine = table["cosine"].to_numpy()  # by label and layer, then position
    start = 0
    for text in made.texts:
        n = len(text.tokens)
        own = cosine[start : start + 4 * n].reshape(4, n).T
        start += 4 * n
        mine = sums.filter(pl.col("label") == text.label)
        for column, wanted in (("identity_before", own[:, :-1]), ("identity_after", own[:, 1:])):
            assert mine[column].to_numpy().tolist() == wanted.ravel().tolist()
    for when in ("before", "after"):
        np.testing.assert_allclose(
            sums[f"identity_{when}"], sums[when] / sums[f"norm_{when}"], atol=1e-6
        )


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_the_tables_have_a_row_for_each_part_and_each_block(tiny_model, name):
    made = tiny_model(name)
    table, _, sums = tables(made)
    parts = WITH_NORMS if name in ENCODERS else PARTS
    assert table.columns == [*KEYS, "part", "head", "contribution", "share"]
    assert sums.columns[: len(KEYS)] == KEYS
    keys = [
        (text.label, position, token, layer)
        for text in made.texts
        for position, token in enumerate(text.tokens)
        for layer in range(3)
    ]
    own = ["label", "position", "token", "layer"]
    assert sums.select(own).rows() == keys
    assert table.select(own).rows() == [key for key in keys for _ in parts]
    assert table["part"].to_list() == parts * len(keys)
    assert table.filter(part="head")["head"].to_list() == [0, 1, 2, 3] * len(keys)
    assert table.filter(pl.col("part") != "head")["head"].null_count() == len(keys) * (
        len(parts) - 4
    )
    assert (table["model"] == PROVENANCE["model"]).all()
    late_first = attribution(
        made.texts[::-1], made.trace, made.parts, made.own, provenance=PROVENANCE
    )
    assert frame(late_first[0]).equals(table)


def test_a_token_without_an_embedding_has_no_contributions(tiny_model):
    made = tiny_model("opt")
    lost = made.texts[0].token_ids[2]

    def own(token_ids):
        return made.own(token_ids) * (np.array(token_ids) != lost)[:, None]

    table, _, sums = tables(made, own=own)
    first = pl.col("label") == made.texts[0].label
    for found in (table, sums):
        column = found.columns[9]
        nulls = found.filter(first, pl.col(column).is_null())["position"].unique()
        assert nulls.to_list() == [
            i for i, token in enumerate(made.texts[0].token_ids) if token == lost
        ]
    assert sums["norm_before"].null_count() == 0 < sums["identity_after"].null_count()


@pytest.mark.parametrize("site", ["attention", "mlp_out"])
def test_parts_that_do_not_add_up_are_refused(tiny_model, site):
    made = tiny_model("llama")

    def run(token_ids):
        traced = made.trace(token_ids)
        wrong = getattr(traced, site).clone()
        wrong[1, ..., -1, :] *= 1.05
        return replace(traced, **{site: wrong})

    message = r"m \(main\): the parts of block 1 add up to .*label 't0', position \d"
    with pytest.raises(TokentrailsError, match=message):
        tables(made, run=run)


def test_states_that_are_not_finite_are_refused(tiny_model):
    made = tiny_model("llama")

    def run(token_ids):
        traced = made.trace(token_ids)
        broken = traced.resid.clone()
        broken[2, 1] = torch.nan
        return replace(traced, resid=broken)

    with pytest.raises(TokentrailsError, match="not finite at site resid, layer 2, label 't0'"):
        tables(made, run=run)
