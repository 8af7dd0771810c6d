"""The tables of senses on states whose senses are known, the file of senses, and its errors."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import config_files
import measures
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import yaml
from drawn import BAND, labels, line_points, notes, of_kind, panels
from measures import PROVENANCE, frame, moved, samples, statistics

from tokentrails.config.experiments import load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.figures.pieces.save import specification
from tokentrails.figures.sense_words import senses_words
from tokentrails.figures.separability import composite_separability
from tokentrails.figures.separability import senses_by_layer as by_layer_figure
from tokentrails.files.states import Layer, places
from tokentrails.metrics.context import context
from tokentrails.metrics.sense_tables import OverWords, senses, senses_best, senses_by_layer
from tokentrails.metrics.senses import CONTROLLED, sense_words, separate
from tokentrails.statistics.baseline import NO_BASELINE, Baseline
from tokentrails.statistics.forms import SOUND
from tokentrails.statistics.student import expanded_tail

ROOT = Path(__file__).parent.parent
DEPTH, WORDS, TEXTS, WIDTH = 4, 12, 6, 16
PLACES = places(["resid", "resid_mid"], DEPTH)
STATISTICS = statistics(200, confidence=0.95, seed=0)
BOOTSTRAP = STATISTICS.bootstrap
KEYS = ("word", "site", "layer", "measure")


def tokens_table(words=WORDS, texts=TEXTS):
    """The texts of all words in a random order; senses in two columns of context's needs."""
    rows = [(f"w{w:02}", sense) for w in range(words) for sense in "xy" for _ in range(texts)]
    names, senses = zip(
        *(rows[i] for i in np.random.default_rng(9).permutation(len(rows))), strict=True
    )
    labels = [f"t{i:03}" for i in range(len(rows))]
    ids = [[int(name[1:]) + 1] for name in names]
    return measures.tokens_table(names, ids, labels, sense=senses)


TOKENS = tokens_table()


def states(tokens, *, since=2, size=1.5, seed=0):
    """States of a word around a centre of its own; of a sense, too, from layer `since` on."""
    draw = np.random.default_rng(seed)
    centres = {
        word: 2 * draw.normal(size=WIDTH) for word in sorted(set(tokens["word"].to_pylist()))
    }
    parts = {word: size * draw.normal(size=WIDTH) for word in centres}
    layers = []
    for site, layer in PLACES:
        noise = draw.normal(size=(len(tokens), WIDTH))
        hidden = [
            centres[w] + (parts[w] if s == "x" and layer >= since else 0) + e
            for w, s, e in zip(
                tokens["word"].to_pylist(), tokens["sense"].to_pylist(), noise, strict=True
            )
        ]
        layers.append(Layer(site, layer, np.arange(len(tokens)), np.float32(hidden)))
    return layers


def tables(layers, tokens=TOKENS, baseline=NO_BASELINE, settings=STATISTICS, control=None):
    separated = separate(layers, tokens, baseline, settings, "last", control)
    over = OverWords(separated, settings)
    made = (
        senses(separated, provenance=PROVENANCE),
        senses_by_layer(over, provenance=PROVENANCE),
        senses_best(over, provenance=PROVENANCE),
    )
    return tuple(map(frame, made))


def baseline_of(layers):
    """Chance and moments such as a sample of texts gives them."""
    chance = {("states", (at.site, at.layer)): 0.1 * at.layer for at in layers}
    moments = {
        (at.site, at.layer): (at.hidden.mean(axis=0).astype(float), at.hidden.std(axis=0) * 1.5)
        for at in layers
    }
    return Baseline(chance, moments)


@pytest.fixture(scope="module")
def study():
    layers = states(TOKENS)
    return layers, tables(layers, baseline=baseline_of(layers))


def cosines(frame):
    return frame.filter(measure="cosine")


# What is known


def test_senses_that_part_from_a_layer_on_are_found_there(study):
    _, by_layer, best = study[1]
    stream = cosines(by_layer).filter(site="resid").sort("layer")
    assert (stream["p_holm"] < 0.01).to_list() == [False, False, True, True, True]
    assert (stream["auc"] > 0.8).to_list() == [False, False, True, True, True]
    before = stream.filter(pl.col("layer") < 2)
    assert (before["auc_low"] < 0.5).all() and (before["auc_high"] > 0.5).all()
    assert (stream.filter(pl.col("layer") >= 2)["gap_low"] > 0.05).all()
    found = best.filter(site="resid")
    assert found["best_low"].min() >= 2 and len(found) == 10
    assert (found["best_low"] <= found["best_layer"]).all()
    assert (found["best_layer"] <= found["best_high"]).all()


