"""Figures of mean contributions and of ablations: they show what the tables say."""

import itertools

import polars as pl
import pytest
from drawn import BAND, coloured_cells, layer_names, line_points, marks, notes, panels
from pytest import approx

from tokentrails.figures.ablation import ablation
from tokentrails.figures.attribution_by_layer import attribution_by_layer, identity_parts

NAMES = {"total": "all parts", "mlp": "MLP", "heads": "heads"}
NAMES |= {"attention_norm": "attention norm", "mlp_norm": "MLP norm"}
HEADS = [("head", head) for head in range(3)]


def table(scale=1.0, model="m", checkpoint="main", bias=0.0, texts=7):
    rows = []
    parts = [*HEADS, ("attention_bias", None), *((name, None) for name in NAMES)]
    for layer, (index, (part, head)) in itertools.product(range(4), enumerate(parts)):
        mean = bias if part == "attention_bias" else scale * (0.1 * index - 0.2 * layer)
        row = {"model": model, "checkpoint": checkpoint, "layer": layer, "part": part, "head": head}
        row |= {"n": 90, "n_texts": texts, "few": False, "mean": mean}
        band = {"ci_low": mean - 0.1, "ci_high": mean + 0.2} if texts > 1 else {}
        rows.append(row | {"ci_low": None, "ci_high": None} | band)
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int32, "ci_low": pl.Float64})


def squares(points):
    """Values of points by series and layer, from the roots that are drawn."""
    return {(p["series"], p["layer"]): p["value"] * abs(p["value"]) for p in points}


def test_lines_and_cells_are_those_of_the_table():
    rows = table()
    drawn = panels(attribution_by_layer(rows, **BAND))
    points = line_points(drawn["by part"])
    parts = rows.filter(pl.col("part").is_in(list(NAMES))).select("part", "layer", "mean")
    wanted = {(NAMES[part], layer): mean for part, layer, mean in parts.rows()}
    assert squares(points) == approx(wanted, abs=1e-5)
    assert {p["plain"] for p in points} == {round(mean, 6) for mean in wanted.values()}
    ends = {(p["series"], p["layer"]): (p["low"], p["high"]) for p in points}
    low, high = ends["MLP", 3]
    mean = wanted["MLP", 3]
    assert [low * abs(low), high * abs(high)] == approx([mean - 0.1, mean + 0.2], abs=1e-5)
    cells = {
        (c["row"], c["layer"]): c["change"]
        for c in coloured_cells(drawn["the heads by themselves"])
    }
    heads = rows.filter(part="head").select("head", "layer", "mean").rows()
    assert cells == approx({(str(head), layer): mean for head, layer, mean in heads})


def test_a_bias_is_drawn_where_there_is_one():
    series = {
        p["series"]
        for p in line_points(panels(attribution_by_layer(table(bias=0.1), **BAND))["by part"])
    }
    assert series == {*NAMES.values(), "attention bias"}


def test_controls_are_the_mean_over_draws_of_all_parts():
    draws = pl.concat([table(2, "r", "draw0"), table(3, "r", "draw1")])
    chart = attribution_by_layer(table(), draws, **BAND)
    points = squares(line_points(panels(chart)["by part"]))
    grey = points["random weights, all parts", 2]
    assert grey == approx(2.5 * points["all parts", 2], abs=1e-5)
    assert "random weights" in notes(chart)


def test_each_model_has_a_panel():
    both = pl.concat([table(), table(0.5, "other", bias=0.1, texts=9)])
    chart = identity_parts(both, **BAND)
    drawn = panels(chart)
    assert list(drawn) == ["m", "other"]
    found = {name: {p["series"] for p in line_points(panel)} for name, panel in drawn.items()}
    assert found["other"] - found["m"] == {"attention bias"}
    assert "at most 90 tokens in 9 texts" in notes(chart)


def causal(texts=7, loss=True):
    rows = []
    for layer, (head, control) in itertools.product(
        range(3), ((None, False), (0, False), (1, False), (2, True))
    ):
        size = 0.1 * layer + (0.5 if head is None else 0.2 * head)
        row = {"model": "m", "checkpoint": "main", "layer": layer, "head": head, "control": control}
        row |= {"part": "mlp" if head is None else "head", "contribution": -size}
        for i, name in enumerate(("identity", "last_identity", "loss")):
            mean = size * (i + 1) if loss or name != "loss" else None
            row |= {f"{name}_difference": mean}
            band = (mean - 0.1, mean + 0.2) if texts > 1 and mean is not None else (None, None)
            row |= dict(
                zip((f"{name}_difference_low", f"{name}_difference_high"), band, strict=True)
            )
        rows.append(row | {"n": 90, "n_texts": texts, "few": False})
    types = {
        name: pl.Float64 for name in rows[0] if "loss" in name or "_low" in name or "_high" in name
    }
    return pl.DataFrame(rows, schema_overrides=types | {"layer": pl.Int32, "head": pl.Int32})


