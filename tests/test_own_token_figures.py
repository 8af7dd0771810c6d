"""The figure of the token itself and the next one: it shows what the table says."""

import itertools

import polars as pl
import pytest
from drawn import BAND, line_points, notes, of_kind, panels
from pytest import approx

from tokentrails.figures.own_token import _PANELS, own_token
from tokentrails.figures.pieces.text_tokens import COLOURS

CLASSES = {None: "all words", "content": "content words", "function": "function words"}
TYPES = {"layer": pl.Int32, "word_class": pl.String}


def table(scale=1.0, model="m", checkpoint="main"):
    rows = []
    for (space, measure), name, layer in itertools.product(
        _PANELS, (*CLASSES, "punctuation"), range(4)
    ):
        mean = scale * (layer + 1 + len(measure) / 10 + len(name or "") / 100)
        mean *= -1 if measure.endswith("logprob") else 1
        row = {"model": model, "checkpoint": checkpoint, "space": space, "measure": measure}
        row |= {
            "word_class": name,
            "layer": layer,
            "n": 90,
            "n_texts": 7,
            "n_types": 60,
            "few": name == "content",
        }
        rows.append(row | {"mean": mean, "ci_low": mean - 0.1, "ci_high": mean + 0.2})
    return pl.DataFrame(rows, schema_overrides=TYPES)


def test_each_line_is_a_group_of_the_table():
    rows = table()
    chart = own_token(rows, **BAND)
    drawn = panels(chart)
    assert list(drawn) == list(_PANELS.values())
    for (space, measure), title in _PANELS.items():
        found = {(p["series"], p["layer"]): p["value"] for p in line_points(drawn[title])}
        here = rows.filter(space=space, measure=measure).select("word_class", "layer", "mean")
        wanted = {(CLASSES[k], layer): v for k, layer, v in here.rows() if k in CLASSES}
        assert found == approx(wanted)
    dashed = {p["series"] for p in line_points(drawn["entropy"]) if p["dashed"]}
    assert dashed == {"content words"} and "Dashed: few texts or types." in notes(chart)
    assert "Dashed" not in notes(own_token(rows.with_columns(few=pl.lit(False)), **BAND))


def test_it_says_that_all_words_are_numbers_and_marks_too():
    assert "All words: also numbers, punctuation and signs." in notes(own_token(table(), **BAND))


def test_rank_0_is_on_top_and_the_classes_have_their_colours():
    drawn = panels(own_token(table(), **BAND))
    for title, panel in drawn.items():
        domains = [unit["encoding"]["y"]["scale"]["domain"] for unit, _ in of_kind(panel, "circle")]
        assert {low > high for low, high in domains} == {title.startswith("rank")}
        tints = {point["line"]: point["colour"] for point in line_points(panel)}
        assert {name: tints[name] for name in ("function", "content")} == {
            name: COLOURS[name] for name in ("function", "content")
        }


def test_bands_are_named_only_where_they_are_drawn():
    bare = table().with_columns(
        pl.lit(None, pl.Float64).alias(end) for end in ("ci_low", "ci_high")
    )
    draws = pl.concat([table(2, "r", "draw0"), table(3, "r", "draw1")])
    for control in (None, draws):  # whose range is no interval
        chart = own_token(bare, control, **BAND)
        assert "No bands: too few texts or types for an interval." in notes(chart)
    assert "Band: 90 % interval, bootstrap over texts crossed with types." in notes(
        own_token(table(), **BAND)
    )


@pytest.mark.parametrize("control", [None, table(2, "r", "draw0")], ids=["alone", "control"])
def test_a_model_without_a_head_has_two_panels(control):
    """Though its random weights may have one: a panel with grey alone says nothing of the model."""
    chart = own_token(table().filter(space="embedding"), control, **BAND)
    drawn = panels(chart)
    assert list(drawn) == [_PANELS[key] for key in _PANELS if key[0] == "embedding"]
    for panel in drawn.values():
        lines = {point["series"] for point in line_points(panel)}
        assert ("random weights" in lines) == (control is not None)
    assert "The model has no head" in notes(chart)
    assert "no head" not in notes(own_token(table(), control, **BAND))


def test_a_lens_is_a_line_beside_the_unembedding():
    rows = table()
    lens = table(2).filter(space="unembedding").with_columns(space=pl.lit("tuned"))
    chart = own_token(pl.concat([rows, lens]), **BAND)
    drawn = panels(chart)
    assert list(drawn) == list(_PANELS.values())
    for (space, measure), title in _PANELS.items():
        points = [p for p in line_points(drawn[title]) if p["series"] == "all words, tuned"]
        here = lens.filter(pl.col("word_class").is_null(), measure=measure).sort("layer")
        wanted = here["mean"].to_list() if space == "unembedding" else []
        assert [p["value"] for p in points] == approx(wanted)
    assert "Lenses, affine maps of the stream before the head: tuned." in notes(chart)


def test_each_lens_has_a_colour_of_its_own():
    names = [f"lens{i}" for i in range(6)]
    head = table().filter(space="unembedding")
    lenses = [head.with_columns(space=pl.lit(name)) for name in names]
    points = line_points(panels(own_token(pl.concat([table(), *lenses]), **BAND))["entropy"])
    colours = dict({(p["series"], p["colour"]) for p in points})
    assert len(colours) == len(set(colours.values())) == len(CLASSES) + len(names)


def test_controls_are_the_mean_over_draws_of_all_words():
    draws = pl.concat([table(2, "r", "draw0"), table(3, "r", "draw1")])
    chart = own_token(table(), draws, **BAND)
    points = line_points(panels(chart)["entropy"])
    grey = {p["layer"]: p for p in points if p["series"] == "random weights"}
    one = (
        table()
        .filter(pl.col("word_class").is_null(), space="unembedding", measure="entropy", layer=2)[
            "mean"
        ]
        .item()
    )
    found = [grey[2][name] for name in ("value", "low", "high")]
    assert found == approx([2.5 * one, 2 * one, 3 * one])
    assert "random weights" in notes(chart)


def test_a_table_without_rows_says_so():
    assert "nothing to show" in str(own_token(table().clear(), **BAND).to_dict())
