"""The shape of states: known spectra, what a rotation leaves, and loops over the definitions."""

import measures
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from measures import moved
from pytest import approx

from tokentrails.files.states import Layer
from tokentrails.metrics import geometry as module
from tokentrails.metrics.geometry import Tokens, geometry
from tokentrails.statistics.alignment import compact, debiased_cka
from tokentrails.statistics.spectrum import (
    effective_rank,
    isoscore,
    participation_ratio,
    slope,
    spectra,
)

STATISTICS = measures.statistics(few=5)
LENGTHS = (5, 9, 1, 6, 2, 8)


def tokens(lengths=LENGTHS):
    position = np.concatenate([np.arange(n) for n in lengths])
    text = np.repeat(np.arange(len(lengths)), lengths)
    return Tokens(text, position, [f"t{p}" for p in position])


def layers(n, d=12, depth=3, seed=0):
    """States whose first tokens are far out, at two sites."""
    draw = np.random.default_rng(seed)
    found, scale = [], np.geomspace(3, 0.2, d)
    for site, last in (("resid", depth), ("resid_mid", depth - 1)):
        x = draw.normal(size=(n, d)) * scale
        for layer in range(last + 1):
            x = x + 0.3 * draw.normal(size=(n, d)) * scale + 0.1
            found.append(Layer(site, layer, np.arange(n), x.astype(np.float32)))
    return found


def spread(layers, tokens):
    """The same with a great value in one dimension of first tokens."""
    far = np.zeros((len(tokens.text), layers[0].hidden.shape[1]), np.float32)
    far[tokens.position == 0, 4] = -300
    return moved(layers, lambda x: x.hidden + x.layer * far)


def table(states, tokens, threads=1):
    options = {"statistics": STATISTICS, "provenance": measures.PROVENANCE, "threads": threads}
    made = geometry(states, tokens, **options)
    return measures.frame(made)


# Known spectra


def shape(values, n=10_000):
    values = np.array(values, dtype=float)
    return effective_rank(values), participation_ratio(values), isoscore(values, len(values))


def test_equal_eigenvalues_fill_the_space_and_one_alone_is_a_line():
    assert shape([7.0] * 40) == approx((40, 40, 1))
    assert shape([7.0] + [0] * 39) == approx((1, 1, 0))
    assert shape([2.0] * 10 + [0] * 30) == approx((10, 10, 9 / 39))
    assert np.isnan(shape([0.0] * 5)).all()


def test_the_entropy_of_a_geometric_spectrum():
    # Shares 1/2, 1/4, ...: an entropy of 2 log 2; sum 1 and sum of squares 1/3.
    values = 0.5 ** np.arange(1, 60)
    assert effective_rank(values) == approx(4, rel=1e-9)
    assert participation_ratio(values) == approx(3, rel=1e-9)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.5])
def test_the_slope_of_a_power_law_is_its_exponent(power):
    index = np.arange(1.0, 301)
    assert slope(5 * index**-power, 1000) == approx(-power, rel=1e-9)
    noise = np.where(index % 2 == 0, 1.3, 1 / 1.3)
    assert slope(index**-power * noise, 1000) == approx(-power, abs=0.02)


def test_the_slope_is_of_the_stated_range_alone():
    values = np.arange(1.0, 301) ** -1.5
    values[:10] *= 50
    values[100:] *= 0.01
    assert slope(values, 1000) == approx(-1.5)
    values[99] /= 2
    assert slope(values, 1000) != approx(-1.5)
    # Half of the eigenvalues that can differ from 0: of 61 states those up to the 30th.
    values = np.where(np.arange(1, 301) <= 30, np.arange(1.0, 301) ** -2, 1e-9)
    assert slope(values, 61) == approx(-2) and slope(values, 63) != approx(-2)
    assert not np.isnan(slope(values, 41)) and np.isnan(slope(values, 40))


