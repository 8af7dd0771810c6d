"""Measures by the size of models: what goes in comes out, and a trend only of many models."""

import json
import math

import numpy as np
import polars as pl
import pytest
import scipy.stats
import tiny
import torch
from drawn import BAND, notes, of_kind, panels
from measures import crossed_samples
from safetensors.torch import save_file
from transformers import AutoModel

from tokentrails.figures.pieces.save import specification
from tokentrails.figures.scaling import scaling as draw
from tokentrails.metrics.parameters import parameters
from tokentrails.metrics.scaling import (
    COLUMNS,
    distinct_sizes,
    fitted_line,
    half_life_measures,
    rank_measures,
    scaling,
    scaling_slopes,
    sense_measures,
)
from tokentrails.network.architectures import architecture_of
from tokentrails.network.weights import Weights
from tokentrails.statistics.bootstrap import Bootstrap

RUN = {"model": "m", "checkpoint": "main", "experiment": "e"}


def size_table(folder, config):
    weights = Weights(folder / "model.safetensors")
    architecture = architecture_of(config, where="config.json")
    return parameters(weights, architecture, depth=3, d_model=32, provenance=RUN)


@pytest.mark.parametrize("name", list(tiny.CONFIGS))
def test_parameters_are_those_that_transformers_counts(prepared, name):
    folder = prepared[name]
    config = json.loads((folder / "config.json").read_text())
    table = size_table(folder, config)
    model = AutoModel.from_pretrained(folder)
    about = architecture_of(config, where="config.json")
    apart = [about.embedding, about.position_embedding]
    own = sum(
        p.numel()
        for key, p in model.named_parameters()
        if not any(a and key.startswith((f"{a}.", "pooler.")) for a in apart)
    )
    (row,) = table.to_pylist()
    heads = sum(  # what the file has beyond the bare model, such as a masked-token head
        math.prod(entry.shape)
        for key, entry in Weights(folder / "model.safetensors").entries.items()
        if key.startswith(("cls.", "lm_head.", "vocab_"))
        and len(model.get_input_embeddings().weight) not in entry.shape
    )
    assert row["n_parameters"] in (own, own + heads)
    assert row["n_embedding"] >= model.get_input_embeddings().weight.numel()


def test_masks_and_rotations_of_old_files_are_no_parameters(tmp_path):
    config = {"model_type": "gpt2", "n_head": 2, "n_layer": 1, "n_embd": 8}
    weights = {
        "wte.weight": torch.zeros(50, 8),
        "wpe.weight": torch.zeros(40, 8),
        "h.0.ln_1.weight": torch.zeros(8),
        "h.0.attn.c_attn.bias": torch.zeros(24),
        "h.0.attn.bias": torch.ones(1, 1, 40, 40),
        "h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    save_file(weights, tmp_path / "model.safetensors")
    table = size_table(tmp_path, config)
    assert table["n_parameters"].to_pylist() == [8 + 24]
    assert table["n_embedding"].to_pylist() == [90 * 8]


def by_group(measure, median, low, high):
    row = RUN | {"measure": measure, "grouping": "all", "group": "all words", "n": 90, "depth": 12}
    row |= {"median_layer": median, "median_layer_low": low, "median_layer_high": high}
    return row | {"reached": 0.6, "reached_low": 0.5, "reached_high": 0.7}


def test_half_lives_become_fractions_of_the_depth():
    rows = [by_group("cosine", 3, 2, None), by_group("adjusted", None, 9, None)]
    rows.append(rows[0] | {"grouping": "word_class", "group": "content"})
    found = {r["measure"]: r for r in half_life_measures(pl.DataFrame(rows)).to_dicts()}
    assert len(found) == 6
    told = {k: [found[k][n] for n in ("value", "ci_low", "ci_high", "n")] for k in found}
    assert told["half_life"] == [3, 2, None, 90]
    assert told["half_life_fraction"] == [0.25, pytest.approx(2 / 12), None, 90]
    assert told["half_life_fraction_adjusted"] == [None, 0.75, None, 90]
    assert told["lost_adjusted"] == [0.6, 0.5, 0.7, 90]


def test_the_gap_is_that_of_its_best_layer_at_resid():
    here = RUN | {"site": "resid", "measure": "cosine", "n": 24}
    by_layer = [
        here
        | {"site": site, "measure": measure, "layer": layer, "gap": gap}
        | {"gap_low": gap - 0.1, "gap_high": gap + 0.1}
        for site, measure, shift in (("resid", "cosine", 0), ("resid", "standardised", 0.3))
        for layer in range(4)
        for gap in [0.1 * layer + shift]
    ]
    best = here | {"best_layer": 3, "best_low": 2, "best_high": 3, "depth": 4}
    rows = [best | {"criterion": "gap"}, best | {"criterion": "auc", "best_layer": 1}]
    rows.append(rows[0] | {"measure": "standardised", "best_layer": 2})
    rows.append(rows[0] | {"measure": "centred", "best_layer": None})  # without a baseline
    found = sense_measures(pl.DataFrame(by_layer), pl.DataFrame(rows))
    assert found.select("measure", "value", "ci_low", "ci_high", "n").rows() == [
        ("gap", pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.4), 24),
        ("gap_best_fraction", 0.75, 0.5, 0.75, 24),
        ("gap_standardised", pytest.approx(0.5), pytest.approx(0.4), pytest.approx(0.6), 24),
        ("gap_best_fraction_standardised", 0.5, 0.5, 0.75, 24),
    ]


