"""Groups of words at the same frequency and position, against regressions and planted cases."""

import itertools

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from drawn import BAND, line_points, notes, panels
from measures import PROVENANCE, classed, crossed_samples, frame, statistics

from tokentrails.figures.matched_groups import matched_groups as drawn
from tokentrails.metrics.matched_groups import matched_groups
from tokentrails.statistics.bootstrap import FEWEST_UNITS
from tokentrails.statistics.forms import SOUND
from tokentrails.statistics.matching import matched_difference, shared_cells
from tokentrails.texts.word_classes import function_words
from tokentrails.texts.word_list import Entry, WordList

FUNCTION = sorted(word for word in function_words() if word.isalpha())[:40]
CONTENT = [f"{a}{b}{c}zu" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]


def regression(values, first, cell):
    """The coefficient of the group beside a constant for each cell."""
    shared = shared_cells(first, cell) & ~np.isnan(values)
    shared[shared] = shared_cells(first[shared], cell[shared])
    numbers = np.unique(cell[shared])
    design = np.column_stack([first[shared], cell[shared][:, None] == numbers]).astype(float)
    return np.linalg.lstsq(design, values[shared], rcond=None)[0][0]


def test_a_matched_difference_is_the_groups_coefficient_beside_cells():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 60)) + 1
    first, cell = rng.random(60) < 0.3, rng.integers(-1, 12, 60)
    values[1, rng.integers(60, size=9)] = np.nan
    found = matched_difference(values, first, cell)(np.ones((1, 60)))[0]
    assert found == pytest.approx([regression(curve, first, cell) for curve in values])
    plain = matched_difference(values[:1], first, np.zeros(60))(np.ones((1, 60)))[0, 0]
    assert plain == pytest.approx(values[0, first].mean() - values[0, ~first].mean())
    counts = rng.integers(0, 3, (2, 60))
    for drawn_counts in counts:
        again = np.repeat(np.arange(60), drawn_counts)
        wanted = [regression(curve[again], first[again], cell[again]) for curve in values]
        found = matched_difference(values, first, cell)(drawn_counts[None].astype(float))[0]
        assert found == pytest.approx(wanted)


def test_groups_without_a_shared_cell_have_no_difference():
    first, cell = np.array([True, True, False]), np.array([1, -1, -1])
    assert not shared_cells(first, cell).any()
    assert np.isnan(matched_difference(np.ones((1, 3)), first, cell)(np.ones((1, 3)))).all()


def word_list(words):
    return WordList(tuple(Entry(rank, word) for rank, word in words.items()), "hash")


def texts(words):
    """The tokens table of texts of words, each a list of its tokens."""
    rows = []
    for text, own in enumerate(words):
        tokens = [(word, part) for word in own for part in parts(word)]
        ids = [int.from_bytes(word[-2:].encode()) for word, _ in tokens]  # of the last two letters
        for first, (word, part) in enumerate(tokens):
            row = {"label": f"t{text:02}", "first": first, "word": word, "word_part": part}
            rows.append(row | {"token_ids": ids})
    return classed(pa.Table.from_pylist(rows))


def parts(word):
    """Words that begin with a capital are of three tokens."""
    return ["first", "later", "later"] if word[:1].isupper() else ["whole"]


def table(tokens, value, layers=2):
    """A table identity whose forms are `value` of the word and position, times the layer + 1."""
    rows = tokens.select(["label", "first", "word"]).to_pylist()
    made = [
        {"label": r["label"], "position": r["first"], "site": "resid", "layer": layer}
        | dict.fromkeys(SOUND, (layer + 1) * value(r["word"], r["first"]))
        for r, layer in itertools.product(rows, range(layers))
    ]
    return pa.Table.from_pylist(made)


def compared(tokens, words, value, draws=400):
    made = matched_groups(
        {"identity": table(tokens, value)},
        tokens,
        word_list(words),
        statistics(draws, confidence=0.95),
        provenance=PROVENANCE,
    )
    return frame(made).filter(measure="centred")


def planted(gap):
    """Function words are more frequent; a word's value is that of its frequency, and a gap."""
    rng = np.random.default_rng(3)
    listed = np.sort(rng.choice(np.arange(40, 4000), 190, replace=False))
    weight = 1 / listed / (1 / listed).sum()
    of_function = set(rng.choice(190, 40, replace=False, p=weight).tolist())
    function, content = iter(FUNCTION), iter(CONTENT)
    words = {
        int(line): next(function if index in of_function else content)
        for index, line in enumerate(listed)
    }
    line = {word: rank for rank, word in words.items()}
    names = list(line)
    tokens = texts([[names[i] for i in rng.integers(190, size=12)] for _ in range(60)])
    noise = dict(zip(names, rng.normal(0, 0.1, 190), strict=True))
    value = lambda w, _: -np.log10(line[w]) + noise[w] + gap * (w in FUNCTION)  # noqa: E731
    return tokens, words, value