def test_a_best_layer_that_stands_alone_or_where_all_are_equal_has_no_interval(study):
    layers, _ = study
    (*_, best) = tables([at for at in layers if at.site == "resid" or at.layer == 0])
    best = best.drop_nulls("value")
    known = dict(best.group_by("site").agg(pl.col("best_low").null_count() == 0).iter_rows())
    assert known == {"resid": True, "resid_mid": False}
    equal = [replace(at, hidden=np.ones_like(at.hidden)) for at in layers if at.site == "resid"]
    (*_, best) = tables(equal)
    best = best.drop_nulls("value")
    assert set(best["best_layer"]) == {0} and best["best_low"].null_count() == len(best) > 0


def test_words_without_texts_that_differ_are_at_chance():
    """As at layer 0 of a rotary model: all states of a word are equal."""
    layers = states(TOKENS)
    words, by_layer, best = tables(moved(layers, lambda at: [[3, 4, 1]] * len(TOKENS)))
    known = {"within": [1.0], "between": [1.0], "gap": [0.0], "auc": [0.5], "p": [1.0]}
    for found in map(cosines, (words, by_layer)):
        assert {name: found[name].unique().to_list() for name in known} == known
    assert cosines(best).filter(site="resid")["best_layer"].unique().to_list() == [0]


def test_means_are_those_of_the_context_table(study):
    layers, (words, by_layer, _) = study
    pairs = frame(context(layers, TOKENS, pooling="last", provenance=PROVENANCE)).with_columns(
        pl.col("cosine").cast(pl.Float64)
    )
    keys = ["word", "site", "layer"]
    within = pairs.filter(relation="within").group_by(*keys, "sense_a").agg(pl.col("cosine").mean())
    within = within.group_by(keys).agg(expected=pl.col("cosine").mean())
    between = pairs.filter(relation="between").group_by(keys)
    between = between.agg(across=pl.col("cosine").mean())
    joined = cosines(words).join(within, on=keys).join(between, on=keys)
    assert len(joined) == len(cosines(words)) == WORDS * len(PLACES)
    assert joined["within"].to_numpy() == pytest.approx(joined["expected"].to_numpy(), abs=1e-6)
    assert joined["between"].to_numpy() == pytest.approx(joined["across"].to_numpy(), abs=1e-6)
    means = words.group_by("site", "layer", "measure").agg(
        **{name: pl.col(name).cast(pl.Float64).mean() for name in ("within", "gap", "auc")}
    )
    joined = by_layer.join(means, on=["site", "layer", "measure"], suffix="_mean")
    for name in ("within", "gap", "auc"):
        assert joined[name].to_numpy() == pytest.approx(joined[f"{name}_mean"].to_numpy(), abs=1e-6)


def test_scaled_senses_are_the_cosines_in_the_room_that_chance_leaves(study):
    layers, (words, by_layer, best) = study
    without_words, without, _ = tables(layers)
    assert cosines(words).equals(cosines(without_words))
    assert cosines(by_layer).equals(cosines(without))
    for table in (words, by_layer):
        raw, scaled = (table.filter(measure=name) for name in ("cosine", "scaled"))
        chance = 0.1 * raw["layer"].to_numpy()
        for name in ("within", "between", "gap", "gap_low", "gap_high"):
            beyond = raw[name].to_numpy() - (0 if name.startswith("gap") else chance)
            expected = beyond / (1 - chance)
            assert scaled[name].to_numpy() == pytest.approx(expected, abs=1e-6), name
        same = ["auc", "auc_low", "auc_high", "p"]
        assert scaled.select(same).equals(raw.select(same))
    auc = best.filter(criterion="auc").drop("criterion")
    raw, scaled = (auc.filter(measure=name).drop("measure") for name in ("cosine", "scaled"))
    assert raw.equals(scaled)
    lost = without.filter(~pl.col("measure").is_in(["cosine", "matched"]))
    assert lost["gap"].null_count() == lost["p_holm"].null_count() == len(lost) > 0
    assert (lost["n"] == 0).all() and (lost["n_texts"] == 0).all()


