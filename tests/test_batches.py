"""Which texts run together: all of them, once, within the budget."""

from collections import Counter

import numpy as np
import pytest

from tokentrails.network.batches import BUSY, MOST_PADDING, Text, batches, rows_of, texts_to_run
from tokentrails.network.extract import halve, padded_size

MANY = 10**6  # rows: no limit


def random_texts(seed, n=200, longest=300):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest, n)
    return [
        Text(tuple(draw.integers(0, 9, length).tolist()), ((row, (0,)),))
        for row, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [1, 100, 1000, 10**6])
def test_every_text_is_in_one_batch_and_batches_of_several_are_within_the_budget(seed, budget):
    texts = random_texts(seed)
    made = batches(texts, budget, MANY)
    assert Counter(text for batch in made for text in batch) == Counter(texts)
    for batch in made:
        padded = len(batch) * max(len(text.token_ids) for text in batch)
        assert padded <= budget or len(batch) == 1


def test_a_budget_is_used_to_the_last_token():
    texts = [Text((row,) * 10, ((row, (0,)),)) for row in range(10)]
    assert [len(batch) for batch in batches(texts, 50, MANY)] == [5, 5]
    assert [len(batch) for batch in batches(texts, 49, MANY)] == [4, 4, 2]
    assert [len(batch) for batch in batches(texts, 9, MANY)] == [1] * 10


@pytest.mark.parametrize("seed", range(5))
def test_busy_batches_hold_little_padding(seed):
    for batch in batches(random_texts(seed, n=1000), 10**6, MANY):
        *others, last = batch
        if sum(len(text.token_ids) for text in others) >= BUSY:
            real = sum(len(text.token_ids) for text in batch)
            assert 1 - real / (len(batch) * len(last.token_ids)) <= MOST_PADDING


def test_texts_of_one_length_keep_their_order():
    texts = [Text((row,) * (3 + row % 2), ((row, (0,)),)) for row in range(20)]
    order = [text.targets[0][0] for batch in batches(texts, 12, MANY) for text in batch]
    assert order == [*range(0, 20, 2), *range(1, 20, 2)]


def test_no_texts_make_no_batches():
    assert batches([], 100, MANY) == []


def test_a_text_with_several_targets_runs_once():
    ids = [[1, 2, 3], [4, 5], [1, 2, 3]]
    texts = texts_to_run(ids, [[0], [1], [1, 2]], causal=False)
    assert texts == [Text((1, 2, 3), ((0, (0,)), (2, (1, 2)))), Text((4, 5), ((1, (1,)),))]


def test_what_follows_the_last_target_is_left_out_of_causal_texts_only():
    ids = [[1, 2, 3, 4], [1, 2, 3, 4]]
    (text,) = texts_to_run(ids, [[1], [2]], causal=True)
    assert text == Text((1, 2, 3), ((0, (1,)), (1, (2,))))
    (text,) = texts_to_run(ids, [[1], [2]], causal=False)
    assert text.token_ids == (1, 2, 3, 4)


def test_texts_that_are_the_same_up_to_their_targets_run_once():
    ids = [[1, 2, 3], [1, 2, 9, 9], [1, 7, 3]]
    texts = texts_to_run(ids, [[1], [0, 1], [1]], causal=True)
    assert texts == [Text((1, 2), ((0, (1,)), (1, (0, 1)))), Text((1, 7), ((2, (1,)),))]


@pytest.mark.parametrize("causal", [True, False])
def test_every_target_reads_its_own_token(causal):
    draw = np.random.default_rng(0)
    ids = [draw.integers(0, 3, draw.integers(1, 6)).tolist() for _ in range(300)]
    positions = [[int(draw.integers(0, len(text)))] for text in ids]
    seen = Counter()
    for text in texts_to_run(ids, positions, causal=causal):
        for row, (position,) in text.targets:
            seen[row] += 1
            assert [position] == positions[row]
            assert text.token_ids == tuple(ids[row][: len(text.token_ids)])
            assert position < len(text.token_ids)
    assert seen == Counter(range(300))


def test_a_batch_that_did_not_fit_is_halved_with_all_later_ones_of_its_size():
    texts = [Text((row,) * 4, ((row, (0,)),)) for row in range(9)]
    small, batch, later = texts[:1], texts[1:4], texts[4:9]
    halves = halve(batch, [small, later], "m")
    assert halves == [batch[:1], batch[1:], small, later[:2], later[2:]]
    assert max(map(padded_size, halves)) == 12


@pytest.mark.parametrize("row_budget", [1, 7, 50])
def test_no_batch_reads_more_rows_than_fit(row_budget):
    draw = np.random.default_rng(0)
    rows = iter(range(10**6))
    texts = [
        Text((1,) * 30, tuple((next(rows), (3,)) for _ in range(n)))
        for n in draw.integers(1, 20, 40)
    ]
    made = batches(texts, 200, row_budget)
    assert all(sum(map(rows_of, batch)) <= row_budget for batch in made)
    read = [target for batch in made for text in batch for target in text.targets]
    assert Counter(read) == Counter(target for text in texts for target in text.targets)


def test_a_target_of_more_rows_than_fit_is_read_alone():
    texts = [Text((1,) * 30, ((0, tuple(range(9))), (1, (3,))))]
    assert [[text.targets for text in batch] for batch in batches(texts, 200, 4)] == [
        [((0, tuple(range(9))),)],
        [((1, (3,)),)],
    ]
