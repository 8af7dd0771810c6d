"""Figures of geometry: they show what the tables say."""

import math
from dataclasses import replace
from functools import cache

import polars as pl
from drawn import BAND, coloured_cells, grey_cells, line_points, notes, of_kind, panels
from pytest import approx
from test_geometry import layers, table, tokens

from tokentrails.figures.geometry import geometry, geometry_steps

TITLES = {
    "length": "length",
    "largest": "largest activation",
    "effective_rank": "effective rank",
    "isoscore": "IsoScore*",
    "slope": "slope of the spectrum",
    "curvature": "curvature of the path, in degrees",
    "cosine": "cosine with the layer before",
    "cka": "CKA with the layer before",
}
LOGS = ("length", "largest")
CHECKPOINTS = pl.DataFrame({"model": "m", "checkpoint": "a", "warning": [None]}).cast(pl.String)


@cache
def made(seed=0, checkpoint="main"):
    of = tokens((16,) * 5)
    found = table(layers(80, d=60, seed=seed), of)
    return found.with_columns(checkpoint=pl.lit(checkpoint))


def shown(name, rows):
    """What is drawn of a column, by the columns before it."""
    found = {tuple(key): value for *key, value in rows.rows()}
    return {k: math.log10(v) if name in LOGS else v for k, v in found.items() if v is not None}


def test_each_line_is_a_column_of_the_table_at_the_stream():
    rows = made().filter(site="resid")
    drawn = panels(geometry(made(), **BAND))
    assert list(drawn) == list(TITLES.values())
    names = {"all tokens": True, "without position 0": False}
    for name, title in TITLES.items():
        points = line_points(drawn[title])
        found = {(names[p["series"]], p["layer"]): p["value"] for p in points}
        assert found == approx(shown(name, rows.select("with_first", "layer", name)), abs=2e-6)
    bands = {p["layer"] for p in line_points(drawn["length"]) if p["low"] < p["value"] < p["high"]}
    assert bands == {0, 1, 2, 3}
    none = "No band: largest activation, effective rank, IsoScore*, slope of the spectrum, CKA with"
    assert none in notes(geometry(made(), **BAND))


def test_lengths_of_a_narrow_range_have_ticks_with_numbers():
    narrow = made().with_columns(length=pl.lit(9.0), length_ci_low=8.9, length_ci_high=9.1)
    ((unit, _), *_) = of_kind(panels(geometry(narrow, **BAND))["length"], "line")
    ticks = [round(10**tick, 3) for tick in unit["encoding"]["y"]["axis"]["values"]]
    assert ticks == [7.5, 8.0, 8.5, 9.0]


def test_dashed_lines_are_explained_where_there_are_any():
    for few in (False, True):
        own = made().with_columns(few=pl.lit(few))
        chart = geometry(own, own.with_columns(model=pl.lit("r")), **BAND)
        points = line_points(panels(chart)["slope of the spectrum"])
        dashed = {p["series"]: p["dashed"] for p in points}
        assert dashed.pop("random weights") is False and set(dashed.values()) == {few}
        assert ("Dashed: few texts." in notes(chart)) is few


def test_one_line_where_no_token_is_at_position_0():
    of = tokens((20,) * 4)
    later = replace(of, position=of.position + 1)
    drawn = panels(geometry(table(layers(80, d=60), later), **BAND))
    assert {p["series"] for p in line_points(drawn["length"])} == {"without position 0"}


def test_controls_are_grey_and_without_first_tokens():
    draws = pl.concat([made(1, "draw0"), made(2, "draw1")])
    chart = geometry(made(), draws, **BAND)
    points = line_points(panels(chart)["effective rank"])
    grey = {p["layer"]: p for p in points if p["series"] == "random weights"}
    own = draws.filter(site="resid", with_first=False, layer=2)["effective_rank"].to_list()
    assert grey[2]["value"] == approx(sum(own) / 2, abs=1e-4)
    assert (grey[2]["low"], grey[2]["high"]) == approx((min(own), max(own)), abs=1e-4)
    assert "random weights" in notes(chart)


def test_the_map_has_a_cell_for_each_layer_and_step():
    steps = pl.concat([made(0, "step0"), made(1, "step4"), made(2, "other")])
    chart = geometry_steps(steps, CHECKPOINTS, title="t")
    drawn = panels(chart)
    assert list(drawn) == list(TITLES.values())
    rows = steps.filter(pl.col("checkpoint") != "other", site="resid", with_first=False)
    for name, title in TITLES.items():
        cells = coloured_cells(drawn[title])
        found = {(c["checkpoint"], c["layer"]): c["value"] for c in cells}
        assert found == approx(shown(name, rows.select("checkpoint", "layer", name)), abs=2e-6)
    assert {c["layer"] for c in grey_cells(drawn[TITLES["cka"]])} == {0}
    assert "Not drawn, without a step in the name: other." in notes(chart)


def test_a_table_without_rows_says_so():
    empty = made().clear()
    for chart in (geometry(empty, **BAND), geometry_steps(empty, CHECKPOINTS, title="t")):
        assert "nothing to show" in str(chart.to_dict())
