"""Figures of heads, of the stream in words and of what changes it: they show what tables say."""

import itertools
import math
from collections import defaultdict
from functools import cache

import polars as pl
import pytest
from drawn import ODD, coloured_cells, grey_cells, layer_names, layers, marks, notes, values

from tokentrails.figures import attention as attention_module
from tokentrails.figures.attention import attention
from tokentrails.figures.attribution import attribution
from tokentrails.figures.evolution import evolution
from tokentrails.figures.head_summary import head_summary
from tokentrails.figures.pieces.save import render, specification

SENTENCE = ["The", "Ġbaseball", "Ġplayer", "Ġhit", "Ġa", "Ġhome", "Ġrun", "."]
WORDS = ["Ġthe", "Ġteam", "Ġplayer", "Ġgame", "s", ",", "ĠÐ¼", "Ġnevertheless", "Ġhit", "Ġball"]
TYPES = {
    **dict.fromkeys(("layer", "head", "query", "key", "position"), pl.Int32),
    **dict.fromkeys(("weight", "contribution", "share", "probability"), pl.Float32),
    **{"top": pl.List(pl.String), "top_score": pl.List(pl.Float32)},
}
RUN = {"model": "nano", "checkpoint": "main", "experiment": "sentences"}


def frame(rows: list[dict]) -> pl.DataFrame:
    used = {name: kind for name, kind in TYPES.items() if name in rows[0]}
    return pl.DataFrame(rows, schema_overrides=used, infer_schema_length=None)


def wave(*numbers: float) -> float:
    """A made-up number from 0 to 1."""
    return math.modf(abs(math.sin(1 + sum((i + 1.7) * n for i, n in enumerate(numbers))) * 971))[0]


def attention_table(tokens=SENTENCE, *, depth=3, heads=4, label="a", causal=True) -> pl.DataFrame:
    """A made-up table attention, its heads in turn looking at the first token, back and ahead."""
    rows = []
    for layer, head, (query, token) in itertools.product(
        range(depth), range(heads), enumerate(tokens)
    ):
        keys = range(query + 1 if causal else len(tokens))
        kind = int(wave(layer, head) * 4)
        raw = [
            (
                math.exp(6 * (key == 0)),
                math.exp(5 * (key == query - 1)) + (key == 0),
                math.exp(3 * wave(layer, head, query, key)),
                math.exp(-abs(query - key)),
            )[kind]
            for key in keys
        ]
        for key, weight in zip(keys, raw, strict=True):
            row = RUN | {"label": label, "layer": layer, "head": head, "query": query, "key": key}
            row |= {"query_token": token, "key_token": tokens[key]}
            rows.append(row | {"weight": weight / sum(raw)})
    return frame(rows)


MEASURES = ("self_pattern", "repetition", "past_identity", "same_first_letter", "first_position")
OF = {"n_listed": 5, "n_neighbours": 7, "n_lettered": 6}


def summary_table(*, depth=3, heads=4) -> pl.DataFrame:
    """A made-up table head_summary; a few values are not defined."""
    rows = []
    for layer, head in itertools.product(range(depth), range(heads)):
        shares = {
            name: wave(layer, head, i) ** 3 if wave(layer, i, head) > 0.05 else None
            for i, name in enumerate(MEASURES)
        }
        row = RUN | {"layer": layer, "head": head, "n": 8} | OF | shares
        rows.append(row | {"score": max((v for v in shares.values() if v is not None), default=0)})
    return frame(rows).with_columns(pl.col(*MEASURES, "score").cast(pl.Float32))


