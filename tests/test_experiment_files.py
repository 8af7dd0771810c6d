"""Experiment files: what they say, and the one message that refuses a bad one."""

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from config_files import (
    CONFIG,
    CONTEXTS,
    POINTER,
    PROMPT,
    STORM,
    TEXT,
    WHOLE,
    changed,
    load,
    load_e,
    refused,
    written,
)
from measures import ENGLISH

from tokentrails.catalogue import ANALYSES, Kind
from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.project import SCRIPTS
from tokentrails.settings import Corpus, Experiment, Prompt, Ranks, Sentences, Splits, Words
from tokentrails.texts.spans import words_in

INSIDE = tuple(each.name for each in ANALYSES if each.inside)
EXPERIMENTS = Path(__file__).parent.parent / "config/experiments"


pytestmark = pytest.mark.usefixtures("here")


def read(data):
    return load_experiment_file(written(data))


def experiment(prompts, analyses=None, **entry):
    data = {"analyses": analyses} if analyses else {}
    return load_experiment("e", {"file": written(data | {"prompts": prompts})} | entry)


def one(**changes):
    return {"prompts": [{k: v for k, v in (PROMPT | changes).items() if v is not ...}]}


# What a good file says


def test_prompts_are_read_as_they_are_written():
    groups = {"sense": "metal", "year": 1999, "rare": True, "note": None}
    made = read(one(token="Ġlead", occurrence=2, **groups) | {"analyses": ["identity"]})
    assert made.prompts == (Prompt("a", TEXT, "Ġlead", "lead", 2, groups),)
    assert made.analyses == ("identity",)