def test_ranks_are_a_share_over_layers_with_texts_and_types_drawn_again():
    rng = np.random.default_rng(0)
    kinds = {"the": "function", "oak": "content", ",": "punctuation", "": None, "где": None}
    rows = [
        RUN
        | {"label": f"t{text}", "position": position, "word_class": kind, "layer": layer}
        | {"site": site, "positional": False, "rank": int(rng.integers(3)), "word": word}
        | {"token": f"{word}{text % 7}"}
        for text in range(8)
        for position, (word, kind) in enumerate(kinds.items())
        for layer in range(3)
        for site in ("resid_mid", "resid")
    ]
    bootstrap = Bootstrap(draws=150, confidence=0.9, seed=3)
    (found,) = rank_measures(pl.DataFrame(rows, infer_schema_length=None), bootstrap).to_dicts()
    kept = [r for r in rows if r["site"] == "resid_mid" and r["word"] in ("oak", "где")]
    assert found["n"] == len(kept) / 3 == 16  # no "the", which is at position 0
    assert found["value"] == pytest.approx(np.mean([r["rank"] == 0 for r in kept]))
    drawn = []
    for texts, types in crossed_samples(bootstrap, [(r["label"], r["token"]) for r in kept]):
        often = [texts[r["label"]] * types[r["token"]] for r in kept]
        drawn.append(np.average([r["rank"] == 0 for r in kept], weights=often))
    ends = bootstrap.interval(np.array(drawn), 8, expanded=False)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(ends)


def models(n, slope=0.2):
    sizes = [10 ** (6 + i / 2) for i in range(n)]
    names = [f"model-{i}" for i in range(n)]
    value = [slope * math.log10(size) + 0.01 * (-1) ** i for i, size in enumerate(sizes)]
    about = {"model": names, "checkpoint": ["main"] * n}
    parameters = pl.DataFrame(
        about | {"n_parameters": list(map(int, sizes)), "depth": [6] * n, "d_model": [8] * n}
    )
    measured = pl.DataFrame(
        about
        | {"experiment": ["e"] * n, "measure": ["gap"] * n, "value": value}
        | {"ci_low": [v - 0.1 for v in value], "ci_high": [v + 0.1 for v in value], "n": [24] * n},
        schema=COLUMNS,
    )
    return measured, parameters


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_a_trend_is_fitted_from_four_sizes_on(n):
    table = scaling(*models(n), provenance={})
    frame = pl.DataFrame(pl.from_arrow(table))
    assert frame["model"].to_list() == [f"model-{i}" for i in range(n)]  # the smallest first
    slopes = scaling_slopes(frame, confidence=0.95, provenance={})
    chart = draw(frame, pl.DataFrame(pl.from_arrow(slopes)), title="t", confidence=0.95)
    written = json.dumps(specification(chart))
    if n < 4:
        assert slopes.num_rows == 0
        assert ("One model" if n == 1 else "No trend is fitted") in written
    else:
        (row,) = slopes.to_pylist()
        assert row["n"] == n and row["ci_low"] < 0.2 < row["ci_high"]
        assert "per tenfold size" in written and "No trend" not in written


def test_models_of_nearly_the_same_size_are_one_size():
    measured, parameters = models(6)
    three = [10**6, 10**6, 1_200_000, 10**7, 10**8, 110_000_000]  # two of them an adapter's
    table = scaling(measured, parameters.with_columns(n_parameters=pl.Series(three)), provenance={})
    frame = pl.DataFrame(pl.from_arrow(table))
    assert scaling_slopes(frame, confidence=0.95, provenance={}).num_rows == 0
    assert [distinct_sizes(three), distinct_sizes([*three, 10**9]), distinct_sizes([])] == [3, 4, 0]


