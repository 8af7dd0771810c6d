"""Words cut up: token ids and typos, what is compared, and the figure."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from drawn import BAND, labels, line_points, notes, of_kind, panels
from measures import PROVENANCE, classed, cosine, frame, statistics
from test_words import word_list
from tokenizers.models import WordPiece

from tokentrails.config.experiments import load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.figures.pieces.rank_axis import place
from tokentrails.figures.splits import splits as drawn
from tokentrails.files.states import Layer
from tokentrails.metrics.ranks import Vocabulary
from tokentrails.metrics.splits import BEYOND, splits, splits_by_layer
from tokentrails.settings import Experiment, Prompt, Splits
from tokentrails.statistics.baseline import Baseline
from tokentrails.statistics.forms import SOUND
from tokentrails.texts.splits import _others, cuts_of, tokenize_splits, typos_of

STYLES = ("gpt_neox", "llama", "bert")
WORDS = ("bank", "spring", "guide", "boat", "numbers")
TEXTS = tuple(Prompt(word, f"The cold {word} was there.", None, f" {word}") for word in WORDS)


def run(files, prompts=TEXTS, *, pieces=(2, 3), seed=0, listed=("cold",), length=64):
    made = Experiment(
        *("e", "e.yaml", (), "last", "default", ("resid",), ("splits",), tuple(prompts)),
        splits=Splits(pieces, "l.txt", seed),
    )
    both = tokenize_splits(made, word_list(*listed), files, length, model="tiny")
    return [table.to_pylist() for table in both]


def own(row):
    return row["token_ids"][row["first"] : row["last"] + 1]


def around(row):
    return row["token_ids"][: row["first"]], row["token_ids"][row["last"] + 1 :]


def slow_cuts(entry, pieces, files):
    """All places between the characters of an entry, pieces looked up in the vocabulary."""
    found = []
    for places in itertools.combinations(range(1, len(entry)), pieces - 1):
        parts = [entry[a:b] for a, b in itertools.pairwise((0, *places, len(entry)))]
        if isinstance(files.tokenizer.model, WordPiece):
            parts = [parts[0], *(f"##{part}" for part in parts[1:])]
        if all(part in files.vocabulary for part in parts) and parts[0] not in "▁Ġ":
            found.append([files.vocabulary[part] for part in parts])
    return found


@pytest.mark.parametrize("name", STYLES)
def test_a_cut_has_the_letters_of_the_word(files, name):
    of = files(name)
    for word in WORDS:
        (encoded,) = of.encode([f"the {word}"], add_special_tokens=False, bos=False)
        entry, index = encoded.tokens[-1], encoded.ids[-1]
        for pieces in (2, 3, 4):
            cuts = list(cuts_of(entry, pieces, of))
            assert sorted(cuts) == sorted(slow_cuts(entry, pieces, of))
            for cut in cuts:
                assert len(cut) == pieces and index not in cut
                assert of.tokenizer.decode(cut) == of.tokenizer.decode([index])
    assert any(list(cuts_of(entry, 2, of)) for entry in encoded.tokens)


@pytest.mark.parametrize("name", STYLES)
def test_every_word_is_cut_in_its_place(files, name):
    of = files(name)
    rows, skipped = run(of)
    bases = {row["occurrence"]: row for row in rows if row["variant"] == "whole"}
    assert [row["label"] for row in bases.values()] == [*WORDS] and skipped == []
    assert [row["occurrence"] for row in rows] == [*range(len(rows))]
    cuts = {row["word"]: {} for row in rows}
    for row in rows:
        base = bases[row["base"]]
        assert around(row) == around(base) and row["word"] == base["word"]
        assert row["tokens"] == [of.tokenizer.id_to_token(index) for index in row["token_ids"]]
        assert row["n_tokens"] == len(own(row)) and (row is base) == (row["n_tokens"] == 1)
        if row["variant"] == "split":
            assert row["label"] == f"{row['word']}~split{row['n_tokens']}"
            whole, cut = (
                of.tokenizer.decode(r["token_ids"], skip_special_tokens=False) for r in (base, row)
            )
            assert cut == whole
            cuts[row["word"]][row["n_tokens"]] = own(row)
    for row in rows:
        if row["variant"] == "other":
            (word,) = {w for w, found in cuts.items() if found[row["n_tokens"]] == own(row)}
            assert word != row["word"] and own(row)[-1] != cuts[row["word"]][row["n_tokens"]][-1]
    assert {(r["variant"], r["n_tokens"]) for r in rows if r["variant"] != "typo"} == {
        *(("whole", 1), ("split", 2), ("other", 2), ("split", 3), ("other", 3))
    }
    typos = [row for row in rows if row["variant"] == "typo"]
    assert len(typos) == len(WORDS)
    for row in typos:
        typo = row["text"].split()[2]
        assert typo in typos_of(row["word"]) and row["label"] == f"{row['word']}~{typo}"
        assert bases[row["base"]]["token_ids"][row["first"]] not in own(row)


@pytest.mark.parametrize(
    ("ends", "shared"),
    [("abcdefgh", 1), ("aabbc", 1), ("aabb", 1), ("aaabcc", 1), ("aaab", 3), ("aaaaabc", 3)],
)
def test_each_word_is_the_control_of_one_word_where_enough_of_them_end_differently(ends, shared):
    cuts = {(f"w{i}", 2): [i, ord(end)] for i, end in enumerate(ends)}
    drawn = set()
    for seed in range(20):
        found = _others(cuts | {("w0", 3): [1, 2, 3]}, 2, Splits((2,), "l.txt", seed))
        assert found.keys() == {word for word, _ in cuts}
        assert all(cuts[word, 2][-1] != other[-1] for word, other in found.items())
        assert max(Counter(map(tuple, found.values())).values()) == shared
        drawn.add(str(sorted(found.items())))
    assert len(drawn) > 1 or len(ends) == 4
    assert _others(cuts, 2, Splits((2,), "l.txt", 19)) == found
    assert _others({("w0", 2): [0, 9], ("w1", 2): [1, 9]}, 2, Splits((2,), "l.txt", 0)) == {}


def test_typos_swap_double_or_leave_out_a_letter():
    assert typos_of("cold") == [
        *("clod", "codl"),  # swapped
        *("coold", "colld", "coldd"),
        *("cld", "cod", "col"),
    ]
    assert "too" not in typos_of("too") and typos_of("a") == []


def test_no_typo_is_a_word_of_the_list(files):
    found = {row["label"] for row in run(files("bert"))[0] if row["variant"] == "typo"}
    (first,) = (label for label in found if label.startswith("boat"))
    typo = first.removeprefix("boat~")
    rows, _ = run(files("bert"), listed=(typo.capitalize(),))
    assert f"boat~{typo}" not in {row["label"] for row in rows}
    others = typos_of("boat")
    rows, skipped = run(files("bert"), listed=others)
    assert not any(row["variant"] == "typo" and row["word"] == "boat" for row in rows)
    assert [(row["label"], "no typo" in row["reason"]) for row in skipped] == [("boat", True)]


def test_choices_are_those_of_the_seed_and_the_word(files):
    of = files("bert")

    def chosen(rows):
        return {r["label"]: own(r) for r in rows if r["variant"] in ("split", "typo")}

    first = chosen(run(of)[0])
    assert chosen(run(of)[0]) == first
    assert len({str(chosen(run(of, seed=seed)[0])) for seed in range(4)}) > 1
    few = chosen(run(of, TEXTS[:3])[0])
    assert few == {label: first[label] for label in few} and len(few) == 9


def test_what_cannot_be_cut_is_listed(files):
    of = files("llama")
    prompts = [*TEXTS[:2], Prompt("lead", "They lead it.", None, " lead")]
    prompts.append(Prompt("several", "A transitional year.", None, " transitional"))
    rows, skipped = run(of, prompts, pieces=(2,))
    assert {row["word"] for row in rows} == {"bank", "spring", "lead"}
    reasons = {row["label"]: row["reason"] for row in skipped if "typo" not in row["reason"]}
    assert reasons["lead"] == "it cannot be cut into 2 entries of the vocabulary"
    assert reasons["several"].endswith("tokens as it is")
    _, skipped = run(of, TEXTS[:1], pieces=(2,))
    assert skipped[0]["reason"] == "no other word can be cut into 2 entries of the vocabulary"
    with pytest.raises(TokentrailsError, match="none of the targets is one token"):
        run(of, prompts[-1:])
    rows, skipped = run(files("bert"), TEXTS, pieces=(3,), length=12)
    assert {row["variant"] for row in rows} <= {"whole", "typo"}
    assert {row["label"]: row["reason"] for row in skipped}["bank~split3"] == (
        "it has 14 tokens, the model takes 12"
    )


def test_words_at_position_0_or_unlike_the_others_in_front_are_left_out(files):
    first = Prompt("first", "bank was there.", None, "bank")
    quoted = Prompt("quoted", 'The cold "bank" was there.', None, "bank")
    rows, skipped = run(files("gpt_neox"), [*TEXTS, first, quoted])
    assert {row["label"].split("~")[0] for row in rows} == {*WORDS}
    reasons = {row["label"]: row["reason"] for row in skipped}
    assert {"first", "quoted"} <= reasons.keys()
    assert len(reasons) == 2


def test_the_file_of_the_repository_has_words_enough():
    made = load_experiment_file(
        str(Path(__file__).parent.parent / "config/experiments/splits.yaml")
    )
    words = {prompt.word for prompt in made.prompts}
    assert len(words) == len(made.prompts) >= 24
    for prompt in made.prompts:
        before, _ = prompt.prompt.split(f"{prompt.word} ", maxsplit=1)
        assert len(before.split()) >= 3, prompt.label


# --- what is measured -------------------------------------------------------------------------

VARIANTS = ("whole", "split", "other", "typo")
N, WIDTH, ENTRIES = 4, 8, 30


def case(layers=2):
    """Words w0 to w3 of ids 0 to 3, their variants, and states: at layer 1 splits are the whole."""
    rng = np.random.default_rng(0)
    rows = []
    for word, variant in itertools.product(range(N), VARIANTS):
        last = word if variant == "whole" else 10 + len(rows)
        rows.append(
            {
                "label": f"w{word}" + {"whole": "", "typo": "~t"}.get(variant, f"~{variant}2"),
                "word": f"w{word}",
                "variant": variant,
                "base": word * len(VARIANTS),
                "n_tokens": 1 if variant == "whole" else 2,
                "token_ids": [29, *([] if variant == "whole" else [28]), last],
                "first": 1,
                "last": 1 if variant == "whole" else 2,
            }
        )
        rows[-1]["tokens"] = [f"t{i}" for i in rows[-1]["token_ids"]]
    tokens = pa.Table.from_pylist(rows)
    n_tokens = tokens["n_tokens"].cast(pa.int32())
    tokens = tokens.drop_columns("n_tokens").append_column("n_tokens", n_tokens)
    states = rng.normal(size=(layers, len(rows), WIDTH)).astype(np.float32)
    for word in range(N):
        base = word * len(VARIANTS)
        states[1, base + 1] = 2 * states[1, base]
    embedding = rng.normal(size=(ENTRIES, WIDTH)).astype(np.float32)
    embedding[:N] = states[1, :: len(VARIANTS)]  # at layer 1 whole words are their own rows
    made = [Layer("resid", layer, np.arange(len(rows)), states[layer]) for layer in range(layers)]
    vocabulary = Vocabulary([f"t{i}" for i in range(ENTRIES)], torch.from_numpy(embedding))
    return made, classed(tokens), vocabulary, embedding


def made_table():
    layers, tokens, vocabulary, _ = case()
    return splits(layers, tokens, vocabulary, baseline=Baseline(), provenance=PROVENANCE)


def test_states_and_ranks_are_those_of_a_plain_loop():
    layers, tokens, _, embedding = case()
    found = {(r["label"], r["layer"]): r for r in frame(made_table()).to_dicts()}
    assert len(found) == 2 * tokens.num_rows
    for layer in layers:
        for row, state in zip(tokens.to_pylist(), layer.hidden, strict=True):
            base = layer.hidden[row["base"]]
            whole = tokens["token_ids"][row["base"]].as_py()[-1]
            scores = [cosine(state, other) for other in embedding]
            got = found[row["label"], layer.layer]
            assert got["cosine"] == pytest.approx(cosine(state, base), abs=1e-6)
            assert got["rank"] == sum(score > scores[whole] + 1e-9 for score in scores)
            assert got["nearest"] == f"t{np.argmax(scores)}"
            assert got["rank_standardised"] is None and got["centred"] is None
            assert (got["tokens"], got["last_token"]) == (row["n_tokens"], row["tokens"][-1])


def test_means_are_over_words_and_what_is_beyond_another_word_is_paired():
    table = made_table()
    means = frame(splits_by_layer(table, statistics(), provenance=PROVENANCE))
    rows = frame(table)

    def mean(variant, measure, layer, pieces=None):
        here = means.filter(
            pl.col("pieces").eq_missing(pieces), variant=variant, measure=measure, layer=layer
        )
        return here["mean"].item()

    for pieces in (None, 2):
        assert mean("split", "cosine", 1, pieces) == pytest.approx(1)
        assert mean("split", "closest", 1, pieces) == 1
        for layer in (0, 1):
            other = rows.filter(variant="other", layer=layer)["cosine"].mean()
            assert mean("other", "cosine", layer, pieces) == pytest.approx(other)
            beyond = mean("split", "cosine", layer) - other
            assert mean(BEYOND, "cosine", layer, pieces) == pytest.approx(beyond)
    typos = rows.filter(variant="typo", layer=0)["rank"].to_numpy()
    assert mean("typo", "log_rank", 0) == pytest.approx(np.log10(1 + typos).mean())
    assert mean("whole", "closest", 1) == 1
    assert means.filter(variant="whole", measure="cosine").is_empty()  # with itself it is 1
    assert set(means["n"]) == set(means["n_texts"]) == {N}


# --- the figure -------------------------------------------------------------------------------


def shown(scale=1.0):
    rows = []
    for measure, variant, pieces, layer in itertools.product(
        (*SOUND, "log_rank", "closest"), (*VARIANTS, BEYOND), (None, 2), range(3)
    ):
        if variant == "whole" and measure in SOUND:
            continue
        value = scale * (len(measure) + len(variant) / 10 + layer / 100)
        row = {"model": "m", "checkpoint": "main", "measure": measure, "variant": variant}
        row |= {"pieces": pieces, "site": "resid", "layer": layer, "n": 7, "n_texts": 5}
        rows.append(row | {"few": True, "mean": value, "ci_low": value, "ci_high": value + 1})
    return pl.DataFrame(rows, schema_overrides={"pieces": pl.Int32})


def test_the_figure_has_variants_what_is_beyond_another_word_and_ranks():
    chart = drawn(shown(), shown(3.0).with_columns(model=pl.lit("r")), **BAND)
    found = panels(chart)
    assert len(found) == 2 * len(SOUND) + 2

    def lines(title):
        return {(p["series"], p["layer"]): p["value"] for p in line_points(found[title])}

    value = len("centred") + len("split") / 10 + 0.02
    assert lines("cosine, centred")["split", 2] == pytest.approx(value)
    assert {name for name, _ in lines("cosine, centred")} == {"split", "typo", "another's split"}
    beyond = lines("beyond another's: cosine, centred")
    assert beyond["split", 0] == pytest.approx(len("centred") + len(BEYOND) / 10)
    assert beyond["random weights", 0] == pytest.approx(3 * beyond["split", 0])
    assert {name for name, _ in lines("rank of the whole word")} == {
        *("whole word", "split", "typo", "another's split")
    }
    assert labels(found["cosine, standardised"]) == {"split", "typo", "another's split"}
    assert "of 5 words" in notes(chart) and "Dashed: few words." in notes(chart)
    assert "which may be alike at layer 0 already: compare" in notes(chart)
    assert not {p["dashed"] for p in line_points(found["cosine"])} - {True}
    many = drawn(shown().with_columns(few=pl.lit(False)), **BAND)
    assert "Dashed" not in notes(many)


def test_the_figure_of_words_that_were_not_split_says_so():
    whole = shown().filter(variant="whole")
    told = drawn(whole, **BAND).title.subtitle
    assert [line.split(";")[0] for line in told[:2]] == [
        "Warning: no word was split",
        "Warning: no word has a typo",
    ]
    assert "Warning" not in str(drawn(shown(), **BAND).to_dict())
    first = whole.with_columns(mean=0.0, ci_low=0.0, ci_high=0.0)
    ((unit, _), *_) = of_kind(panels(drawn(first, **BAND))["rank of the whole word"], "line")
    assert unit["encoding"]["y"]["axis"]["values"] == [place(0), place(1)]


def test_the_figure_of_no_rows_says_so():
    assert "nothing to show" in str(drawn(shown().clear(), **BAND).to_dict())