def test_a_job_checks_no_analyses_that_the_configuration_has_not_asked_for(prepared, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    prepare_texts = import_module("_tokens").prepare_texts
    written({"analyses": ["senses", "identity"], "prompts": [PROMPT]})  # and no sense
    with refused("no sense"):
        load_e(CONFIG)
    planned = load_e(changed(CONFIG, "experiments.e.analyses", ["identity"]))
    job = SimpleNamespace(
        wildcards=SimpleNamespace(model="gpt2", experiment="e"),
        params=SimpleNamespace(entry=planned.token_settings, hash=planned.hash),
        input=SimpleNamespace(tokenizer=[prepared["gpt2"] / "tokenizer.json"]),
    )
    assert prepare_texts(job).experiment.prompts == planned.prompts


def test_the_configuration_names_other_analyses_than_the_file():
    entry = {"file": written({"prompts": [WHOLE], "analyses": ["ranks"]})}
    other = {"analyses": ["neurons", "identity"], "circuits": {"top": 3}}
    made = load_experiment("e", entry | other)
    assert made.analyses == ("identity", "neurons") and made.ranks is None
    assert made.hash == load_experiment("e", entry).hash


def test_occurrence_written_with_a_point_is_a_whole_number():
    occurrence = read(one(occurrence=2.0)).prompts[0].occurrence
    assert occurrence == 2 and isinstance(occurrence, int)


@pytest.mark.parametrize(
    "label", ["a", "9", "x" * 19, "0123456789abcdef" * 4, "Lead_verb.1-b", "a..b"]
)
def test_plain_names_are_labels(label):
    assert read(one(label=label)).prompts[0].label == label


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_it():
    assert read(b"\xef\xbb\xbf" + yaml.safe_dump(one()).encode()).prompts[0].word == "lead"


def test_references_inside_a_file_are_followed():
    made = read("prompts:\n- &x {label: a, word: b, prompt: b}\n- {<<: *x, label: c}\n")
    assert [prompt.label for prompt in made.prompts] == ["a", "c"]


def test_without_targets_a_file_is_one_of_whole_texts():
    made = read({"prompts": [WHOLE | {"topic": "x"}, STORM]})
    assert made.analyses == ("ranks",) and made.has_whole_texts
    assert made.prompts[0].groups == {"topic": "x"}
    assert experiment([WHOLE, STORM]).ranks == Ranks(("resid_mid",), 5, False, False, "a")


@pytest.mark.parametrize("analyses", [["convergence"], ["identity", "convergence"], ["ranks"]])
def test_prompts_with_targets_may_ask_for_more(analyses):
    assert read(one() | {"analyses": analyses}).analyses == tuple(analyses)
    made = experiment([PROMPT], analyses, ranks={"nearest": 0}) if "ranks" in analyses else None
    assert made is None or made.ranks == Ranks(("resid_mid",), 0, False, False, "a")


def test_given_settings_of_ranks_win_over_defaults():
    given = {"sites": ["resid_mid", "resid"], "nearest": 7.0, "positional": True}
    made = experiment([WHOLE, STORM], ranks=given | {"as_published": True, "show": "storm"})
    assert made.ranks == Ranks(("resid", "resid_mid"), 7, True, True, "storm")
    assert isinstance(made.ranks.nearest, int)


def test_words_are_read_with_defaults():
    made = read({"words": {}})
    assert made.words == Words("wordfreq", 20000, (1, 2, 3), 200, 0)
    assert (made.analyses, made.prompts, made.contexts) == (("convergence",), (), ())
    made = read({"words": {}, "contexts": CONTEXTS})
    assert (made.analyses, made.contexts) == (("perturbation",), tuple(CONTEXTS))
    assert made.others == 4
    given = {"list": written("lead\n", "l.txt"), "top": 5.0, "n_tokens": [3, 1], "per_group": 7}
    made = read({"words": given | {"seed": 9}, "contexts": CONTEXTS, "others": 2})
    assert made.words == Words("l.txt", 5, (1, 3), 7, 9) and made.others == 2
    assert isinstance(made.words.top, int)


IN_SENTENCES = {
    "lead": {
        "sentences": ["They lead.", "We lead."],
        "replaced_sentences": ["They read.", "We read."],
    },
    "sentences": {"sentences": ["Two sentences."]},
}


@pytest.mark.parametrize("write", [lambda data: data, json.dumps])
def test_published_sentences_are_read_as_they_are(write):
    made = read(write(IN_SENTENCES))
    assert made.sentences == (
        Sentences("lead", ("They lead.", "We lead."), ("They read.", "We read.")),
        Sentences("sentences", ("Two sentences.",)),
    )
    assert (made.analyses, made.prompts, made.contexts) == (("perturbation",), (), ())
    assert made.words == Words("wordfreq", 20000, (), 200, 0) and made.others == 4
    written("lead\n", "l.txt")
    own = {"list": "l.txt", "top": 9, "seed": 3}
    more = read({"words": own, "others": 1, "sentences": IN_SENTENCES})
    assert more.sentences == made.sentences
    assert more.words == Words("l.txt", 9, (), 200, 3) and more.others == 1


def test_words_may_have_sentences_of_a_text():
    written("They lead. We lead.", "t.txt")
    made = read({"words": {"n_tokens": [2]}, "contexts_from": "t.txt"})
    assert made.words == Words("wordfreq", 20000, (2,), 200, 0)
    assert (made.kind, made.contexts_from, made.left) == (Kind.SENTENCES, "t.txt", 4)
    assert hash_of({"words": {}, "contexts_from": "t.txt"}) != hash_of(
        {"words": {}, "contexts_from": "t.txt", "left": 2}
    )


def test_a_running_text_is_decoded():
    made = read({"corpus": {}})
    assert (made.kind, made.analyses) == (Kind.CORPUS, ("decodability",))
    assert made.corpus == Corpus("plays", 20000, 128) and made.has_whole_texts
    written("They lead." * 600, "t.txt")
    own = {"text": "t.txt", "tokens": 5000, "length": 32}
    assert read({"corpus": own}).corpus == Corpus("t.txt", 5000, 32)
    assert len({hash_of({"corpus": own | {"tokens": n}}) for n in (5000, 6000)}) == 2
    with refused("corpus.text", "'t.txt' has 6,000 bytes, and 6,001 tokens", "or lower"):
        read({"corpus": own | {"tokens": 6001}})
    written("They lead.", "t.txt")
    with refused("corpus.text", "'t.txt' has 10 bytes, and 5,000", "give a longer text."):
        read({"corpus": own})


STREAMED = {"states": "stream", "column": "a"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("corpus.text", {"corpus": {"text": "t.txt"}}),
        ("corpus.text", {"corpus": {"text": "t.txt.gz", "states": "stream"}}),
        ("corpus.text", {"corpus": {"text": "t.jsonl", **STREAMED}}),
        ("contexts_from", {"words": {}, "contexts_from": "t.txt"}),
        ("table.file", {"analyses": ["identity"], "table": {"file": "t.csv", "text": "a"}}),
        ("words.list", {"words": {"list": "t.txt"}}),
        ("frequency_list", {"prompts": [WHOLE], "frequency_list": "t.txt"}),
        ("function_words", {"prompts": [WHOLE], "function_words": "t.txt"}),
    ],
)
def test_a_file_that_git_lfs_has_not_fetched_or_is_empty_is_refused_at_once(name, data):
    for each in ("t.txt", "t.txt.gz", "t.jsonl", "t.csv"):
        Path(each).write_bytes(POINTER)
    with refused("t.", "pointer of Git LFS", "git lfs pull"):
        read(data)
    if name in ("corpus.text", "contexts_from"):
        for content in (b"", b" \n\t"):
            for each in ("t.txt", "t.txt.gz", "t.jsonl"):
                Path(each).write_bytes(content)
            with refused(name, "is empty"):
                read(data)