@pytest.mark.parametrize("form", ["centred", "standardised"])
def test_the_other_forms_are_the_cosines_of_moved_states(study, form):
    layers, (words, by_layer, _) = study
    moments = baseline_of(layers).moments

    def change(at):
        mean, deviation = moments[at.place]
        return (at.hidden - mean) / (deviation if form == "standardised" else 1)

    expected_words, expected, _ = tables(moved(layers, change))
    for got, wanted in ((words, expected_words), (by_layer, expected)):
        got, wanted = got.filter(measure=form), cosines(wanted)
        for name in ("within", "gap", "gap_low", "auc_high", "p"):
            numbers = [table[name].to_numpy() for table in (got, wanted)]
            assert numbers[0] == pytest.approx(numbers[1], abs=2e-3, nan_ok=True), name


def test_intervals_over_words_are_those_of_a_plain_loop(study):
    """The same draws, by their definition: words with all of their texts."""
    _, (words, by_layer, best) = study
    auc = cosines(words).filter(site="resid").pivot(on="word", index="layer", values="auc")
    auc = auc.sort("layer").drop("layer").to_numpy().astype(float)
    draws = [
        [sum(row[w] for w in sample) / WORDS for row in auc]
        for sample in samples(BOOTSTRAP, WORDS, 3)
    ]
    tail = expanded_tail(BOOTSTRAP.confidence, WORDS)
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    got = cosines(by_layer).filter(site="resid").sort("layer")
    assert got["auc_low"].to_numpy() == pytest.approx(low, abs=1e-6)
    assert got["auc_high"].to_numpy() == pytest.approx(high, abs=1e-6)
    layers = np.sort(np.argmax(draws, axis=1))
    row = best.filter(site="resid", measure="cosine", criterion="auc").row(0, named=True)
    assert row["best_low"] == layers[int(0.025 * (len(layers) - 1))]
    assert row["best_high"] == layers[-int(0.025 * (len(layers) - 1)) - 1]


def test_tables_are_sorted_described_and_made_again_alike(study):
    layers, made = study
    words, by_layer, best = made
    assert words.equals(words.sort(KEYS)) and by_layer.equals(by_layer.sort(KEYS[1:]))
    assert best["measure"].unique().sort().to_list() == sorted(SOUND)
    assert best.columns[-4:] == ["best_high", "value", "depth", "n"]
    for one, again in zip(made, tables(layers, baseline=baseline_of(layers)), strict=True):
        assert one.equals(again)
    table = senses(separate(layers, TOKENS, NO_BASELINE, STATISTICS, "last"), provenance=PROVENANCE)
    definitions = json.loads(table.schema.metadata[b"definitions"])
    assert set(table.column_names) <= {"model", "checkpoint", "experiment", *definitions}
    assert json.loads(table.schema.metadata[b"units"])["gap_low"] == "cosine"
    assert not words.select(pl.col(pl.Float32).is_nan().any()).row(0).count(True)


def test_accents_of_either_form_make_one_word():
    names, labels = ["café", "cafe\u0301"] * 2, ["a", "b", "c", "d"]
    tokens = measures.tokens_table(names, [[1]] * 4, labels, sense=["x", "y", "y", "x"])
    (word,) = sense_words(tokens)
    assert (word.word, word.senses, word.rows.tolist()) == ("café", ("x", "y"), [0, 3, 1, 2])


def test_texts_are_strata_where_both_senses_have_their_targets_at_the_same_places():
    places = [4, 2, 2, 4, *(4, 2, 2, 3), *(4, 4, 4, 4)]
    columns = {"sense": ["x", "x", "y", "y"] * 3, "words_before": places}
    labels = [f"t{i}" for i in range(12)]
    tokens = measures.tokens_table([*"aaaabbbbcccc"], [[1]] * 12, labels, **columns)
    strata = [word.strata.tolist() for word in sense_words(tokens)]
    assert strata == [[4, 2, 2, 4], [0, 0, 0, 0], [4, 4, 4, 4]]


# The control