@pytest.mark.parametrize("gap", [0.0, -0.5])
def test_what_is_of_frequency_is_gone_and_what_is_not_stays(gap):
    found = compared(*planted(gap)).filter(comparison="word_class", layer=0)
    plain, matched = (
        found.filter(matched_on=on).row(0, named=True)
        for on in ("nothing", "frequency and position")
    )
    assert plain["difference"] > gap + 0.2 and plain["ci_low"] > gap
    assert matched["difference"] == pytest.approx(gap, abs=0.06)
    assert matched["ci_low"] < gap < matched["ci_high"]
    assert (matched["ci_high"] < 0) == (gap < 0)
    assert matched["ci_high"] - matched["ci_low"] < 0.3
    total = [matched[n] + matched[f"{n}_left_out"] for n in ("n", "n_other")]
    assert total == [plain["n"], plain["n_other"]]


def test_what_is_of_position_is_gone():
    """Words of one band of frequency; those of function stand early, and values fall with that."""
    rng = np.random.default_rng(1)
    words = dict(enumerate([*FUNCTION, *CONTENT[:60]], start=128))
    own = [
        [str(rng.choice(FUNCTION if rng.random() > p / 14 else CONTENT[:60])) for p in range(14)]
        for _ in range(40)
    ]
    value = lambda w, first: 0.25 * (w in FUNCTION) - first.bit_length()  # noqa: E731
    found = compared(texts(own), words, value).filter(comparison="word_class", layer=1)
    plain, matched = (
        found.filter(matched_on=on)["difference"].item()
        for on in ("nothing", "frequency and position")
    )
    assert plain > 1 and matched == pytest.approx(0.5)


def test_intervals_are_those_of_words_crossed_with_texts():
    tokens, words, value = planted(0)
    found = compared(tokens, words, value, draws=50).filter(
        comparison="word_class", layer=0, matched_on="nothing"
    )
    rows = [r for r in tokens.to_pylist() if r["first"] > 0]
    bootstrap = statistics(50, confidence=0.95).bootstrap
    differences = []
    for labels, names in crossed_samples(bootstrap, [(r["label"], r["word"]) for r in rows]):
        sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
        for r in rows:
            times = labels[r["label"]] * names[r["word"]]
            side = sums[r["word"] in FUNCTION]
            side[0] += times * value(r["word"], 0)
            side[1] += times
        differences.append(sums[True][0] / sums[True][1] - sums[False][0] / sums[False][1])
    units = found["units"].item()
    assert units == len({r["word"] for r in rows if r["word"] in FUNCTION})
    ends = bootstrap.interval(np.array(differences)[:, None], units)
    assert found.select("ci_low", "ci_high").row(0) == pytest.approx([e[0] for e in ends], abs=1e-6)


WORDS = {100: FUNCTION[0], 101: CONTENT[0], 102: CONTENT[1].title(), 9: FUNCTION[1]}


def test_words_count_at_their_last_token_behind_the_first_position():
    several = CONTENT[1].title()
    text = [FUNCTION[0], FUNCTION[0], CONTENT[0], several, "Unlisted", FUNCTION[1]]
    found = compared(texts([text]), WORDS, lambda w, first: first)
    rows = {(r["comparison"], r["matched_on"]): r for r in found.filter(layer=0).to_dicts()}
    plain, matched = (rows["word_class", on] for on in ("nothing", "frequency and position"))
    # Function words at 1 and 9, a content word of one token at 2; in one band of positions, none.
    assert (plain["n"], plain["n_other"], plain["difference"]) == (2, 1, 5 - 2)
    assert (matched["n"], matched["n_other"], matched["cells"]) == (0, 0, 0)
    assert (matched["n_left_out"], matched["n_other_left_out"]) == (2, 1)
    assert matched["difference"] is None
    # Of several tokens: at 5, and at 8, which is not in the list.
    plain = rows["n_tokens", "nothing"]
    assert (plain["n"], plain["n_other"], plain["difference"]) == (2, 1, 6.5 - 2)