def test_words_are_cut_up():
    made = read(one() | {"splits": {}})
    assert (made.kind, made.analyses) == (Kind.SPLITS, ("splits",))
    assert made.splits == Splits((2, 3), "wordfreq", 0) and not made.has_whole_texts
    hashes = {hash_of(one() | {"splits": {"seed": seed}}) for seed in (0, 1)}
    assert len(hashes | {hash_of(one())}) == 3


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=str)
def test_the_experiments_of_the_repository_are_good(path):
    made = load_experiment_file(str(path))
    if made.words:
        moved = made.contexts or made.sentences
        assert made.analyses == (("perturbation",) if moved else ("convergence",))
    elif made.corpus:
        assert made.analyses == ("decodability",) and made.corpus.tokens >= 20_000
    elif made.splits:
        assert made.analyses == ("splits",)
    elif made.has_whole_texts:
        assert made.analyses in (("identity", "ranks"), INSIDE[:3], INSIDE[:4])
    else:
        assert made.analyses in (("identity", "context"), ("senses",))


def test_the_contexts_of_the_repository_fit_any_word():
    contexts = load_experiment_file(str(EXPERIMENTS / "perturbation.yaml")).contexts
    assert len(contexts) == 12
    for context in contexts:
        assert context.startswith("{bos}") and context.endswith("{space}{word}")
        assert 4 <= len(context.split()) <= 12


def test_the_sentences_of_the_repository_mix_function_and_content_words():
    prompts = load_experiment_file(str(EXPERIMENTS / "vocabulary.yaml")).prompts
    assert len(prompts) >= 64 and len({prompt.label for prompt in prompts}) == len(prompts)
    assert len({prompt.prompt for prompt in prompts}) == len(prompts)
    content_words = set()
    for prompt in prompts:
        assert prompt.is_whole and len(prompt.label) <= 14 and prompt.groups == {}
        assert 8 <= len(prompt.prompt.split()) <= 22, prompt.label
        words = [prompt.prompt[a:b] for a, b in words_in(prompt.prompt)]
        classes = [ENGLISH.of(word) for word in words]
        assert classes.count("function") >= 3 and classes.count("content") >= 3, prompt.label
        own = {w.lower() for w, c in zip(words, classes, strict=True) if c == "content"}
        content_words |= own
    assert len(content_words) >= 300


# What is refused

BAD_VALUES = {
    "label": [
        *("../x", "..", ".", ".hidden", "a/b", "a\\b", "", " ", "a b", " a", "-a", "_a", "x" * 65),
        *(
            "größe",
            "ａ",
            "é",
            "a\u200b",
            "a\u202eb",
            "東京",
            "a\n",
            "a\nb",
            "a\tb",
            "a\x7f",
            "a\x85",
        ),
        *("=a", "~", "a*", "a:b", "CON?"),
    ],
    "prompt": ["", " ", "\n\t "],
    "word": ["", "  "],
    "token": [""],
    "occurrence": [0, -1, 1.5, "2", None, True, [1]],
    "kind": [["a"], {"a": 1}],
}
NO_TEXTS = [3, None, True, ["a"], {"a": "b"}]


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [(key, value, ()) for key, values in BAD_VALUES.items() for value in values]
    + [
        (key, value, ("not of type string",))
        for key in ("label", "prompt", "word", "token")
        for value in NO_TEXTS
        if (key, value) != ("prompt", ["a"])  # a list of messages, which is wrong in itself
    ],
)
def test_a_bad_value_of_a_prompt_is_shown_with_its_key(key, value, parts):
    with refused("e.yaml, line ", f", prompts[0].{key}: ", repr(value), *parts):
        read(one(**{key: value}))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *[
            (wrong, (f"did you mean '{meant}'", "line 5"))
            for wrong, meant in [
                *(("occurence", "occurrence"), ("words", "word"), ("Prompt", "prompt")),
                *(("tokn", "token"), ("labels", "label")),
            ]
        ],
        *[
            (name, ("group column",))
            for name in ["", "two words", "1st", "_x", "a-b", "größe", "a\nb", "kind\n", "../x"]
        ],
        *[(name, ("group column",)) for name in ["x" * 65, "=a"]],
        *[(name, ()) for name in [1, True, None, 1.5]],
    ],
)
def test_a_group_column_has_a_plain_name_unlike_others(name, parts):
    with refused(repr(name), *parts):
        read({"prompts": [PROMPT | {name: "x"}]})


def test_a_group_column_may_have_the_name_of_any_column():
    names = ["context", "measure", "y", "layer", "cosine", "model", "site", "mean", "group"]
    written({"prompts": [PROMPT | dict.fromkeys(names, "x") | {"sense": "s"}]})
    made = load_e(CONFIG)
    assert made.group_columns == ["sense", *(f"group_{name}" for name in names)]
    assert made.prompts[0].columns["group_y"] == made.prompts[0].groups["y"] == "x"


def in_contexts(*more):
    return {"words": {}, "contexts": [*CONTEXTS, *more]}