def evolution_table(
    tokens=SENTENCE, *, depth=3, label="a", spaces=("embedding", "unembedding")
) -> pl.DataFrame:
    """A made-up table evolution: surer of what comes next, layer by layer."""
    rows = []
    for (position, token), space, layer in itertools.product(
        enumerate(tokens), spaces, range(depth + 1)
    ):
        share = layer / depth if depth else 1
        start = int(wave(position, layer) * len(WORDS)) if share < 0.7 else position
        words = [WORDS[(start + i) % len(WORDS)] for i in range(5)]
        if space == "embedding":
            best = 1.0 if layer == 0 else 0.9 * math.exp(-3 * share) + 0.1
            words = [token, *words[:4]] if share < 0.3 else words
            scores = [best - 0.04 * i for i in range(5)]
        else:
            best = 0.02 + 0.9 * share**3 * wave(position)
            scores = [best / 2**i for i in range(5)]
        row = RUN | {"label": label, "position": position, "token": token, "layer": layer}
        row |= {"space": space, "top": words, "top_score": scores, "predicted": False}
        most = (words[0], scores[0]) if space == "unembedding" else (None, None)
        last = space == "unembedding" and layer == depth
        if last and position == 1:  # what is no word is not listed
            most = (";", scores[0] + 0.05)
        if space == "unembedding" and layer == 0 and position == 2:  # nor what is said at last
            most, scores = ("Ċ", 0.99), [1e-21] * 5
        row |= dict(zip(("most_probable", "probability"), most, strict=True))
        rows.append(row)
        if last:
            top = {"top": [most[0], *words[1:]], "top_score": [most[1], *scores[1:]]}
            rows.append(row | top | {"predicted": True})
    return frame(rows)


