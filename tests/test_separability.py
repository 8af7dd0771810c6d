"""Pairs within and between senses, intervals and permutations, against loops and known answers."""

import itertools
import math

import numpy as np
import pytest

from tokentrails.statistics.bootstrap import DRAWS_AT_ONCE, Bootstrap
from tokentrails.statistics.permutation import Permutation, holm, p_values
from tokentrails.statistics.separability import Pairs
from tokentrails.statistics.student import expanded_tail, t_quantile


def values_of(pairs, curves, seed=0, *, ties=False):
    """Similarities of every pair; with `ties`, of few different values."""
    rng = np.random.default_rng(seed)
    shape = curves, len(pairs.texts[0])
    values = rng.integers(4, size=shape) / 4 if ties else rng.uniform(-1, 1, size=shape)
    return values.astype(np.float32)


def slow(pairs, cosine, texts):
    """(within, between, auc) of texts, listed with repetition, by plain loops over their pairs."""
    known = {
        frozenset(pair): float(value)
        for pair, value in zip(zip(*pairs.texts, strict=True), cosine, strict=True)
    }
    own, across = {0: [], 1: []}, []
    for one, other in itertools.combinations(texts, 2):
        if one == other:
            continue  # a text and its own copy
        sense = {int(one >= pairs.n_a), int(other >= pairs.n_a)}
        value = known[frozenset((one, other))]
        (across if len(sense) == 2 else own[sense.pop()]).append(value)
    if not own[0] or not own[1]:
        return math.nan, math.fsum(across) / len(across), math.nan
    within = sum(math.fsum(v) / len(v) for v in own.values()) / 2
    auc = sum(
        sum((w > b) + 0.5 * (w == b) for w in v for b in across) / len(v) / len(across)
        for v in own.values()
    )
    return within, math.fsum(across) / len(across), auc / 2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n_a", "n_b"), [(4, 4), (2, 5)])
def test_statistics_are_those_of_plain_loops_over_the_drawn_texts(n_a, n_b, ties):
    pairs = Pairs(n_a, n_b)
    cosine = values_of(pairs, 3, ties=ties)
    counts = np.concatenate([pairs.all, np.zeros((30, n_a + n_b))])
    rng = np.random.default_rng(1)
    for row in counts[1:]:
        drawn = [*rng.integers(n_a, size=n_a), *(n_a + rng.integers(n_b, size=n_b))]
        np.add.at(row, drawn, 1)
    within, between = pairs.within_between(cosine, counts)
    auc = pairs.auc(cosine, counts)
    undefined = 0
    for sample, row in enumerate(counts.astype(int)):
        texts = np.repeat(np.arange(n_a + n_b), row).tolist()
        for curve in range(3):
            expected = slow(pairs, cosine[curve], texts)
            got = within[sample, curve], between[sample, curve], auc[sample, curve]
            assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)
            undefined += math.isnan(expected[0])
    assert undefined > 0 or n_a > 2


def test_many_texts_take_the_same_road_as_few(monkeypatch):
    """Blocks, and float64 for more texts than float32 counts exactly."""
    pairs = Pairs(66, 3)
    cosine = values_of(pairs, 2, ties=True)
    whole = pairs.auc(cosine, pairs.all)
    monkeypatch.setattr("tokentrails.statistics.separability.ROWS_AT_ONCE", 1)
    assert np.array_equal(pairs.auc(cosine, pairs.all), whole)
    assert whole[0, 0] == pytest.approx(slow(pairs, cosine[0], range(69))[2], abs=1e-12)


def test_a_missing_similarity_gives_no_statistic():
    pairs = Pairs(3, 3)
    cosine = values_of(pairs, 2)
    cosine[1, 4] = np.nan
    assert np.isnan(pairs.auc(cosine, pairs.all)).tolist() == [[False, True]]


def test_the_gap_of_permuted_senses_is_that_of_texts_in_another_order():
    pairs = Pairs(3, 4)
    cosine = values_of(pairs, 2)
    gram = np.zeros((2, 7, 7))
    gram[:, *pairs.texts] = cosine
    gram += gram.swapaxes(1, 2)
    labels = Permutation(50, seed=3).labels(3, np.zeros(7), (1,))
    assert (labels.sum(axis=1) == 3).all() and len(np.unique(labels, axis=0)) > 20
    for first, got in zip(labels, pairs.gaps(cosine, labels), strict=True):
        order = [*np.flatnonzero(first), *np.flatnonzero(~first)]
        moved = gram[:, order][:, :, order][:, *pairs.texts].astype(np.float32)
        within, between = pairs.within_between(moved, pairs.all)
        assert got == pytest.approx((within - between)[0], abs=1e-12)


