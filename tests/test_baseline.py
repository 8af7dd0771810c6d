"""Random pairs: their mean against a double loop, who takes part, and what is known beforehand."""

import json
from itertools import product

import measures
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from measures import PROVENANCE, cosine, frame

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import Layer
from tokentrails.metrics.baseline import (
    Sample,
    baseline,
    baseline_dimensions,
    chances,
    mean_interval,
)
from tokentrails.metrics.columns.similarities import (
    Side,
    embedding_similarities,
    matched_pairs,
    pair_similarities,
    similarities,
)
from tokentrails.metrics.context import context
from tokentrails.metrics.convergence import convergence_similarities
from tokentrails.metrics.identity import identity
from tokentrails.metrics.perturbation import perturbation
from tokentrails.metrics.summary import summary
from tokentrails.statistics.baseline import NO_BASELINE, Baseline, moments
from tokentrails.statistics.forms import FORMS
from tokentrails.statistics.pairs import Pairs
from tokentrails.statistics.similarity import ROWS_AT_ONCE, pair_cosines, unit

BOOTSTRAP = measures.statistics(300, confidence=0.95, seed=0).bootstrap


def texts_of(n_texts=30, length=12, vocabulary=40, seed=0):
    """The tokens table of whole texts of tokens at random, a row for each.

    Every other one stands between [CLS] and [SEP]; of the rest the first token is a word.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for text in range(n_texts):
        ids = (2 + rng.integers(vocabulary, size=length + text % 3)).tolist()
        ids = ids if text % 2 else [1, *ids, 0]
        for position, token in enumerate(ids):
            word = f"w{token}" if token > 1 else ""
            row = {"label": f"t{(7 * text) % n_texts}", "word": word, "token_ids": ids}
            rows.append(row | {"first": position, "last": position})
    return measures.classed(pa.Table.from_pylist(rows))


def slow(tokens, states, embedding):
    """Cosines of states, and of states and embedding rows, and their parts, by a double loop."""
    rows = tokens.to_pylist()
    ids = [row["token_ids"][row["first"]] for row in rows]
    taken = [i for i, row in enumerate(rows) if row["first"] > 0 and row["word"]]
    of_states, of_embedding, parts = [], [], []
    for i, j in product(taken, taken):
        if rows[i]["label"] == rows[j]["label"] or ids[i] == ids[j]:
            continue
        of_embedding.append(cosine(states[i], embedding[ids[j]]))
        if i < j:
            of_states.append(cosine(states[i], states[j]))
            a, b = (states[k].astype(np.float64) for k in (i, j))
            parts.append(a * b / np.sqrt((a @ a) * (b @ b)))
    return of_states, of_embedding, np.mean(parts, axis=0)


def measured(tokens, states, embedding, places=(("resid", 0),)):
    """Both tables, as frames, of the same states at all places."""
    sample = Sample.from_tokens(tokens, "file.yaml")
    own = embedding[sample.token_ids]
    layers = [Layer(*place, np.arange(len(states)), states) for place in places]
    found = list(chances(layers, sample, own, BOOTSTRAP))
    tables = (
        baseline(found, sample, provenance=PROVENANCE),
        baseline_dimensions(found, own, provenance=PROVENANCE),
    )
    return tables, [frame(table) for table in tables]


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(1)
    tokens = texts_of(n_texts=12)
    states = (rng.standard_normal((len(tokens), 5)) + 0.7).astype(np.float32)
    embedding = (rng.standard_normal((50, 5)) - 0.2).astype(np.float32)
    return tokens, states, embedding, *measured(tokens, states, embedding)


def test_the_mean_is_that_of_a_double_loop_over_the_pairs(made):
    tokens, states, embedding, _, (table, dimensions) = made
    of_states, of_embedding, parts = slow(tokens, states, embedding)
    rows = {row["kind"]: row for row in table.iter_rows(named=True)}
    for kind, expected in (("states", of_states), ("embedding", of_embedding)):
        assert rows[kind]["cosine"] == pytest.approx(np.mean(expected), abs=1e-6)
        assert rows[kind]["n_pairs"] == len(expected)
        assert rows[kind]["ci_low"] < rows[kind]["cosine"] < rows[kind]["ci_high"]
        assert rows[kind]["n_texts"] == 12 and rows[kind]["n_tokens"] == 6 * 13 + 6 * 12
    share = dimensions.filter(pl.col("site") == "resid")["share"].to_numpy()
    np.testing.assert_allclose(share, parts / parts.sum(), atol=1e-6)
    assert share.sum() == pytest.approx(1, abs=1e-6)


def test_mean_and_deviation_are_those_of_the_tokens_that_take_part(made):
    tokens, states, embedding, _, (_, dimensions) = made
    sample = Sample.from_tokens(tokens, "file.yaml")
    for site, rows in (("resid", states[sample.rows]), ("embedding", embedding[sample.token_ids])):
        here = dimensions.filter(pl.col("site") == site)
        assert here["dimension"].to_list() == list(range(5))
        np.testing.assert_allclose(here["mean"], rows.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(here["deviation"], rows.std(axis=0), atol=1e-6)
    assert dimensions.filter(pl.col("site") == "embedding")["share"].null_count() == 5


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Texts whose states share a direction: over many samples the mean is 0.2 by construction."""
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        text = np.repeat(np.arange(25), 6)
        pairs = Pairs(text, np.arange(150), text)
        common = np.repeat(rng.standard_normal(25), 6)
        rows = np.stack([np.sqrt(0.2) + 0.3 * common, np.zeros(150)], axis=1)
        cells = pairs.cells(rows)
        bootstrap = measures.statistics(300, confidence=0.95, seed=seed).bootstrap
        _, low, high = mean_interval(pairs.sums(cells, cells), pairs.counts, bootstrap)
        inside += low <= 0.2 <= high
    assert inside >= 33


