"""Measures across checkpoints, against plain loops over their formulas and what must hold."""

from itertools import pairwise

import measures
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from measures import cosine, frame, statistics

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import Layer, places
from tokentrails.metrics.alignment import alignment
from tokentrails.metrics.columns.groups import Words, word_units
from tokentrails.metrics.convergence import (
    convergence,
    convergence_by_group,
    convergence_similarities,
)
from tokentrails.metrics.perturbation import perturbation, perturbation_by_group
from tokentrails.statistics.alignment import compact, debiased_cka, procrustes
from tokentrails.statistics.bootstrap import FEWEST_UNITS, Crossing
from tokentrails.statistics.forms import FORMS
from tokentrails.statistics.jackknife import Jackknife, means
from tokentrails.statistics.student import t_interval

WIDTH, DEPTH = 6, 2
PLACES = tuple(places(["resid", "resid_mid", "final_norm"], DEPTH))
STEPS = {"step0": 0, "step4": 4, "main": None, "step32": 32}
N_TOKENS = [1, 2, 1, 2, 2, 1, 4, 2, 1, 1, 2, 1]
PROVENANCE = {"model": "m", "checkpoint": "all", "experiment": "e"}
STATISTICS = statistics(200, seed=0, few=6)


def random_states(seed: int, n: int = len(N_TOKENS), width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(PLACES), n, width), dtype=np.float32)


@pytest.fixture(scope="module")
def states():
    return {name: random_states(seed) for seed, name in enumerate(STEPS)}


@pytest.fixture(scope="module")
def siblings(states, tmp_path_factory):
    return measures.siblings(tmp_path_factory.mktemp("siblings"), states, PLACES, "step32")


TOKENS = measures.tokens_table(
    [f"word {i}" for i in range(len(N_TOKENS))],
    [[7 + i] * n for i, n in enumerate(N_TOKENS)],
    [f"w{(5 * i) % len(N_TOKENS):02}" for i in range(len(N_TOKENS))],
    rank=pa.array(range(1, len(N_TOKENS) + 1), pa.int32()),
)


def similarities(siblings):
    return convergence_similarities(siblings, TOKENS, "last")


def table_of(siblings, pooling="last"):
    about = {"pooling": pooling, "groups": ["rank"], "provenance": PROVENANCE}
    parts = convergence(similarities(siblings), siblings, STEPS, TOKENS, **about)
    return frame(pa.concat_tables(parts))


def group_table(siblings, steps=STEPS, groups=(1, 2, 3)):
    about = {"pooling": "last", "groups": groups}
    about |= {"statistics": STATISTICS, "provenance": PROVENANCE}
    return frame(convergence_by_group(similarities(siblings), siblings, steps, TOKENS, **about))


def test_convergence_is_the_cosine_with_the_reference(siblings, states):
    table = table_of(siblings)
    assert len(table) == len(STEPS) * len(N_TOKENS) * len(PLACES)
    words = TOKENS.to_pylist()
    for row in table.iter_rows(named=True):
        word = next(i for i, w in enumerate(words) if w["label"] == row["label"])
        place = PLACES.index((row["site"], row["layer"]))
        expected = cosine(states[row["checkpoint"]][place, word], states["step32"][place, word])
        assert row["cosine"] == pytest.approx(expected, abs=1e-6)
        for name in ("word", "n_tokens", "rank"):
            assert row[name] == words[word][name]
        assert row["position"] == words[word]["last"]
        assert (row["model"], row["experiment"], row["reference"]) == ("m", "e", "step32")
        assert row["step"] == STEPS[row["checkpoint"]]
    keys = ["checkpoint", "label", "site", "layer"]
    assert table.select(keys).rows() == [
        key
        for name in STEPS
        for key in sorted(table.filter(pl.col("checkpoint") == name).select(keys).rows())
    ]


def test_the_reference_is_at_one_and_first_pooling_has_its_position(siblings):
    table = table_of(siblings, pooling="first")
    assert table.filter(pl.col("checkpoint") == "step32")["cosine"].unique().to_list() == [1.0]
    assert table["position"].unique().to_list() == [1]


@pytest.fixture(scope="module")
def by_group(siblings):
    return group_table(siblings)


