"""Figures of the vocabulary's view: what is drawn is what the tables say."""

import itertools
import math
from functools import cache
from typing import NamedTuple

import polars as pl
import pytest
from drawn import (
    BAND,
    ODD,
    Mark,
    coloured_cells,
    grey_cells,
    label_gaps,
    labels,
    layer_names,
    layers,
    line_points,
    of_kind,
    values,
)

from tokentrails.figures.pieces.rank_axis import (
    factor_axis,
    next_tick,
    number_ticks,
    place,
    rank_ticks,
)
from tokentrails.figures.pieces.save import render, specification
from tokentrails.figures.pieces.text_tokens import COLOURS
from tokentrails.figures.rank_classes import composite_ranks, rank_classes
from tokentrails.figures.rank_heatmap import rank_heatmap
from tokentrails.figures.ranks import rank_layers, similarity_layers

SENTENCE = [
    *("<|endoftext|>", "The", "Ġold", "Ġlibr", "arian", "Ġput", "Ġthe", "Ġheavy"),
    *("Ġdictionary", "Ġback", "Ġon", "Ġthe", "Ġshelf", ",", "Ġnear", "Ġthe", "Ġ19"),
    *("Ġmaps", "ĠcafÃ©", "."),
]
FUNCTION = {"The", "Ġthe", "Ġon", "Ġnear"}
TYPES = {
    **dict.fromkeys(("position", "layer", "rank", "rank_as_published"), pl.Int32),
    **dict.fromkeys(("cosine", "cosine_as_published"), pl.Float32),
    **{"word_class": pl.String, "sense": pl.String},
    **{"nearest": pl.List(pl.String), "nearest_cosine": pl.List(pl.Float32)},
}


def kind(token: str) -> str | None:
    if token.startswith("<|"):
        return None
    bare = token.strip("Ġ")
    if token in FUNCTION:
        return "function"
    if bare.isalpha():
        return "content"
    return "other" if any(c.isalnum() for c in bare) else "punctuation"


def ranks(
    tokens=SENTENCE, *, depth=12, published=False, label="a", positional=False, sites=("resid_mid",)
) -> pl.DataFrame:
    """A made-up table ranks: function words stay close to their embedding, content words drift."""
    rows = []
    text = "".join(tokens).replace("Ġ", " ")
    for site, layer, (position, token) in itertools.product(sites, range(depth), enumerate(tokens)):
        share = layer / max(depth - 1, 1)
        steep = {"function": 1.2, "content": 2.6, "punctuation": 1.8, "other": 3.0}.get(
            kind(token), 6.0
        )
        wobble = 0.05 * math.sin(2.1 * position + 9 * share)
        cosine = 0.9 * math.exp(-steep * share) + wobble * share + 0.02
        height = (steep - 0.9) * 1.4 * share + 6 * wobble * share - 0.3
        rank = min(int(max(0, 10**height - 1)), 49_151)
        others = ["Ġthe", "Ġbook", "s", ",", "Ġlibrary", "ĠÐ¼", "Ġnevertheless"]
        near = [token, *others] if rank == 0 else others[(position + layer) % 3 :]
        row = {"model": "nano", "checkpoint": "main", "experiment": "sentences"}
        row |= {"label": label, "position": position, "token": token}
        row |= {"word": token.strip("Ġ") if kind(token) else "", "word_class": kind(token)}
        row |= {"text": text, "sense": None, "site": site, "layer": layer}
        row |= {"positional": positional, "cosine": cosine, "rank": rank}
        row |= {"nearest": near[:5], "nearest_cosine": [cosine + 0.1 - 0.03 * i for i in range(5)]}
        jump = layer == 5
        row |= {
            "cosine_as_published": cosine * (0.2 if jump else 0.8) if published else None,
            "rank_as_published": int(rank * 3 + 50_000 * jump + 20) if published else None,
        }
        rows.append(row)
    return pl.DataFrame(rows, schema_overrides=TYPES, infer_schema_length=None)