@pytest.mark.parametrize("never", [0, 1, 2, 6])
def test_a_half_life_that_a_model_never_reaches_has_no_trend(never):
    measured, parameters = models(6)
    halves = [float(i) if i < 6 - never else None for i in range(6)]
    others = measured.with_columns(
        measure=pl.lit("half_life"), value=pl.Series(halves, dtype=float)
    )
    table = scaling(pl.concat([measured, others]), parameters, provenance={})
    frame = pl.DataFrame(pl.from_arrow(table))
    slopes = pl.DataFrame(pl.from_arrow(scaling_slopes(frame, confidence=0.95, provenance={})))
    assert slopes.select("measure", "n").rows() == [("half_life", 6), ("gap", 6)]
    assert slopes["slope"].is_null().to_list() == [never > 0, False]
    assert slopes["ci_high"].is_null().to_list() == [never > 0, False]
    drawn = draw(frame, slopes, **BAND)
    assert ("No trend where a model has none." in notes(drawn)) == (0 < never < 6)
    assert "No trend is fitted" not in notes(drawn) and "Grey line" in notes(drawn)


def test_models_of_one_size_are_one_point_of_a_trend():
    measured, parameters = models(4)
    again = pl.col("model") + " again"
    shifted = measured.with_columns(again, pl.col("value") + 0.4)
    copies = pl.concat([measured, shifted]), pl.concat([parameters, parameters.with_columns(again)])
    of_means = measured.with_columns(pl.col("value") + 0.2), parameters
    found = []
    for each in (copies, of_means):
        table = pl.DataFrame(pl.from_arrow(scaling(*each, provenance={})))
        (row,) = scaling_slopes(table, confidence=0.95, provenance={}).to_pylist()
        found.append([row[name] for name in ("slope", "intercept", "ci_low", "ci_high", "n")])
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[0][-1] == 4


def test_bars_are_named_only_where_they_are_drawn():
    table = pl.DataFrame(pl.from_arrow(scaling(*models(2), provenance={})))
    slopes = pl.DataFrame(pl.from_arrow(scaling_slopes(table, confidence=0.95, provenance={})))
    bare = table.with_columns(pl.lit(None, pl.Float32).alias(end) for end in ("ci_low", "ci_high"))
    assert "Bars: 90 %" in notes(draw(table, slopes, **BAND))
    assert "Bars" not in notes(draw(bare, slopes, **BAND))


def test_a_panel_has_every_form_of_its_measure_and_the_trend_of_each():
    measured, parameters = models(4)
    double = pl.col("value", "ci_low", "ci_high") * 2
    measured = pl.concat(
        [
            measured,
            measured.with_columns(double, measure=pl.lit("gap_standardised")),
            measured.with_columns(measure=pl.lit("half_life_adjusted")),  # which is not compared
        ]
    )
    table = pl.DataFrame(pl.from_arrow(scaling(measured, parameters, provenance={})))
    slopes = pl.DataFrame(pl.from_arrow(scaling_slopes(table, confidence=0.95, provenance={})))
    chart = draw(table, slopes, **BAND)
    ((name, panel),) = panels(chart).items()
    assert name == "e: largest gap between senses"
    ((_, points),) = of_kind(panel, "point")
    for form, measure in (("cosine", "gap"), ("standardised", "gap_standardised")):
        rows = table.filter(measure=measure)
        found = sorted((row["n_parameters"], row["value"]) for row in points if row["form"] == form)
        assert found == [(n, pytest.approx(v)) for n, v in rows["n_parameters", "value"].rows()]
    assert len(points) == 8
    for size in table["n_parameters"].unique():  # apart, but less than from model to model
        at = [row["at"] for row in points if row["n_parameters"] == size]
        assert at[0] != at[1] and all(0.6 < each / size < 1.7 for each in at)
    (spec,) = specification(chart)["concat"]
    first, second = spec["title"]["subtitle"]
    slope, double = (
        slopes.filter(measure=name)["slope"].item() for name in ("gap", "gap_standardised")
    )
    assert first.startswith(f"{slope:+.2g} [") and double == pytest.approx(2 * slope)
    assert second.startswith(f"standardised: {double:+.2g} [")
    assert len(of_kind(panel, "line")) == 3  # two trends, and hairlines of labels
    assert "Circle: cosine, diamond: standardised. The forms of a model" in notes(chart)


def test_slopes_and_their_intervals_are_those_of_least_squares():
    x, y = [7.1, 7.6, 8.2, 8.9], [2.0, 2.4, 2.3, 3.1]
    wanted = scipy.stats.linregress(x, y)
    slope, intercept, half = fitted_line(np.array(x), np.array(y), 0.9)
    assert (slope, intercept) == pytest.approx((wanted.slope, wanted.intercept))
    assert half == pytest.approx(wanted.stderr * scipy.stats.t.ppf(0.95, 2))