def test_group_means_are_means_over_its_words(by_group, siblings):
    words = table_of(siblings).filter(pl.col("n_tokens") <= 3)
    assert by_group.height == len(STEPS) * 4 * (len(PLACES) + 3)
    for row in by_group.iter_rows(named=True):
        here = words.filter(
            pl.col("checkpoint") == row["checkpoint"],
            pl.col("site") == row["site"],
            *(pl.col(k) == row[k] for k in ("n_tokens", "layer") if row[k] is not None),
        )
        assert row["n"] == here["label"].n_unique()
        assert row["few"] == (row["n"] < 6)
        if row["n"] == 0:
            assert row["n_tokens"] == 3
            assert [row[name] for name in ("mean", "ci_low", "ci_high")] == [None] * 3
            continue
        for name in FORMS:
            mean, low, high = ("mean", "ci_low", "ci_high")
            if name != "cosine":
                mean, low, high = name, f"{name}_low", f"{name}_high"
            assert row[mean] == pytest.approx(here[name].cast(pl.Float64).mean(), abs=1e-6)
            if row["checkpoint"] == "step32":  # the reference is as it is in every word
                assert row[low] is row[high] is None
            else:
                assert row[low] < row[mean] < row[high]
    assert by_group["few"].unique().sort().to_list() == [False, True]


def test_intervals_beyond_chance_are_those_of_resampled_words(tmp_path):
    """With a chance that differs by place and checkpoint."""
    states = {name: random_states(i) for i, name in enumerate(STEPS)}
    for i, values in enumerate(states.values()):
        values += np.linspace(0, 1 + i, len(PLACES), dtype=np.float32)[:, None, None]
    siblings = measures.siblings(tmp_path, states, PLACES, "step32")
    table = group_table(siblings).filter(n_tokens=1)
    chosen = np.array(N_TOKENS) == 1
    crossing = Crossing([[np.arange(chosen.sum())]])
    words = Words(PLACES, STATISTICS.bootstrap, (1,), np.ones(chosen.sum()), crossing)
    for form, values in zip(FORMS[1:], similarities(siblings)[1:, ..., chosen], strict=True):
        curves = words.curves(values)
        low, high = curves.interval(curves.draws)
        for name, expected in ((form, curves.mean), (f"{form}_low", low), (f"{form}_high", high)):
            by_row = [
                table.filter(pl.col("layer").eq_missing(layer), checkpoint=checkpoint, site=site)[
                    name
                ].item()
                for checkpoint in STEPS
                for site, layer in [*PLACES, *((s, None) for s in dict(PLACES))]
            ]
            found = np.array(by_row, np.float64)
            assert found == pytest.approx(expected.ravel(), abs=1e-5, nan_ok=True)


def tokens_of(words, last):
    """A tokens table of words of two tokens."""
    return measures.tokens_table(words, [[5, token] for token in last])


def test_occurrences_of_a_word_and_words_with_a_token_in_common_are_one_unit():
    tokens = tokens_of(["a", "b", "a", "c", "d", "e"], [10, 11, 12, 11, 13, 12])
    assert word_units(tokens, "last").tolist() == [0, 1, 0, 1, 2, 0]  # e ends as an a does
    assert word_units(tokens, "first").tolist() == [0] * 6
    assert word_units(tokens.slice(0, 0), "last").tolist() == []


def test_more_texts_of_a_word_are_no_more_words(siblings):
    values = similarities(siblings)
    about = {"pooling": "last", "groups": [1, 2, 3], "statistics": STATISTICS}

    def group_table(times):
        tiled, tokens = np.tile(values, times), pa.concat_tables([TOKENS] * times)
        return frame(
            convergence_by_group(tiled, siblings, STEPS, tokens, **about, provenance=PROVENANCE)
        )

    once, often = group_table(1), group_table(20)
    assert often["n"].equals(once["n"])
    for name in once.select(pl.col(pl.Float32)).columns:
        assert often[name].to_numpy() == pytest.approx(
            once[name].to_numpy().astype(float), abs=1e-5, nan_ok=True
        )