def mean(pairs: Pairs, a: np.ndarray, b: np.ndarray) -> float:
    return pairs.mean(pairs.cells(a), pairs.cells(b))


def test_mean_of_pairs_of_different_words_is_that_of_a_double_loop():
    rng = np.random.default_rng(6)
    a, b, word = *rng.standard_normal((2, 15, 3)), rng.integers(5, size=15)
    pairs = [a[i] @ b[j] for i in range(15) for j in range(15) if word[i] != word[j]]
    one = np.zeros(15, dtype=int)
    assert mean(Pairs(word, word, one), a, b) == pytest.approx(np.mean(pairs))
    assert np.isnan(mean(Pairs(one, one, one), a, b))


@pytest.mark.parametrize("n_texts", [0, 1, 3])
def test_too_few_pairs_are_refused_with_the_file(n_texts):
    tokens = texts_of(n_texts=max(n_texts, 1)).slice(0, None if n_texts else 0)
    with pytest.raises(TokentrailsError, match=r"my\.yaml.*pairs.*1000.*\n.*add texts"):
        Sample.from_tokens(tokens, "my.yaml")


def test_a_dimension_that_never_varies_has_no_deviation_and_says_nothing():
    rows = np.random.default_rng(7).standard_normal((999, 3)).astype(np.float32)
    rows[:, 1] = np.float32(0.1)
    known = moments(rows)
    assert known[1][1] == 0 and known[1][0] > 0
    rows[:5, 1] = 9
    rest = np.delete((rows - known[0]) / np.where(known[1] > 0, known[1], 1), 1, axis=1)
    side = Side(rows, known)
    found = similarities(side, side, np.nan, np.full(5, np.nan), (np.arange(5), np.arange(5, 10)))
    found = found["standardised"]
    expected = [cosine(rest[i], rest[i + 5]) for i in range(5)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cosines_are_those_of_a_plain_loop_over_any_number_of_pairs():
    rng = np.random.default_rng(11)
    left, right = (rng.standard_normal((n, 5)).astype(np.float32) + 2 for n in (40, 30))
    left[3] = 0
    a, b = (rng.integers(n, size=ROWS_AT_ONCE + 7) for n in (40, 30))
    about = tuple((rng.standard_normal(5), rng.uniform(0.5, 2, 5)) for _ in range(2))
    found = pair_cosines(left, right, a, b, about)
    for k, (i, j) in enumerate(zip(a, b, strict=True)):
        x, y = (
            (row - mean, (row - mean) / deviation)
            for row, (mean, deviation) in zip((left[i], right[j]), about, strict=True)
        )
        assert found.centred[k] == pytest.approx(cosine(x[0], y[0]), abs=1e-6)
        assert found.standardised[k] == pytest.approx(cosine(x[1], y[1]), abs=1e-6)
        if i == 3:
            assert np.isnan(found.cosine[k])
        else:
            assert found.cosine[k] == pytest.approx(cosine(left[i], right[j]), abs=1e-6)
    assert pair_cosines(left, right, a[:0], b[:0], about).cosine.shape == (0,)
    alone = pair_cosines(left, right, a, b)
    np.testing.assert_array_equal(alone.cosine, found.cosine)
    assert np.isnan(alone.centred).all() and np.isnan(alone.standardised).all()


# What each form of a similarity stands for


def forms_of(tokens, states, embedding, other=None):
    """All forms of each state with the next one, or with `other`, and with its embedding."""
    known = Baseline.from_tables(*measured(tokens, states, embedding)[0])
    other = states[1:] if other is None else other
    every = np.concatenate([states, other])
    a, twice = np.arange(len(other)), pa.concat_tables([tokens, tokens[-len(other) :]])
    layer = Layer("resid", 0, np.arange(len(every)), every)
    pairs = pair_similarities(layer, a, a + len(states), known, matched_pairs(twice, "last"))
    own = embedding[[row["token_ids"][row["first"]] for row in tokens.to_pylist()]]
    layer = Layer("resid", 0, np.arange(len(states)), states)
    own_kind = matched_pairs(tokens, "last")
    return known, pairs, embedding_similarities(layer, own, unit(own), known, own_kind)


@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.7])
def test_isotropic_states_around_a_common_mean_are_as_alike_as_they_correlate(correlation):
    rng = np.random.default_rng(13)
    tokens = texts_of(n_texts=40, length=20, vocabulary=300)
    own, noise = rng.standard_normal((2, len(tokens), 400))
    mean = 1.5 * rng.standard_normal(400)
    states = (mean + own).astype(np.float32)
    other = mean + correlation * own + np.sqrt(1 - correlation**2) * noise
    embedding = rng.standard_normal((310, 400)).astype(np.float32)
    known, found, _ = forms_of(tokens, states, embedding, other.astype(np.float32))
    chance = known.chance_of("states", ("resid", 0))
    size = np.square(mean).mean()
    assert chance == pytest.approx(size / (1 + size), abs=0.01)
    means = {form: np.nanmean(values) for form, values in found.items()}
    for form in ("scaled", "matched", "centred", "standardised"):
        assert means[form] == pytest.approx(correlation, abs=0.01)
    assert means["adjusted"] == pytest.approx(correlation * (1 - chance), abs=0.01)
    np.testing.assert_allclose(found["adjusted"], found["scaled"] * (1 - chance), atol=1e-9)