BAD_FILES = [
    # prompts
    (
        {"prompts": [PROMPT, PROMPT | {"label": "b"}, dict(PROMPT)]},
        ("prompts[2].label: the label 'a' is used twice, first at", "line 2, prompts[0].label"),
    ),
    (one(label=...), ("the key 'label' is missing", "prompts[0]", "line 2")),
    (one(prompt=...), ("the key 'prompt' is missing", "prompts[0]", "line 2")),
    (one(word=..., occurrence=2), ("prompts[0].occurrence", "the prompt has none")),
    (one(label="a/b"), ("prompts[0].label", "the value 'a/b' has '/'", "digits")),
    (one(label="x" * 20), ("prompts[0].label", "is not valid", "twenty times")),
    (one(size=2**63), ("prompts[0].size", "more than 64 bits", "quotes")),
    *[
        (
            f"prompts:\n- {{label: a, word: b, prompt: b, size: {value}}}\n",
            ("prompts[0].size", "not of type"),
        )
        for value in (".nan", ".inf", "-.inf")
    ],
    ("prompts: &x\n- *x\n", ("line 2", "*x stands inside itself")),
    (
        "a0: &a0 [x]\n"
        + "".join(f"a{i + 1}: &a{i + 1} [{f'*a{i}, ' * 9}*a{i}]\n" for i in range(12)),
        ("line 6", "more than 100,000 values"),
    ),
    *[
        (begin + "[" * n, ("line 1", "more than 32 lists and mappings"))
        for begin, n in (("prompts: ", 33), ("", 100_000))
    ],
    *[
        ({key: value}, (key,))
        for key in ("prompts", "experiments")
        for value in ([], {}, "text", None, 3, [3], [None], ["text"], [[]])
    ],
    ({"prompts": {f"key{i}": i for i in range(500)}}, ("not of type array", "…")),
    # analyses
    *[
        (
            one() | {"analyses": ["identity", wrong]},
            (repr(wrong), f"did you mean '{meant}'", "analyses[1]", "identity, context"),
        )
        for wrong, meant in [("identitty", "identity"), ("contexts", "context")]
    ],
    *[
        (one() | {"analyses": value}, ("analyses",))
        for value in ([], "identity", ["identity", "identity"], None, [["identity"]])
    ],
    (one() | {"analyses": ["perturbation"]}, ("analyses[0]", "of prompts")),
    (one() | {"analyses": ["heads"]}, ("'heads' is not an analysis of prompts with targets",)),
    *[
        (
            {"analyses": ["ranks", name], "prompts": [WHOLE]},
            ("analyses[1]", f"{name!r} is not an analysis of whole texts", "'word'"),
        )
        for name in ("context", "convergence", "perturbation")
    ],
    (
        {"analyses": ["geometry", "matched_groups"], "prompts": [WHOLE]},
        ("analyses[1]", "none of these", "identity, ranks, own_token"),
    ),
    (
        {"analyses": ["identity"], "words": {}},
        ("analyses[0]", "'identity'", "words without contexts", "convergence"),
    ),
    ({"analyses": ["perturbation"], "words": {}}, ("analyses[0]", "words without contexts")),
    (in_contexts() | {"analyses": ["convergence"]}, ("analyses[0]", "choose from perturbation")),
    ({"analyses": ["convergance"], "words": {}}, ("did you mean 'convergence'",)),
    # keys
    *[
        (one() | {wrong: ["identity"]}, (f"unknown key '{wrong}'", f"did you mean '{meant}'"))
        for wrong, meant in [("analysis", "analyses"), ("promts", "prompts")]
    ],
    ({}, ("none of prompts / table / words / sentences / corpus is given",)),
    (
        {"analyses": ["identity"]},
        ("none of prompts / table / words / sentences / corpus is given",),
    ),
    ({"contexts": CONTEXTS}, ("none of prompts / table / words / sentences / corpus is given",)),
    ({"words": {}, "prompts": [PROMPT]}, ("line 1, words", "prompts", "two files")),
    ({"words": {}, "experiments": [PROMPT]}, ("line 1, words", "experiments")),
    (one() | {"contexts": CONTEXTS}, ("contexts", "goes with words")),
    (one() | {"others": 2}, ("others", "goes with words")),
    ({"words": {}, "others": 2}, ("line 2, others", "no contexts")),
    # words and contexts
    *[({"words": value}, ("words", "not of type object")) for value in ([], None)],
    ({"words": {"tops": 3}}, ("words.tops", "did you mean 'top'")),
    ({"words": {"list": "gone.txt"}}, ("words.list", "'gone.txt'", "working directory")),
    ({"words": {"list": "."}}, ("words.list", "'.'")),
    *[
        ({"words": {key: value}}, (f"words.{key}",))
        for key, values in {
            "list": ["", ["lead"]],
            "top": [0, "many"],
            "n_tokens": [[], 2, [0], [1, 1], [True]],
            "per_group": [0, 1.5],
            "seed": [-1, None],
        }.items()
        for value in values
    ],
    *[
        ({"words": {}, "contexts": value}, ("contexts", "at least two"))
        for value in ([], CONTEXTS[:1])
    ],
    ({"words": {}, "contexts": "{word}"}, ("contexts", "not of type array")),
    ({"words": {}, "contexts": [{"word": None}, "{word}"]}, ("contexts[0]",)),
    (in_contexts("an"), ("line 5, contexts[2]", "{word} 0 times")),
    (in_contexts(CONTEXTS[0]), ("contexts[2]", "same as contexts[0]")),
    (in_contexts("a{space}{word}"), ("same as contexts[0]",)),
    (in_contexts() | {"others": 0}, ("others",)),
    # sentences
    (one() | {"sentences": IN_SENTENCES}, ("sentences", "goes with words")),
    (in_contexts() | {"sentences": IN_SENTENCES}, ("contexts", "shared by all words")),
    *[
        ({"words": {key: value}, "sentences": IN_SENTENCES}, (f"words.{key}", "its own words"))
        for key, value in (("n_tokens", [1]), ("per_group", 3))
    ],
    ({"sentences": IN_SENTENCES, "analyses": ["context"]}, ("choose from perturbation",)),
    (IN_SENTENCES | {"bank": {}}, ("line ", "bank", "'sentences' is missing")),
    (
        IN_SENTENCES | {"bank": {"sentences": ["A bank."], "replaced_sentence": []}},
        ("bank.replaced_sentence", "did you mean 'replaced_sentences'"),
    ),
    (
        {"bank": {"sentences": ["A bank.", "B bank."], "replaced_sentences": ["A tank."]}},
        ("line 5, bank.replaced_sentences", "'bank' has 2 sentences, and 1 with"),
    ),
    *[
        ({"bank": {"sentences": ["A bank.", value]}}, ("bank.sentences[1]",))
        for value in ("", " ", 3, None, ["x"])
    ],
    ({"sentences": {"bank": {"sentences": []}}}, ("sentences.bank.sentences", "empty")),
    # sentences of a text
    ({"words": {}, "left": 3}, ("left", "there is no text")),
    ({"words": {}, "contexts_from": "gone.txt"}, ("contexts_from", "'gone.txt'", "directory")),
    *[
        (more | {"contexts_from": "e.yaml"}, (key, "takes others from a text"))
        for key, more in (
            ("contexts", in_contexts()),
            ("sentences", {"sentences": IN_SENTENCES}),
        )
    ],
    (one() | {"contexts_from": "e.yaml"}, ("contexts_from", "goes with words")),
    # running text
    ({"corpus": {"text": "gone.txt"}}, ("corpus.text", "'gone.txt'", "write plays, or a file")),
    ({"corpus": {"tokens": 4999}}, ("corpus.tokens", "5000")),
    ({"corpus": {"length": 31}}, ("corpus.length",)),
    (one() | {"corpus": {}}, ("prompts", "whose every token is a target")),
    (one() | {"splits": {"pieces": [1]}}, ("splits.pieces[0]", "2")),
    (one() | {"splits": {"list": "gone.txt"}}, ("splits.list", "'gone.txt'", "write wordfreq")),
    ({"splits": {}, "prompts": [WHOLE]}, ("splits", "there is none", "'word'")),
    ({"splits": {}, "corpus": {}}, ("whose every token is a target", "splits")),
    (one() | {"splits": {}, "analyses": ["context"]}, ("analyses[0]", "choose from splits")),
    ({"corpus": {}, "others": 2}, ("others", "write two files")),
    ({"corpus": {}, "analyses": ["ranks"]}, ("analyses[0]", "choose from decodability")),
    (one() | {"analyses": ["decodability"]}, ("analyses[0]", "only a corpus is decoded")),
    ({"prompts": [WHOLE], "analyses": ["decodability"]}, ("analyses[0]", "or a corpus")),
    ({True: {"sentences": ["It is true."]}}, ("True", "Put it in quotes")),
    # no mapping, no YAML, no text
    *[(content, ("is not of type object",)) for content in ("3", "text", "- a\n- b\n")],
    *[(content, ("the file is empty",)) for content in ("", "\n", "# only a comment\n", "null")],
    *[
        (content, ("YAML",))
        for content in (
            *("prompts: [", "prompts:\n\t- a", "prompts: &x [*y]", "{a: 1}}"),
            "prompts: !!python/object/apply:os.system ['true']",
            *("--- 1\n--- 2\n", "prompts: '\x00'", "prompts: '\x1b'", "? [a, b]\n: 1\n"),
            *("day: !!timestamp 2024-13-45\n", "number: !!int abc\n", f"number: {'1' * 5000}\n"),
        )
    ],
    *[
        (content, (f"e.yaml, line {line}: the file is not valid YAML", part))
        for content, line, part in [
            ("a: b: c", 1, "Hint: quote strings"),
            ("a: 1\nä: b: c", 2, "Hint: quote strings"),
            ("a: 1\nb: @x\n", 2, "Hint: quote strings"),
            ("a: 1\nb: 'c\nd: e\n\n", 3, "of line 2"),
            ('a: 1\nb: "\\q"', 2, "unknown escape"),
            ("a: 1\nb: {c: 1}}\n", 2, "did not find expected key"),
            ("a: 1\nb: *c", 2, "undefined alias"),
            ("a: 1\nb: !!int abc", 2, "'abc'"),
            ("a: 1\nb: !!timestamp 2024-13-45", 2, "month"),
            ("a: 1\nb: !!timestamp x", 2, "'x' is no timestamp"),
            ("a: 1\nb: !!bool maybe", 2, "'maybe' is no bool\nHint"),
            *((f"a: 1\nb: !!{tag} ''", 2, f"'' is no {tag}") for tag in ("int", "float")),
            (f"a: 1\nb: !!float '{'9:' * 999}9'", 2, "is no float"),
            ("prompts:\n\t- a", 2, "a tab"),
            ("ä:\n  - {label: 'ü'}\n  \t- {label: b}\n", 3, "Hint: indent with spaces."),
            ("a:\n  b: c\n\td: e\n", 3, "Hint: indent with spaces."),
            ("a: {b: 1\n\tc: 2}\n", 2, "a tab"),
        ]
    ],
    ('{"a": [1, 2', ("YAML", "brackets")),
    *[
        (content, ("not UTF-8", "save it as UTF-8"))
        for content in (b"\xff\xfe\x00", "größe: 1".encode("latin-1"), b"\x80abc")
    ],
    *[
        (content, (f"line {line}: the key '{key}' is there twice, first in line {first}",))
        for content, key, first, line in [
            ("prompts: []\nanalyses: []\nprompts: []\n", "prompts", 1, 3),
            ("prompts:\n- label: a\n  word: b\n  label: c\n", "label", 2, 4),
            ("prompts:\n- {label: a, sense: b, sense: b}\n", "sense", 2, 2),
        ]
    ],
    *[
        (
            f"prompts: []\n{first}: 1\na: 2\n{second}: 1\n",
            (f"line 4: the key '{second}' is there twice, first as '{first}' in line 2",),
        )
        for first, second in [
            *(("true", "True"), ("1", "1.0"), ("1.50", "1.5"), ("1e1", "10"), ("~", "null")),
            *(("1", "+1"), ("true", "1"), ("FALSE", "0")),
        ]
    ],
    *[
        ({"prompts": [PROMPT, *[PROMPT | wrong] * 3]}, (f"prompts[1].{key}: ", problem))
        for wrong, key, problem in [
            ({"label": ""}, "label", "is empty"),
            ({"label": 3}, "label", "3 is not of type string"),
            ({"occurrence": 0}, "occurrence", "below the minimum"),
        ]
    ],
    ("prompts: []\n!!map x: 1\n", ("line 2: the file is not valid YAML", "expected a mapping")),
    ("prompts: []\n<<: {a: 1}\n<<: {b: 1}\n", ("line 3: the key '<<' is there twice",)),
]


