"""Figures of decodability: what is drawn is what the tables say."""

from functools import partial

import polars as pl
import pytest
from drawn import BAND, labels, line_points, marks, notes, panels, values

from tokentrails.figures.decodability import decodability, turned_and_lost
from tokentrails.figures.pieces.lines import DASHES
from tokentrails.figures.pieces.theme import GREY

DEPTH = 4
SHARES = {"none": 0.2, "centred": 0.4, "standardised": 0.5, "orthogonal": 0.7, "ridge": 0.8}
DECODED = ("decodable, ridge", "decodable, rotation")
LABELS = {"as it is", "centred", "z-scores", "rotation", "ridge", "shuffled targets"}


def table(model="m", checkpoint="main", depth=DEPTH, lost=0.9, **columns):
    """A made-up table: cosines halve by layer, and shares become `lost` times as large."""
    rows = [
        {
            "model": model,
            "checkpoint": checkpoint,
            "experiment": "e",
            "site": site,
            "layer": layer,
            "target": target,
            "map": name,
            "control": control,
            "top1": (share := 0.01 if control else start * lost**layer),
            "cosine": 0.8 * 0.5**layer,
            "ci_low": share - 0.01,
            "ci_high": share + 0.01,
            "n": 500,
            "n_types": 300,
            "n_fit": 16000,
            "few": False,
        }
        for site in ("final_norm", "resid")
        for layer in range(depth + 1)
        for target in ("own", "previous")
        for name, start in SHARES.items()
        for control in ((False, True) if name in ("orthogonal", "ridge") else (False,))
    ]
    return pl.DataFrame([row | columns for row in rows])


def test_turned_and_lost_are_relative_to_layer_0_and_maps_are_as_they_are():
    found = panels(chart := decodability(table(), **BAND))
    assert list(found) == ["turned, and lost", "the token itself", "the token before it"]
    points = line_points(found["turned, and lost"])
    assert values(points, "series", "layer", "value") == {
        *(("identity", layer, round(0.5**layer, 6)) for layer in range(DEPTH + 1)),
        *((name, layer, round(0.9**layer, 6)) for name in DECODED for layer in range(DEPTH + 1)),
    }
    decoded = [row for row in points if row["series"] == DECODED[0]]
    assert {round(row["value"] - row["low"], 4) for row in decoded} == {0.0125}  # 0.01 of 0.8
    for title in list(found)[1:]:
        assert labels(found[title]) == LABELS
        points = line_points(found[title])
        first = {row["series"]: row["value"] for row in points if row["layer"] == 0}
        assert first["ridge"] == 0.8 and first["as it is"] == 0.2
        grey = [row for row in points if row["colour"] == GREY]
        assert {(row["series"], row["value"]) for row in grey} == {("shuffled targets", 0.01)}
        assert all(row["dashed"] for row in grey) and len(points) == 6 * (DEPTH + 1)
    assert "500 tokens of 300 types" in notes(chart) and "16,000 tokens" in notes(chart)
    for draw in (decodability, partial(turned_and_lost, controls={})):
        for few in (False, True):
            chart = draw(table(few=few), **BAND)
            points = [row for panel in panels(chart).values() for row in line_points(panel)]
            assert {row["dashed"] for row in points if row["colour"] != GREY} == {few}
            assert ("Dashed, in colour: few tokens" in notes(chart)) is few


@pytest.mark.parametrize("draw", [decodability, partial(turned_and_lost, controls={})])
def test_bands_are_named_only_where_they_are_drawn(draw):
    bare = table(ci_low=None, ci_high=None).cast({"ci_low": pl.Float64, "ci_high": pl.Float64})
    chart, without = draw(table(), **BAND), draw(bare, **BAND)
    assert "Band: 90 % interval, bootstrap over types." in notes(chart) and marks(chart, "area")
    assert "No band: identity." in notes(chart)
    assert "No bands: too few types for an interval." in notes(without)
    assert not marks(without, "area")