def test_what_is_beyond_the_control_is_that_of_a_plain_loop(study):
    """By words that both have; a word is drawn with its control."""
    layers, (words, _, _) = study
    control = tables(states(TOKENS, since=3, seed=5), baseline=baseline_of(layers))[0]
    control = control.filter(pl.col("word") != "w04", pl.col("layer") < 4)
    made = tables(layers, baseline=baseline_of(layers), control=control)
    assert made[0].select(words.columns[:-4]).equals(words.select(words.columns[:-4]))
    lookup = {row[:4]: row[4:] for row in control.select(*KEYS, "gap", "auc").rows()}
    for row in made[0].rows(named=True):
        gap, auc = lookup.get(tuple(row[key] for key in KEYS), (None, None))
        assert (row["gap_control"], row["auc_control"]) == (gap, auc)
        for name, other in (("gap", gap), ("auc", auc)):
            beyond = None if other is None else pytest.approx(row[name] - other, abs=1e-7)
            assert row[CONTROLLED[name]] == beyond
    rows = cosines(made[0]).filter(site="resid", layer=3).sort("word")
    own, other = (rows[name].to_list() for name in ("auc", "auc_control"))
    draws = []
    for sample in samples(BOOTSTRAP, WORDS, 3):
        both = [w for w in sample if other[w] is not None]
        draws.append([sum(v[w] for w in both) / len(both) for v in (own, other)])
    draws = np.array(draws)
    tail = expanded_tail(BOOTSTRAP.confidence, WORDS - 1)
    (got,) = cosines(made[1]).filter(site="resid", layer=3).rows(named=True)
    for name, values in (("difference", draws[:, 0] - draws[:, 1]), ("control", draws[:, 1])):
        low, high = np.quantile(values, [tail, 1 - tail])
        ends = got[f"auc_{name}_low"], got[f"auc_{name}_high"]
        assert ends == pytest.approx((low, high), abs=1e-6)
    known = [w for w in range(WORDS) if other[w] is not None]
    assert len(known) == WORDS - 1
    mean = np.mean([own[w] - other[w] for w in known])
    assert got["auc_difference"] == pytest.approx(mean, abs=1e-6)
    few = control.filter(pl.col("word").is_in(["w00", "w01", "w02"]))
    of_three = tables(layers, baseline=baseline_of(layers), control=few)[1].filter(layer=3)
    assert of_three["gap_low"].null_count() == of_three["difference"].null_count() == 0
    assert of_three["difference_low"].null_count() == len(of_three)
    last = made[1].filter(layer=4)
    assert last["difference"].null_count() == last["auc_control_low"].null_count() == len(last) > 0


def test_without_a_control_nothing_is_beyond_it(study):
    for table in study[1][:2]:
        columns = table.select(pl.col(r"^.*_(control|beyond).*$"))
        assert columns.width and columns.null_count().row(0) == (len(table),) * columns.width


def test_a_word_with_a_single_text_of_a_sense_is_left_out_and_says_so(caplog):
    keys = [(token["word"], token["sense"]) for token in TOKENS.to_pylist()]
    only = keys.index(("w03", "y"))
    lost = ("w03", "y"), ("w05", "x")
    keep = [index for index, key in enumerate(keys) if index == only or key not in lost]
    tokens = TOKENS.take(pa.array(keep))
    layers = moved(states(TOKENS), lambda at: at.hidden[keep])
    with caplog.at_level("INFO"):
        words, by_layer, best = tables(layers, tokens)
    assert "'w03' has 6 and 1 texts of its two senses;" in caplog.text
    assert "'w05' has no texts of a second sense;" in caplog.text
    rows = words.filter(pl.col("word").is_in(["w03", "w05"]))
    assert set(rows.select("word", "sense_a", "sense_b", "n_a", "n_b").iter_rows()) == {
        ("w03", "x", "y", 6, 1),
        ("w05", "y", None, 6, 0),
    }
    assert rows["gap"].null_count() == rows["auc_low"].null_count() == len(rows) > 0
    assert cosines(by_layer)["n"].unique().to_list() == [WORDS - 2] == best["n"].unique().to_list()
    assert cosines(by_layer)["n_texts"].unique().to_list() == [(WORDS - 2) * 2 * TEXTS]


def test_a_single_word_has_values_and_no_interval_over_words():
    tokens = tokens_table(words=1)
    _, by_layer, best = tables(states(tokens), tokens)
    frame = cosines(by_layer)
    assert frame["few"].all() and frame["gap"].null_count() == 0 == frame["p"].null_count()
    assert frame["gap_low"].null_count() == len(frame)
    assert cosines(best)["best_layer"].null_count() == 0
    assert best["best_low"].null_count() == len(best)


def test_without_any_word_left_there_is_a_message():
    tokens = tokens_table(words=1, texts=1)
    with pytest.raises(TokentrailsError, match="no word has two texts"):
        tables(states(tokens), tokens)