def test_words_that_end_in_four_tokens_are_four_units(siblings):
    values, words = similarities(siblings), [f"w{i}" for i in range(12)]
    about = {"pooling": "last", "groups": [2], "statistics": STATISTICS, "provenance": PROVENANCE}
    for endings, known in ((4, False), (5, True)):
        tokens = tokens_of(words, [20 + i % endings for i in range(12)])
        table = frame(convergence_by_group(values, siblings, STEPS, tokens, **about))
        table = table.filter(pl.col("checkpoint") == "step0")
        assert set(table["n"]) == {12} and table["ci_low"].is_not_null().all() == known


def test_slopes_are_differences_between_numbered_checkpoints(by_group):
    numbered = [name for name, step in STEPS.items() if step is not None]
    keys = ["n_tokens", "site", "layer"]
    names = ["per_doubling", "per_doubling_low", "per_doubling_high", "per_step"]
    empty = by_group.filter(pl.col("checkpoint").is_in(["step0", "main"])).select(names)
    assert empty.null_count().row(0) == (len(empty),) * 4
    for before, at in pairwise(numbered):
        first, second = (by_group.filter(pl.col("checkpoint") == name) for name in (before, at))
        both = second.join(first, on=keys, nulls_equal=True).filter(pl.col("n") > 0)
        assert len(both) == 3 * (len(PLACES) + 3)
        change = (both["mean"].cast(pl.Float64) - both["mean_right"]).to_numpy()
        doublings = np.log2(1 + STEPS[at]) - np.log2(1 + STEPS[before])
        assert both["per_doubling"].to_numpy() == pytest.approx(change / doublings, abs=1e-6)
        per_step = change / (STEPS[at] - STEPS[before])
        assert both["per_step"].to_numpy() == pytest.approx(per_step, abs=1e-6)
        assert (both["per_doubling_low"] <= both["per_doubling"]).all()
        assert (both["per_doubling"] <= both["per_doubling_high"]).all()


def test_a_slope_reaches_back_at_least_a_quarter_of_a_doubling(tmp_path):
    steps = {"step0": 0, "step20": 20, "step21": 21, "step22": 22, "step32": 32}
    states = {name: random_states(i) for i, name in enumerate(steps)}
    siblings = measures.siblings(tmp_path, states, PLACES, "step32")
    curves = group_table(siblings, steps, [1]).filter(n_tokens=1, site="resid", layer=1)
    mean = dict(curves.select("checkpoint", "mean").iter_rows())
    row = {row["checkpoint"]: row for row in curves.iter_rows(named=True)}
    for name, since in (("step20", 0), ("step21", 0), ("step22", 0), ("step32", 22)):
        change = mean[name] - mean[f"step{since}"]
        slope = change / np.log2((1 + steps[name]) / (1 + since))
        assert row[name]["per_doubling"] == pytest.approx(slope, abs=1e-6)
        assert row[name]["per_doubling_low"] <= slope <= row[name]["per_doubling_high"]
    assert row["step21"]["per_step"] == pytest.approx(mean["step21"] - mean["step20"], abs=1e-6)


def test_siblings_of_another_width_are_refused(states, tmp_path):
    wider = states | {"step4": random_states(1, width=WIDTH + 1)}
    with pytest.raises(TokentrailsError, match=r"step4 are 7 wide .* step32 are 6 wide"):
        measures.siblings(tmp_path, wider, PLACES, "step32")


# Measures that a rotation leaves as they are


def cka(x, y):
    return debiased_cka(compact(x), compact(y))[0]


def rotation_similarity(x, y):
    return procrustes(compact(x), compact(y))[0]