def test_values_are_what_was_written():
    plain = "no, yes, On, 12:30, 007, 0x1F, 1_000, 2024-05-01, 2024-13-45, =1, '1'"
    written_plain = [text.strip(" '") for text in plain.split(",")]
    numbers = "1e-1, 2.50, -3, .5, true, null"
    (prompt,) = read(
        "prompts: [{label: a, word: no, prompt: There is no lead, "
        + ", ".join(f"g{i}: {text}" for i, text in enumerate(f"{plain}, {numbers}".split(",")))
        + "}]"
    ).prompts
    assert prompt.word == "no"
    assert list(prompt.groups.values()) == [*written_plain, 0.1, 2.5, -3, 0.5, True, None]


def test_json_is_read_with_its_escapes():
    text = "\U0001f642 A \\ud83d\\ude42 lead \x07"
    data = {"prompts": [{"label": "a", "word": "lead", "prompt": text}]}
    assert read(json.dumps(data, indent="\t")).prompts[0].prompt == text
    with refused("not valid YAML", "U0001F642"):
        read(json.dumps(data).replace("\\ude42", ""))


RAW = "\x7f\x80\x85\x9f\u2028\u2029\ufffe"


def test_json_keeps_every_character_as_it_was_written():
    text = "She " + " ".join(RAW) + "\u2028will lead"
    data = {"prompts": [{"label": "a", "word": "lead", "prompt": text}]}
    assert read(json.dumps(data, ensure_ascii=False)).prompts[0].prompt == text