def test_nothing_is_scaled_where_random_pairs_are_equal():
    rows = np.random.default_rng(14).standard_normal((4, 3)).astype(np.float32)
    side = Side(rows, moments(rows))
    found = similarities(side, side, 1.0, np.ones(3), (np.arange(3), np.arange(1, 4)))
    assert np.isnan([found["scaled"], found["matched"]]).all() and (found["adjusted"] < 0).all()


# In the tables of similarities


@pytest.fixture(scope="module")
def known():
    rng = np.random.default_rng(8)
    moments = {
        ("resid", 0): (rng.standard_normal(4), np.array([1.0, 2.0, 0.5, 0.0])),
        ("embedding", 0): (rng.standard_normal(4), np.array([0.3, 1.0, 2.0, 1.0])),
    }
    chance = {("states", ("resid", 0)): 0.25, ("embedding", ("resid", 0)): -0.125}
    return Baseline(chance, moments)


TARGETS = measures.tokens_table(
    ["w"] * 4,
    [[6]] * 4,
    sense=["a", "b"] * 2,
    variant=["base", "P1", "P1", "P2"],
    base=pa.array([None, 0, 0, 0], pa.int32()),
)


def _table_of(name, layers, embedding, known):
    tokens, keys = TARGETS, {"provenance": PROVENANCE}
    if name == "identity":
        table = identity(
            layers, tokens, embedding, baseline=known, pooling="last", groups=[], **keys
        )
    elif name == "context":
        table = context(layers, tokens, baseline=known, pooling="last", **keys)
    else:
        table = perturbation(layers, tokens, baseline=known, **keys)["perturbation"]
    names = table.column_names
    at = names.index("cosine")
    assert tuple(names[at : at + len(FORMS)]) == FORMS
    for column in FORMS:
        assert table.schema.field(column).type == pa.float32()
        assert b"description" in table.schema.field(column).metadata
        assert b"unit" in table.schema.field(column).metadata
    return frame(table)


