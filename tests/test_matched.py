"""Chance of an experiment's own occurrences: against a double loop, and of known states."""

import measures
import numpy as np
import pyarrow as pa
import pytest
from measures import PROVENANCE, frame

from tokentrails.files.states import Layer
from tokentrails.metrics.columns.similarities import matched_pairs
from tokentrails.metrics.context import context
from tokentrails.statistics.matched import LEAST_PAIRS, Kinds, Matched
from tokentrails.statistics.similarity import unit

CLASSES = ["function", "content", None]
WIDTH = 6


def material(n=260, seed=0):
    """Texts, tokens, classes and positions at random, more of some kinds than of others."""
    rng = np.random.default_rng(seed)
    text, token = rng.integers(25, size=n), rng.integers(40, size=n)
    classes = [CLASSES[i] for i in rng.choice(3, n, p=[0.3, 0.68, 0.02])]
    positions = rng.choice(np.r_[0:20], n)
    states, others = rng.standard_normal((2, n, WIDTH)) + rng.standard_normal(WIDTH)
    return text, token, classes, positions, states, others


def band(position):
    return 0 if position == 0 else 1 + int(np.log2(position))


def slow(text, token, rows, columns, kinds, members):
    """Mean cosine over pairs of the kinds of i and j, from the finest level that has enough."""
    cosines = unit(rows) @ unit(columns).T
    apart = (text[:, None] != text) & (token[:, None] != token)
    found = []
    for i, j in members:
        for left, right in kinds:
            alike = np.outer([k == left[i] for k in left], [k == right[j] for k in right])
            values = cosines[alike & apart]
            if len(values) >= LEAST_PAIRS:
                found.append(values.mean())
                break
        else:
            found.append(np.nan)
    return found


def test_chance_is_that_of_pairs_of_the_same_kinds():
    text, token, classes, positions, states, others = material()
    fine = [(name, band(p)) for name, p in zip(classes, positions, strict=True)]
    coarse = [(name, p > 0) for name, p in zip(classes, positions, strict=True)]
    coarsest = [p > 0 for p in positions]
    matched = Matched(text, token, Kinds.of(classes, positions))
    a, b = np.random.default_rng(1).integers(len(text), size=(2, 200))
    pairs = np.column_stack([a, b]).tolist()
    same = (unit(states), unit(states))
    expected = slow(text, token, states, states, [(k, k) for k in (fine, coarse, coarsest)], pairs)
    found = matched.of_states(*same, (a, b))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    levels = {
        name: slow(text, token, states, states, [(kind, kind)], pairs)
        for name, kind in (("fine", fine), ("coarse", coarse), ("coarsest", coarsest))
    }
    unknown = [np.isnan(level).sum() for level in levels.values()]
    assert unknown[0] > unknown[1] > unknown[2] >= np.isnan(found).sum()
    two = matched.of_states(unit(states), unit(others), (a, b))
    expected = slow(text, token, states, others, [(k, k) for k in (fine, coarse, coarsest)], pairs)
    np.testing.assert_allclose(two, expected, atol=1e-12)


def test_embedding_rows_are_matched_by_class_alone():
    text, token, classes, positions, states, others = material(seed=2)
    fine = [(name, band(p)) for name, p in zip(classes, positions, strict=True)]
    coarse = [(name, p > 0) for name, p in zip(classes, positions, strict=True)]
    coarsest = [p > 0 for p in positions]
    found = Matched(text, token, Kinds.of(classes, positions)).of_embeddings(
        unit(states), unit(others)
    )
    chosen = range(0, len(text), 9)
    expected = slow(
        text,
        token,
        states,
        others,
        [(fine, classes), (coarse, classes), (coarsest, [0] * len(text))],
        [(i, i) for i in chosen],
    )
    np.testing.assert_allclose(found[list(chosen)], expected, atol=1e-12)


def test_what_a_class_has_in_common_is_no_similarity():
    """Function words share a direction: general chance says they are alike, matched says not."""
    rng = np.random.default_rng(3)
    n, width = 600, 300
    is_function = np.arange(n) % 3 == 0
    words = np.where(is_function, "the", "stone").tolist()
    states = rng.standard_normal((n, width)) + np.where(is_function, 2.0, 0.0)[:, None]
    tokens = measures.tokens_table(words, [[5 + i // 2] for i in range(n)])
    a, b = np.arange(0, n, 6), np.arange(3, n + 3, 6)  # function words of other tokens
    chance = matched_pairs(tokens, "last").of_states(unit(states), unit(states), (a, b))
    assert chance == pytest.approx(4 / 5, abs=0.01)
    a, b = a + 1, b + 1
    chance = matched_pairs(tokens, "last").of_states(unit(states), unit(states), (a, b))
    assert chance == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("column", ["context", "base"])
def test_words_in_one_sentence_are_of_one_text(column):
    n = 60
    tokens = measures.tokens_table(["stone"] * n, [[5 + i] for i in range(n)])
    rows = unit(np.random.default_rng(4).standard_normal((n, 3)))
    every = np.arange(n), np.arange(n)
    assert not np.isnan(matched_pairs(tokens, "last").of_states(rows, rows, every)).any()
    tokens = tokens.append_column(column, pa.array([0] * n, pa.int32()))
    assert np.isnan(matched_pairs(tokens, "last").of_states(rows, rows, every)).all()


def test_an_experiment_of_few_words_has_no_chance_of_its_own():
    tokens = measures.tokens_table(["w", "w", "v", "v"], [[6], [6], [7], [7]], sense=["a", "b"] * 2)
    states = np.random.default_rng(5).standard_normal((4, 8)).astype(np.float32)
    layers = [Layer("resid", 0, np.arange(4), states)]
    table = frame(context(layers, tokens, pooling="last", provenance=PROVENANCE))
    assert table["matched"].null_count() == len(table) > 0
    assert table["cosine"].null_count() == 0