def test_isoscore_by_the_steps_of_its_algorithm():
    values = np.random.default_rng(2).exponential(size=15)
    d = len(values)
    scaled = np.sqrt(d) * values / np.linalg.norm(values)
    defect = np.linalg.norm(scaled - 1) / np.sqrt(2 * (d - np.sqrt(d)))
    fills = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    assert isoscore(values, d) == approx((d * fills - 1) / (d - 1))


@pytest.mark.parametrize("n", [9, 90])
def test_spectra_are_those_of_the_covariance(n):
    draw = np.random.default_rng(3)
    x, later = draw.normal(size=(n, 14)) * np.geomspace(1, 1e-3, 14), np.arange(n) % 4 > 0
    x[~later] += 1e4
    for found, part in zip(spectra(x, later), (x, x[later]), strict=True):
        wanted = np.linalg.svd(part - part.mean(0), compute_uv=False) ** 2 / (len(part) - 1)
        k = min(len(found), len(wanted))
        assert found[:k] == approx(wanted[:k], rel=1e-6, abs=1e-7)
        assert found[k:] == approx(0, abs=1e-7)


def test_large_dimensions_do_not_drown_the_others_in_float32():
    # Lengths of ten million to one in the first tokens, of ten thousand to one in two dimensions.
    draw = np.random.default_rng(4)
    x, later = draw.normal(size=(3000, 40)), np.arange(3000) % 50 > 0
    x[:, [3, 17]] *= 1e4
    x[:, 3] += 1e5
    x[~later] *= 1e3
    narrow = x.astype(np.float32)
    for found, wanted in zip(
        spectra(narrow, later), spectra(narrow.astype(float), later), strict=True
    ):
        assert found == approx(wanted, rel=1e-4)


# The table


def slow(states, before, kept, tokens):
    """One row of the table by loops over its definitions."""
    x = states.astype(np.float64)
    lengths, angles, cosines = [], [], []
    for i in np.flatnonzero(kept):
        lengths.append(np.sqrt(sum(v * v for v in x[i])))
        three = tokens.text[i : i + 3]
        if len(three) == 3 and len(set(three)) == 1:
            a, b = x[i + 1] - x[i], x[i + 2] - x[i + 1]
            angles.append(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))
        if before is not None:
            y = before[i].astype(np.float64)
            cosines.append(x[i] @ y / np.linalg.norm(x[i]) / np.linalg.norm(y))
    row, dimension = max(
        ((i, j) for i in np.flatnonzero(kept) for j in range(x.shape[1])), key=lambda p: abs(x[p])
    )
    values = np.linalg.eigvalsh(np.cov(x[kept].T))
    shares = [v / sum(values) for v in values if v > 0]
    ratio = sum(values) ** 2 / sum(v * v for v in values)
    return {
        "n": kept.sum(),
        "length": np.mean(lengths),
        "curvature": np.mean(angles),
        "cosine": np.mean(cosines) if cosines else np.nan,
        "largest": abs(x[row, dimension]),
        "largest_dimension": dimension,
        "largest_token": tokens.token[row],
        "largest_position": tokens.position[row],
        "effective_rank": np.exp(-sum(p * np.log(p) for p in shares)),
        "participation_ratio": ratio,
        "isoscore": (ratio - 1) / (x.shape[1] - 1),
    }


def test_every_number_is_that_of_plain_loops():
    of = tokens()
    states = spread(layers(len(of.text)), of)
    made = table(states, of)
    assert made.select("site", "layer", "with_first").rows() == [
        (x.site, x.layer, first) for x in states for first in (False, True)
    ]
    by_place = {x.place: x.hidden for x in states}
    for row in made.iter_rows(named=True):
        before = by_place.get((row["site"], row["layer"] - 1))
        kept = (of.position > 0) | row["with_first"]
        wanted = slow(by_place[row["site"], row["layer"]], before, kept, of)
        assert row["largest_token"] == wanted.pop("largest_token")
        found = {name: np.nan if row[name] is None else row[name] for name in wanted}
        assert found == approx(wanted, rel=2e-5, nan_ok=True)
    assert made["n_texts"].to_list() == [5, 6] * 7
    assert made["slope"].null_count() == len(made)  # of 12 dimensions