@pytest.mark.parametrize("name", ["identity", "context", "perturbation"])
def test_tables_have_every_form_where_there_is_a_baseline(name, known):
    rng = np.random.default_rng(9)
    states, embedding = rng.standard_normal((2, 4, 4)).astype(np.float32)
    places = [("resid", 0), ("resid", 1)]  # of the second nothing is known
    layers = [Layer(*place, np.arange(4, dtype=np.int32), states) for place in places]
    table = _table_of(name, layers, embedding, known)
    assert table.filter(pl.col("layer") == 1).select(FORMS[1:]).null_count().row(0) == (
        table.height // 2,
    ) * len(FORMS[1:])
    here = table.filter(pl.col("layer") == 0)
    kind = "embedding" if name == "identity" else "states"
    chance = known.chance[kind, ("resid", 0)]
    np.testing.assert_allclose(here["adjusted"], here["cosine"] - chance, atol=1e-6)
    np.testing.assert_allclose(here["scaled"] * (1 - chance), here["adjusted"], atol=1e-6)
    (mean, deviation), (own_mean, own_deviation) = known.moments.values()
    centred = states - mean, embedding - own_mean
    z = centred[0] / np.where(deviation > 0, deviation, np.inf), centred[1] / own_deviation
    for form, (x, e) in (("centred", centred), ("standardised", z)):
        if name == "identity":
            expected = [cosine(x[i], e[i]) for i in range(4)]
        elif name == "context":
            expected = [cosine(x[i], x[j]) for i in range(4) for j in range(i + 1, 4)]
        else:
            of_base = [cosine(x[0], x[i]) for i in range(1, 4)]
            expected = [np.mean(of_base[:2]), of_base[2]]
        np.testing.assert_allclose(here[form], expected, atol=1e-6)
    none = _table_of(name, layers, embedding, NO_BASELINE)
    assert none.select(FORMS[1:]).null_count().row(0) == (none.height,) * len(FORMS[1:])
    assert none["cosine"].equals(table["cosine"])


def test_each_form_of_identity_has_a_half_life():
    n = 4
    shared = {"model": ["m"] * n, "checkpoint": ["c"] * n, "experiment": ["e"] * n}
    shared |= {"label": ["l"] * n, "site": ["resid"] * n, "layer": pa.array(range(n), pa.int32())}
    cosines = {"cosine": [1.0, 0.5, 0.4, 0.05], "adjusted": [0.6, 0.05, 0.2, -0.3]}
    cosines |= {"scaled": [1.0, 0.5, 0.05, 0.0], "matched": [1.0, 0.5, 0.4, 0.3]}
    cosines |= {"centred": [0.05, 1.0, 1.0, 1.0]}
    table = pa.table(shared | cosines | {"standardised": pa.nulls(n, pa.float32())})
    row = summary(table, None, threshold=0.1, provenance=PROVENANCE).to_pylist()[0]
    found = [row[f"half_life_{form}"] for form in ("layer", *FORMS[1:])]
    assert found == [3, 1, 2, None, 0, None]


def test_convergence_is_compared_with_other_words_at_the_reference(tmp_path):
    rng = np.random.default_rng(10)
    words = ["a", "b", "b", "c", "d", "e"]
    states = {name: rng.standard_normal((1, 6, 3)).astype(np.float32) + 1 for name in "xy"}
    siblings = measures.siblings(tmp_path, states, [("resid", 0)], "y")
    tokens = measures.tokens_table(words, [[7]] * len(words))
    found = dict(zip(FORMS, convergence_similarities(siblings, tokens, "last"), strict=True))
    x, y = states["x"][0], states["y"][0]
    chance = np.mean(
        [cosine(x[i], y[j]) for i, j in product(range(6), repeat=2) if words[i] != words[j]]
    )
    beyond = found["cosine"][0, 0] - chance
    np.testing.assert_allclose(found["adjusted"][0, 0], beyond, atol=1e-6)
    np.testing.assert_allclose(found["scaled"][0, 0], beyond / (1 - chance), atol=1e-6)
    x, y = (rows - rows.mean(axis=0) for rows in (x, y))
    for form, by in (("centred", (1, 1)), ("standardised", (x.std(axis=0), y.std(axis=0)))):
        expected = [cosine(a, b) for a, b in zip(x / by[0], y / by[1], strict=True)]
        np.testing.assert_allclose(found[form][0, 0], expected, atol=1e-5)
        assert found[form][1, 0].tolist() == [1.0] * 6
    assert found["scaled"][1, 0].tolist() == [1.0] * 6


def test_every_column_of_the_tables_is_defined(made):
    for table in made[3]:
        definitions = json.loads(table.schema.metadata[b"definitions"])
        assert set(definitions) == set(table.column_names)
    first, second = made[3]
    keys = ["model", "checkpoint", "experiment", "site", "layer"]
    assert first.column_names[:6] == [*keys, "kind"]
    assert second.column_names == [*keys, "dimension", "mean", "deviation", "share"]
