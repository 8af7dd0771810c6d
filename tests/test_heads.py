"""Tables of heads against plain formulas and loops, and what the summary says of planted heads."""

import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import tiny
import torch
from pytest import approx
from test_metrics import PROVENANCE
from tiny_models import frame

from tokentrails.config.selection import existing
from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import provenance_of
from tokentrails.metrics.head_summary import MEASURES
from tokentrails.metrics.heads import HeadTables
from tokentrails.network.heads import Heads
from tokentrails.network.parts import Block, Parts
from tokentrails.network.trace import Trace
from tokentrails.texts.whole import WholeText
from tokentrails.vocabulary.spaces import Spaces

K, LAYERS, HEADS = 4, (0, 2), (1, 3)


@pytest.fixture(scope="module", params=[*tiny.CONFIGS, "granite", "modernbert"])
def made(request, tiny_model):
    """The tables of a tiny model, with what they were made from."""
    model = tiny_model(request.param)
    tables = HeadTables(model.spaces, LAYERS, HEADS, LAYERS, K, 0.9, PROVENANCE)
    attention, heads = zip(*tables.tables(model.texts[::-1], model.trace), strict=True)
    return SimpleNamespace(
        model=model,
        name=model.name,
        parts=model.parts,
        names=model.names,
        spaces=model.spaces,
        texts={text.label: text for text in model.texts},
        traced={text.label: model.trace(text.token_ids) for text in model.texts},
        attention=frame(*attention),
        heads=frame(*heads),
        provenance=provenance_of(heads[0]),
        summary=frame(tables.summary.table()),
    )


def test_attention_is_that_of_the_model_where_its_mask_allows(made):
    expected = []
    for label, layer, head in itertools.product(sorted(made.texts), LAYERS, HEADS):
        tokens, weights = made.texts[label].tokens, made.traced[label].attention[layer][head]
        seen = made.parts.blocks[layer].heads.visible(len(tokens)).tolist()
        for query, key in itertools.product(range(len(tokens)), repeat=2):
            if seen[query][key]:
                place = label, layer, head, query, key, tokens[query], tokens[key]
                expected.append((*place, float(weights[query, key])))
            else:
                assert weights[query, key] == 0
    columns = ("label", "layer", "head", "query", "key", "query_token", "key_token", "weight")
    assert made.attention.select(columns).rows() == expected
    of_query = made.attention.group_by("label", "layer", "head", "query").agg(pl.sum("weight"))
    np.testing.assert_allclose(of_query["weight"], 1, atol=1e-6)
    if made.name in tiny.ENCODERS:
        assert (made.attention["key"] > made.attention["query"]).any()
    else:
        assert (made.attention["key"] <= made.attention["query"]).all()


def plain(heads: Heads, x: np.ndarray, head: int, kind: str, side: str | None):
    """A vector by its formula in float64, and what the other side's bias adds."""
    kv = head * len(heads.W_K) // len(heads.W_Q)

    def own(name):
        index = head if name[-1] in "QO" else kv
        return getattr(heads, name)[index].double().numpy()

    if kind == "message":
        return (x @ own("W_V") + own("b_V")) @ own("W_O"), None
    mine, other = ("Q", "K") if side == "query" else ("K", "Q")
    z = x @ own(f"W_{mine}") + own(f"b_{mine}")
    norms = {"Q": heads.query_norm, "K": heads.key_norm}
    if hasattr(norms[mine], "variance_epsilon"):  # Qwen 3
        z = z / np.sqrt((z**2).mean() + norms[mine].variance_epsilon)
        z = z * norms[mine].weight.double().numpy() * norms[other].weight.double().numpy()
    z = z * heads.scale
    return own(f"W_{other}") @ z, z @ own(f"b_{other}")


def test_lists_are_those_of_plain_loops(made):
    for row in made.heads[::5].iter_rows(named=True):  # of every kind
        block, resid = made.parts.blocks[row["layer"]], made.traced[row["label"]].resid
        x = block.attention_norm(resid[row["layer"]])[row["position"]].double().numpy()
        vector, offset = plain(block.heads, x, row["head"], row["kind"], row["side"])
        if row["kind"] == "message":
            vector = made.model.added(block.attention_post_norm, vector)
        made.model.assert_list(row, vector, K, 0.9)
        assert row["token"] == made.texts[row["label"]].tokens[row["position"]]
        if offset is None:
            assert row["offset_logit"] is row["side"] is None
        else:
            assert row["offset_logit"] == approx(offset, abs=1e-5)
    assert set(made.heads["high_bias"]) == {True, False}


