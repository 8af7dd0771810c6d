"""Figures of chance."""

import polars as pl
from drawn import BAND, line_points, of_kind, panels

from tokentrails.figures.baseline import baseline
from tokentrails.figures.pieces.save import specification


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
    chart = baseline(table, dimensions, **BAND)
    found = panels(chart)
    assert list(found) == ["two states", "a state and an embedding", "share of single dimensions"]
    text = str(specification(chart))
    assert "dimension 5" in text and "90 % interval" in text and "Hollow diamond" in text
    for site, depth in (("resid", 13), ("resid_mid", 12)):
        line = [r for r in line_points(found["two states"]) if r["site"] == site]
        assert sorted(r["layer"] for r in line) == list(range(depth))
        ((_, bands),) = of_kind(found["two states"], "area")
        band = [r for r in bands if r["site"] == site]
        assert all(r["low"] < r["value"] < r["high"] for r in band) and len(band) == depth


def test_chance_at_one_site_and_of_nothing_can_be_drawn():
    table, dimensions = chance_tables()
    mid = [t.filter(pl.col("site") == "resid_mid") for t in (table, dimensions)]
    chart = baseline(*mid, **BAND)
    assert "not read at resid" in str(specification(chart))
    assert "Hollow diamond" not in str(specification(chart))
    empty = baseline(table.clear(), dimensions.clear(), **BAND)
    assert "nothing to show" in str(specification(empty))
