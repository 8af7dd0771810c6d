"""The crossed bootstrap: against its definition, and how often its intervals hold the truth."""

import numpy as np
import pytest
from measures import crossed_samples, samples

from tokentrails.statistics.bootstrap import Bootstrap, Crossing, cluster_means, known_mean, means


@pytest.mark.parametrize("n", [5, 8, 33, 300])
def test_samples_do_not_depend_on_how_many_are_drawn_at_once(n):
    bootstrap, values = Bootstrap(1000, 0.95, 7), np.arange(3 * n).reshape(3, n) % 7.0
    draws = [bootstrap.resample(means(values), n, (2,), at_once) for at_once in (1000, 64, 37)]
    assert draws[1] == pytest.approx(draws[0], rel=1e-14)
    assert draws[2] == pytest.approx(draws[0], rel=1e-14)


def test_a_member_counts_the_product_of_its_units():
    rng = np.random.default_rng(0)
    bootstrap = Bootstrap(150, 0.95, 7)
    word, first, second = (rng.integers(n, size=40) for n in (5, 4, 4))
    word[:5], first[:4] = range(5), range(4)  # each is there
    values, weights = rng.standard_normal((3, 40)), rng.uniform(1, 2, 40)
    values[1, 3] = np.nan
    crossing = Crossing([(word,), (first, second)])
    draws = bootstrap.resample_crossed(means(values, weights), crossing, (2,))
    drawn = zip(samples(bootstrap, 5, 2, 0), samples(bootstrap, 4, 2, 1), strict=True)
    for draw, (words, contexts) in zip(draws, drawn, strict=True):
        often = np.array(
            [
                np.sum(words == w) * np.sum(contexts == a) * np.sum(contexts == b)
                for w, a, b in zip(word, first, second, strict=True)
            ]
        )
        often = often * weights * ~np.isnan(values)
        with np.errstate(invalid="ignore"):  # a sample may have none of the members
            expected = (often * np.nan_to_num(values)).sum(axis=1) / often.sum(axis=1)
        assert draw == pytest.approx(expected, nan_ok=True)
    assert np.isnan(draws).mean() < 0.2
    assert known_mean(values[:1], weights)[0] == pytest.approx(
        np.average(values[0], weights=weights)
    )


def test_a_factor_of_one_unit_changes_nothing():
    bootstrap, values = Bootstrap(100, 0.95, 1), np.random.default_rng(1).standard_normal((2, 9))
    alone = bootstrap.resample(means(values), 9, (0,))
    crossing = Crossing([(np.arange(9),)])
    with_one = Crossing([(np.arange(9),), (np.zeros(9, int),)])
    for each in (crossing, with_one):
        # The first factor of the stream () has the samples of the stream (0).
        assert bootstrap.resample_crossed(means(values), each, ()) == pytest.approx(alone)


@pytest.mark.parametrize("expanded", [True, False])
def test_an_interval_takes_five_units(expanded):
    """Of each curve by itself, where not every one has a value of every unit."""
    bootstrap, values = Bootstrap(100, 0.95, 1), np.random.default_rng(1).standard_normal((3, 7))
    for n in (1, 4, 5, 7):
        draws = bootstrap.means(values[:, :n], ())
        ends = np.stack(bootstrap.interval(draws, n, expanded=expanded))
        assert (np.isnan(ends) == (n < 5)).all()
    sizes = np.array([[1] * 7, [1] * 5 + [0] * 2, [1] * 4 + [0] * 3])
    mean, low, high = bootstrap.ratios(values * sizes, sizes)
    assert not np.isnan(mean).any() and (low[:2] < high[:2]).all()
    assert np.isnan([low[2], high[2]]).all()
    alone = bootstrap.interval(bootstrap.means(values[:1], (0,)), 7)
    assert np.stack(alone)[:, 0] == pytest.approx([low[0], high[0]])


WORDS, CONTEXTS, TIMES = 40, 12, 600


def coverage(spread_of_contexts):
    """How often intervals of 95 % hold the mean: of words x contexts, and of words alone."""
    rng = np.random.default_rng(4)
    word, context = (unit.ravel() for unit in np.indices((WORDS, CONTEXTS)))
    held = np.zeros(2)
    for time in range(TIMES):
        by_word = rng.normal(0, 1, WORDS)[word]
        by_context = rng.normal(0, spread_of_contexts, CONTEXTS)[context]
        values = (by_word + by_context + rng.normal(0, 1, len(word)))[None]
        bootstrap = Bootstrap(300, 0.95, time)
        crossed = bootstrap.resample_crossed(means(values), Crossing([(word,), (context,)]), ())
        alone = bootstrap.means(values.reshape(WORDS, CONTEXTS).mean(axis=1)[None], ())
        for way, (draws, units) in enumerate([(crossed, CONTEXTS), (alone, WORDS)]):
            low, high = bootstrap.interval(draws, units)
            held[way] += low[0] <= 0 <= high[0]
    return held / TIMES