def test_there_is_a_list_of_every_kind_in_the_order_of_its_keys(made):
    kinds = [("message", "", "embedding"), ("pattern", "key", "attention_input")]
    kinds += [("pattern", "query", "attention_input")]
    if made.name not in tiny.ENCODERS:
        kinds.insert(1, ("message", "", "unembedding"))
    columns = ["label", "layer", "head", "position", "kind", "side", "space"]
    found = made.heads.with_columns(pl.col("side").fill_null("")).select(columns).rows()
    assert found == sorted(found)
    assert found == [
        (label, layer, head, position, *kind)
        for label in sorted(made.texts)
        for layer, head in itertools.product(LAYERS, HEADS)
        for position in range(len(made.texts[label].tokens))
        for kind in kinds
    ]
    for table in (made.attention, made.heads, made.summary):
        assert table["model"].unique().to_list() == [PROVENANCE["model"]]
    assert made.provenance == PROVENANCE


def words_of(made, token):
    """A token as a word that others are compared with."""
    mark = "▁" if "▁" in "".join(filter(None, made.names)) else "Ġ"
    return token.replace(mark, "").removeprefix("##").lower()


def test_blocks_that_are_not_listed_have_their_attention_alone(tiny_model):
    model = tiny_model("gpt2")

    def made(listed):
        tables = HeadTables(model.spaces, LAYERS, HEADS, listed, K, 0.9, PROVENANCE)
        attention, heads = zip(*tables.tables(model.texts, model.trace), strict=True)
        lists = frame(*(table for table in heads if table is not None))
        return frame(*attention), lists, frame(tables.summary.table())

    (attention, lists, summary), (whole, listed, counted) = made([2]), made(LAYERS)
    assert attention.equals(whole)
    assert lists.equals(listed.filter(layer=2))
    assert summary.filter(layer=2).equals(counted.filter(layer=2))
    assert summary["first_position"].equals(counted["first_position"])
    unlisted = summary.filter(layer=0).select("score", *MEASURES).drop("first_position")
    assert unlisted.null_count().row(0) == (len(HEADS),) * len(MEASURES)


def test_the_summary_counts_what_the_lists_say(made):
    listed = {words_of(made, made.names[i]) for i in made.spaces.entries.tolist()}
    for row in made.summary.iter_rows(named=True):
        here = (pl.col("layer") == row["layer"]) & (pl.col("head") == row["head"])
        lists = made.heads.filter(here)
        patterns = lists.filter(side="query")
        messages = lists.filter(kind="message", space="embedding")
        own = [words_of(made, token) for token in messages["token"]]
        first = [words_of(made, top[0]) for top in messages["top"]]
        sought = [words_of(made, top[0]) for top in patterns["top"]]
        able = [i for i, word in enumerate(own) if word in listed]
        assert row["n"] == len(own) == sum(len(text.tokens) for text in made.texts.values())
        mean = partial(np.mean, dtype=float)
        assert row["self_pattern"] == approx(mean([sought[i] == own[i] for i in able]))
        assert row["past_identity"] == approx(mean([first[i] == own[i] for i in able]))
        letters = [
            sum(words_of(made, w)[0] == word[0] for w in top) > K / 2
            for word, top in zip(own, messages["top"], strict=True)
            if word[:1].isalpha()
        ]
        assert row["same_first_letter"] == approx(mean(letters))
        assert (row["n_listed"], row["n_lettered"]) == (len(able), len(letters))
        labels = messages["label"].to_list()
        pairs = [first[i] == first[i - 1] for i in range(1, len(own)) if labels[i] == labels[i - 1]]
        assert row["repetition"] == approx(mean(pairs))
        on_first = made.attention.filter(here, key=0).filter(pl.col("query") > 0)
        behind = len(own) - len(made.texts)
        assert row["n_neighbours"] == len(pairs) == behind
        assert row["first_position"] == approx(on_first["weight"].sum() / behind, abs=1e-6)
        words = [row[name] for name in MEASURES if name != "first_position"]
        assert row["score"] == max(words)
    assert made.summary.select("layer", "head").rows() == list(itertools.product(LAYERS, HEADS))


# --- planted heads ----------------------------------------------------------------------------

NAMES = ["Ġapple", "Ġant", "Ġarm", "Ġbear", "Ġbat", "Ġbus", "Ġcat", "Apple", ".", "Ġ"]
TOKENS = ["Ġapple", "Ġbear", ".", "Apple", "Ġbat", "Ġbus"]


