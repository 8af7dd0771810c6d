"""Figures: what is on the lines, what people read, what reaches the disk."""

import base64
import hashlib
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from altair.utils.schemapi import debug_mode
from drawn import (
    BAND,
    FORMATS,
    Page,
    label_gaps,
    layers,
    line_points,
    made_twice_alike,
    marks,
    notes,
    panels,
)

from tokentrails import figures
from tokentrails.figures.identity import composite_depth, composite_senses, identity_context
from tokentrails.figures.pieces.lines import Frame, layer_ticks, line_panel
from tokentrails.figures.pieces.page_script import page_script
from tokentrails.figures.pieces.panel import cosine_range
from tokentrails.figures.pieces.save import render, save, specification
from tokentrails.figures.pieces.text import counted, readable, shorten, spread, visible
from tokentrails.figures.pieces.text_tokens import COLOURS, group_colours
from tokentrails.figures.pieces.theme import GREY
from tokentrails.figures.summary import summary
from tokentrails.statistics.forms import FORMS, SOUND


def curve(layer: int, depth: int, half: float, end: float) -> float:
    return end + (0.9 - end) * math.exp(-layer * 12 / depth / half)


def tables(
    words: dict[str, list[str]], *, texts: int, model: str = "nano", depth: int = 12, norm=True
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(identity, context, summary) of made-up but plausible curves for words and their senses."""
    sites = [("resid", layer) for layer in range(depth + 1)]
    sites += [("resid_mid", layer) for layer in range(depth)]
    sites += [("final_norm", depth)] if norm else []
    keys = {"model": model, "checkpoint": "main", "experiment": "made-up"}
    identity, context, summary = [], [], []
    for w, (word, senses) in enumerate(words.items()):
        token = "Ġ" + word
        members = [(f"{word}_{sense}_{i}", sense, i) for sense in senses for i in range(texts)]
        for m, (label, sense, i) in enumerate(members):
            half, end = 1.5 + 0.3 * m + 0.5 * w, 0.06 - 0.03 * m
            sentence = f"Text {i} of </script><b>{word}</b> & {sense}\u2028."
            row = keys | {"label": label, "word": word, "token": token, "sense": sense}
            for site, layer in sites:
                shift = {"resid": 0, "resid_mid": 5, "final_norm": -0.15}[site]
                value = curve(layer, depth, half, end) + shift
                at = {"text": sentence, "site": site, "layer": layer, "cosine": value}
                identity.append(dict.fromkeys(FORMS) | row | at)
            reached = m % 3 != 2
            summary.append(
                row
                | {
                    "depth": depth,
                    "half_life_threshold": 0.1,
                    "half_life_layer": 2 + m % 5 + w if reached else None,
                }
                | {"final_similarity": end, "final_norm_similarity": end - 0.15 if norm else None}
                | {"context_dominance_layer": 2 + (m + w) % 4 if m % 4 else None}
                | {"context_pairs": 1}
            )
        for (a, sense_a, _), (b, sense_b, _) in itertools.combinations(members, 2):
            relation = "within" if sense_a == sense_b else "between"
            pair = {"label_a": a, "label_b": b, "sense_a": sense_a, "sense_b": sense_b}
            for site, layer in sites:
                shift = {"resid": 0, "resid_mid": 5, "final_norm": 0.03}[site]
                fall = 0.35 if relation == "between" else 0.15
                value = 0.95 - fall * math.sin(math.pi * layer / depth * 0.9) - 0.04 * w + shift
                row = keys | {"word": word, "token": token, "relation": relation} | pair
                context.append(row | {"site": site, "layer": layer, "cosine": value})
    types = {"layer": pl.Int32, "cosine": pl.Float32, "sense": pl.String, "relation": pl.String}
    return (
        pl.DataFrame(identity, schema_overrides=types, infer_schema_length=None),
        pl.DataFrame(context, schema_overrides=types, infer_schema_length=None),
        pl.DataFrame(summary, infer_schema_length=None),
    )


TWO = {"lead": ["guide", "metal"], "bank": ["money", "river"]}
FOUR = TWO | {"spring": ["season", "coil"], "light": ["lamp", "weight"]}
MODELS = {"gpt-like": (4, True), "deep": (10, True), "encoder": (2, False)}


def several(words: dict[str, list[str]], texts: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    made = [
        tables(words, texts=texts, model=model, depth=depth, norm=norm)
        for model, (depth, norm) in MODELS.items()
    ]
    # Models differ by a constant, so that their lines do not cover one another.
    lower = [0.1 * i * (pl.col("cosine") < 5) for i in range(len(made))]
    identity, context = (
        pl.concat(
            made[i][kind].with_columns(cosine=(pl.col("cosine") - shift).cast(pl.Float32))
            for i, shift in enumerate(lower)
        )
        for kind in (0, 1)
    )
    return identity, context


def written(chart: alt.TopLevelMixin) -> list[str]:
    """Everything a reader sees: text marks, titles, and tooltip values."""
    spec = specification(chart)
    strings = [v for _, rows in layers(spec) for row in rows for v in row.values()]
    panels = spec.get("concat") or spec.get("hconcat") or []
    titles = [panel["title"]["text"] for panel in panels]
    heading = spec["title"]
    return [*map(str, strings), *titles, *heading["text"], *heading.get("subtitle", [])]


# --- text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("Ġlead", "lead"),
        ("▁lead", "lead"),
        (" lead", "lead"),
        ("lead", "lead"),
        ("##ing", "-ing"),
        ("##", "##"),
        ("Ċ", "\\n"),
        ("ĉ", "\\t"),
        ("Ġ", "[space]"),
        ("ĠcafÃ©", "café"),
        ("café", "café"),
        ("ĠÃ", "Ã"),
        ("日本", "日本"),
        ("a\u202eb\x00", "a\\u202eb\\x00"),
        ("<b>&", "<b>&"),
        ("ĠÂł", "\\xa0"),  # a space that does not break
        ("ãĢĢ", "\\u3000"),
        ("a\u2003b", "a\\u2003b"),
        ("\u0301", "\\u0301"),
        ("e\u0301", "e\u0301"),
        ("\u3164", "\\u3164"),
        ("\U000e0001", "\\U000e0001"),
    ],
    ids=ascii,
)
def test_tokens_are_readable(token, word):
    assert readable(token) == word


def test_spaces_of_texts_stay_as_they_are():
    assert visible("a\u3000b\u2028") == "a\u3000b\\u2028"


@pytest.mark.parametrize(
    ("token", "word"),
    [("ĠÃ", "<0xC3>"), ("×", "<0xD7>"), ("ĠcafÃ©", "café"), ("Ġlead", "lead"), ("日本", "日本")],
)
def test_bytes_of_no_whole_character_are_bytes(token, word):
    assert readable(token, byte_level=True) == word


def test_shortened_text_says_so():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize("seed", range(50))
def test_labels_never_overlap_and_stay_in_range(seed):
    draw = random.Random(seed)
    values = [draw.choice([draw.uniform(-0.2, 1.0), 0.98, 0.0]) for _ in range(draw.randint(1, 12))]
    placed = spread(values, 0.1, -0.3, 1.03)
    ordered = sorted(placed)
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(ordered))
    assert ordered[0] >= -0.3 - 1e-9 and ordered[-1] <= 1.03 + 1e-9
    by_value = sorted(range(len(values)), key=lambda i: values[i])
    assert all(
        placed[a] < placed[b] for a, b in itertools.pairwise(by_value) if values[a] < values[b]
    )


def test_labels_move_only_as_far_as_they_must():
    assert spread([], 0.1, 0, 1) == []
    assert spread([0.2, 0.8], 0.1, 0, 1) == [0.2, 0.8]
    assert spread([0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.45, 0.55])
    assert spread([1.0, 1.0], 0.1, 0, 1) == pytest.approx([0.9, 1.0])
    assert spread([0.9, 0.1, 0.5], 0.6, 0, 1) == pytest.approx([1.0, 0.0, 0.5])


# --- identity and context ---------------------------------------------------------------------


@pytest.mark.parametrize(("words", "texts"), [(TWO, 1), (FOUR, 3)])
def test_lines_hold_the_stream_and_diamonds_the_final_norm(words, texts):
    identity, context, _ = tables(words, texts=texts)
    chart = identity_context(identity, context, None, **BAND)
    drawn = [row for _, rows in marks(chart, "line") for row in rows if "site" in row]
    assert {row["site"] for row in drawn} == {"resid"}
    assert max(row["cosine"] for row in drawn) < 1  # made-up resid_mid values lie above 4
    assert {row["x"] for row in drawn} == set(range(13))
    diamonds = [row for _, rows in marks(chart, "point") for row in rows]
    assert {row["site"] for row in diamonds} == {"final_norm"}
    assert all(12 < row["x"] < 14 and row["layer"] == 12 for row in diamonds)
    assert "diamond" in " ".join(written(chart))


def test_encoder_has_no_diamond_and_no_note_of_one():
    identity, context, _ = tables(TWO, texts=1, depth=6, norm=False)
    chart = identity_context(identity, context, None, **BAND)
    assert not marks(chart, "point")
    assert "diamond" not in " ".join(written(chart))


def test_mean_lines_are_means_and_texts_are_drawn_under_them():
    identity, context, _ = tables(FOUR, texts=3)
    chart = identity_context(identity, context, None, **BAND)
    strong = [rows for unit, rows in marks(chart, "line") if unit["mark"]["strokeWidth"] > 2]
    faint = [rows for unit, rows in marks(chart, "line") if unit["mark"]["strokeWidth"] == 0.8]
    here = {"word": "lead", "sense": "metal", "site": "resid", "layer": 4}
    expected = identity.filter(**here)["cosine"].cast(pl.Float64).mean()
    (row,) = (r for r in strong[0] if r["series"] == "metal" and r["layer"] == 4)
    assert row["cosine"] == pytest.approx(expected, abs=1e-6)
    assert {r["label"] for r in faint[0]} == set(identity.filter(word="lead")["label"])
    pairs = context.filter(word="lead", site="resid", layer=4)
    for relation, series in (("between", "between senses"), ("within", "within senses")):
        (row,) = (r for r in strong[0] if r["series"] == series and r["layer"] == 4)
        mean = pairs.filter(relation=relation)["cosine"].cast(pl.Float64).mean()
        assert row["cosine"] == pytest.approx(mean, abs=1e-6)


def test_of_many_words_the_first_are_drawn_behind_the_means_over_all():
    identity, context, table = tables({f"w{i}": ["a", "b"] for i in range(30)}, texts=2, depth=2)
    rows = [
        (measure, None, site, layer, 0.5 + i / 10, 0.4, 0.7)
        for i, measure in enumerate(("identity", "context_between", "context_within"))
        for site, layer in identity.select("site", "layer").unique().rows()
    ] + [("identity", "w0", "resid", 1, 0.1, 0.0, 0.2)]
    names = ("measure", "word", "site", "layer", "mean", "ci_low", "ci_high")
    curves = pl.DataFrame(rows, [*names], orient="row").with_columns(
        pl.col("layer").cast(pl.Int32),
        pl.lit("cosine").alias("similarity"),
        pl.lit(None, pl.String).alias("series"),
        *(pl.lit(identity[name][0]).alias(name) for name in ("model", "checkpoint")),
    )
    chart = identity_context(identity, context, curves, **BAND)
    titles = [panel["title"]["text"] for panel in specification(chart)["concat"]]
    assert titles == ["all words", *(f"w{i}" for i in range(23))]
    overall, *_ = panels(chart).values()
    drawn = {(row["series"], row["cosine"]) for row in line_points(overall, width=2.2)}
    assert drawn == {("identity", 0.5), ("between senses", 0.6), ("within senses", 0.7)}
    assert "the mean over 30 words" in " ".join(written(chart))
    assert "The first 24 of 30 words." in " ".join(written(summary(table, title="t")))


def test_without_senses_every_label_is_a_line_and_context_is_over_all_pairs():
    identity, context, _ = tables(TWO, texts=2)
    none = pl.lit(None, pl.String)
    identity = identity.with_columns(sense=none)
    context = context.with_columns(sense_a=none, sense_b=none, relation=none)
    chart = identity_context(identity, context, None, **BAND)
    series = [row["series"] for _, rows in marks(chart, "text") for row in rows]
    assert series.count("between texts") == 2
    assert len(series) == identity["label"].n_unique() + 2


def test_lines_whose_names_shorten_alike_stay_apart():
    identity, _, _ = tables({"lead": ["a", "b"]}, texts=1)
    long = pl.lit("a name far longer than any direct label may be ") + pl.col("label")
    chart = identity_context(
        identity.with_columns(label=long, sense=pl.lit(None, pl.String)), None, None, **BAND
    )
    ((unit, rows),) = (m for m in marks(chart, "line") if m[0]["mark"]["strokeWidth"] > 2)
    assert len({row["series"] for row in rows}) == 1
    key = [channel["field"] for channel in unit["encoding"]["detail"]] + ["layer"]
    assert len({tuple(row[k] for k in key) for row in rows}) == 2 * 13
    assert len(next(rows for _, rows in marks(chart, "text"))) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 24])
def test_labels_of_a_panel_do_not_overlap(count):
    words = {f"w{i}": ["a", "b", "c"] for i in range(count)}
    identity, context, _ = tables(words, texts=1, depth=3)
    spec = specification(identity_context(identity, context, None, **BAND))
    assert len(spec["concat"]) == count
    for part in spec["concat"]:
        gaps = label_gaps(layers(part | {"rows": spec["datasets"]}), "cosine", part["height"])
        assert len(gaps) == 3 and min(gaps) > 13.99


def test_the_axis_holds_the_intervals():
    frame = pl.DataFrame({"cosine": [0.2, 0.4], "low": [-0.5, None]})
    assert cosine_range(frame, frame.drop("low"))[0] == pytest.approx(-0.55)
    assert cosine_range(frame.drop("low"))[0] == -0.1


@pytest.mark.parametrize("context", [None, pl.DataFrame()])
def test_context_may_be_missing(context):
    identity, _, _ = tables(TWO, texts=1)
    for draw in (identity_context, composite_senses, composite_depth):
        assert "between senses" not in written(draw(identity, context, None, **BAND))


def test_empty_tables_give_a_figure_that_says_so():
    identity, context, table = tables(TWO, texts=1)
    for draw in (identity_context, composite_senses, composite_depth):
        assert draw(identity.clear(), context.clear(), None, **BAND).mark.text == "nothing to show"
    assert summary(table.clear(), title="t").mark.text == "nothing to show"


def test_identity_context_refuses_two_models():
    identity, context = several(TWO, 1)
    with pytest.raises(ValueError, match="one model"):
        identity_context(identity, context, None, **BAND)


# --- composites -------------------------------------------------------------------------------


def test_composites_use_each_models_own_depth():
    identity, context = several(FOUR, 3)
    for draw in (composite_senses, composite_depth):
        drawn = [
            row
            for _, rows in marks(draw(identity, context, None, **BAND), "line")
            for row in rows
            if row.get("site") == "resid"
        ]
        for depth, _ in MODELS.values():
            expected = {layer / depth for layer in range(depth + 1)}
            assert expected <= {row["x"] for row in drawn}
        assert max(row["x"] for row in drawn) == 1
        assert max(row["cosine"] for row in drawn) < 1


def test_composite_senses_shows_eight_words_and_says_so():
    identity, _, _ = tables({f"w{i}": ["a", "b"] for i in range(10)}, texts=1)
    chart = composite_senses(identity, None, None, **BAND)
    titles = [panel["title"]["text"] for panel in specification(chart)["concat"]]
    assert titles == [f"w{i} · nano" for i in range(8)]
    assert "The first 8 of 10 words." in written(chart)


def seven(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of one model as those of seven."""
    one = table.filter(pl.col("model") == table["model"][0])
    return pl.concat(one.with_columns(model=pl.lit(f"model-{i}")) for i in range(7))


def test_composites_of_seven_models_have_at_most_four_panels_in_a_row():
    identity, context = (seven(with_baseline(table)) for table in several(TWO, 1))
    chart = composite_senses(identity, context, None, **BAND)
    words = specification(chart)["vconcat"]
    assert [(len(word["concat"]), word["columns"]) for word in words] == [(14, 4)] * len(TWO)
    titles = [panel["title"]["text"] for panel in words[0]["concat"]]
    assert titles[:3] == ["lead · model-0", "lead · model-0, scaled", "lead · model-1"]
    named = [
        {unit["encoding"]["x"].get("title") for unit in panel["layer"] if "x" in unit["encoding"]}
        for panel in words[0]["concat"]
    ]
    assert named == [{None}] * 10 + [{"layer / depth"}] * 4
    picture = render(specification(chart), ".png")

    assert int.from_bytes(picture[16:20], "big") <= 3200


def test_composite_senses_marks_a_word_that_a_model_lacks():
    identity, context = several(TWO, 1)
    gone = (pl.col("model") == "encoder") & (pl.col("word") == "bank")
    chart = composite_senses(identity.filter(~gone), context.filter(~gone), None, **BAND)
    texts = [unit["mark"].get("text") for unit, _ in marks(chart, "text")]
    assert texts.count("not measured") == 1


def test_composite_depth_averages_words_not_texts():
    identity, _, _ = tables({"lead": ["guide"], "bank": ["money"]}, texts=3)
    identity = identity.filter((pl.col("word") == "lead") | (pl.col("label") == "bank_money_0"))
    at = identity.filter(site="resid", layer=5).with_columns(pl.col("cosine").cast(pl.Float64))
    expected = at.group_by("word").agg(pl.col("cosine").mean())["cosine"].mean()
    chart = composite_depth(identity, None, None, **BAND)
    rows = [r for _, rows in marks(chart, "line") for r in rows if r.get("layer") == 5]
    assert [r["cosine"] for r in rows] == [pytest.approx(expected, abs=2e-6)]


def test_means_over_words_without_bands_lack_words_and_not_texts():
    identity, context = several(TWO, 1)
    said = written(composite_depth(identity, context, None, **BAND))
    assert any("No bands: too few words for an interval." in line for line in said)
    said = written(identity_context(*tables(TWO, texts=2)[:2], None, **BAND))
    assert any("No bands: too few texts for an interval." in line for line in said)


def test_checkpoints_of_one_model_are_told_apart():
    identity, _, _ = tables(TWO, texts=1)
    second = identity.with_columns(checkpoint=pl.lit("step64"))
    chart = composite_depth(pl.concat([identity, second]), None, None, **BAND)
    names = {row["series"] for _, rows in marks(chart, "text") for row in rows}
    assert names == {"nano main", "nano step64"}


def with_baseline(table: pl.DataFrame, without: tuple[str, ...] = ()) -> pl.DataFrame:
    """`table` with all forms of its cosines, of a chance of 0.3, but for models `without`."""
    known = ~pl.col("model").is_in(without)
    change = {
        "scaled": (0.3, 0.7),
        "matched": (0.4, 0.6),
        "centred": (0.1, 1),
        "standardised": (0.2, 1),
    }
    return table.with_columns(
        pl.when(known).then((pl.col("cosine") - shift) / size).cast(pl.Float32).alias(form)
        for form, (shift, size) in change.items()
    )


@pytest.mark.parametrize(
    ("draw", "forms"), [(composite_senses, SOUND[:2]), (composite_depth, SOUND)]
)
def test_composites_show_other_forms_of_similarity_beside_raw_ones(draw, forms):
    identity, context = several(TWO, texts=2)
    plain = len(panels(draw(identity, context, None, **BAND)))
    chart = draw(with_baseline(identity), with_baseline(context), None, **BAND)
    found = {
        title: np.array([row["cosine"] for row in line_points(units, width=2.2)])
        for title, units in panels(chart).items()
    }
    assert len(found) == len(forms) * plain
    for title in [title for title in found if "," not in title]:
        raw = found[title]
        np.testing.assert_allclose(found[f"{title}, scaled"], (raw - 0.3) / 0.7, atol=1e-5)
        if "centred" in forms:
            np.testing.assert_allclose(found[f"{title}, matched"], (raw - 0.4) / 0.6, atol=1e-5)
            np.testing.assert_allclose(found[f"{title}, centred"], raw - 0.1, atol=1e-5)
            np.testing.assert_allclose(found[f"{title}, standardised"], raw - 0.2, atol=1e-5)
    assert "chance is the mean cosine of random pairs" in str(specification(chart))


def test_a_model_without_a_baseline_says_so():
    identity, context = (with_baseline(t, without=("encoder",)) for t in several(TWO, texts=1))
    chart = specification(composite_senses(identity, context, None, **BAND))
    assert str(chart).count("no baseline") == len(TWO)


# --- bands ---


def banded(known: str) -> pl.DataFrame:
    """A points frame of a line; a point without an interval for each dot."""
    ends = [(0.2, 0.6) if each == "x" else (None, None) for each in known]
    return pl.DataFrame(
        {"layer": range(len(known)), "value": 0.4, "line": "a", "series": "a", "colour": GREY}
    ).with_columns(
        dashed=pl.lit(value=False),
        **{
            name: pl.Series([e[i] for e in ends], dtype=pl.Float64)
            for i, name in enumerate(("low", "high"))
        },
    )


@pytest.mark.parametrize(
    ("known", "pieces", "bars"),
    [
        ("xxxxxx", 1, []),
        ("xx..xx", 2, []),
        ("x....x", 0, [0, 5]),
        ("xx.x.x", 1, [3, 5]),
        ("......", 0, []),
    ],
)
def test_a_band_ends_where_there_is_no_interval(known, pieces, bars):
    frame = Frame.over_layers(5, 1.05, "v", 0.0, 1.0, 100, 100, zero=False)
    points = banded(known).sample(fraction=1, shuffle=True, seed=1)  # in whatever order
    chart = line_panel(points, frame, title="t")
    rules = [row["layer"] for _, rows in marks(chart, "rule") for row in rows]
    assert sorted(rules) == bars
    svg = render(specification(chart), ".svg").decode()
    areas = re.findall(r'<g class="mark-area [^>]*><path [^>]*d="([^"]*)"', svg)
    drawn = [piece for area in areas for piece in area.split("M") if "L" in piece]
    # That of one point, which has a bar, has no width.
    assert len([p for p in drawn if len(set(re.findall(r"([-\d.]+),", p))) > 1]) == pieces


# --- summary ----------------------------------------------------------------------------------


def test_a_layer_never_reached_is_drawn_in_its_own_column():
    _, _, table = tables(TWO, texts=2)
    ((_, rows),) = marks(summary(table, title="t"), "point")
    assert len(rows) == 2 * len(table)
    never = [row for row in rows if row["reached"] == "never"]
    nulls = table["half_life_layer"].null_count() + table["context_dominance_layer"].null_count()
    assert len(never) == nulls > 0
    assert {row["text"] for row in rows} == set(table["label"])
    assert all(row["layer"] > 12 for row in never)
    assert all(row["layer"] <= 12 for row in rows if row["reached"] != "never")


def test_context_dominance_is_first_reached_and_no_cause_is_named():
    said = notes(summary(tables(TWO, texts=2)[2], title="t"))
    assert "for the first time" in said and "may rise again" in said and "since" not in said


def test_many_labels_are_drawn_by_sense_with_never_later_than_every_layer():
    _, _, table = tables({f"w{i}": ["a", "b"] for i in range(24)}, texts=5)
    half = pl.Series([None, 3, None, 4, None] * 48, dtype=pl.Int64)
    even = pl.Series([2, 3, 8, 4, None] * 48, dtype=pl.Int64)
    table = table.with_columns(half_life_layer=half, context_dominance_layer=even)
    table = table.with_columns(text=pl.col("label"), y=pl.lit(0))  # as tables of texts have them
    ((_, rows),) = marks(summary(table, title="t"), "point")
    assert len(rows) == 24 * 2 * 2
    by_measure = {row["measure"].split(":")[0]: row for row in rows}
    assert by_measure["half-life"]["reached"] == "never"
    assert by_measure["half-life"]["count"] == "3 of 5"
    assert by_measure["context dominance"]["layer"] == 4
    assert (by_measure["context dominance"]["first"], by_measure["context dominance"]["last"]) == (
        2,
        8,
    )


def test_the_byte_level_space_mark_is_never_shown():
    identity, context, table = tables(TWO, texts=2, depth=2)
    marked = pl.lit("Ġ") + pl.col("word")
    identity = identity.with_columns(word=marked, sense=pl.lit(None, pl.String), label=marked)
    table = table.with_columns(word=marked, label=pl.lit("Ġ") + pl.col("label"))
    context = context.with_columns(word=marked)
    charts = [
        draw(identity, context, None, **BAND)
        for draw in (identity_context, composite_senses, composite_depth)
    ]
    for chart in [*charts, summary(table, title="t")]:
        svg = render(specification(chart), ".svg").decode()
        assert "Ġ" not in svg
        page = Page(render(specification(chart), ".html").decode())
        assert "Ġ" not in "".join(written(chart)) + page.scripts[0]


# --- files ------------------------------------------------------------------------------------


def test_control_characters_are_drawn_as_escapes():
    wild = "a\x07\x00\u202e\ufffe\x1b"
    data = alt.InlineData(values=[{"word": wild}])
    chart = alt.Chart(data, title=wild).mark_text().encode(text="word:N")
    spec = specification(chart)
    for suffix in (".svg", ".png", ".pdf", ".html"):
        content = render(spec, suffix)
        if suffix in (".svg", ".html"):
            assert "\\x07\\x00\\u202e\\ufffe\\x1b" in content.decode().replace("\\\\", "\\")


def test_untrusted_text_stays_data():
    identity, context, _ = tables(TWO, texts=2)
    chart = identity_context(
        identity, context, None, **BAND | {"title": "</title><script>alert(1)</script>"}
    )
    html = render(specification(chart), ".html").decode()
    page = Page(html)
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == 2 and "b" not in names
    assert "\u2028" not in html
    prompts = json.dumps(json.loads(page.scripts[0]))
    assert "</script><b>lead</b> & guide" in prompts
    assert not set("<>&") & set(page.scripts[0])


def test_page_is_offline_and_allows_only_its_own_script():
    identity, _, _ = tables(TWO, texts=1)
    page = Page(
        render(specification(identity_context(identity, None, None, **BAND)), ".html").decode()
    )
    assert not [attrs for _, attrs in page.tags if {"src", "href"} & set(attrs)]
    (policy,) = (
        attrs["content"]
        for _, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and "default-src 'none'" in policy
    assert ("html", {"lang": "en"}) in page.tags and ("meta", {"charset": "utf-8"}) in page.tags


def test_a_page_takes_its_script_from_a_file(tmp_path):
    file = tmp_path / "page.js"
    file.write_bytes(page_script().encode())
    assert render({}, ".html", file) == render({}, ".html")
    file.write_bytes(b"draw('\r\n')")
    assert b"<script>draw('\r\n')</script>" in render({}, ".html", file)


@pytest.mark.parametrize(
    ("depth", "ticks"),
    [
        (0, [0]),
        (1, [0, 1]),
        (11, [0, 3, 6, 9, 11]),
        (12, [0, 2, 4, 6, 8, 10, 12]),
        (30, [0, 5, 10, 15, 20, 25, 30]),
        (32, [0, 4, 8, 12, 16, 20, 24, 28, 32]),
    ],
)
def test_layers_are_marked_up_to_the_last_without_a_jump(depth, ticks):
    assert layer_ticks(depth) == ticks


def test_no_axis_of_layers_leaves_out_the_tick_before_the_last():
    for depth in range(1, 130):
        gaps = np.diff(layer_ticks(depth))
        assert len(gaps) <= 8 and gaps[-1] <= gaps[0], depth


def test_classes_of_words_have_the_same_colours_everywhere():
    found = group_colours(["all words", "content", "function", "whole", "later"])
    assert {name: found[name] for name in ("function", "content")} == {
        name: COLOURS[name] for name in ("function", "content")
    }
    assert len(set(found.values())) == 5
    assert found | group_colours(["function", "all"]) == found | {"all": found["all words"]}
    many = list(group_colours(f"group {i}" for i in range(8)).values())
    assert len(set(many)) == 8 and GREY not in many  # which is the controls'
    assert not set(many[:6]) & set(COLOURS.values())


def test_one_of_a_thing_is_no_plural():
    said = [counted(n, "text") for n in (0, 1, 2, 1070)]
    assert said == ["0 texts", "1 text", "2 texts", "1,070 texts"]
    written = "".join(path.read_text() for path in Path(figures.__path__[0]).glob("*.py"))
    assert "counted(texts, 'text')" in written
    assert not re.search(r"\{\w*texts\w*(:,)?\} texts\b", written)


def test_svg_says_what_its_axes_are_and_not_every_value_and_draws_nothing_empty():
    identity, context, _ = tables(TWO, texts=2)
    spec = specification(identity_context(identity, context, None, **BAND))
    svg = render(spec, ".svg").decode()
    assert "Y-axis titled 'cosine'" in svg and 'aria-label="cosine: ' not in svg
    assert "<path" in svg and 'd="M0,0h0v0h0Z"' not in svg and ' d=""' not in svg
    assert spec == specification(identity_context(identity, context, None, **BAND))
    assert '"aria"' not in render(spec, ".json").decode()


def test_svg_is_well_formed_and_has_no_invisible_marks_and_none_to_blend(tmp_path):
    identity, context, _ = tables(TWO, texts=2)
    save(
        identity_context(identity, context, None, **BAND | {"title": "a\x00b <&>"}),
        [tmp_path / "figure.svg"],
    )
    svg = (tmp_path / "figure.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert 'opacity="0"' not in svg and "lead" in svg
    assert ' stroke-opacity="0.' in svg and ' opacity="0.' not in svg


def test_automatic_names_do_not_depend_on_earlier_charts():
    def chart() -> alt.LayerChart:
        data = pl.DataFrame({"a": [1, 2], "name": ["view_1", "param_7"]})
        pick = alt.selection_interval()
        return alt.Chart(data).mark_point().encode(x="a").add_params(pick).transform_filter(pick)

    first, second = specification(chart()), specification(chart())
    assert first == second
    assert first["params"][0]["name"] == first["transform"][0]["filter"]["param"] == "param_1"
    assert [row["name"] for row in next(iter(first["datasets"].values()))] == ["view_1", "param_7"]


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="Hint"):
        render({}, ".gif")


def test_a_failed_render_leaves_no_file(tmp_path):
    broken = alt.Chart(pl.DataFrame({"a": [1]})).mark_point().encode(x="a:Q")
    with pytest.raises(ValueError):
        save(broken, [tmp_path / "figure.gif"])
    assert not list(tmp_path.iterdir())


def test_vega_draws_once_for_all_formats(tmp_path, monkeypatch):
    drawn = []

    def draw(spec, **options):
        drawn.append(spec)
        return vegalite_to_svg(spec, **options)

    vegalite_to_svg = vl_convert.vegalite_to_svg
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", draw)
    charts = [alt.Chart(pl.DataFrame({"a": [n]})).mark_point().encode(x="a:Q") for n in (1, 2)]
    for n, chart in enumerate(charts):
        save(chart, [tmp_path / f"{n}{suffix}" for suffix in FORMATS])
    assert [next(iter(spec["datasets"].values())) for spec in drawn] == [[{"a": 1}], [{"a": 2}]]
    for suffix in (".svg", ".png", ".pdf"):
        first, second = ((tmp_path / f"{n}{suffix}").read_bytes() for n in (0, 1))
        assert first != second


def test_a_figure_is_the_same_whether_altair_checks_it_or_not():
    identity, context, _ = tables(TWO, texts=2)

    def drawn() -> dict:
        return specification(identity_context(identity, context, None, **BAND))

    checked = drawn()
    with debug_mode(False):
        assert drawn() == checked


@pytest.mark.slow
def test_files_are_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import test_figures as t, test_checkpoint_figures as c, test_circuit_figures as i\n"
        "import test_vocabulary_figures as v\n"
        "identity, context, table = t.tables(t.TWO, texts=2)\n"
        "steps = c.perturbed(depth=1, steps=[0, 8, 64])\n"
        "charts = {'a': t.identity_context(identity, context, None, **t.BAND),\n"
        "          'b': t.composite_senses(*t.several(t.TWO, 2), None, **t.BAND),\n"
        "          'c': t.composite_depth(*t.several(t.TWO, 2), None, **t.BAND),\n"
        "          'd': t.summary(table, title='D'),\n"
        "          'e': c.perturbation(steps, c.warned('w'), **t.BAND)}\n"
        "for name, chart in charts.items():\n"
        "    save(chart, [out / (name + s) for s in (t.FORMATS if name in 'ae' else ['.svg'])])\n"
        # One with selections, and one that adds up the most.
        "chart = v.rank_layers(v.ranks(depth=3, published=True), show='a', title='T')\n"
        "save(chart, [out / 'f.json'])\n"
        "chart = i.draw('attribution', 'abab', depth=2, heads=2, norms=True)\n"
        "save(chart, [out / 'g.json'])\n"
    )
    assert len(made_twice_alike(code, tmp_path)) == 2 * len(FORMATS) + 5


def test_no_font_of_this_machine_is_drawn_with(tmp_path):
    """A machine with its own fonts, and one without any: the same bytes."""
    script = (
        "import sys; from pathlib import Path; import altair as alt\n"
        "from tokentrails.figures.pieces.save import save\n"
        "from tokentrails.figures.pieces.theme import figure\n"
        "words = alt.Chart().mark_text(text='Ġbank größe 東京')\n"
        "chart = figure(words, title='A title', notes=['a note'], width=300)\n"
        "save(chart, [Path(sys.argv[1]) / f'f.{s}' for s in ('svg', 'png', 'pdf')])\n"
    )
    bare = tmp_path / "bare.conf"
    bare.write_text("<fontconfig><dir>/nonexistent</dir></fontconfig>")
    homes = {"here": os.environ["HOME"], "elsewhere": str(tmp_path)}
    for name, home in homes.items():
        (tmp_path / name).mkdir()
        env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "FONTCONFIG"))}
        if name == "elsewhere":
            env["FONTCONFIG_FILE"] = str(bare)
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / name],
            check=True,
            env=env | {"HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    for suffix in ("svg", "png", "pdf"):
        files = [(tmp_path / name / f"f.{suffix}").read_bytes() for name in homes]
        assert files[0] == files[1], suffix