def test_ablations_are_those_of_the_mlp_the_strongest_head_and_another():
    drawn = panels(ablation(causal(), **BAND))
    titles = ("contribution to identity, with the part", "identity after the block")
    titles += ("identity after the last block", "loss, in nats")
    assert tuple(drawn) == titles
    wanted = {"MLP": 0.7, "strongest head": 0.4, "another head": 0.6}  # of layer 2
    for factor, title in zip((-1, 1, 2, 3), titles, strict=True):
        found = squares(line_points(drawn[title]))
        assert len(found) == 9
        here = {name: value for (name, layer), value in found.items() if layer == 2}
        assert here == approx({name: factor * value for name, value in wanted.items()}, abs=1e-5)
    heads = {
        p["head"] for p in line_points(drawn["loss, in nats"]) if p["series"] == "strongest head"
    }
    assert heads == {1}


@pytest.mark.parametrize("scale", [1.0, 0.001, 0.0])
def test_axes_of_ablations_are_as_wide_as_the_effects_and_0_and_not_wider(scale):
    effects = [f"{kind}_difference" for kind in ("identity", "last_identity", "loss")]
    names = [name for name in causal().columns if name.startswith(("contribution", *effects))]
    drawn = panels(ablation(causal().with_columns(pl.col(names) * scale), **BAND))
    for panel in drawn.values():
        low, high = next(
            spec["encoding"]["y"]["scale"]["domain"]
            for spec, _ in panel
            if "scale" in spec["encoding"].get("y", {})
        )
        places = [point[end] for point in line_points(panel) for end in ("low", "high", "value")]
        places = [0.0, *(place for place in places if place is not None)]
        assert low <= min(places) and max(places) <= high
        assert high - low <= max(1.1 * (max(places) - min(places)), 0.03)


def test_ablations_of_controls_are_means_over_draws_of_the_mlp_and_the_strongest_head():
    draws = [causal().with_columns(pl.lit(name).alias("checkpoint")) for name in ("draw0", "draw1")]
    draws[1] = draws[1].with_columns(pl.col("loss_difference") * 2)
    drawn = panels(ablation(causal(), pl.concat(draws), **BAND))["loss, in nats"]
    found = squares(line_points(drawn))
    assert len(found) == 15
    assert found["random weights, MLP", 2] == approx(1.5 * found["MLP", 2], abs=1e-5)
    head = found["random weights, strongest head", 2]
    assert head == approx(1.5 * found["strongest head", 2], abs=1e-5)


@pytest.mark.parametrize(
    ("draw", "made"), [(attribution_by_layer, table), (identity_parts, table), (ablation, causal)]
)
def test_dashed_lines_are_explained_where_there_are_any(draw, made):
    for few in (False, True):
        chart = draw(made().with_columns(few=pl.lit(few)), **BAND)
        points = [p for panel in panels(chart).values() for p in line_points(panel)]
        assert {p["dashed"] for p in points} == {few}
        assert ("Dashed: few texts." in notes(chart)) is few


def test_what_lies_in_blocks_is_told_by_block():
    for chart in (attribution_by_layer(table(), **BAND), ablation(causal(), **BAND)):
        found = [mark for panel in panels(chart).values() for mark in panel]
        assert layer_names(found) == {"block"}


def test_solid_grey_is_solid_of_few_texts_too():
    few = table().with_columns(few=pl.lit(True))
    chart = attribution_by_layer(few, few.with_columns(model=pl.lit("r")), **BAND)
    dashed = {p["line"]: p["dashed"] for p in line_points(panels(chart)["by part"])}
    assert dashed == dict.fromkeys(NAMES.values(), True) | {"random weights, all parts": False}
    assert "Solid grey: the same architecture with random weights" in notes(chart)


@pytest.mark.parametrize(
    ("draw", "made"), [(attribution_by_layer, table), (identity_parts, table), (ablation, causal)]
)
def test_bands_are_named_only_where_they_are_drawn(draw, made):
    for texts, words in ((7, "Band: 90 % interval, bootstrap over texts."), (1, "No bands: ")):
        chart = draw(made(texts=texts), **BAND)
        assert words in notes(chart) and bool(marks(chart, "area")) == (texts > 1)
        bare = draw is ablation and texts > 1
        assert ("No band: contribution to identity, with the part." in notes(chart)) is bare


def test_a_model_without_a_head_for_words_has_no_loss():
    assert "loss, in nats" not in panels(ablation(causal(loss=False), **BAND))


def test_a_table_without_rows_says_so():
    assert "nothing to show" in str(ablation(causal().clear(), **BAND).to_dict())
    for draw in (attribution_by_layer, identity_parts):
        assert "nothing to show" in str(draw(table().clear(), **BAND).to_dict())