def test_labels_are_permuted_within_strata_as_if_all_orders_were_listed():
    """Pairs of texts at one place each, and four texts at another: 2 x 2 x 6 orders."""
    pairs = Pairs(4, 4)
    strata = np.array([3, 5, 5, 9, 3, 5, 9, 5])
    cosine = values_of(pairs, 3, seed=2)
    orders = {
        tuple(sorted(first))
        for first in itertools.combinations(range(8), 4)
        if sorted(strata[list(first)]) == [3, 5, 5, 9]
    }
    assert len(orders) == 24
    labels = Permutation(20_000, seed=0).labels(4, strata, ())
    found = [tuple(np.flatnonzero(row).tolist()) for row in labels]
    assert set(found) == orders
    _, counts = np.unique(labels, axis=0, return_counts=True)
    assert counts.min() > 700

    def gap(first, curve):
        texts = [*first, *sorted(set(range(8)) - set(first))]
        gram = np.zeros((8, 8), dtype=np.float32)
        gram[pairs.texts] = cosine[curve]
        gram += gram.T
        moved = gram[np.ix_(texts, texts)][pairs.texts]
        within, between, _ = slow(pairs, moved, range(8))
        return within - between

    every = np.array([[gap(first, curve) for curve in range(3)] for first in sorted(orders)])
    observed = np.array([gap(range(4), curve) for curve in range(3)])
    exact = (every >= observed - 1e-9).mean(axis=0)
    p = p_values(observed, pairs.gaps(cosine, labels))
    assert len(set(exact)) > 1 and p == pytest.approx(exact, abs=0.012)


def test_p_counts_the_observed_labels_and_is_never_zero():
    null = np.array([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5], [0.4, 0.5]])
    assert p_values(np.array([0.3, 0.5 + 1e-12]), null).tolist() == [3 / 5, 1.0]
    assert p_values(np.array([9.0, np.nan]), null) == pytest.approx([1 / 5, np.nan], nan_ok=True)


def test_holm_by_hand():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.4, 0.9])).tolist() == [0.8, 0.9]
    assert holm(np.array([0.6, 0.7, 0.8])).tolist() == [1.0, 1.0, 1.0]


def test_expanded_percentiles_tend_to_the_plain_ones():
    assert t_quantile(0.95, 23) == pytest.approx(2.068658, abs=1e-6)
    assert expanded_tail(0.95, 20_000) == pytest.approx(0.025, abs=2e-5)
    assert expanded_tail(0.95, 24) == pytest.approx(0.017294, abs=1e-6)
    assert 0 <= expanded_tail(0.95, 2) < expanded_tail(0.95, 3) < 0.01


def test_strata_keep_their_sizes_and_are_drawn_independently():
    bootstrap = Bootstrap(draws=DRAWS_AT_ONCE + 9, confidence=0.9, seed=0)
    counts = bootstrap.resample_strata(lambda counts: counts, (5, 5, 2), (4,))
    assert counts.shape == (DRAWS_AT_ONCE + 9, 12)
    for stratum, size in ((slice(0, 5), 5), (slice(5, 10), 5), (slice(10, 12), 2)):
        assert (counts[:, stratum].sum(axis=1) == size).all()
    assert not np.array_equal(counts[:, :5], counts[:, 5:10])
    again = bootstrap.resample_strata(lambda counts: counts, (5, 5, 2), (4,))
    assert np.array_equal(counts, again)


def test_an_interval_of_few_units_leaves_out_what_is_missing():
    draws = np.random.default_rng(0).standard_normal((1000, 3))
    draws[::2, 1] = draws[:, 2] = np.nan
    bootstrap = Bootstrap(1000, 0.9, 0)
    low, high = bootstrap.interval(draws, 8)
    tail = expanded_tail(0.9, 8)
    assert (
        low[0]
        == np.quantile(draws[:, 0], tail)
        < bootstrap.interval(draws[:, 0], 8, expanded=False)[0]
    )
    assert high[1] == np.quantile(draws[1::2, 1], 1 - tail)
    assert np.isnan([low[2], high[2]]).all()


def test_intervals_over_the_texts_of_a_word_cover_the_truth():
    """95 % ± 2 for a single word of 10 and 10 texts.

    Texts are numbers, and a pair's similarity is the product of its two; the first sense lies
    around θ, the second around -θ, so that the true gap is 2 θ².
    """
    runs, texts = 2_000, 10
    pairs = Pairs(texts, texts)
    rng = np.random.default_rng(7)
    theta = 1 + 0.25 * rng.standard_normal(runs)
    sense = np.repeat([1.0, -1.0], texts)
    x = theta[:, None] * sense + rng.standard_normal((runs, 2 * texts))
    first, second = pairs.texts
    cosine = (x[:, first] * x[:, second]).astype(np.float32)
    bootstrap = Bootstrap(draws=600, confidence=0.95, seed=1)

    def gap(counts):
        within, between = pairs.within_between(cosine, counts)
        return within - between

    draws = bootstrap.resample_strata(gap, (texts, texts), (1,))
    low, high = bootstrap.interval(draws, texts)
    truth = 2 * theta**2
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97