# Figures


def test_figures_draw_what_the_tables_say(study):
    layers, made = study
    marked = tables(layers, settings=statistics(200, few=99))
    for words, by_layer, best in (made, tables(layers), marked):
        charts = [
            by_layer_figure(by_layer, best, title="t", confidence=0.95),
            composite_separability(by_layer, best, title="t", confidence=0.95),
            senses_words(words, title="t"),
        ]
        texts = [json.dumps(specification(chart)) for chart in charts]
        assert ("no baseline" in texts[0]) == (
            by_layer.filter(measure="scaled")["within"].null_count() == len(PLACES)
        )
        assert ("Dashed" in texts[0]) == by_layer.drop_nulls("gap")["few"].any()
        row = best.filter(site="resid", measure="cosine", criterion="auc").row(0, named=True)
        ends = f"[{row['best_low']}, {row['best_high']}]"
        assert f"cosine: best at layer {row['best_layer']} {ends}, {row['value']:.3f}" in texts[0]
        drawn = [row for rows in specification(charts[0])["datasets"].values() for row in rows]
        for form in ("scaled", "centred", "standardised"):  # their bands would hide the cosine's
            assert not any(row.get("low") for row in drawn if row.get("line") == form)
        assert any(row.get("low") for row in drawn if row.get("line") == "cosine")
        domain = specification(charts[2])["layer"][1]["encoding"]["y"]["scale"]["domain"]
        means = (
            words.filter(site="resid", measure="cosine")
            .group_by("word")
            .agg(pl.col("auc").cast(pl.Float64).mean())
        )
        order = means.sort("auc", descending=True)["word"].to_list()
        assert [name.split(":")[0] for name in domain] == order


def test_figures_have_the_control_beside_the_senses(study):
    layers, (_, alone, best) = study
    control = tables(states(TOKENS, since=3, seed=5), baseline=baseline_of(layers))[0]
    _, by_layer, _ = tables(layers, baseline=baseline_of(layers), control=control)
    row = by_layer.filter(site="resid", measure="cosine", layer=3).row(0, named=True)
    ends = tuple(round(row[f"auc_control{end}"], 6) for end in ("", "_low", "_high"))
    chart = by_layer_figure(by_layer, best, **BAND)
    panel = panels(chart)["AUC"]
    line = [each for each in line_points(panel) if each["line"] == "another word"]
    assert {each["colour"] for each in line} == {"#777777"} and "another word" in labels(panel)
    (at,) = (each for each in line if each["layer"] == 3)
    assert (at["value"], at["low"], at["high"]) == ends
    dots = [rows for unit, rows in of_kind(panel, "point") if unit["mark"].get("size") == 60]
    assert {each["line"] for each in dots[0]} == {"cosine", "matched", "centred", "standardised"}
    composite = composite_separability(by_layer, best, **BAND)
    found = panels(composite)
    assert len(found) == 2 * len(SOUND)
    shapes = [
        u["mark"].get("shape") for panel in found.values() for u, _ in of_kind(panel, "point")
    ]
    assert shapes.count("square") == len(found) - 1 and "diamond" not in shapes  # of the norm
    for form in set(SOUND) - {"scaled"}:
        thin = line_points(found["AUC" if form == "cosine" else f"AUC, {form}"], width=1)
        (value,) = by_layer.filter(site="resid", measure=form, layer=3)["auc_control"]
        assert [each["value"] for each in thin if each["layer"] == 3] == [pytest.approx(value)]
    for drawn in (
        by_layer_figure(alone, best, **BAND),
        composite_separability(alone, best, **BAND),
    ):
        assert "another word" not in json.dumps(specification(drawn))


def test_a_best_layer_among_equally_good_ones_is_the_first_and_scaled_has_no_auc_of_its_own(study):
    _, (_, by_layer, best) = study
    for value, word in ((None, "best"), (0.9, "first")):
        auc = pl.col("auc") if value is None else pl.lit(value, pl.Float32)
        chart = by_layer_figure(by_layer.with_columns(auc=auc), best, **BAND)
        said = json.dumps(specification(chart))
        row = best.filter(site="resid", measure="cosine", criterion="auc").row(0, named=True)
        assert f"cosine: {word} at layer {row['best_layer']} " in said
        assert "scaled: the same as of the cosine" in said and "Matched: with the" in said