def test_few_words_or_texts_have_no_interval():
    for n in (FEWEST_UNITS - 1, FEWEST_UNITS):
        words = dict(enumerate([*FUNCTION[:n], *CONTENT[:n]], start=128))
        own = [["x", f, c] for f, c in zip(FUNCTION[:n], CONTENT[:n], strict=True)]
        found = compared(texts(own), words, lambda w, _: len(w))
        assert (found["units"].max(), found["n"].max()) == (n, n)
        classes = found.filter(comparison="word_class")
        assert classes["ci_low"].is_null().all() == (n < FEWEST_UNITS)
        assert found.filter(comparison="n_tokens")["ci_low"].is_null().all()


def test_words_that_end_in_the_same_token_are_one_unit():
    stems = ["Ka", "Lo", "Mi", "Nu", "Pe", "Ro"]
    for endings, units in (["bu"] * 6, 1), (["bu", "ca", "de", "fi", "go", "hu"], 6):
        several = [stem + end for stem, end in zip(stems, endings, strict=True)]
        words = dict(enumerate([*several, *CONTENT[:6]], start=128))
        own = [["x", s, c] for s, c in zip(several, CONTENT[:6], strict=True)]
        found = compared(texts(own), words, lambda w, _: len(w) + ord(w[0]) % 3)
        found = found.filter(comparison="n_tokens", matched_on="nothing")
        assert set(found["units"]) == {units}
        assert found["ci_low"].is_null().all() == (units < FEWEST_UNITS)


def test_ranks_and_own_tokens_are_compared_too():
    tokens, words, _ = planted(0)
    at = table(tokens, lambda w, _: 9 + 90 * (w in FUNCTION), layers=1)
    rank = at["cosine"].cast(pa.int32())
    base = at.select(["label", "position", "layer"])
    ranks = base.append_column("site", at["site"]).append_column("rank", rank)
    ranks = ranks.append_column("rank_standardised", pa.nulls(len(at), pa.int32()))
    own = base.append_column("own_rank", rank).append_column("own_logprob", at["cosine"])
    own = own.append_column("space", pa.repeat(pa.scalar("unembedding"), len(at)))
    made = matched_groups(
        {"ranks": ranks, "own_token": own},
        tokens,
        word_list(words),
        statistics(),
        provenance=PROVENANCE,
    )
    found = frame(made).filter(comparison="word_class", matched_on="nothing")
    assert {(r["space"], r["measure"]): r["difference"] for r in found.to_dicts()} == {
        ("embedding", "log_rank"): pytest.approx(1),
        ("embedding", "own_closest"): 0,
        ("unembedding", "own_log_rank"): pytest.approx(1),
        ("unembedding", "own_logprob"): pytest.approx(90),
    }


def shown():
    rows = []
    for measure, comparison, on, layer in itertools.product(
        (*SOUND, "log_rank"),
        ("word_class", "n_tokens"),
        ("nothing", "frequency and position"),
        range(3),
    ):
        tested = (comparison, on) != ("n_tokens", "frequency and position")
        value = len(measure) + layer + len(on) / 10
        row = {"model": "m", "checkpoint": "main", "comparison": comparison, "matched_on": on}
        row |= {"measure": measure, "space": "embedding", "site": "resid", "layer": layer}
        row |= {"difference": value, "ci_low": value - 1 if tested else None, "ci_high": value + 1}
        row |= {"n": 5, "n_left_out": 7, "n_other": 6, "n_other_left_out": 8, "cells": 3}
        rows.append(row | {"units": 9 if tested else 2, "few": on == "nothing"})
    return pl.DataFrame(rows)


def test_the_figure_draws_what_has_an_interval():
    rows = shown()
    chart = drawn(rows, rows.with_columns(model=pl.lit("r")), **BAND)
    found = panels(chart)
    assert list(found)[:2] == ["function − content: cosine", "function − content: cosine, scaled"]
    assert len(found) == 2 * (len(SOUND) + 1)
    points = line_points(found["function − content: rank"])
    wanted = dict(
        rows.filter(measure="log_rank", comparison="word_class", matched_on="nothing")
        .select("layer", "difference")
        .rows()
    )
    assert {p["layer"]: p["value"] for p in points if p["series"] == "all words"} == wanted
    grey = "random weights, at equal frequency"
    assert {p["series"] for p in points} == {"all words", "at equal frequency", grey}
    assert {p["dashed"] for p in points if p["series"] == "all words"} == {True}
    few = line_points(found["several − one token: rank"])
    assert {p["series"] for p in few} == {"all words"}
    told = notes(chart)
    assert "function − content: 5 of 12 and 6 of 14 words have a counterpart, in 3 cells." in told
    assert "2 words or texts of a group, too few to test" in told


def test_the_figure_of_no_rows_says_so():
    assert "nothing to show" in str(drawn(shown().clear(), **BAND).to_dict())