@pytest.mark.parametrize("raw", ["\x00", "\x1b", *RAW])
def test_a_character_that_yaml_would_change_is_refused_with_its_escape(raw):
    text = "prompts:\n- label: a\n  word: lead\n  prompt: "
    escape = f"\\u{ord(raw):04x}"
    with refused("e.yaml, line 4", f"U+{ord(raw):04X}", f"in double quotes, and write {escape}"):
        read(f'{text}"She {raw} will lead"')
    assert read(f'{text}"She {escape} will lead"').prompts[0].prompt == f"She {raw} will lead"


@pytest.mark.parametrize(("data", "parts"), BAD_FILES)
def test_a_bad_file_is_one_clear_error(data, parts):
    with refused("e.yaml", *parts):
        read(data)


@pytest.mark.parametrize("target", [{"word": "team"}, {"token": "Ġteam"}])
@pytest.mark.parametrize("key", ["prompts", "experiments"])
def test_all_prompts_have_targets_or_none(target, key):
    bare, marked = WHOLE | {"label": "b"}, WHOLE | target
    problem = "the prompt 'b' has no target, and 'a' has one"
    with refused(f"{key}[1]", problem, "file of their own"):
        read({key: [marked, bare]})
    with refused(f"{key}[0]", problem, "'word'"):
        read({key: [bare, marked]})