def test_marks_that_are_not_drawn_are_not_named(study):
    _, (_, by_layer, best) = study
    ends = [n for n in by_layer.columns if n.endswith(("_low", "_high"))]
    bare = by_layer.with_columns(pl.lit(None, pl.Float32).alias(n) for n in ends)
    bare = bare.with_columns(p_holm=pl.lit(1.0, pl.Float32))
    alone = best.with_columns(best_low=pl.lit(None, pl.Int32), best_high=pl.lit(None, pl.Int32))
    said = notes(by_layer_figure(bare, alone, **BAND))
    assert "No bands: too few words for an interval." in said
    assert not any(each in said for each in ("Large dots", "Below, that", "its interval"))
    said = notes(by_layer_figure(by_layer, best, **BAND))
    assert all(each in said for each in ("Band: 90 %", "Large dots", "Below, that", "its interval"))


def test_the_key_of_one_word_has_room_for_its_numbers(study):
    words = study[1][0]
    one = words.filter(pl.col("word") == words["word"][0])
    (cells,) = (
        unit
        for unit in specification(senses_words(one, title="t"))["layer"]
        if "color" in unit["encoding"]
    )
    legend = cells["encoding"]["color"]["legend"]
    assert legend["title"] == "AUC" and legend["gradientLength"] >= 14 * len(legend["values"])


def test_figures_of_nothing_say_so(study):
    words, by_layer, best = (frame.clear() for frame in study[1])
    for chart in (
        by_layer_figure(by_layer, best, title="t", confidence=0.95),
        composite_separability(by_layer, best, title="t", confidence=0.95),
        senses_words(words, title="t"),
    ):
        assert "nothing to show" in json.dumps(specification(chart))


# The files


@pytest.mark.parametrize(("name", "words", "texts"), [("senses", 24, 10), ("polysemy", 4, 4)])
def test_files_of_senses_are_balanced(name, words, texts):
    """Position and length must not tell the two senses of a word apart."""
    path = ROOT / f"config/experiments/{name}.yaml"
    prompts = yaml.safe_load(path.read_text())["prompts"]
    at = defaultdict(lambda: defaultdict(list))
    for entry in prompts:
        word, sense, text = entry["word"].strip(), entry["sense"], entry["prompt"]
        assert entry["word"] == f" {word}" and entry["label"].startswith(f"{word}_{sense}_")
        own = [part.strip(".,;") for part in text.split(" ")]
        assert own.count(word) == 1 and text.lower().count(word) == 1, entry["label"]
        at[word][sense].append((own.index(word), len(own)))
    assert len(at) >= words
    for word, senses_of in at.items():
        one, other = (sorted(place for place, _ in each) for each in senses_of.values())
        assert one == other and one[0] > 0 and len(one) == texts, word
        mean, other_mean = (np.mean([n for _, n in each]) for each in senses_of.values())
        assert abs(mean - other_mean) <= 0.5, word
    assert len({entry["prompt"] for entry in prompts}) == len(prompts)


def prompts_of(*entries):
    return [
        {"label": f"p{i}", "word": " lead", "prompt": f"Some lead {i}."} | entry
        for i, entry in enumerate(entries)
    ]


def refused(tmp_path, entries, *parts):
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump({"analyses": ["senses"], "prompts": prompts_of(*entries)}))
    with config_files.refused("e.yaml", *parts):
        load_experiment_file(str(file))


A, B = {"sense": "a"}, {"sense": "b"}


def test_senses_that_cannot_be_compared_are_refused(tmp_path):
    refused(tmp_path, [A, A, B, {}], "'p3'", "no sense", "prompts[3]")
    refused(tmp_path, [A, A, B, {"sense": " "}], "'p3'", "no sense")
    refused(tmp_path, [A, A, A], "'lead'", "1 sense (a)", "exactly two senses")
    refused(tmp_path, [A, A, B, B, {"sense": 3}], "'lead'", "3 senses (a, b, 3)")
    refused(tmp_path, [A, A, B], "'b' of 'lead' has one text", "prompts[2]")
    file = tmp_path / "e.yaml"
    entries = prompts_of(A, A, B, B | {"word": "lead"})
    entries.append({"label": "q", "token": "Ġlead", "sense": "b", "prompt": "more lead."})
    file.write_text(yaml.safe_dump({"analyses": ["senses"], "prompts": entries}))
    assert len(load_experiment_file(str(file)).prompts) == 5