def test_what_is_in_one_unit_alone_is_drawn_with_it_and_no_second_time():
    bootstrap, values = Bootstrap(100, 0.95, 1), np.random.default_rng(1).standard_normal((2, 12))
    text, own = np.repeat(np.arange(4), 3), np.arange(12)
    alone = bootstrap.resample(cluster_means(values, text), 4, (0,))
    for other in (own, text):  # each once, or several times in one text
        crossed = bootstrap.resample_members(cluster_means, values, [text, other], ())
        assert crossed == pytest.approx(alone, nan_ok=True)
    token = np.array([0, 1, 2, 0, 3, 4, 5, 5, 6, 7, 6, 8])  # 0 and 6 recur
    draws = bootstrap.resample_members(cluster_means, values, [text, token], ())
    for draw, (texts, types) in zip(
        draws, crossed_samples(bootstrap, list(zip(text, token, strict=True))), strict=True
    ):
        often = np.array([texts[a] * types[b] for a, b in zip(text, token, strict=True)])
        with np.errstate(invalid="ignore"):
            assert draw == pytest.approx((values * often).sum(axis=1) / often.sum(), nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("types", "spread", "least", "most"),
    [
        (300, 0.5, 0.92, 0.995),  # nearly all recur
        (5_000, 0.5, 0.92, 0.99),  # some do
        (10**6, 0.0, 0.92, 0.97),  # hardly one: crossed with all of them, it would be 0.99 and more
    ],
)
def test_intervals_over_texts_and_recurring_types_hold_the_truth(types, spread, least, most):
    rng, runs = np.random.default_rng(4), 400
    text = np.repeat(np.arange(40), 12)
    often = 1 / np.arange(1, types + 1) ** (0.7 if spread else 0)
    cumulated = often.cumsum() / often.sum()
    held = np.zeros(2)
    for time in range(runs):
        bootstrap, token = Bootstrap(300, 0.95, time), cumulated.searchsorted(rng.random(len(text)))
        values = rng.normal(0, 0.3, 40)[text] + rng.normal(0, 1, len(text))
        values = (values + spread * rng.normal(size=types)[token])[None]
        factors = text, np.unique(token, return_inverse=True)[1]
        for way, of in enumerate([factors[:1], factors]):
            draws = bootstrap.resample_members(cluster_means, values, of, ())
            low, high = bootstrap.interval(draws, len(np.unique(text)))
            held[way] += low[0] <= 0 <= high[0]
    alone, crossed = held / runs
    assert least <= crossed <= most
    assert alone < 0.9 or types > 300


def test_equal_resamples_have_no_interval_unless_a_sign_test_decides():
    """0.1 is no sum of powers of 2: means of equal numbers differ by rounding."""
    bootstrap = Bootstrap(draws=200, confidence=0.95, seed=0)
    rng = np.random.default_rng(4)
    equal, two = np.full((1, 40), 0.1), np.where(np.arange(40) < 20, 0.1, 0.2)[None]
    draws = bootstrap.means(np.concatenate([equal, two]), ())
    for expanded in (True, False):
        low, high = bootstrap.interval(draws, 40, expanded=expanded)
        assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False]
        assert low[1] < 0.15 < high[1]
    layers = np.full((200, 2), 3.0)
    layers[:100, 1] = rng.integers(3, 5, size=100)
    for units, known in ((5, [False, True]), (6, [True, True]), (np.array([5, 6]), [False, True])):
        ends = bootstrap.interval(layers, units, "inverted_cdf", expanded=False, discrete=True)
        assert (~np.isnan(ends[0])).tolist() == known
    never = np.full((200, 1), np.inf)
    ends = bootstrap.interval(never, 5, "inverted_cdf", expanded=False, discrete=True)
    assert np.isinf(ends).all()


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_crossed_intervals_hold_the_truth_and_those_of_words_alone_do_not(spread):
    crossed, alone = coverage(spread)
    assert crossed >= 0.9
    if spread == 0:
        assert alone >= 0.9  # contexts make no difference
    if spread == 2:
        assert alone < 0.5