def planted() -> Parts:
    """One block of four heads on one-hot words; ``Apple`` is nearly ``Ġapple``.

    What they look for and pass on: 0 the token itself; 1 the next word of the list, and always a
    cat; 2 nothing; 3 bats, and the token's neighbours in the list.
    """
    d = len(NAMES)
    one, zero = torch.eye(d), torch.zeros(d, d)
    E = torch.eye(d)
    E[7, 0] = 3
    following = one.roll(1, dims=0)  # e_i W = e_{i+1}, read as looking from the query's side
    heads = Heads(
        W_Q=torch.stack([one, one, zero, zero]),
        b_Q=torch.stack([torch.zeros(d)] * 3 + [E[4]]),
        W_K=torch.stack([one, following, one, one]),
        b_K=torch.zeros(4, d),
        W_V=torch.stack([one, zero, zero, one]),
        b_V=torch.stack([torch.zeros(d), E[6], torch.zeros(d), torch.zeros(d)]),
        W_O=torch.stack([one, one, one, one.roll(1, dims=1) + 0.9 * one.roll(-1, dims=1)]),
        b_O=torch.zeros(d),
        scale=1.0,
        softcap=None,
        query_norm=torch.nn.Identity(),
        key_norm=torch.nn.Identity(),
        kv_of=(0, 1, 2, 3),
        rotary=None,
    )
    block = Block(heads, None, *[torch.nn.Identity()] * 6, parallel=False)
    return Parts((block,), E, None, None, None, None, None, None)


COUNTS = ("n_listed", "n_neighbours", "n_lettered")


def summary_of(*texts, top=1):
    """The summary of the planted heads by head; every query puts 0.25 h on the first position."""
    parts = planted()

    def run(ids):
        t = len(ids)
        weights = torch.rand(1, 4, t, t)
        weights[0, :, :, 0] = torch.arange(4)[:, None] / 4
        return Trace(parts.embedding[ids][None].repeat(2, 1, 1), None, weights, None, None)

    spaces = Spaces(parts, NAMES)
    tables = HeadTables(spaces, [0], range(4), [0], top, 2.0, PROVENANCE)
    whole = [
        WholeText(f"t{i}", [NAMES.index(token) for token in text], list(text))
        for i, text in enumerate(texts)
    ]
    _, lists = zip(*tables.tables(whole, run), strict=True)
    return tables.summary.table().to_pylist(), frame(*lists)


def test_planted_heads_are_found():
    (itself, cat, nothing, bats), _ = summary_of(TOKENS)
    # The full stop cannot be listed; the other five can, "Apple" as "Ġapple".
    assert (itself["n"], itself["self_pattern"], itself["past_identity"]) == (6, 1, 1)
    assert itself["same_first_letter"] == 1
    assert itself["repetition"] == approx(0.2)  # "." is near to nothing: "Ġapple"
    assert (cat["self_pattern"], cat["past_identity"], cat["repetition"]) == (0, 0, 1)
    assert (bats["self_pattern"], bats["same_first_letter"]) == approx((0.2, 0.8))  # not bus: cat
    assert (bats["past_identity"], bats["repetition"]) == (0, 0)
    assert [row["first_position"] for row in (itself, cat, nothing, bats)] == [0, 0.25, 0.5, 0.75]
    assert [row["score"] for row in (itself, cat, bats)] == approx([1, 1, 0.8])


def test_a_head_that_says_nothing_has_no_lists_and_does_nothing():
    (_, _, nothing, _), lists = summary_of(TOKENS)
    assert [nothing[name] for name in MEASURES] == [0, 0, 0, 0, 0.5]
    silent = lists.filter(head=2)
    assert silent["top"].null_count() == silent["top_cosine"].null_count() == len(silent)
    assert silent["bias"].null_count() == silent["high_bias"].null_count() == len(silent)
    assert set(silent["norm"]) == {0.0}


def test_more_than_half_of_the_words_must_begin_alike():
    # Head 0 lists the token itself, then those of no cosine by their number: apple, ant, arm, …
    (itself, *_), lists = summary_of(["Ġbear", "Ġapple"], top=2)
    assert lists.filter(head=0, kind="message")["top"].to_list() == [
        ["Ġbear", "Ġapple"],
        ["Ġapple", "Ġant"],
    ]
    assert itself["same_first_letter"] == 0.5


def test_texts_are_counted_together():
    (together, *_), _ = summary_of(["Ġapple", "Ġapple", "Ġbat"], ["Ġcat", "."])
    assert (together["n"], together["repetition"]) == (5, approx(1 / 3))
    assert [together[name] for name in COUNTS] == [4, 3, 4]  # all but the full stop
    assert together["self_pattern"] == 1


def test_what_has_no_cases_is_null():
    rows, _ = summary_of(["."])
    for row in rows:
        assert [row[name] for name in (*MEASURES, "score")] == [None] * 6
        assert [row[name] for name in COUNTS] == [0, 0, 0]


def test_a_layer_or_head_that_does_not_exist_is_refused_by_name():
    assert existing(None, 3, "layers", where="x") == [0, 1, 2]
    assert existing((2, 0), 3, "layers", where="x") == [0, 2]
    with pytest.raises(TokentrailsError, match=r"e\.circuits: there is no head 9: .* 9 heads"):
        existing((1, 9), 9, "heads", where="e.circuits")