def test_random_weights_are_grey_with_the_range_of_their_draws():
    draws = [table("r", f"draw{i}", lost=lost) for i, lost in enumerate((0.5, 0.7))]
    found = panels(chart := decodability(table(), pl.concat(draws), **BAND))
    expected = {
        "turned, and lost": ("decodable, ridge, random weights", 0.6, 0.5, 0.7),
        "the token itself": ("random weights", 0.48, 0.4, 0.56),
    }
    for title, (series, *numbers) in expected.items():
        (row,) = (
            row
            for row in line_points(found[title])
            if row["layer"] == 1 and row["series"] == series
        )
        assert [row[key] for key in ("value", "low", "high")] == pytest.approx(numbers)
        assert row["colour"] == GREY
    greys = {(row["line"], row["dashed"]) for row in line_points(found["the token itself"])}
    assert ("random weights", 0) in greys
    assert "identity, random weights" in labels(found["turned, and lost"])
    assert "mean and range of 2 draws" in notes(chart)


def test_the_composite_has_a_panel_for_each_model_over_its_depth():
    both = pl.concat([table("deep", depth=8), table("flat", depth=2, lost=1.0)])
    found = panels(turned_and_lost(both, controls={}, **BAND))
    assert list(found) == ["deep", "flat"]
    points = line_points(found["flat"])
    assert values(points, "series", "share", "value") == {
        *(("identity", layer / 2, 0.5**layer) for layer in range(3)),
        *((name, layer / 2, 1.0) for name in DECODED for layer in range(3)),
    }


def test_random_weights_are_grey_in_the_panel_of_their_model():
    tables = [table("deep", depth=4), table("r", depth=4, lost=0.5), table("alone", depth=2)]
    tables += [table("flat", depth=2), table("s", depth=2)]
    controls = {"r": "deep", "alone": "elsewhere", "s": "flat"}
    found = panels(chart := turned_and_lost(pl.concat(tables), controls=controls, **BAND))
    assert list(found) == ["deep", "alone", "flat"]
    points = line_points(found["deep"])
    grey = [row for row in points if row["colour"] == GREY]
    assert values(grey, "share", "value") == {
        (layer / 4, round(0.5**layer, 6)) for layer in range(5)
    }
    assert values(grey, "line", "dashed") == {
        ("identity, random weights", 0),
        ("decodable, ridge, random weights", DASHES.index([1.5, 2.5])),
        ("decodable, rotation, random weights", len(DASHES) - 1),
    }
    assert "Grey (dotted: ridge, dash-dotted: rotation): the same architecture" in notes(chart)
    assert len(points) == 2 * len(grey) == 30
    assert all(row["colour"] != GREY for row in line_points(found["alone"]))
    assert "before any training." in notes(chart)  # one draw of each model


def test_without_the_stream_or_without_anything_at_layer_0_there_is_nothing_to_show():
    nothing = table().with_columns(top1=pl.lit(0.0), cosine=pl.lit(-0.1))
    for draw in (decodability, partial(turned_and_lost, controls={})):
        for each in (table().filter(site="final_norm"), nothing):
            assert "nothing to show" in draw(each, **BAND).to_json()


def test_lines_that_are_no_share_of_layer_0_are_named():
    nothing = pl.col("map") == "orthogonal"
    lost = table("m").with_columns(top1=pl.when(nothing).then(0.0).otherwise("top1"))
    chart = decodability(lost, **BAND)
    assert labels(panels(chart)["turned, and lost"]) == {"identity", "decodable, ridge"}
    why = "Not drawn, without a value above 0 at layer 0 to be a share of: "
    assert why + "rotation." in notes(chart)
    assert "Not drawn" not in notes(decodability(table(), **BAND))
    below = table("r").with_columns(cosine=pl.lit(-0.1))
    assert why + "identity of r." in notes(decodability(table(), below, **BAND))
    chart = turned_and_lost(pl.concat([lost, below]), controls={}, **BAND)
    assert why + "identity of r, rotation of m." in notes(chart)
    unknown = table("m").with_columns(cosine=pl.lit(None, pl.Float64))
    assert why + "identity." in notes(decodability(unknown, **BAND))