def test_neighbours_are_compared_by_cka(monkeypatch):
    of = tokens((30,) * 5)
    states = spread(layers(150, d=8), of)
    some = np.arange(0, 150, 3)
    monkeypatch.setattr(module, "CKA_STATES", 150)
    every = table(states, of)
    for row in every.filter(pl.col("layer") > 0).iter_rows(named=True):
        x, y = (
            s.hidden[(of.position > 0) | row["with_first"]].astype(float)
            for s in states
            if s.site == row["site"] and row["layer"] - s.layer in (0, 1)
        )
        assert row["cka"] == approx(debiased_cka(compact(x), compact(y))[0], abs=1e-5)
    assert every.filter(layer=0)["cka"].null_count() == 4
    monkeypatch.setattr(module, "CKA_STATES", len(some))
    few = table(states, of)
    assert few.drop("cka").equals(every.drop("cka"))
    assert few["cka"].to_numpy() == approx(every["cka"].to_numpy(), abs=0.2, nan_ok=True)


def test_curvature_of_known_paths():
    of = tokens((4, 4, 2))
    straight = np.outer(np.arange(4), [1.0, 2, 0])
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    still = np.ones((2, 3))
    hidden = np.concatenate([straight, square, still]).astype(np.float32)
    angles = of.angles(hidden)
    assert angles[:2] == approx(0, abs=0.1) and angles[4:6] == approx(90)
    assert np.isnan(np.delete(angles, [0, 1, 4, 5])).all()
    again = np.repeat(hidden[:2], [1, 2], axis=0)  # a token that does not move has no step
    assert np.isnan(tokens((3,)).angles(again)).all()


def test_states_of_single_targets_have_no_path_and_no_first_tokens_are_left_out():
    of = Tokens(np.arange(30), np.full(30, 3), ["x"] * 30)
    made = table(layers(30), of)
    assert made["curvature"].null_count() == len(made)
    one, other = (made.filter(with_first=first).drop("with_first") for first in (True, False))
    assert one.equals(other)
    bare = table(layers(30), Tokens(np.arange(30), np.zeros(30, int), ["x"] * 30))
    assert set(bare["with_first"]) == {True}


def test_intervals_are_of_texts():
    of = tokens((10,) * 8)
    states = layers(80)
    scale = 1 + of.text[:, None]  # as if each text had a length of its own
    made = table(moved(states, lambda x: x.hidden * scale), of)
    width = made["length_ci_high"] - made["length_ci_low"]
    assert (made["length_ci_low"] < made["length"]).all()
    assert (made["length"] < made["length_ci_high"]).all()
    assert (width > 0.3 * made["length"]).all()
    alone = table(moved(states, lambda x: x.hidden[:9]), tokens((9,)))
    assert alone["length_ci_low"].null_count() == len(alone)
    assert not made["few"].any() and alone["few"].all()


def test_the_order_of_texts_and_threads_change_no_number():
    of = tokens()
    states = layers(len(of.text))
    turned = np.concatenate([np.flatnonzero(of.text == t) for t in (3, 0, 5, 1, 4, 2)])
    other = Tokens(of.text[turned], of.position[turned], [of.token[i] for i in turned])
    one, two = table(states, of), table(moved(states, lambda x: x.hidden[turned]), other)
    assert table(states, of, threads=3).equals(one)
    for name in ("length", "effective_rank", "curvature", "largest"):
        assert two[name].to_numpy() == approx(one[name].to_numpy(), rel=1e-5)


def test_tokens_are_those_of_the_table():
    made = pa.table(
        {
            "label": ["b", "b", "a"],
            "first": [0, 1, 0],
            "last": [0, 1, 0],
            "tokens": [["x", "y"], ["x", "y"], ["z"]],
        }
    )
    found = Tokens.from_table(made, "last")
    assert found.text.tolist() == [1, 1, 0] and found.position.tolist() == [0, 1, 0]
    assert found.token == ["x", "y", "z"]