def attribution_tables(
    tokens=SENTENCE, *, depth=3, heads=4, label="a", norms=False, bias=0.05
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Made-up tables attribution, attribution_cosine and attribution_sum, whose sums match."""
    parts, cosine, sums = [], [], []
    names = [("head", head) for head in range(heads)] + [("attention_bias", None), ("mlp", None)]
    names += [("attention_norm", None), ("mlp_norm", None)] if norms else []
    for position, token in enumerate(tokens):
        along, norm = 3.0, 3.0
        for layer in range(depth):
            keys = RUN | {"label": label, "position": position, "token": token, "layer": layer}
            total = 0.0
            for i, (part, head) in enumerate(names):
                size = {"head": 0.3, "attention_bias": bias}.get(part, 1.2)
                value = size * (wave(position, layer, i) - 0.6) * (20 if position == 0 else 1)
                total += value
                row = keys | {"part": part, "head": head, "contribution": value}
                parts.append(row | {"share": value / norm})
            grown = norm * 1.05 + abs(total)
            change = (along + total) / grown - along / norm
            cosine += [
                {**row, "contribution": row["contribution"] / total * change}
                for row in parts[-len(names) :]
            ]
            sums.append(
                keys
                | {"before": along, "after": along + total, "total": total, "error": 0.0}
                | {"norm_before": norm, "norm_after": grown, "identity_before": along / norm}
                | {"identity_after": (along + total) / grown}
            )
            along, norm = along + total, grown
    floats = ("before", "after", "total", "error", "norm_before", "norm_after")
    floats += ("identity_before", "identity_after")
    sums = frame(sums).with_columns(pl.col(*floats).cast(pl.Float32))
    return frame(parts), frame(cosine).drop("share"), sums


FIGURES = ("attention", "head_summary", "evolution", "attribution")


def draw(name: str, tokens=SENTENCE, *, depth=3, heads=4, show="a", title="t", **options):
    """A figure of made-up tables, which hold another text too."""
    shape = {"depth": depth, "heads": heads}
    summary = summary_table(**shape)
    if name == "head_summary":
        return head_summary(summary, title=title)
    both = ({"tokens": ["Ġother"] * 3, "label": "b"}, {"tokens": tokens, "label": "a"})
    if name == "attention":
        table = pl.concat(attention_table(**each, **shape, **options) for each in both)
        return attention(table, summary, show=show, title=title)
    if name == "evolution":
        table = pl.concat(evolution_table(**each, depth=depth, **options) for each in both)
        return evolution(table, show=show, title=title)
    made = [attribution_tables(**each, **shape, **options) for each in both]
    tables = [pl.concat(kind) for kind in zip(*made, strict=True)]
    return attribution(*tables, show=show, title=title)


@cache
def spec_of(name: str) -> dict:
    return specification(draw(name, **({"norms": True} if name == "attribution" else {})))


@cache
def odd_spec(name: str) -> dict:
    options = {"bias": 0.0} if name == "attribution" else {}
    return specification(draw(name, ODD, depth=1, heads=1, title="</script><b>", **options))


def exact(table: pl.DataFrame, *columns: str, digits: int = 6) -> set[tuple]:
    """Rows of a table in the digits of a figure."""
    floats = pl.selectors.float().cast(pl.Float64).round(digits)
    return set(table.with_columns(floats).select(columns).iter_rows())


@pytest.mark.parametrize("name", ["attention", "head_summary", "attribution"])
def test_what_lies_in_blocks_is_told_by_block(name):
    assert layer_names(layers(spec_of(name))) == {"block"}


# --- attention --------------------------------------------------------------------------------


def test_a_cell_stands_for_each_weight_that_can_be_seen():
    table, found = attention_table(), coloured_cells(layers(spec_of("attention")))
    columns = ("layer", "head", "query", "key", "weight")
    seen = table.filter(pl.col("weight") >= 0.005)
    assert len(seen) < len(table)
    assert values(found, *columns) == exact(seen, *columns, digits=4)
    words = {(row["query_token"], row["key_token"]) for row in found if row["query"] == 2}
    assert words == {("player", token) for token in ("The", "baseball", "player")}
    assert "a, token by token: The baseball player hit a home run ." in notes(spec_of("attention"))


def test_queries_run_down_and_keys_to_the_right_in_the_map_of_their_head():
    spec = spec_of("attention")
    ((unit, _),) = [m for m in marks(spec, "rect") if "color" in m[0]["encoding"]]
    ((_, frames),) = [m for m in marks(spec, "rect") if "color" not in m[0]["encoding"]]
    lefts, tops = (sorted({frame[axis] for frame in frames}) for axis in ("x", "y"))
    assert (len(lefts), len(tops), len(frames)) == (4, 3, 12)
    cell = int(unit["transform"][0]["calculate"].split("+")[1])
    assert lefts[1] - lefts[0] > cell * len(SENTENCE)
    for row in coloured_cells(layers(spec)):
        assert row["x"] == lefts[row["head"]] + cell * row["key"]
        assert row["y"] == tops[row["layer"]] + cell * row["query"]


@pytest.mark.parametrize(("tokens", "step"), [(SENTENCE, 1), ([f"w{i}" for i in range(9)], 3)])
def test_tokens_are_labelled_at_the_edge_where_labels_have_room(tokens, step, monkeypatch):
    if step > 1:
        monkeypatch.setattr(attention_module, "_WIDTH", 4 * 33)  # cells of 3 pixels
    spec = specification(draw("attention", tokens))
    rows = [row for _, rows in marks(spec, "text") for row in rows]
    words = [token.strip("Ġ") for token in tokens[::step]]
    for across, along, edge in (("y", "x", 3), ("x", "y", 4)):
        labels = sorted((row[across], row["text"]) for row in rows if row[along] == -4)
        assert [text for _, text in labels] == words * edge
        assert all(b[0] - a[0] >= 8 for a, b in itertools.pairwise(labels))
    numbers = [row["text"] for row in rows if row["text"].isdigit()]
    assert numbers == [*"012", *"0123"]
    assert ("one of 3 tokens" in notes(spec)) == (step > 1)


def test_of_very_many_heads_those_of_the_highest_score_are_drawn():
    tables = {"depth": 21, "heads": 20}
    unknown = (pl.col("head") == 3) & (pl.col("layer") >= 10)
    scored = summary_table(**tables).with_columns(
        score=pl.when(~unknown).then((pl.col("layer") * 7 + pl.col("head") * 3) % 101)
    )
    table = attention_table(["x"], **tables)
    spec = specification(attention(table, scored, show="a", title="t"))
    rows = scored.drop_nulls("score").rows(named=True)
    best = sorted(rows, key=lambda row: (-row["score"], row["layer"], row["head"]))[:400]
    assert len(rows) == 409
    assert values(coloured_cells(layers(spec)), "layer", "head") == values(best, "layer", "head")
    assert "400 of 420 heads" in notes(spec) and "score" in notes(spec)
    assert "heads, those" not in notes(spec_of("attention"))


def test_a_long_text_is_cut_and_leaves_room_for_fewer_heads(monkeypatch):
    tokens = [f"Ġw{i}" for i in range(22)]
    monkeypatch.setattr(attention_module, "_MOST_CELLS", 3 * 400)
    spec = specification(draw("attention", tokens, depth=2, heads=2, causal=False))
    found = coloured_cells(layers(spec))
    assert {row["query"] for row in found} == {row["key"] for row in found} == set(range(20))
    assert len(values(found, "layer", "head")) == 3
    assert "the first 20 of 22 tokens" in notes(spec) and "3 of 4 heads" in notes(spec)


# --- kinds of heads ---------------------------------------------------------------------------


def test_each_measure_is_a_map_of_layer_by_head():
    table = summary_table()
    panels = spec_of("head_summary")["concat"]
    assert [panel["title"]["text"].replace(" ", "_") for panel in panels] == [*MEASURES]
    for panel, measure, n in zip(panels, MEASURES, (5, 7, 5, 6, 7), strict=True):
        (_, unknown), (unit, known) = layers(panel | {"rows": spec_of("head_summary")["datasets"]})
        columns = ("layer", "head", measure)
        assert values(known, *columns) == exact(table.drop_nulls(measure), *columns, digits=4)
        assert {row["n"] for row in known} == {n}
        gone = table.filter(pl.col(measure).is_null())
        assert values(unknown, "layer", "head") == exact(gone, "layer", "head")
        assert all(row["row"] == str(row["head"]) for row in known)
        assert unit["encoding"]["y"]["scale"]["domain"] == [*"0123"]
        assert unit["encoding"]["color"]["scale"]["domain"] == [0, 1]
    assert table.select(MEASURES).null_count().sum_horizontal().item() > 0
    assert "Grey: not defined, or not listed." in notes(spec_of("head_summary"))


# --- token evolution --------------------------------------------------------------------------


def test_cells_hold_the_most_probable_entry_or_the_nearest_word_and_its_score():
    table, found = evolution_table(), coloured_cells(layers(spec_of("evolution")))
    first = pl.col("top_score").list.first()
    best = table.with_columns(score=pl.coalesce("probability", first))
    columns = ("position", "layer", "space", "predicted", "score")
    assert values(found, *columns) == exact(best, *columns)
    read = {"ĠÐ¼": "м", "Ċ": "\\n"}
    for row in found:
        here = table.filter(**{name: row[name] for name in columns[:4]}).row(0, named=True)
        words = [read.get(entry, entry.strip("Ġ")) for entry in here["top"]]
        pairs = zip(words, here["top_score"], strict=True)
        if row["score"] < 0.99:
            assert row["nearest"] == " · ".join(f"{word} {score:.3f}" for word, score in pairs)
        most = here["most_probable"] or here["top"][0]
        assert row["word"] == read.get(most, most.strip("Ġ"))
        assert row["token"] == here["token"].strip("Ġ")
    assert sum(row["word"] == ";" for row in found) == 2  # the last layer, and what is predicted
    (unlisted,) = (row for row in found if row["word"] == "\\n")
    assert unlisted["score"] == 0.99 and not unlisted["settled"]


def test_bytes_are_no_letters():
    """`¥` of a byte-level vocabulary is the byte 0xA5, and a letter or sign of another one."""
    for space, shown in (("Ġ", "<0xA5>"), ("▁", "¥")):
        tokens = [f"{space}The", "¥", f"{space}bank"]
        words = pl.col("top").list.eval(pl.element().str.replace("Ġ", space))
        table = evolution_table(tokens, spaces=("embedding",), depth=1).with_columns(words)
        made = specification(evolution(table, show="a", title="t"))
        assert {row["token"] for row in coloured_cells(layers(made))} == {"The", shown, "bank"}
        made = attention(attention_table(tokens), summary_table(), show="a", title="t")
        written = {row.get("text") for d in specification(made)["datasets"].values() for row in d}
        assert {"The", shown, "bank"} <= written
        made = attribution(*attribution_tables(tokens), show="a", title="t")
        assert shown in {
            row.get("series") for _, rows in layers(specification(made)) for row in rows
        }


def test_the_figure_says_which_words_it_lists():
    def said(*words: str) -> str:
        table = evolution_table(["a"], depth=1).with_columns(
            top=pl.when("predicted").then("top").otherwise(pl.lit([*words])),
            top_score=pl.when("predicted").then("top_score").otherwise(pl.lit([0.1] * len(words))),
        )
        return notes(specification(evolution(table, show="a", title="t")))

    assert "are entries of letters that begin with a space: words, and" in said("Ġthe", "Ġbank")
    assert "are entries of letters: words, and" in said("the", "bank")
    assert "entries of letters" not in said("##s", "the") + said("Ġthe", "s")


def test_layers_run_upwards_to_what_the_model_predicts():
    left, right = (
        [mark for mark in layers(panel | {"rows": spec_of("evolution")["datasets"]})]
        for panel in spec_of("evolution")["concat"]
    )
    for panel, top, legend in ((left, "predicted", "probability"), (right, " ", "cosine")):
        ((unit, rows),) = [m for m in panel if "score" in str(m[0]["encoding"].get("color"))][:1]
        assert unit["encoding"]["y"]["scale"]["domain"] == [top, "3", "2", "1", "0"]
        assert unit["encoding"]["color"]["legend"]["title"] == legend
        assert {row["row"] for row in rows} == {top, *"0123"} - {" "}
    bold = [rows for unit, rows in left if unit["mark"].get("fontWeight") == "bold"]
    final = {
        row["position"]: row["most_probable"]
        for row in evolution_table().filter("predicted").rows(named=True)
    }
    same = {
        (row["position"], row["layer"], row["predicted"])
        for row in evolution_table().filter(space="unembedding").rows(named=True)
        if row["most_probable"] == final[row["position"]]
    }
    assert values(bold[0], "position", "layer", "predicted") == same
    assert len(same) < 5 * len(SENTENCE)
    assert not [unit for unit, _ in right if unit["mark"].get("fontWeight") == "bold"]


@cache
def without_unembedding() -> dict:
    """Of a model without one; the words of one token are not defined."""
    known = pl.col("position") != 1
    table = evolution_table(spaces=("embedding",), depth=1).with_columns(
        top=pl.when(known).then("top"), top_score=pl.when(known).then("top_score")
    )
    return specification(evolution(table, show="a", title="t"))


def test_without_an_unembedding_there_is_one_space_and_no_prediction():
    spec = without_unembedding()
    assert {row["space"] for row in coloured_cells(layers(spec))} == {"embedding"}
    for word in ("Top row", "Unembedding"):
        assert word not in notes(spec) and word in notes(spec_of("evolution"))


def test_a_state_without_words_is_a_grey_cell():
    spec = without_unembedding()
    assert values(grey_cells(layers(spec)), "position", "layer") == {(1, 0), (1, 1)}
    assert "Grey: not defined." in notes(spec) and "Grey" not in notes(spec_of("evolution"))


def test_a_long_text_of_words_goes_on_below():
    spec = specification(
        draw("evolution", [f"w{i}" for i in range(45)], depth=1, spaces=("embedding",))
    )
    domains = {tuple(unit["encoding"]["x"]["scale"]["domain"]) for unit, _ in marks(spec, "rect")}
    assert domains == {tuple(range(14)), tuple(range(14, 28)), tuple(range(28, 40))}
    assert "the first 40 of 45 tokens" in notes(spec)


# --- attribution ------------------------------------------------------------------------------

NAMES = {"attention_bias": "bias", "mlp": "MLP", "attention_norm": "attention norm"}
NAMES |= {"mlp_norm": "MLP norm"}


def test_each_part_has_its_sum_over_tokens_and_its_change_of_identity():
    parts, cosine, _ = attribution_tables(norms=True)
    total, change = defaultdict(float), defaultdict(float)
    for row, to_identity in zip(parts.rows(named=True), cosine["contribution"], strict=True):
        at = row["layer"], str(row["head"]) if row["part"] == "head" else NAMES[row["part"]]
        total[at] += row["contribution"]
        change[at] += to_identity / len(SENTENCE)
    found = coloured_cells(layers(spec_of("attribution")))
    assert len(found) == 2 * len(total) == 2 * 3 * 8
    for row in found:
        at = row["layer"], row["row"]
        assert row["total"] == pytest.approx(total[at], abs=2e-6)
        assert row["change"] == pytest.approx(change[at], abs=2e-6)
    (one,) = {row["tokens"] for row in found if (row["layer"], row["row"]) == (1, "2")}
    by_size = parts.filter(layer=1, head=2).sort(pl.col("contribution").abs(), descending=True)
    most = by_size.row(0, named=True)
    first = f"{most['token'].strip('Ġ')} {round(most['contribution'], 3)}"
    assert one.startswith(first) and one.count(" · ") == 7


def test_heads_stand_above_the_other_parts_and_colours_are_even_around_0():
    others = ["bias", "attention norm", "MLP", "MLP norm"]
    for unit, rows in marks(spec_of("attribution"), "rect"):
        if "color" in unit["encoding"]:
            assert unit["encoding"]["y"]["scale"]["domain"] == [*"0123", " ", *others]
            low, middle, high = unit["encoding"]["color"]["scale"]["domain"]
            field = unit["encoding"]["color"]["field"]
            assert (low, middle) == (-high, 0)
            most = max(abs(row[field]) for row in rows)
            assert most <= high <= 2.5 * most
            legend = unit["encoding"]["color"]["legend"]
            are_heads = {row["row"].isdigit() for row in rows}
            assert are_heads == {legend["title"] == "heads"} and legend["values"][-1] == high


def test_a_token_that_makes_most_of_the_sums_is_named():
    parts, *_ = attribution_tables(norms=True)
    at_first = parts.filter(position=0)["contribution"].abs().sum()
    share = 100 * at_first / parts["contribution"].abs().sum()
    assert f"The, at position 0, has {share:.0f} %" in notes(spec_of("attribution"))
    parts, *rest = attribution_tables("abc", depth=1, heads=2)
    even = pl.col("contribution") / pl.when(pl.col("position") == 0).then(20).otherwise(1)
    chart = attribution(parts.with_columns(contribution=even), *rest, show="a", title="t")
    assert "mostly of one token" not in " ".join(chart.title.subtitle)


def test_bars_add_up_to_the_change_of_identity():
    *_, sums = attribution_tables(norms=True)
    ((_, bars),) = marks(spec_of("attribution"), "bar")
    groups = {row["group"] for row in bars}
    assert groups == {"heads", "bias", "MLP", "norms"}
    dots = [rows for unit, rows in marks(spec_of("attribution"), "circle") if "layer" in rows[0]]
    whole = {row["layer"]: row["value"] for row in dots[0]}
    for layer in range(3):
        here = sums.filter(layer=layer)
        expected = (here["identity_after"] - here["identity_before"]).mean()
        assert whole[layer] == pytest.approx(expected, abs=2e-6)
        block = [row for row in bars if row["layer"] == layer]
        assert sum(row["value"] for row in block) == pytest.approx(expected, abs=1e-5)
        for sign in (-1, 1):
            pile = sorted((r for r in block if sign * r["value"] > 0), key=lambda r: abs(r["end"]))
            starts = [0, *(row["end"] for row in pile)]
            assert [row["start"] for row in pile] == pytest.approx(starts[:-1], abs=2e-6)


def test_identity_is_drawn_before_and_after_each_block():
    *_, sums = attribution_tables(norms=True)
    ends = sums.filter(layer=2).select("position", x=pl.lit(3), cosine="identity_after")
    before = sums.select("position", x="layer", cosine="identity_before")
    thin, thick = (
        rows
        for unit, rows in marks(spec_of("attribution"), "line")
        if unit["mark"]["strokeWidth"] >= 1
    )
    expected = exact(before, "position", "x", "cosine") | exact(ends, "position", "x", "cosine")
    assert values(thin, "position", "x", "cosine") == expected
    for row in thick:
        own = [cosine for _, x, cosine in expected if x == row["x"]]
        assert row["cosine"] == pytest.approx(sum(own) / len(own), abs=2e-6)
    assert len(thick) == 4


# --- any text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "evolution", "attribution"])
def test_odd_tokens_are_drawn(name):
    svg = render(odd_spec(name), ".svg").decode()
    assert not any(word in svg for word in ("NaN", "undefined", "nothing to show"))
    assert "=SUM(A1)" in svg and "&lt;/script&gt;&lt;b&gt;" in svg and "\u202e" not in svg


@pytest.mark.parametrize("name", FIGURES)
def test_one_token_one_layer_and_one_head_are_drawn(name):
    svg = render(specification(draw(name, ["Ġlead"], depth=1, heads=1)), ".svg").decode()
    assert "NaN" not in svg and "undefined" not in svg and "nothing to show" not in svg
    assert name == "head_summary" or ">lead<" in svg
    assert (">MLP<" in svg) == (name == "attribution") and "MLP norm" not in svg


def test_a_model_without_biases_has_no_row_of_them():
    assert {row["row"] for row in coloured_cells(layers(odd_spec("attribution")))} == {"0", "MLP"}
    assert "bias" not in str(odd_spec("attribution"))


@pytest.mark.parametrize("name", FIGURES)
def test_without_values_a_figure_says_so(name):
    if name == "head_summary":
        chart = head_summary(summary_table().clear(), title="t")
    else:
        chart = draw(name, show="c")
    assert chart.mark.text == "nothing to show"
