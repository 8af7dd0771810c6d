"""Figures of chance, and of similarities beside it."""

import altair as alt
import numpy as np
import polars as pl
import pytest
from test_figures import BAND, TWO, layers, several

from tokentrails.figures.baseline import baseline
from tokentrails.figures.identity import composite_depth, composite_senses
from tokentrails.figures.pieces.save import specification


def panels(chart: alt.TopLevelMixin) -> dict[str, list[tuple[dict, list[dict]]]]:
    """The units of every panel with the rows that each draws, by the panel's title."""
    spec = specification(chart)
    parts = spec.get("concat") or spec["hconcat"]
    return {p["title"]["text"]: layers(p | {"rows": spec["datasets"]}) for p in parts}


def rows_of(units: list[tuple[dict, list[dict]]], kind: str) -> list[dict]:
    """What the marks of a kind draw, but for hairlines and thin lines."""
    return [
        row
        for unit, rows in units
        if unit["mark"]["type"] == kind and unit["mark"].get("strokeWidth", 2) >= 2
        for row in rows
    ]


def adjusted(table: pl.DataFrame, without: tuple[str, ...] = ()) -> pl.DataFrame:
    """`table` with cosines 0.3 above chance, but for models without a baseline."""
    chance = pl.when(pl.col("model").is_in(without)).then(None).otherwise(0.3)
    return table.with_columns(adjusted=(pl.col("cosine") - chance).cast(pl.Float32))


@pytest.mark.parametrize("draw", [composite_senses, composite_depth])
def test_composites_show_adjusted_similarities_beside_raw_ones(draw):
    identity, context = several(TWO, texts=2)
    plain = len(panels(draw(identity, context, None, title="t", **BAND)))
    chart = draw(adjusted(identity), adjusted(context), None, title="t", **BAND)
    found = panels(chart)
    assert len(found) == 2 * plain
    beside = {title: found[f"{title}, adjusted"] for title in found if "adjusted" not in title}
    for title, other in beside.items():
        raw, low = (
            np.array([row["cosine"] for row in rows_of(units, "line")])
            for units in (found[title], other)
        )
        np.testing.assert_allclose(raw - low, 0.3, atol=1e-5)
    assert "minus the mean cosine of random pairs" in str(specification(chart))


def test_a_model_without_a_baseline_says_so():
    identity, context = (adjusted(t, without=("encoder",)) for t in several(TWO, texts=1))
    chart = specification(composite_senses(identity, context, None, title="t", **BAND))
    assert str(chart).count("no baseline") == len(TWO)


def chance_tables(depth: int = 12, width: int = 8) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Made-up tables baseline and baseline_dimensions; dimension 5 makes most of the cosine."""
    places = [("resid", layer) for layer in range(depth + 1)]
    places += [("resid_mid", layer) for layer in range(depth)] + [("final_norm", depth)]
    rows, dimensions = [], []
    for site, layer in places:
        for kind in ("states", "embedding"):
            cosine = layer / (depth + 1) if kind == "states" else 0.02
            row = {"site": site, "layer": layer, "kind": kind, "cosine": cosine}
            row |= {"ci_low": cosine - 0.01, "ci_high": cosine + 0.01}
            rows.append(row | {"n_pairs": 9_000, "n_tokens": 300, "n_texts": 20})
        for dimension in range(width):
            share = 0.9 if dimension == 5 else 0.1 / (width - 1)
            dimensions.append(
                {"site": site, "layer": layer, "dimension": dimension, "share": share}
            )
    return pl.DataFrame(rows), pl.DataFrame(dimensions)


def test_chance_has_a_band_by_layer_and_names_its_largest_dimension():
    table, dimensions = chance_tables()
    chart = baseline(table, dimensions, title="t", confidence=0.9)
    found = panels(chart)
    assert list(found) == [
        "two states",
        "a state and an embedding",
        "share of single dimensions",
    ]
    text = str(specification(chart))
    assert "dimension 5" in text and "90 % interval" in text and "Hollow diamond" in text
    for site, depth in (("resid", 13), ("resid_mid", 12)):
        line = [r for r in rows_of(found["two states"], "line") if r["site"] == site]
        assert sorted(r["layer"] for r in line) == list(range(depth))
        band = [r for r in rows_of(found["two states"], "area") if r["site"] == site]
        assert all(r["low"] < r["value"] < r["high"] for r in band) and len(band) == depth


def test_chance_at_one_site_and_of_nothing_can_be_drawn():
    table, dimensions = chance_tables()
    mid = [t.filter(pl.col("site") == "resid_mid") for t in (table, dimensions)]
    chart = baseline(*mid, title="t", confidence=0.9)
    assert "not read at resid" in str(specification(chart))
    assert "Hollow diamond" not in str(specification(chart))
    empty = baseline(table.clear(), dimensions.clear(), title="t", confidence=0.9)
    assert "nothing to show" in str(specification(empty))
