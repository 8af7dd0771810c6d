"""Decodability: planted states that maps find or not, and maps against their definitions."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from config_files import refused
from measures import PROVENANCE, frame, statistics

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import Layer
from tokentrails.metrics import decodability as module
from tokentrails.metrics.decodability import (
    FITTED,
    MAPS,
    Found,
    Looked,
    Sample,
    Tokens,
    decodability,
    decodability_half_lives,
    decodability_types,
    looked_up,
    samples,
)
from tokentrails.metrics.ranks import Vocabulary
from tokentrails.vocabulary.maps import STRENGTHS, Fit, Rows

V, D, LENGTH, N = 400, 12, 40, 3000
BOOTSTRAP = statistics().bootstrap


@pytest.fixture(autouse=True)
def small_texts_will_do(monkeypatch):
    monkeypatch.setattr(module, "LEAST", 100)
    monkeypatch.setattr(module, "TESTED", 150)


def made(seed=0):
    """Rows of a vocabulary, and texts of tokens of which few are frequent."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(V, D)) * np.geomspace(1, 3, D) + 6
    ids = (V * rng.random(N) ** 2).astype(int)
    text = [ids[i : i + LENGTH].tolist() for i in range(0, N, LENGTH)]
    tokens = pa.table(
        {
            "label": [f"t{i // LENGTH}" for i in range(N)],
            "first": pa.array(np.arange(N) % LENGTH, pa.int32()),
            "token_ids": [text[i // LENGTH] for i in range(N)],
            "word": ["" if i % 11 == 5 else "w" for i in range(N)],
        }
    )
    return rows, ids, tokens, rng


def table_of(states, rows, tokens, seed=0):
    """The frame of the table for states of one place, or of several layers."""
    layers = states if isinstance(states, list) else [states]
    found = found_in(layers, rows, tokens, seed)
    return frame(decodability(found, N, BOOTSTRAP, provenance=PROVENANCE))


def found_in(layers, rows, tokens, seed=0):
    places = [
        Layer("resid", layer, np.arange(N), each.astype(np.float32))
        for layer, each in enumerate(layers)
    ]
    drawn = samples(tokens, seed)
    vocabulary = Vocabulary(["e"] * V, torch.tensor(rows, dtype=torch.float32))
    return Found.of(looked_up(places, drawn, vocabulary), drawn)


def top1(table, target="own"):
    rows = table.filter(target=target).select("map", "control", "top1").rows()
    return {f"{name}*" if control else name: value for name, control, value in rows}


def rotation(rng, d=D):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def test_a_rotation_is_found_by_orthogonal_and_ridge_alone():
    rows, ids, tokens, rng = made()
    states = rows[ids] @ rotation(rng) + 5 + 0.05 * rng.normal(size=(N, D))
    found = top1(table_of(states, rows, tokens))
    assert list(found) == [*MAPS, *(f"{name}*" for name in FITTED)]
    assert min(found["orthogonal"], found["ridge"]) > 0.95
    others = set(found) - set(FITTED)
    assert max(found[name] for name in others) < 0.1  # the shuffled control among them


def test_what_is_moved_or_scaled_is_found_by_the_map_that_undoes_it():
    rows, ids, tokens, rng = made()
    noise = 0.05 * rng.normal(size=(N, D))
    moved = top1(table_of(rows[ids] - 40 * rows.std() + noise, rows, tokens))
    assert moved["none"] < 0.2 and min(moved[m] for m in MAPS[1:]) > 0.9
    scaled = top1(table_of(rows[ids] * np.geomspace(1, 300, D) + noise, rows, tokens))
    assert max(scaled["none"], scaled["centred"]) < 0.5
    assert min(scaled["standardised"], scaled["ridge"]) > 0.9


def test_what_is_projected_out_is_found_by_nothing():
    rows, ids, tokens, rng = made()
    kept = np.zeros(D)
    kept[:1] = 1  # one dimension is left of twelve
    states = rows[ids] * kept + 0.2 * rng.normal(size=(N, D))
    assert max(top1(table_of(states, rows, tokens)).values()) < 0.1


def test_the_previous_token_is_found_where_it_is_and_not_elsewhere():
    rows, ids, tokens, rng = made()
    before = np.roll(ids, 1)
    table = table_of(rows[before] @ rotation(rng), rows, tokens)
    assert top1(table, "previous")["ridge"] > 0.95 and top1(table)["ridge"] < 0.1
    n_fit = dict(table.select("target", "n_fit").unique().rows())
    assert n_fit["previous"] < n_fit["own"]  # not behind tokens of no word


@pytest.mark.parametrize("seed", range(5))
def test_no_type_is_fitted_and_tested(seed):
    _, ids, tokens, _ = made(seed)
    first, word = tokens["first"].to_numpy(), np.array(tokens["word"].to_pylist())
    drawn = samples(tokens, seed)
    targets = {"own": ids, "previous": np.roll(ids, 1)}
    tested = {name: set(each.test.types) for name, each in drawn.items()}
    for name, sample in drawn.items():
        fit, test = (targets[name][part.rows] for part in (sample.fit, sample.test))
        assert (sample.fit.types[sample.fit.type] == fit).all()
        assert (sample.test.types[sample.test.type] == test).all()
        fitted = set(fit)
        assert not fitted & set().union(*tested.values())  # of neither target
        for part in (sample.fit, sample.test):
            assert (first[part.rows] > 0).all() and (word[part.rows] == "w").all()
            assert sorted(part.shuffled) == part.types.tolist()
            assert (part.shuffled != part.types).mean() > 0.8
            if name == "previous":
                assert (word[part.rows - 1] == "w").all() and (first[part.rows - 1] > 0).all()
        # All tokens of the fitted types, of the tested ones each before any has a second one.
        assert set(sample.fit.rows) == {
            row
            for row in np.flatnonzero((first > 0) & (word == "w"))
            if targets[name][row] in fitted
            and (name == "own" or (first[row - 1] > 0 and word[row - 1] == "w"))
        }
        counts = np.bincount(sample.test.type)
        assert len(test) == 150 and counts.min() == 1
        assert abs(sample.inner.mean() - 1 / 4) < 0.1
    again, other = samples(tokens, seed), samples(tokens, seed + 1)
    assert all((again[n].test.rows == drawn[n].test.rows).all() for n in drawn)
    assert set(other["own"].test.types) != tested["own"]


def test_no_map_knows_a_type_by_heart_and_the_control_is_chance():
    """States that say nothing of the rows, in so many dimensions that all types can be learned."""
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(2, 100, 120))
    _, ids, tokens, _ = made()
    ids = ids % 100
    text = [ids[i : i + LENGTH].tolist() for i in range(0, N, LENGTH)]
    column = pa.array([text[i // LENGTH] for i in range(N)])
    tokens = tokens.set_column(tokens.column_names.index("token_ids"), "token_ids", column)
    drawn = samples(tokens, 0)
    learned = {"own": replace(drawn["own"], test=drawn["own"].fit)}
    layer = Layer("resid", 0, np.arange(N), codes[ids].astype(np.float32))
    vocabulary = Vocabulary(["e"] * 100, torch.tensor(rows, dtype=torch.float32))
    seen, unseen = (
        {(row["target"], row["map"], row["control"]): row["top1"] for row in found.rows}
        for given in (learned, drawn)
        for found in [Found.of(looked_up([layer], given, vocabulary), given)]
    )
    fitted = [(name, control) for name in FITTED for control in (False, True)]
    assert all(seen["own", *each] == 1 for each in fitted)
    shares = [unseen[target, *each] for target in module.TARGETS for each in fitted]
    assert max(shares) < 0.2 and np.mean(shares) < 0.05  # chance is 1 in 100, of 20 types


def test_what_has_no_direction_takes_no_part_in_the_cosine():
    rows, ids, tokens, rng = made()
    test = samples(tokens, 0)["own"].test
    states = rows[ids] + rng.normal(size=(N, D))
    alone, absent = test.type[0], test.types[-1]
    rows[absent] = 0
    states[test.rows[test.type == alone][0]] = 0
    found = found_in([states, -states], rows, tokens)
    table = frame(decodability(found, N, BOOTSTRAP, provenance=PROVENANCE))
    row = table.filter(target="own", map="none", layer=0).row(0, named=True)
    tested, own = states[test.rows], rows[test.types[test.type]]
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(tested, axis=1) * np.linalg.norm(own, axis=1)
        cosine = (tested * own).sum(1) / lengths
    by_type = [
        known.mean()
        for each in range(len(test.types))
        if (known := cosine[(test.type == each) & ~np.isnan(cosine)]).size
    ]
    assert len(by_type) < len(test.types) and np.isnan(cosine).sum() > 1
    assert row["cosine"] == pytest.approx(np.mean(by_type), abs=1e-6)
    assert row["n_types"] == len(test.types)
    types = frame(decodability_types(found, [f"e{i}" for i in range(V)], provenance=PROVENANCE))
    nulls = types.filter(pl.col("cosine").is_null(), target="own", map="none", layer=0)
    assert f"e{absent}" in nulls["type"].to_list() and nulls["top1"].sum() == 0
    half_lives = frame(decodability_half_lives(found, BOOTSTRAP, provenance=PROVENANCE))
    lost = half_lives.filter(map="none", measure="cosine").row(0, named=True)
    assert [lost[f"half_life_{end}"] for end in ("layer", "low", "high")] == [1, 1, 1]


def test_where_nothing_has_a_direction_there_is_no_cosine():
    without = looked(3, 4, 5, 6, 7, 8, cosine=np.full(6, np.nan))
    found = Found.of([without], sample_of(*range(6)))
    table = decodability_types(found, [f"e{i}" for i in range(6)], provenance=PROVENANCE)
    assert table["cosine"].null_count == 6 and np.isnan(found.rows[0]["cosine"])
    half_lives = frame(decodability_half_lives(found, BOOTSTRAP, provenance=PROVENANCE))
    assert half_lives.filter(measure="cosine")["half_life_layer"].to_list() == [None]


def ridge_by_solving(states, types, inner, targets):
    """Each type's tokens weighing one in sum, with numpy, one strength at a time."""
    weights = 1 / np.bincount(types)[types]
    x = states - np.average(states, axis=0, weights=weights)
    y = targets[types]

    def solved(part, share):
        w = weights * part
        squares = x.T * w @ x
        penalty = share * np.trace(squares) / len(squares) * np.eye(len(squares))
        return np.linalg.solve(squares + penalty, x.T * w @ y)

    held = inner[types]
    errors = [
        (weights[held, None] * (x[held] @ solved(~held, share) - y[held]) ** 2).sum()
        for share in STRENGTHS
    ]
    return solved(np.ones(len(x), bool), STRENGTHS[int(np.argmin(errors))]), errors


@pytest.mark.parametrize("noise", [0.01, 1.0, 30.0])
def test_ridge_and_rotation_are_those_of_their_definitions(noise):
    rng = np.random.default_rng(1)
    types = rng.integers(60, size=900)
    types[:60] = np.arange(60)
    rows = rng.normal(size=(60, D))
    states = rows[types] @ rng.normal(size=(D, D)) + noise * rng.normal(size=(900, D)) + 3
    inner = rng.random(60) < 0.25
    targets = rows - rows.mean(axis=0)
    fit = Fit(*map(torch.tensor, (states.astype(np.float32), types, inner)))
    expected, errors = ridge_by_solving(states.astype(np.float32), types, inner, targets)
    np.testing.assert_allclose(fit.ridge(torch.tensor(targets)), expected, atol=1e-8)
    assert 0 < np.argmin(errors) < len(STRENGTHS) - 1 or noise < 1
    w = fit.orthogonal(torch.tensor(targets)).numpy()
    np.testing.assert_allclose(w.T @ w, np.eye(D), atol=1e-12)
    weights = 1 / np.bincount(types)[types]
    x = states - np.average(states, axis=0, weights=weights)

    def loss(rotated):
        return (weights[:, None] * (x @ rotated - targets[types]) ** 2).sum()

    turned = [np.linalg.qr(w + 0.01 * rng.normal(size=(D, D)))[0] for _ in range(20)]
    signs = [each * np.sign(np.diag(w.T @ each)) for each in turned]
    assert loss(w) < min(map(loss, signs))
    np.testing.assert_allclose(fit.mean, np.average(states, axis=0, weights=weights), atol=1e-5)
    deviation = np.sqrt(np.average(x**2, axis=0, weights=weights))
    np.testing.assert_allclose(fit.deviation, deviation, rtol=1e-5)


def test_rows_go_through_the_means_of_the_fitted_types():
    rows = torch.tensor(made()[0], dtype=torch.float32)
    rows[:, 3] = 2.0  # does not vary
    own = torch.tensor([1, 4, 9])
    space = Rows.of(rows, own)
    expected = (rows - rows[own].mean(0)) / rows[own].std(0, correction=0).where(
        torch.arange(D) != 3, torch.tensor(1.0)
    )
    torch.testing.assert_close(space.standardised, expected)
    torch.testing.assert_close(space.centred(own).mean(0), torch.zeros(D, dtype=torch.float64))


def looked(*ranks, layer=0, target="own", **more):
    ranks = np.array(ranks)
    given = {"map": "ridge", "control": False, "cosine": 1 / (1 + ranks)} | more
    return Looked(site="resid", layer=layer, target=target, rank=ranks, **given)


def sample_of(*types):
    """A sample with tested tokens of these types."""
    tested = Tokens.of(np.arange(len(types)), np.array(types), np.random.default_rng(0))
    return {"own": Sample(tested, tested, np.zeros(len(set(types)), bool))}


def test_each_type_counts_once_in_means_and_median():
    found = Found.of([looked(0, 0, 0, 0, 9, 20, 30)], sample_of(3, 3, 3, 3, 5, 7, 8))
    (row,) = found.rows
    assert (row["top1"], row["top10"], row["n"], row["n_types"]) == (0.25, 0.5, 7, 4)
    assert row["median_rank"] == 9  # of 0, 9, 20, 30 the lower one in the middle
    assert row["cosine"] == pytest.approx(np.mean([1, 1 / 10, 1 / 21, 1 / 31]))


def test_shares_are_means_of_the_table_of_types():
    found = Found.of([looked(0, 0, 0, 0, 9, 20, 30)], sample_of(3, 3, 3, 3, 5, 7, 8))
    entries = [f"e{number}" for number in range(9)]
    types = frame(decodability_types(found, entries, provenance=PROVENANCE))
    rows = types.select("layer", "map", "target", "control", "type", "top1").rows()
    assert rows == [
        (0, "ridge", "own", False, name, top1)
        for name, top1 in [("e3", 1), ("e5", 0), ("e7", 0), ("e8", 0)]
    ]
    assert types["cosine"].mean() == pytest.approx(found.rows[0]["cosine"])


def test_half_life_is_the_first_layer_below_half_of_layer_0():
    hits = [(0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1), (0, 0, 0, 1, 1, 1), (0, 0, 1, 1, 1, 1)]
    layers = [looked(*ranks, layer=layer) for layer, ranks in enumerate(hits)]
    never = [looked(*ranks, layer=i, map="none") for i, ranks in enumerate(hits[:3])]
    nothing = [looked(*[1] * 6, layer=i, map="centred") for i in range(3)]
    found = Found.of([*layers, *never, *nothing], sample_of(*range(6)))
    table = frame(decodability_half_lives(found, BOOTSTRAP, provenance=PROVENANCE))
    rows = {
        (name, measure): layers
        for name, measure, *layers in table.select(
            "map", "measure", "half_life_layer", "half_life_low", "half_life_high"
        ).rows()
    }
    assert rows["ridge", "top1"] == [3, 1, None]  # binomials of 6 types
    assert rows["none", "top1"][0] is None and rows["centred", "top1"] == [None] * 3
    assert rows["ridge", "cosine"][0] is None  # 1 + 1 + 1/2 + … is more than half
    assert set(table["depth"]) == {2, 3}


def test_intervals_are_over_types():
    rows, ids, tokens, rng = made()
    states = rows[ids] @ rotation(rng) + 1.5 * rng.normal(size=(N, D))
    table = table_of(states, rows, tokens).filter(target="own", map="ridge", control=False)
    ((value, low, high, n_types),) = table.select("top1", "ci_low", "ci_high", "n_types").rows()
    spread = 1.64 * np.sqrt(value * (1 - value) / n_types)
    assert 0.1 < value < 0.9 and low < value < high
    assert 0.5 * spread < value - low < 1.2 * spread and 0.5 * spread < high - value < 1.2 * spread


def test_the_same_seed_gives_the_same_table():
    rows, ids, tokens, rng = made()
    layers = [rows[ids] + rng.normal(size=(N, D)) for _ in range(2)]
    first, again = (table_of(layers, rows, tokens) for _ in range(2))
    assert first.equals(again) and not first.equals(table_of(layers, rows, tokens, seed=1))
    assert first["layer"].to_list() == [0] * 14 + [1] * 14
    assert first["few"].all()  # fewer than 20,000 tokens


def test_few_tokens_are_refused(monkeypatch):
    tokens = made()[2]
    monkeypatch.setattr(module, "LEAST", 5_000)
    with pytest.raises(TokentrailsError, match=r"3,000 tokens.* 5,000 or more"):
        samples(tokens, 0)


def test_a_text_of_few_types_is_refused():
    _, _, tokens, _ = made()
    same = tokens.set_column(
        tokens.column_names.index("token_ids"),
        "token_ids",
        pa.array([[i % 7 for i in range(LENGTH)]] * N, tokens["token_ids"].type),
    )
    with refused("7 different tokens", "50 or more"):
        samples(same, 0)