def slow_hsic(x, y):
    """HSIC_1 from the n x n kernels, sum by sum as Song et al. write it."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    return (
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


@pytest.mark.parametrize(("n", "d", "e"), [(4, 3, 3), (20, 5, 8), (9, 40, 40)])
def test_cka_agrees_with_kernels_of_all_pairs(n, d, e):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)) + 3, rng.standard_normal((n, e))
    y[:, :3] += x[:, :3]
    expected = slow_hsic(x, y) / np.sqrt(slow_hsic(x, x) * slow_hsic(y, y))
    assert cka(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(50, 8), (8, 50)])
def test_procrustes_is_what_the_best_rotation_reaches(n, d):
    """Against the rotation itself, from the singular vectors; and no other rotation does better."""
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)) + 1, rng.standard_normal((n, d))
    y += 0.7 * x
    found = rotation_similarity(x, y)
    a, b = (s - s.mean(axis=0) for s in (x, y))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    left, _, right = np.linalg.svd(a.T @ b)
    assert found == pytest.approx(float(np.sum((a @ (left @ right)) * b)), abs=1e-7)
    assert found == pytest.approx(1 - np.linalg.norm(a @ (left @ right) - b) ** 2 / 2, abs=1e-7)
    for _ in range(50):
        other, _ = np.linalg.qr(rng.standard_normal((d, d)))
        assert np.sum((a @ other) * b) < found


def test_states_that_do_not_vary_have_neither():
    same = np.ones((10, 4))
    varied = np.random.default_rng(0).standard_normal((10, 4))
    assert np.isnan(cka(same, varied)) and np.isnan(rotation_similarity(same, varied))
    assert np.isnan(cka(varied[:3], varied[:3]))


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30)])
@pytest.mark.parametrize("measure", [debiased_cka, procrustes])
def test_a_measure_without_some_words_is_that_of_the_others(measure, n, d):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)) + 2, rng.standard_normal((n, d))
    y += x
    parts = Jackknife.split(np.arange(n), [0], 0.95).parts
    values = measure(compact(x), compact(y), parts)
    assert len(values) == 1 + len(parts)
    for part, value in zip(parts, values[1:], strict=True):
        rest = [i for i in range(n) if i not in part]
        assert value == pytest.approx(measure(compact(x[rest]), compact(y[rest]))[0], abs=1e-7)


@pytest.mark.parametrize("words", [0, 1, 2, 3, 5, 41, 600])
def test_words_are_split_and_matched_within_their_part(words):
    split = Jackknife.split(np.arange(words), [3], 0.95)
    assert sorted(np.concatenate(split.parts)) == list(range(words))
    sizes = {len(part) for part in split.parts}
    assert max(sizes) - min(sizes) <= 1 and len(split.parts) == max(1, min(20, words // 2))
    for part in split.parts:
        assert sorted(split.others[part]) == sorted(part)
    if words > 1:
        assert (split.others != np.arange(words)).all()


def test_words_of_a_unit_are_left_out_together():
    units = np.repeat(np.arange(9), [1, 5, 2, 1, 1, 7, 1, 1, 3])
    split = Jackknife.split(units, [0], 0.95)
    assert len(split.parts) == 4
    assert sorted(np.concatenate(split.parts)) == list(range(len(units)))
    of_parts = [set(units[part]) for part in split.parts]
    assert sum(map(len, of_parts)) == 9 and set.union(*of_parts) == set(range(9))


def test_words_of_one_unit_have_a_similarity_and_no_interval():
    x, y = map(compact, np.random.default_rng(0).standard_normal((2, 30, 40)))
    split = Jackknife.split(np.zeros(30, int), [0], 0.95)
    for values in (
        procrustes(x, y, split.parts),
        debiased_cka(x, y, split.parts),
        means(x[:, 0], split.parts),
    ):
        assert np.isfinite(values[0]) and np.isnan(values[1:]).all()
        assert np.isnan(split.interval(values[0], values[1:])).all()


def test_equal_values_have_no_interval():
    split = Jackknife.split(np.arange(40), [0], 0.95)
    assert np.isnan(split.interval(1.0, [1.0] * 20)).all()
    low, high = t_interval(np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]), 0.95)
    assert np.isnan([low[0], high[0]]).all() and low[1] < 2 < high[1]


def similar_words(rng, n, dimensions=8):
    """States at two checkpoints: 0.7 of each dimension is shared, later dimensions vary less."""
    scale = 1 / np.sqrt(np.arange(1, dimensions + 1))
    shared, own = rng.standard_normal((2, n, dimensions))
    return shared * scale, (0.7 * shared + np.sqrt(1 - 0.49) * own) * scale


@pytest.mark.slow
def test_intervals_of_cka_and_procrustes_hold_the_truth_as_often_as_they_say():
    """CKA of the population is 0.49; Procrustes similarity of so few words is that on average."""
    rng = np.random.default_rng(0)
    n, times = 60, 1000
    found = {name: np.empty((times, 3)) for name in ("cka", "procrustes", "shuffled")}
    for i in range(times):
        x, y = map(compact, similar_words(rng, n))
        split = Jackknife.split(np.arange(n), [i], 0.95)
        for name, values in (
            ("cka", debiased_cka(x, y, split.parts)),
            ("procrustes", procrustes(x, y, split.parts)),
            ("shuffled", procrustes(x, y[split.others], split.parts)),
        ):
            found[name][i] = [values[0], *split.interval(values[0], values[1:])]
    truth = {name: values[:, 0].mean() for name, values in found.items()} | {"cka": 0.49}
    held = {
        name: np.mean((values[:, 1] <= truth[name]) & (truth[name] <= values[:, 2]))
        for name, values in found.items()
    }
    assert 0.93 <= held["cka"] <= 0.97
    assert 0.93 <= held["procrustes"] <= 0.97
    assert held["shuffled"] >= 0.93  # where all is noise, the jackknife is too careful


def test_the_alignment_table(siblings, states, tmp_path):
    rotation, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((WIDTH, WIDTH)))
    rotated = states | {"step4": (states["step32"] @ rotation).astype(np.float32)}
    table = alignment(
        measures.siblings(tmp_path, rotated, PLACES, "step32"),
        STEPS,
        TOKENS,
        pooling="last",
        groups=[1, 2, 3],
        statistics=STATISTICS,
        provenance=PROVENANCE | {"seed": "0"},
    )
    assert b"jackknife" in table.schema.metadata[b"intervals"]
    assert table.schema.metadata[b"seed"] == b"0"
    rows = frame(table)
    assert len(rows) == len(STEPS) * 4 * len(PLACES)
    assert rows.filter(pl.col("n") == 0)["procrustes"].null_count() == len(STEPS) * len(PLACES)
    known = rows.filter(pl.col("n") > 0)
    for name in ("step4", "step32"):
        here = known.filter(pl.col("checkpoint") == name)
        assert here["cka"].to_list() == pytest.approx([1.0] * len(here), abs=1e-5)
        assert here["procrustes"].to_list() == pytest.approx([1.0] * len(here), abs=1e-5)
        assert (here["procrustes_shuffled"] < 1 - 1e-3).all()
    assert (known.filter(pl.col("checkpoint") == "step4")["cosine"].abs() < 0.9).all()
    every = known.filter(pl.col("n_tokens").is_null(), pl.col("checkpoint") == "step0")
    chosen = [i for i, n in enumerate(N_TOKENS) if n <= 3]
    parts = Jackknife.split(np.arange(len(chosen)), [0, 0], 0.9).parts
    assert len(parts) == 5
    for row in every.iter_rows(named=True):
        place = PLACES.index((row["site"], row["layer"]))
        a, b = states["step0"][place][chosen], states["step32"][place][chosen]
        assert row["n"] == len(chosen) and row["few"] is False
        cosines = np.array([cosine(x, y) for x, y in zip(a, b, strict=True)])
        slow = {
            "cosine": lambda kept, values=cosines: values[kept].mean(),
            "cka": lambda kept, a=a, b=b: cka(a[kept], b[kept]),
            "procrustes": lambda kept, a=a, b=b: rotation_similarity(a[kept], b[kept]),
        }
        for name, measure in slow.items():
            value = measure(np.arange(len(chosen)))
            without = [measure(np.setdiff1d(np.arange(len(chosen)), part)) for part in parts]
            error = np.sqrt(sum((w - np.mean(without)) ** 2 for w in without) * 4 / 5)
            reach = 2.131847 * error  # Student's t, 90 %, four degrees of freedom
            assert row[name] == pytest.approx(value, abs=1e-6)
            assert row[f"{name}_ci_low"] == pytest.approx(value - reach, abs=2e-6)
            assert row[f"{name}_ci_high"] == pytest.approx(min(1, value + reach), abs=2e-6)
        assert row["procrustes_shuffled_ci_low"] < row["procrustes_shuffled"]
    of_five = known.filter(n_tokens=2)
    assert set(of_five["n"]) == {5}
    assert of_five["cka_ci_low"].null_count() == len(of_five)  # it would need four without a part
    same = of_five["checkpoint"].is_in(["step4", "step32"])  # but for a rotation
    assert (of_five["procrustes_ci_low"].is_null() == same).all()


# Perturbation

TEXTS = [  # word, n_tokens, variant, base
    ("cat", 1, "base", 0),
    ("cat", 1, "P1", 0),
    ("cat", 1, "P1", 0),
    ("going", 2, "base", 3),
    ("going", 2, "P1", 3),
    ("doing", 2, "P2", 3),
    ("being", 2, "P2", 3),
    ("under", 2, "base", 7),
    ("wonder", 2, "P2", 7),
    ("under", 2, "P1", 7),
]


def perturbation_tokens():
    words, n_tokens, variants, bases = zip(*TEXTS, strict=True)
    ids = [[7] * (n - 1) + [base] for n, base in zip(n_tokens, bases, strict=True)]
    base = pa.array(bases, pa.int32())
    return measures.tokens_table(words, ids, variant=variants, base=base)


def perturbations(states):
    occurrence = np.arange(len(TEXTS), dtype=np.int32)
    layers = [Layer(*place, occurrence, at) for place, at in zip(PLACES, states, strict=True)]
    provenance = PROVENANCE | {"checkpoint": "step4"}
    tables = perturbation(layers, perturbation_tokens(), provenance=provenance)
    return {name: frame(table) for name, table in tables.items()}


def test_perturbation_is_the_mean_cosine_with_the_base():
    states = random_states(1, n=len(TEXTS))
    tables = perturbations(states)
    table = tables["perturbation"]
    by_context = tables["perturbation_contexts"]
    assert by_context["context"].null_count() == len(by_context)  # there are none
    assert by_context.drop("base_context", "context").equals(table)
    assert dict(table.select("word", "last_token").iter_rows())["going"] == "t3"
    keys = {("cat", 1, "P1"), ("going", 2, "P1"), ("going", 2, "P2"), ("under", 2, "P1")}
    keys |= {("under", 2, "P2")}
    assert set(table.select("word", "n_tokens", "variant").rows()) == keys
    assert len(table) == len(keys) * len(PLACES)
    for row in table.iter_rows(named=True):
        base = next(i for i, (w, _, v, _) in enumerate(TEXTS) if (w, v) == (row["word"], "base"))
        others = [i for i, (*_, v, b) in enumerate(TEXTS) if (v, b) == (row["variant"], base)]
        at = states[PLACES.index((row["site"], row["layer"]))]
        assert row["n"] == len(others)
        expected = np.mean([cosine(at[i], at[base]) for i in others])
        assert row["cosine"] == pytest.approx(expected, abs=1e-6)
        assert row["checkpoint"] == "step4"


def test_bases_of_one_word_are_compared_with_each_other():
    words, variants, bases = ["cat", "cat", "cot", "cat", "dog"], ["base"] * 5, [0, 1, 1, 3, 4]
    variants[2] = "P2"
    tokens = measures.tokens_table(
        *(words, [[7]] * 5), variant=variants, base=pa.array(bases, pa.int32())
    )
    states = random_states(3, n=5)
    layers = [
        Layer(*place, np.arange(5, dtype=np.int32), at)
        for place, at in zip(PLACES, states, strict=True)
    ]
    provenance = PROVENANCE | {"checkpoint": "step4"}
    table = frame(perturbation(layers, tokens, provenance=provenance)["perturbation"])
    pairs = {"P1": [(0, 1), (0, 3), (1, 3)], "P2": [(2, 1)]}
    assert len(table) == 2 * len(PLACES) and table["word"].unique().to_list() == ["cat"]
    for row in table.iter_rows(named=True):
        at, own = states[PLACES.index((row["site"], row["layer"]))], pairs[row["variant"]]
        assert row["n"] == len(own)
        assert row["cosine"] == pytest.approx(np.mean([cosine(at[a], at[b]) for a, b in own]))


def test_perturbation_by_group_means_over_words():
    tables = {
        name: perturbations(random_states(i, len(TEXTS)))["perturbation_contexts"]
        for i, name in enumerate(STEPS)
    }
    result = perturbation_by_group(
        tables, STEPS, groups=[1, 2], statistics=statistics(200, few=2), provenance=PROVENANCE
    )
    rows = frame(result)
    there = perturbation_by_group(
        tables, STEPS, groups=[], statistics=statistics(200, few=2), provenance=PROVENANCE
    )
    assert there.equals(result)
    assert len(rows) == len(STEPS) * 2 * 2 * (len(PLACES) + 3)
    for row in rows.iter_rows(named=True):
        here = tables[row["checkpoint"]].filter(
            pl.col("variant") == row["variant"],
            pl.col("n_tokens") == row["n_tokens"],
            pl.col("site") == row["site"],
            *([] if row["layer"] is None else [pl.col("layer") == row["layer"]]),
        )
        assert row["n"] == here["word"].n_unique() and row["few"] == (row["n"] < 2)
        assert row["step"] == STEPS[row["checkpoint"]]
        if row["n"] == 0:
            assert (row["variant"], row["n_tokens"]) == ("P2", 1)
            assert row["mean"] is None
            continue
        assert row["mean"] == pytest.approx(here["cosine"].cast(pl.Float64).mean(), abs=1e-6)
        assert row["n"] < FEWEST_UNITS and row["ci_low"] is row["ci_high"] is None


@pytest.mark.parametrize("variant", ["P1", "P2"])
def test_perturbation_resamples_last_tokens_and_contexts(variant):
    """Six words with five last tokens, in five contexts, by a slow second way."""
    last = {"ab": 5, "cb": 5, "ad": 6, "ae": 7, "af": 8, "ag": 9}
    of_base = {"ab": 0, "cb": 1, "ad": 2, "ae": 0, "af": 3, "ag": 4}
    rows = []
    for word, context in of_base.items():
        base = len(rows)
        rows.append((word, "base", base, context))
        others = [c for c in range(5) if c != context and (word != "ad" or c == 0)]
        rows += [(word, "P1", base, c) for c in others]
        rows += [(f"{word}{i}", "P2", base, context) for i in range(1 + (word == "ab"))]
    words, variants, bases, contexts = zip(*rows, strict=True)
    ids = [[1, last[words[base]]] for base in bases]
    columns = {"base": pa.array(bases, pa.int32()), "context": pa.array(contexts, pa.int32())}
    tokens = measures.tokens_table(words, ids, variant=variants, **columns)
    states = random_states(5, n=len(rows))
    layers = [
        Layer(*place, np.arange(len(rows), dtype=np.int32), at)
        for place, at in zip(PLACES, states, strict=True)
    ]
    provenance = PROVENANCE | {"checkpoint": "step4"}
    table = frame(perturbation(layers, tokens, provenance=provenance)["perturbation_contexts"])
    settings = statistics(300, few=2)
    made = frame(
        perturbation_by_group(
            {"step4": table}, {"step4": 4}, groups=[2], statistics=settings, provenance=provenance
        )
    ).filter(variant=variant, site=PLACES[0][0], layer=PLACES[0][1])

    own = [row for row in rows if row[1] == variant]
    numbers = {token: i for i, token in enumerate(sorted({f"t{n}" for n in last.values()}))}
    stream = 1 + (variant == "P2"), 2
    draws = zip(
        measures.samples(settings.bootstrap, 5, *stream, 0),
        measures.samples(settings.bootstrap, 5, *stream, 1),
        strict=True,
    )
    means = []
    for token_sample, context_sample in [(range(5), range(5)), *draws]:
        total = size = 0.0
        for index, row in enumerate(rows):
            if row[1] != variant:
                continue
            _, _, base, context = row
            word = words[base]
            weight = 1 / sum(other[2] == base for other in own)
            weight *= list(token_sample).count(numbers[f"t{last[word]}"])
            weight *= list(context_sample).count(of_base[word])
            if variant == "P1":
                weight *= list(context_sample).count(context)
            total += weight * cosine(states[0][index], states[0][base])
            size += weight
        means.append(total / size if size else np.nan)
    assert made["n"].item() == 6
    assert made["mean"].item() == pytest.approx(means[0], abs=1e-6)
    low, high = settings.bootstrap.interval(np.array(means[1:]), 5)
    assert made["ci_low"].item() == pytest.approx(low, abs=1e-6)
    assert made["ci_high"].item() == pytest.approx(high, abs=1e-6)