def odd(depth=3) -> pl.DataFrame:
    """A table of odd tokens, of which one is nowhere defined and another not at one layer."""
    at = (pl.col("position") == 9) | ((pl.col("position") == 6) & (pl.col("layer") == 1))
    gone = ("cosine", "rank", "nearest", "nearest_cosine")
    return ranks(ODD, depth=depth).with_columns(pl.when(~at).then(pl.col(*gone)))


TOKENS = {"function": 812, "content": 1034, "punctuation": 127}
END = {"function": 0.30, "content": 0.08, "punctuation": 0.29}
MEASURES = ("cosine", "log_rank")


def at_layer(measure: str, layer: int, depth: int, name: str, published: bool) -> float:
    """A made-up mean cosine, or a median of log10(1 + rank)."""
    share = layer / max(depth - 1, 1)
    fast = 2 if name == "content" else 1
    cosine = END[name] + (0.92 - END[name]) * math.exp(-3 * fast * share)
    cosine *= 0.3 if published and layer == 5 else 1
    return cosine if measure == "cosine" else 4.2 * (1 - cosine) ** (4 if fast == 1 else 2)


def class_tables(
    *, depth=12, model="nano", published=False, tokens=TOKENS, texts=64
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Made-up tables ranks_by_class, ranks_gap and ranks_summary."""
    by_class, gaps, summary = [], [], []
    run = {"model": model, "checkpoint": "main", "experiment": "sentences"}
    run |= {"site": "resid_mid", "positional": False}
    for formula, measure in itertools.product([False, True][: 1 + published], MEASURES):
        keys = run | {"as_published": formula, "measure": measure}
        wide = 0.02 if measure == "cosine" else 0.15
        for layer in range(depth):
            at = {name: at_layer(measure, layer, depth, name, formula) for name in END}
            for name, n in tokens.items():
                row = keys | {"word_class": name, "layer": layer, "n": n, "texts": texts}
                around = {"ci_low": at[name] - wide, "ci_high": at[name] + wide}
                by_class.append(row | {"few": texts < 10, "value": at[name]} | around)
            gap = at["function"] - at["content"]
            around = {"ci_low": gap - wide, "ci_high": gap + 1.5 * wide}
            gaps.append(keys | {"layer": layer, "texts": texts, "gap": gap} | around)
        for quantity, name in (
            *(("largest_jump", name) for name in ("function", "content")),
            ("largest_gap", None),
        ):
            layer = depth // 2 if name is None else 1
            value = (-0.21 if name else 0.14) * (1 if measure == "cosine" else -4)
            row = keys | {"quantity": quantity, "word_class": name, "layer": layer}
            row |= {"support": 0.874, "value": value}
            summary.append(row | {"ci_low": value - wide, "ci_high": value + wide})
    types = {"layer": pl.Int32, "texts": pl.Int32, "word_class": pl.String, "n": pl.Int32}
    types |= dict.fromkeys(("value", "ci_low", "ci_high", "gap"), pl.Float32)
    made = [pl.DataFrame(rows, schema_overrides=types) for rows in (by_class, gaps, summary)]
    both = {"function", "content"} <= set(tokens)
    return made[0], made[1] if both else made[1].clear(), made[2]


LINES = {similarity_layers: "cosine", rank_layers: "place"}
TEXT_FIGURES = [*LINES, rank_heatmap]


class Shown(NamedTuple):
    """A figure: its notes, its specification, and the marks of each panel with their rows."""

    notes: str
    spec: dict
    panels: list[list[Mark]]

    @property
    def marks(self) -> list[Mark]:
        return [mark for panel in self.panels for mark in panel]

    def of_kind(self, kind: str) -> list[Mark]:
        return of_kind(self.marks, kind)

    @property
    def lines(self) -> list[dict]:
        """The points of tokens' lines."""
        return [row for unit, rows in self.marks if "name" in unit for row in rows]

    @property
    def cells(self) -> list[dict]:
        return coloured_cells(self.marks)

    @property
    def svg(self) -> str:
        return render(self.spec, ".svg").decode()


def shown(chart) -> Shown:
    """To be made once for many questions: a specification takes long."""
    spec = specification(chart)
    parts = [part for key in ("concat", "hconcat", "vconcat") for part in spec.get(key, [])]
    panels = [layers(part | {"rows": spec["datasets"]}) for part in parts]
    return Shown(" ".join(chart.title.subtitle), spec, panels)


@cache
def sentence(draw, published=False) -> Shown:
    """A text of 20 tokens at 6 layers, out of a table that holds more."""
    table = ranks(depth=6, published=published)
    others = [ranks(depth=6, label="b"), ranks(depth=6, sites=["resid"])]
    return shown(draw(pl.concat([*others, table]), show="a", title="t"))


@cache
def odd_figure(draw) -> Shown:
    return shown(draw(odd(), show="a", title="</b>"))


@cache
def class_figure(published: bool) -> Shown:
    tables = class_tables(published=published, texts=4 if published else 64)
    return shown(rank_classes(*tables, **BAND))


def table_rows(table: pl.DataFrame, *columns: str) -> set[tuple]:
    """Rows of a table in the digits of a figure; a rank's place is computed here."""
    rows = table.with_columns(
        place=(pl.col("rank").cast(pl.Float64) + 1).log10().round(6),
        cosine=pl.col("cosine").cast(pl.Float64).round(6),
    )
    return set(rows.select(columns).iter_rows())


# --- the axis ---------------------------------------------------------------------------------


def test_ranks_stand_at_their_logarithm_and_rank_0_has_a_place():
    assert [place(rank) for rank in (0, 9, 99, 49_151)] == [0, 1, 2, 4.691541]
    assert rank_ticks(0, 3.1) == [place(rank) for rank in (0, 1, 10, 100, 1000)]
    assert rank_ticks(-0.2, 0.1) == [0]
    assert [next_tick(at) for at in (0, 0.5, 4.7)] == [place(r) for r in (1, 10, 100_000)]


@pytest.mark.parametrize(("low", "high"), [(-3.2, 0.1), (-0.9, 0.4), (-0.1, 0.25), (-0.07, 0.1)])
def test_factors_have_a_tick_at_1_and_two_more(low, high):
    ticks = factor_axis(low, high).values
    assert 0 in ticks and len(ticks) >= 3
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize("factor", [1.26, 2, 9, 5000])
def test_a_logarithmic_axis_has_two_ticks_or_more_that_differ(factor):
    for start in range(-100, 200):
        low = start / 50
        ticks = number_ticks(low, low + math.log10(factor))
        assert 2 <= len(ticks) <= 10 and all(low <= t <= low + math.log10(factor) for t in ticks)
        assert len({f"{10**tick:.2g}" for tick in ticks}) == len(ticks)


# --- lines of tokens --------------------------------------------------------------------------


@pytest.mark.parametrize("draw", LINES)
def test_lines_are_those_of_the_text_at_the_site_inside_blocks(draw):
    figure, column = sentence(draw), LINES[draw]
    found = values(figure.lines, "position", "layer", column)
    assert found == table_rows(ranks(depth=6), "position", "layer", column)
    assert figure.notes.startswith("a: “<|endoftext|>") and "b: " not in figure.notes
    assert "(resid_mid)" in figure.notes and "position added" not in figure.notes


def test_rank_0_is_on_top_and_ticks_are_ranks():
    figure, most = sentence(rank_layers), ranks(depth=6)["rank"].max()
    ((unit, _),) = figure.of_kind("circle")
    y = unit["encoding"]["y"]
    low, high = y["scale"]["domain"]
    assert y["scale"]["reverse"] and low < 0 and high > place(most) > place(10_000)
    assert y["axis"]["values"] == [place(rank) for rank in (0, 1, 10, 100, 1000, 10_000)]
    assert all(f">{label}<" in figure.svg for label in ("0", "1", "10", "100", "1k", "10k"))


@pytest.mark.parametrize("draw", LINES)
def test_every_token_has_a_label_of_its_own_that_overlaps_no_other(draw):
    figure = sentence(draw)
    ((_, rows),) = figure.of_kind("text")
    named = {row["position"]: row["series"] for row in rows}
    assert [named[at] for at in (0, 1, 3, 6, 18)] == [
        *("<|endoftext|>", "The", "libr", "the (6)", "café")
    ]
    assert len(set(named.values())) == len(named) == len(SENTENCE)
    height = figure.spec["hconcat"][0]["height"]
    assert min(label_gaps(figure.panels[0], LINES[draw], height)) > 13.9


@pytest.mark.parametrize("draw", LINES)
def test_lines_that_end_together_are_labelled_in_the_order_of_the_text(draw):
    together = {"rank": pl.lit(0, pl.Int32), "cosine": pl.lit(0.5, pl.Float32)}
    table = ranks(["x", "y", "z"], depth=2).with_columns(**together)
    ((_, rows),) = shown(draw(table, show="a", title="t")).of_kind("text")
    upwards = sorted(rows, key=lambda row: row[LINES[draw]], reverse=draw is rank_layers)
    assert [row["series"] for row in upwards] == ["z", "y", "x"]


def test_colours_and_shapes_follow_the_class_of_the_word():
    figure = sentence(similarity_layers)
    classes = {row["position"]: row["kind"] for row in figure.lines}
    assert classes == {i: kind(token) or "special" for i, token in enumerate(SENTENCE)}
    assert all(row["colour"] == COLOURS[row["kind"]] for row in figure.lines)
    ((unit, _),) = figure.of_kind("point")
    for channel in ("color", "shape"):
        scale = unit["encoding"][channel]["scale"]
        assert scale["domain"] == [*COLOURS][:5] and len(set(scale["range"])) == 5


def test_a_word_without_a_class_is_no_special_token():
    table = ranks(depth=3)
    classless = pl.when(pl.col("word_class") != "content").then("word_class")
    table = table.with_columns(word_class=classless)
    figure = shown(similarity_layers(table, show="a", title="t"))
    named = {"content": "no class", None: "special"}
    found = {row["position"]: row["kind"] for row in figure.lines}
    assert found == {i: named.get(kind(token), kind(token)) for i, token in enumerate(SENTENCE)}


@pytest.mark.parametrize("draw", LINES)
def test_what_was_published_has_a_panel_of_its_own(draw):
    figure = sentence(draw, published=True)
    titles = [panel["title"]["text"] for panel in figure.spec["hconcat"]]
    assert titles == ["right formula", "as published"]
    table = ranks(depth=6, published=True)
    swapped = table.with_columns(cosine="cosine_as_published", rank="rank_as_published")
    tooltips, domains = [], []
    for (unit, found), rows in zip(figure.of_kind("circle"), (table, swapped), strict=True):
        columns = ("position", "layer", LINES[draw])
        assert values(found, *columns) == table_rows(rows, *columns)
        tooltips.append({each["field"] for each in unit["encoding"]["tooltip"]})
        domains.append(unit["encoding"]["y"]["scale"]["domain"])
    assert tooltips[0] - tooltips[1] == {"nearest"} and domains[0] == domains[1]
    assert "not transposed" in figure.notes and "not transposed" not in sentence(draw).notes


@pytest.mark.parametrize("published", [False, True])
def test_the_pointer_marks_a_token_in_every_panel(published):
    figure = sentence(rank_layers, published)
    named = [unit["name"] for unit, _ in figure.marks if "name" in unit]
    assert len(set(named)) == len(figure.panels) == 1 + published
    views = {each["name"]: each["views"] for each in figure.spec["params"]}
    assert views == {"over": named, "picked": named}
    # Vega answers only for marks that have a selection or a tooltip.
    for unit, rows in figure.of_kind("text") + figure.of_kind("circle"):
        assert "tooltip" in unit["encoding"] and all("position" in row for row in rows)


@pytest.mark.parametrize("draw", TEXT_FIGURES)
@pytest.mark.parametrize(("site", "name"), [("resid_mid", "block"), ("resid", "layer")])
def test_tooltips_name_what_the_axis_does(draw, site, name):
    table = ranks(depth=2, sites=[site])
    found = layers(specification(draw(table, show="a", title="t")))
    assert layer_names(found) == {name}
    axes = {unit["encoding"].get(axis, {}).get("title") for unit, _ in found for axis in "xy"}
    assert name in axes and {"block", "layer"} & axes == {name}


def test_tooltips_hold_the_nearest_words_with_their_cosines():
    table = ranks(depth=6)
    read = {"Ġthe": "the", "Ġbook": "book", "Ġlibrary": "library", "ĠÐ¼": "м"}
    for row in sentence(similarity_layers).lines[:40]:
        here = table.filter(position=row["position"], layer=row["layer"]).row(0, named=True)
        words = [read.get(entry, entry.strip("Ġ")) for entry in here["nearest"]]
        pairs = zip(words, here["nearest_cosine"], strict=True)
        assert row["nearest"] == " · ".join(f"{word} {cosine:.3f}" for word, cosine in pairs)
        assert row["token"] == here["token"].strip("Ġ") and row["rank"] == here["rank"]


# --- heat map ---------------------------------------------------------------------------------


def test_the_heat_map_has_a_cell_for_each_token_and_layer():
    table, figure = ranks(depth=6), sentence(rank_heatmap)
    columns = ("position", "layer", "rank")
    assert values(figure.cells, *columns) == table_rows(table, *columns)
    words = {(row["position"], row["layer"]): row["nearest_word"] for row in figure.cells}
    assert [words[at] for at in ((1, 0), (2, 0), (18, 0), (2, 5))] == ["The", "old", "café", "book"]
    written = [m for m in figure.of_kind("text") if m[0]["encoding"]["text"]["field"] != "token"]
    assert sum(len(rows) for _, rows in written) == len(table)
    assert all(unit["mark"]["limit"] < 58 for unit, _ in written)
    shown_ = [unit["encoding"]["x"]["scale"]["domain"] for unit, _ in written]
    assert shown_ == [[*range(10)], [*range(10, 20)]]  # as two lines of a page
    for unit, _ in figure.of_kind("rect"):
        assert unit["encoding"]["y"]["scale"]["domain"] == [5, 4, 3, 2, 1, 0]
        if "color" in unit["encoding"]:
            assert unit["encoding"]["color"]["scale"]["domain"] == [0, place(100_000)]
            told = [each["field"] for each in unit["encoding"]["tooltip"]]
            assert {"token", "rank", "cosine", "nearest"} <= set(told)
    assert "Grey" not in figure.notes


# --- any text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [rank_layers, rank_heatmap])
def test_odd_tokens_are_drawn(draw):
    svg = odd_figure(draw).svg
    assert not any(word in svg for word in ("NaN", "undefined", "nothing to show"))
    assert "=SUM(A1)" in svg and "&lt;/script&gt;" in svg and "\u202e" not in svg


def test_one_token_at_one_layer_is_drawn():
    figure = shown(rank_layers(ranks(["Ġlead"], depth=1), show="a", title="t"))
    ((unit, rows),) = figure.of_kind("circle")
    assert len(rows) == 1 and unit["encoding"]["x"]["axis"]["values"] == [0]
    assert "NaN" not in figure.svg and ">lead<" in figure.svg


def test_what_is_not_defined_breaks_a_line_and_is_a_grey_cell():
    figure, heat = odd_figure(rank_layers), odd_figure(rank_heatmap)
    undefined = {(6, 1), (9, 0), (9, 1), (9, 2)}
    gaps = [row for row in figure.lines if row["place"] is None]
    assert values(gaps, "position", "layer") == undefined
    assert values(grey_cells(heat.marks), "position", "layer") == undefined
    ((_, rows),) = figure.of_kind("text")
    named = {row["series"] for row in rows}
    assert {"the (6)", "the (7)", "-ing", "[space]", "a\\u202eb"} <= named
    assert len(named) == len(rows) == len(ODD) - 1
    assert "Not drawn, since it is not defined: \\n." in figure.notes
    assert "Grey: not defined." in heat.notes


def test_of_a_long_text_the_first_tokens_are_drawn_and_it_says_so():
    table = ranks([f"Ġw{i}" for i in range(60)], depth=1, positional=True, sites=["resid"])
    figure = shown(rank_heatmap(table, show="a", title="t"))
    assert {row["position"] for row in figure.cells} == set(range(40))
    assert "the first 40 of 60 tokens" in figure.notes
    assert "(resid)" in figure.notes and "own position added" in figure.notes


@pytest.mark.parametrize("draw", TEXT_FIGURES)
def test_without_values_a_figure_says_so(draw):
    table = ranks(depth=2)
    nowhere = {"rank": pl.lit(None, pl.Int32), "cosine": pl.lit(math.nan, pl.Float32)}
    for rows, show in ((table.clear(), "a"), (table, "b"), (table.with_columns(**nowhere), "a")):
        assert draw(rows, show=show, title="t").mark.text == "nothing to show"


# --- classes of words -------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True])
def test_classes_and_their_gap_are_drawn_as_the_tables_say(published):
    by_class, gap, _ = class_tables(published=published)
    figure = class_figure(published)
    titles = [panel["title"]["text"] for panel in figure.spec["concat"]]
    above = ["mean cosine", "median rank"]
    above += [f"{name}, as published" for name in above] if published else []
    assert titles == [*above, *["function − content", "function / content"] * (1 + published)]
    columns = {"value": "value", "low": "ci_low", "high": "ci_high"}
    exact = {new: pl.col(old).cast(pl.Float64).round(6) for new, old in columns.items()}
    places = itertools.product([False, True][: 1 + published], MEASURES)
    for index, (formula, measure) in enumerate(places):
        here = {"as_published": formula, "measure": measure}
        gap_rows = gap.filter(**here).with_columns(value="gap", word_class=pl.lit("gap"))
        for panel, rows in (
            (figure.panels[index], by_class.filter(**here)),
            (figure.panels[index + len(above)], gap_rows),
        ):
            found = values(line_points(panel), "layer", "line", *columns)
            assert found == set(rows.select("layer", "word_class", **exact).iter_rows())
    assert labels(figure.panels[len(above) - 1]) == set(TOKENS)
    assert {row["dashed"] for row in line_points(figure.panels[0])} == {published}  # of few texts
    assert ("Dashed: classes in few texts or of few types." in figure.notes) == published
    assert ("not transposed" in figure.notes) == published
    texts = 4 if published else 64
    assert f"812 function, 1,034 content, 127 punctuation; in {texts} texts." in figure.notes
    assert "90 % interval, bootstrap over texts crossed with types" in figure.notes


def test_a_measure_that_the_published_formula_lacks_has_no_empty_panel():
    by_class, gap, summary = class_tables(published=True)
    more = pl.col("measure").replace("log_rank", "log_rank_standardised")
    right = pl.col("measure").eq("log_rank") & ~pl.col("as_published")
    by_class = pl.concat([by_class, by_class.filter(right).with_columns(more)])
    gap = pl.concat([gap, gap.filter(right).with_columns(more)])
    figure = shown(rank_classes(by_class, gap, summary, **BAND))
    titles = [panel["title"]["text"] for panel in figure.spec["concat"]]
    own = ["mean cosine", "median rank", "median rank, standardised"]
    assert titles[:5] == [*own, "mean cosine, as published", "median rank, as published"]
    assert len(titles) == 10 and all(map(line_points, figure.panels))
    assert "not defined" not in figure.svg


def test_the_largest_changes_and_gaps_are_marked():
    figure = class_figure(False)
    cosine, rank, gap, factor = (panel["title"]["subtitle"] for panel in figure.spec["concat"])
    assert cosine == [
        "function: block 1 (87 %), −0.21 [−0.23, −0.19]",
        "content: block 1 (87 %), −0.21 [−0.23, −0.19]",
    ]
    assert rank[0] == "function: block 1 (87 %), ×6.9 [×4.9, ×9.8]"
    assert gap == ["largest: block 6 (87 %), +0.14 [+0.12, +0.16]"]
    assert factor == ["largest: block 6 (87 %), ×0.28 [×0.19, ×0.39]"]
    for panel in figure.panels[:2]:
        thick = [rows for unit, rows in panel if unit["mark"].get("strokeWidth") == 7]
        assert [values(rows, "line", "layer") for rows in thick] == [
            {(name, 0), (name, 1)} for name in ("function", "content")
        ]
    for panel in figure.panels[2:]:
        assert [{"layer": 6}] in [rows for unit, rows in panel if unit["mark"]["type"] == "rule"]


def test_up_is_closer_in_both_measures():
    circles = [unit for unit, _ in class_figure(False).of_kind("circle")]
    domains = [unit["encoding"]["y"]["scale"]["domain"] for unit in circles]
    assert [low < high for low, high in domains] == [True, False, True, False]
    assert all(min(domain) < 0 < max(domain) for domain in domains[2:])
    # Vega would leave out ticks, were their number not given.
    ticks = ("0", "1", "10", "100", "1k", "×0.001", "×0.01", "×0.1", "×1")
    svg = class_figure(False).svg
    assert all(f">{tick}<" in svg for tick in ticks)


def test_labels_of_classes_do_not_overlap_on_an_axis_that_runs_down():
    gaps = label_gaps(class_figure(False).panels[1], "value", 200)
    assert len(gaps) == 2 and min(gaps) > 13.9


def test_without_content_words_there_is_no_gap():
    by_class, gap, summary = class_tables(depth=1, tokens={"function": 3}, texts=1)
    figure = shown(rank_classes(by_class, gap, summary.clear(), **BAND))
    assert "in 1 text." in figure.notes and "Dotted" not in figure.notes
    assert "NaN" not in figure.svg
    empty = rank_classes(by_class.clear(), gap, summary.clear(), **BAND)
    assert empty.mark.text == "nothing to show"


# --- composite --------------------------------------------------------------------------------

DEPTHS = {"small": 6, "deep": 30, "single": 1}


def test_the_composite_has_a_column_for_each_model_over_its_own_depth():
    tables = [class_tables(depth=n, model=name)[0] for name, n in DEPTHS.items()]
    published = class_tables(published=True)[0].filter("as_published")
    figure = shown(composite_ranks(pl.concat([*tables, published]), **BAND))
    titles = [panel["title"]["text"] for panel in figure.spec["concat"]]
    assert titles == [*DEPTHS, "", "", ""] and figure.spec["columns"] == 3
    for index, (measure, depth) in enumerate(itertools.product(MEASURES, DEPTHS.values())):
        found = line_points(figure.panels[index])
        rows = tables[index % 3].filter(measure=measure)
        value = pl.col("value").cast(pl.Float64).round(6)
        expected = set(rows.select("word_class", "layer", value).iter_rows())
        assert values(found, "line", "layer", "value") == expected
        shares = {row["layer"]: row["share"] for row in found}
        assert shares == {i: round(i / max(depth - 1, 1), 6) for i in range(depth)}
    assert labels(figure.panels[2]) == labels(figure.panels[5]) == set(TOKENS)
    assert composite_ranks(published, **BAND).mark.text == "nothing to show"
    assert "Tokens: at most 812 function, 1,034 content" in figure.notes
    assert "Tokens: 812 function" in shown(composite_ranks(tables[0], **BAND)).notes


def test_the_composite_of_seven_models_is_wrapped():
    tables = [class_tables(depth=3, model=f"m{i}")[0] for i in range(7)]
    grids = specification(composite_ranks(pl.concat(tables), **BAND))["vconcat"]
    assert [grid["columns"] for grid in grids] == [4, 3]
    titles = [panel["title"]["text"] for grid in grids for panel in grid["concat"]]
    assert [title for title in titles if title] == [f"m{i}" for i in range(7)]
