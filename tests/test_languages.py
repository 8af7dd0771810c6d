"""Experiments in languages other than English: their word classes and their frequent words."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import workflow as wf
from config_files import refused, written
from measures import ENGLISH, PROVENANCE, frame, statistics, tokens_table

from tokentrails.claims.formula import estimate
from tokentrails.config.experiments import load_experiment_file
from tokentrails.figures.half_lives import half_life
from tokentrails.figures.rank_classes import composite_ranks, rank_classes
from tokentrails.metrics.columns.frame import with_classes
from tokentrails.metrics.columns.similarities import matched_pairs
from tokentrails.metrics.corpus_sums import GROUPS, Pieces
from tokentrails.metrics.half_lives import half_life_curve, half_life_groups, half_lives
from tokentrails.metrics.rank_classes import class_curves, ranks_by_class, ranks_gap, ranks_summary
from tokentrails.texts.languages import LANGUAGES, WITH_LIST
from tokentrails.texts.streamed import SCHEMA
from tokentrails.texts.word_classes import FrequencyBands, WordClasses, function_words
from tokentrails.texts.word_groups import NO_CLASSES, UNKNOWN
from tokentrails.texts.word_list import Entry, WordList

GERMAN = {
    "determiners": ["der", "die", "das", "ein", "eine"],
    "pronouns": ["ich", "sie", "es", "'s"],
    "prepositions": ["in", "über", "an"],
    "conjunctions": ["und", "dass", "aber"],
    "auxiliaries": ["ist", "war", "hat"],
    "particles": ["nicht", "zu"],
}
HINDI = GERMAN | {"prepositions": ["में", "के"], "pronouns": ["वह"], "determiners": ["यह"]}
HINDI = {name: HINDI[name] if name in ("prepositions", "pronouns") else ["यह"] for name in HINDI}
NONE = WordClasses()


def classes(listed):
    return WordClasses(frozenset(word for words in listed.values() for word in words))


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "word", "expected"),
    [
        *((GERMAN, word, "function") for word in ("der", "Die", "Über", "daß", "sie's", "’s")),
        *((GERMAN, word, "content") for word in ("Boot", "the", "naïve", "Straße", "geht's")),
        *((GERMAN, word, None) for word in ("东京", "дом", "कला", "")),
        *((HINDI, word, "function") for word in ("में", "वह")),
        *((HINDI, word, "content") for word in ("कला", "नदी")),
        *((HINDI, word, None) for word in ("the", "Boot", "在")),
        *((HINDI, "1845", "other"), (HINDI, "।", "punctuation")),
    ],
)
def test_a_word_has_the_class_of_its_language(language, word, expected):
    assert classes(language).of(word) == expected


@pytest.mark.parametrize("word", ["东京", "เรือ", "قارب", "дом", "कला", "αβ"])
def test_english_says_nothing_of_other_scripts(word):
    assert ENGLISH.of(word) is None


@pytest.mark.parametrize("word", ["naïve", "ﬁsh", "Ｗord", "µm", "ªb", "Łódź"])
def test_latin_letters_of_any_kind_are_of_the_script_of_english(word):
    assert ENGLISH.of(word) == "content"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *((word, None) for word in ("the", "'s", "Boot", "µ", "कला", "")),
        *((",", "punctuation"), ("12", "other")),
    ],
)
def test_a_language_without_function_words_has_punctuation_and_numbers_alone(word, expected):
    assert NONE.of(word) == expected


def test_a_file_of_another_script_is_read(tmp_path):
    path = wf.write_yaml(tmp_path / "hi.yaml", HINDI)
    assert WordClasses(function_words(path)) == classes(HINDI)


@pytest.mark.parametrize(("last", "unlisted"), [(10_000, "over 10,000"), (9_999, UNKNOWN)])
def test_bands_are_those_of_the_list_or_unknown(last, unlisted):
    """Of what it lacks a list says how rare it is only if it reaches the last band."""
    entries = Entry(3, "der"), Entry(5, "的"), Entry(400, "boot"), Entry(last, "Der")
    bands = FrequencyBands(WordList(entries, "x"))
    found = {word: bands.of(word) for word in ("Der", "Boot", "Nixe", "的", "他的书", ",")}
    assert found == {
        **{"Der": "1-100", "Boot": "101-1,000", "Nixe": unlisted},
        **{"的": "1-100", "他的书": UNKNOWN, ",": None},
    }
    assert [FrequencyBands(None).of(word) for word in ("der", ",")] == [UNKNOWN, None]


def test_languages_are_those_of_the_package():
    import wordfreq  # slow to load
    from langcodes.data_dicts import LANGUAGE_ALPHA3

    others = {"no", "tl", "bs", "hr"}
    assert set(WITH_LIST) - others == set(wordfreq.available_languages())
    withdrawn = {"in", "iw", "ji", "jw", "mo"}
    two_letters = {code for code in LANGUAGE_ALPHA3 if len(code) == 2}
    assert set(LANGUAGES) == two_letters - withdrawn | {"fil"}


@pytest.mark.parametrize(
    ("language", "first"),
    [("de", "die"), ("no", "i"), ("hr", "je"), ("zh", "的"), ("ja", "の"), ("hi", "के")],
)
def test_each_language_has_its_frequent_words(tmp_path, language, first):
    from tokentrails.texts.frequent_words import frequent_words  # slow to load

    listed = frequent_words(20_000, language)
    (tmp_path / "l.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    read = WordList.read(tmp_path / "l.txt").entries
    assert len(read) == 20_000 and read[0].text == first


# --- experiment files -------------------------------------------------------------------------

WHOLE = {"prompts": [{"label": "a", "prompt": "Das Boot ist da."}]}
GROUPED = WHOLE | {"analyses": ["ranks", "matched_groups"]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wf.write_yaml(Path("de.yaml"), GERMAN)
    wf.write_yaml(Path("bad.yaml"), GERMAN | {"pronouns": ["Ich"]})
    Path("words.txt").write_text("der\nBoot\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"language": "german"}, ("language: 'german'", "write one of aa, ab,", " de,", " zu.")),
        ({"language": "EN"}, ("language: 'EN'", "write one of")),
        ({"language": "de", "function_words": "gone.yaml"}, ("function_words", "'gone.yaml'")),
        ({"language": "de", "function_words": "bad.yaml"}, ("bad.yaml", "'Ich' has capitals")),
        ({"language": "th", "frequency_list": "wordfreq"}, ("frequency_list", "'th'", "a file")),
        ({"language": "de", "frequency_list": "gone.txt"}, ("frequency_list", "'gone.txt'")),
        (GROUPED | {"language": "de"}, ("analyses[1]", NO_CLASSES, "'de'", "function_words")),
        (
            GROUPED | {"language": "gu", "function_words": "de.yaml"},
            ("analyses[1]", "no list of the language 'gu'", "frequency_list"),
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_a_language_lacks_is_one_message(data, parts):
    with refused("e.yaml" if "bad.yaml" not in parts else "bad.yaml", *parts):
        load_experiment_file(written(WHOLE | data))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "data",
    [
        {"words": {}},
        {"words": {"top": 5}, "contexts": ["{word} a", "{word} b"]},
        {"sentences": {"เรือ": {"sentences": ["เรือ a", "เรือ b"]}}},
        {"prompts": [{"label": "a", "word": "a", "prompt": "a"}], "splits": {}},
    ],
)
def test_a_list_that_wordfreq_lacks_can_be_given(data):
    key = "splits" if "splits" in data else "words"
    with refused(f"{key}.list", "has no list of the language 'th'", "give a file", "ar, bg, bn"):
        load_experiment_file(written(data | {"language": "th"}))
    given = data | {key: data.get(key, {}) | {"list": "words.txt"}}
    made = load_experiment_file(written(given | {"language": "th"}))
    assert made.language == "th" and not made.has_classes


@pytest.mark.usefixtures("here")
def test_bands_are_of_whole_texts_alone():
    given = {"language": "th", "frequency_list": "words.txt"}
    assert load_experiment_file(written(WHOLE | given)).frequency_list == "words.txt"
    assert load_experiment_file(written(WHOLE | {"language": "th"})).frequency_list is None
    assert load_experiment_file(written(WHOLE)).frequency_list == "wordfreq"
    corpus = {"corpus": {"states": "stream"}}
    assert load_experiment_file(written(corpus | given)).frequency_list == "words.txt"
    with refused("frequency_list", "whole texts", "remove"):
        load_experiment_file(written({"words": {"list": "words.txt"}, **given}))


# --- measures ---------------------------------------------------------------------------------


def test_words_without_a_class_are_a_kind_that_special_tokens_are_not_of():
    words = ["Boot", "", ",", "дом"] * 3
    tokens = with_classes(
        tokens_table(words, [[5 + i] for i in range(12)]).drop_columns("word_class"), NONE
    )
    kinds = matched_pairs(tokens, "last").kinds.of_rows[0]
    assert kinds[0] == kinds[3] and len({*kinds[:3].tolist()}) == 3


def test_half_lives_are_of_words_without_a_class_too():
    words = ["das", "Boot", ",", "", "naht"]
    n = len(words)
    keys = {"label": ["t"] * n, "position": pa.array(range(1, n + 1), pa.int32()), "word": words}
    columns = {"token": words, "site": ["resid"] * n, "layer": pa.array([0] * n, pa.int32())}
    forms = {form: pa.array([0.05] * n, pa.float32()) for form in ("cosine",)}
    others = ("adjusted", "scaled", "matched", "centred", "standardised")
    nothing = {form: pa.nulls(n, pa.float32()) for form in others}
    tokens = pa.table({"label": keys["label"], "first": keys["position"], "word": words})
    tokens = with_classes(tokens.append_column("word_part", pa.array(["whole"] * n)), NONE)
    table = half_lives(
        pa.table(keys | columns | forms | nothing),
        tokens,
        None,
        threshold=0.1,
        provenance=PROVENANCE,
    )
    rows = {row["word"]: row for row in table.to_pylist()}
    assert {word for word, row in rows.items() if row["counted"]} == {"das", "Boot", "naht"}
    assert rows["Boot"]["word_class"] is None and rows["Boot"]["frequency_band"] == UNKNOWN
    groups = half_life_groups(table, statistics(20, few=1))
    assert {(g.key["grouping"], g.key["group"], g.key["n"]) for g in groups} == {
        ("all", "all words", 3),
        ("word_part", "whole", 3),
    }
    curve = frame(half_life_curve(groups, threshold=0.1, provenance=PROVENANCE))
    chart = half_life(curve, title="t", threshold=0.1, confidence=0.9)
    notes = " ".join(map(str, chart.title.subtitle))
    assert NO_CLASSES in notes and "no list of frequent words for this language" in notes


def test_words_without_a_class_are_in_the_sums_of_all_tokens(tmp_path):
    row = dict.fromkeys(SCHEMA.names) | {
        **{"occurrence": 0, "document": 0, "label": "p", "n_tokens": 6},
        "token_ids": [1, 2, 3, 4, 5, 6],
        "word_class": ["content", None, None, "punctuation", None, "function"],
        "frequency_band": ["1-100", "1-100", UNKNOWN, None, None, None],
    }
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), tmp_path / "t.parquet")
    (piece,) = Pieces(pq.ParquetFile(tmp_path / "t.parquet"))[range(1)]
    # The first token and the special one take no part; no class is behind all classes.
    assert piece.group.tolist() == [-1, 4 * 5 + 1, 4 * 5, 2 * 5, -1, 0]
    assert piece.group.max() < GROUPS


def test_figures_of_classes_say_that_there_are_none():
    rng = np.random.default_rng(0)
    rows = [
        {"label": f"t{text}", "position": position, "token": "t", "word_class": kind}
        | {"site": "resid_mid", "layer": layer, "positional": False}
        | {"cosine": rng.random(), "rank": position}
        for text in range(4)
        for position, kind in enumerate((None, None, "punctuation"))
        for layer in range(2)
    ]
    more = dict.fromkeys(("rank_standardised", "cosine_as_published", "rank_as_published"))
    types = dict.fromkeys(("layer", "position", "rank", *list(more)[::2]), pl.Int32)
    types |= {"word_class": pl.String, "cosine_as_published": pl.Float32}
    table = pl.DataFrame([row | more for row in rows], schema_overrides=types).to_arrow()
    for kept in (table, table.filter(pa.compute.is_null(table["word_class"]))):
        curves = class_curves(kept, statistics(30).bootstrap)
        made = [
            frame(ranks_by_class(curves, few=2, provenance=PROVENANCE)),
            frame(ranks_gap(curves, provenance=PROVENANCE)),
            frame(ranks_summary(curves, provenance=PROVENANCE)),
        ]
        about = {"title": "t", "confidence": 0.9}
        assert len(made[1]) == len(made[2]) == 0
        for chart in (rank_classes(*made, **about), composite_ranks(made[0], **about)):
            assert NO_CLASSES in " ".join(map(str, chart.title.subtitle))


def test_claims_about_classes_say_that_there_are_none():
    found = pl.DataFrame({"unit": ["a", "b"], "group": [None, "punctuation"], "value": [1.0, 2.0]})
    options = {"statistic": "mean", "bootstrap": None, "stream": "c", "where": "c.yaml"}
    number = estimate(found, difference=("content", "function"), **options)
    assert number.value is None and NO_CLASSES in number.reason


# --- on the command line ----------------------------------------------------------------------

TEXTS = ["Das Boot ist nicht in der Stadt, aber sie hat ein Boot.", "Ich und die Bank."]
TABLE = "text\n船，他，在河里。\nเรืออยู่ในแม่น้ำ\nالقارب في النهر\n"


@pytest.mark.e2e
@pytest.mark.slow
def test_a_language_with_classes_and_one_without_run_side_by_side(tmp_path):
    folder = wf.checkout(tmp_path / "run")
    tiny.save("gpt_neox", folder / "models/neox")  # bytes of any script
    wf.write_yaml(folder / "words.yaml", GERMAN)
    (folder / "rows.csv").write_text(TABLE, encoding="utf-8")
    german = {
        "language": "de",
        "function_words": "words.yaml",
        "analyses": ["identity", "matched_groups"],
        "prompts": [{"label": f"t{i}", "prompt": text} for i, text in enumerate(TEXTS)],
    }
    chinese = {
        "language": "zh",
        "analyses": ["identity", "ranks"],
        "table": {"file": "rows.csv", "text": "text"},
    }
    wf.write_yaml(folder / "german.yaml", german)
    wf.write_yaml(folder / "chinese.yaml", chinese)
    wf.write_yaml(
        folder / "config/config.yaml",
        {
            "models": {"neox": {"source": "path:models/neox"}},
            "experiments": {name: {"file": f"{name}.yaml"} for name in ("german", "chinese")},
            "figures": {"formats": ["svg"]},
            **wf.ALONE,
        },
    )
    at, figures = "results/metrics/neox/main", ("rank_classes", "half_life")
    targets = [
        *(f"{at}/german/{name}.csv" for name in ("half_lives", "matched_groups")),
        *(f"results/figures/neox/main/chinese/{name}.svg" for name in figures),
    ]
    wf.run(folder, *targets)
    of_word = {}
    for name in ("german", "chinese"):
        lives = pl.read_parquet(folder / at / name / "half_lives.parquet")
        of_word[name] = {row["word"]: row for row in lives.to_dicts()}
    words = of_word["german"]
    assert words["der"]["word_class"] == words["die"]["word_class"] == "function"
    assert words["Boot"]["word_class"] == "content" and words[","]["word_class"] == "punctuation"
    assert words["die"]["frequency_band"] == "1-100"
    assert {row["word_class"] for row in of_word["chinese"].values()} == {None, "punctuation"}
    bands = {word: row["frequency_band"] for word, row in of_word["chinese"].items()}
    assert (
        bands["他"] == "1-100" and bands["在河里"] == UNKNOWN and bands["القارب"] == "over 10,000"
    )
    assert of_word["chinese"]["القارب"]["counted"] and of_word["chinese"]["在河里"]["counted"]
    ranks = pl.read_parquet(folder / at / "chinese/ranks.parquet")
    assert {"在河里", "القارب"} <= set(ranks.filter(pl.col("word_class").is_null())["word"])
    assert pl.read_parquet(folder / at / "chinese/ranks_gap.parquet").is_empty()
    for name in figures:
        path = folder / f"results/figures/neox/main/chinese/{name}.svg"
        assert NO_CLASSES in path.read_text(encoding="utf-8")
    lists = folder / "resources/words"
    assert {path.name for path in lists.glob("*.txt")} == {"wordfreq.de.txt", "wordfreq.zh.txt"}
    assert (lists / "wordfreq.de.txt").read_text(encoding="utf-8").startswith("die\n")
    metadata = pq.read_schema(folder / "results/tokens/neox/german.parquet").metadata
    assert metadata[b"language"] == b"de"

    with (folder / "words.yaml").open("a", encoding="utf-8") as file:
        file.write("# one more line\n")
    jobs = wf.jobs_to_run(folder, *targets)
    assert {job.wildcards for job in jobs} == {"neox/main/german"}
    assert {job.rule for job in jobs} == {"identity", "half_lives", "matched_groups_table"}
    with wf.edited(folder / "chinese.yaml") as file:
        file["analyses"].append("matched_groups")
    done = wf.snakemake(folder, *targets)
    wf.one_message(done, "chinese.yaml", "analyses[2]", NO_CLASSES, "function_words")