@pytest.mark.parametrize("path", ["gone.yaml", "folder", "gone/x.yaml"])
def test_a_file_that_is_not_there_is_named(path):
    Path("folder").mkdir()
    with refused(path, "cannot be read", "check the name"):
        load_experiment_file(path)


def test_an_error_in_a_published_file_is_shown_at_its_own_key():
    with pytest.raises(Exception, match=r"line 2, experiments\[0\]") as caught:
        read("experiments:\n- label: a\n  word: x\n")
    assert "prompts[" not in str(caught.value)


# What the configuration says of an experiment, and its file


@pytest.mark.parametrize(
    ("data", "entry", "parts"),
    [
        (one(), {"template": "{word}"}, ("template", "prompts and no words")),
        ({"prompts": [WHOLE]}, {"template": "{word}"}, ("template", "no words")),
        (in_contexts(), {"template": "{word}"}, ("template", "of its own")),
        ({"words": {}}, {"template": "word"}, ("template", "'word'", "0 times")),
        ({"words": {}}, {"template": 3}, ("template", "not of type string")),
        ({"words": {}}, {"special_tokens": "bos"}, ("special_tokens", "{bos} in the template")),
        (in_contexts(), {"special_tokens": "none"}, ("special_tokens",)),
        (IN_SENTENCES, {"template": "{word}"}, ("template", "sentences of its own")),
        (one() | {"splits": {}}, {"pooling": "first"}, ("pooling: ", "last token", "write last")),
        (one() | {"splits": {}}, {"pooling": "mean"}, ("pooling: ", "e.yaml has splits")),
        (one(), {"ranks": {}}, ("ranks: ", "does not ask for the analysis ranks")),
        (one(), {"circuits": {"top": 3}}, ("none of the analyses heads",)),
        (one(), {"analyses": ["heads"]}, ("experiments.e.analyses[0]", "'heads' is not an")),
        (
            {"prompts": [WHOLE]},
            {"ranks": {"show": "b"}},
            ("ranks.show", "label 'b'", "such as 'a'"),
        ),
        (
            {"prompts": [WHOLE, STORM]},
            {"ranks": {"show": "strom"}},
            ("ranks.show", "label 'strom'", "did you mean 'storm'?"),
        ),
        (
            {"prompts": [WHOLE]},
            {"sites": ["resid"]},
            ("ranks.sites", "at resid_mid", "add resid_mid"),
        ),
        (
            {"prompts": [WHOLE]},
            {"sites": ["resid_mid"], "ranks": {"sites": ["resid_mid", "resid"]}},
            ("ranks.sites", "at resid,", "add resid to experiments.e.sites"),
        ),
        (
            one() | {"analyses": ["ranks"]},
            {"ranks": {"as_published": True}},
            ("ranks.as_published", "all tokens", "without 'word' and 'token'"),
        ),
        (
            {"prompts": [WHOLE]},
            {"sites": ["resid_mid"], "ranks": {"as_published": True}},
            ("ranks.as_published", "['resid_mid'] lack", "add resid to experiments.e.sites"),
        ),
        (
            {"prompts": [WHOLE]},
            {"ranks": {"as_published": True, "sites": ["resid"]}},
            ("ranks.as_published", "one for resid_mid", "add resid_mid to ranks.sites"),
        ),
        *[
            (data, {"sites": ["resid_mid"]}, ("experiments.e.sites", "lack resid", "add resid"))
            for data in (
                one(),
                one() | {"analyses": ["ranks", "identity"]},
                {"prompts": [WHOLE], "analyses": ["identity"]},
            )
        ],
    ],
)
def test_keys_that_do_not_go_with_the_file(data, entry, parts):
    with refused("c.yaml, ", "experiments.e.", *parts):
        load(changed(CONFIG, "experiments.e", {"file": written(data)} | entry))


def test_texts_of_which_every_token_is_a_target_have_no_pooling():
    written("water\n" * 4000, "t.txt")
    corpus = {"text": "t.txt", "tokens": 5000}
    for data in (
        {"prompts": [WHOLE]},
        {"corpus": corpus},
        {"corpus": corpus | {"states": "stream"}},
    ):
        entry = {"file": written(data)}
        load_experiment("e", entry | {"pooling": "last"})
        with refused("pooling: ", "e.yaml has ", "text", "every token"):
            load_experiment("e", entry | {"pooling": "mean"})


def test_the_pooling_that_splits_have_may_be_said():
    assert load_experiment("e", {"file": written(one() | {"splits": {}}), "pooling": "last"})


@pytest.mark.parametrize("prompt", [WHOLE, PROMPT])
@pytest.mark.parametrize("sites", [["resid_mid"], ["resid"], ["resid_mid", "final_norm"]])
def test_ranks_alone_need_only_their_own_sites(prompt, sites):
    ranks = {"sites": [site for site in sites if site != "final_norm"]}
    assert experiment([prompt], ["ranks"], sites=sites, ranks=ranks).ranks.sites == (sites[0],)


@pytest.mark.parametrize("prompts", [[WHOLE, STORM], [PROMPT, STORM | {"word": "storm"}]])
def test_settings_of_ranks_make_neither_tokens_nor_states_stale(prompts):
    base = experiment(prompts, ["ranks"])
    settings = {"sites": ["resid"], "nearest": 9, "positional": True, "show": "storm"}
    if base.has_whole_texts:
        settings |= {"sites": ["resid", "resid_mid"], "as_published": True}
    other = experiment(prompts, ["ranks"], ranks=settings)
    assert other.ranks != base.ranks
    kept = ("hash", "token_settings", "sites", "pooling", "group_columns")
    assert [getattr(base, key) for key in kept] == [getattr(other, key) for key in kept]
    assert load_experiment("e", other.token_settings).hash == other.hash


@pytest.mark.parametrize("data", [{"words": {}}, in_contexts(), IN_SENTENCES])
def test_the_keys_for_tokenizing_make_the_same_experiment(data):
    whole = load_experiment("e", {"file": written(data), "pooling": "mean"}, ("m",))
    again = load_experiment("e", whole.token_settings)
    assert again.hash == whole.hash and again.models == ()


# The hash


def hash_of(data, **entry):
    return load_experiment("e", {"file": written(data)} | entry).hash


def test_the_hash_of_prompts_is_that_of_their_texts():
    base = hash_of(one())
    assert base == hash_of(one() | {"analyses": ["identity"]})
    assert base == hash_of(one(), pooling="mean") == hash_of(one(), sites=["resid"])
    others = [
        *(hash_of(one(**{key: "b"})) for key in ("label", "word", "prompt", "sense")),
        hash_of(one(occurrence=2)),
        hash_of({"prompts": [PROMPT, PROMPT | {"label": "b"}]}),
        hash_of(one(), special_tokens="none"),
    ]
    assert len({base, *others}) == 8


def test_the_hash_of_words_is_that_of_all_that_decides_the_table():
    def of_words(more=None, template=None, pooling="last", **settings):
        entry = {"template": template} if template else {}
        return hash_of({"words": settings} | (more or {}), pooling=pooling, **entry)

    written("lead\n", "l.txt")
    assert of_words() == of_words(pooling="mean") == of_words(template="{bos}{space}{word}", seed=0)
    hashes = [
        *(of_words(), of_words(list="l.txt"), of_words(top=3), of_words(n_tokens=[1])),
        *(of_words(per_group=3), of_words(seed=1), of_words(template="{word}")),
        *(of_words({"contexts": CONTEXTS}), of_words({"contexts": CONTEXTS[::-1]})),
        of_words({"contexts": CONTEXTS, "others": 3}),
        *(hash_of(IN_SENTENCES), hash_of(IN_SENTENCES, special_tokens="none")),
        *(hash_of({"sentences": IN_SENTENCES, key: value}) for key, value in (("others", 3),)),
        hash_of({"lead": {"sentences": ["We lead."]}}),
    ]
    assert hash_of(IN_SENTENCES) == hash_of({"sentences": IN_SENTENCES})
    assert len(set(hashes)) == len(hashes)


def test_the_hash_of_prompts_is_what_it_was_before_there_were_words():
    prompt = Prompt("a", "She will lead.", None, " lead", 1, {"sense": "x"})
    made = Experiment("e", "e.yaml", (), "last", "default", ("resid",), ("identity",), (prompt,))
    assert made.hash == "bbb180de4c3b1b72"
