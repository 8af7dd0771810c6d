"""What comes from outside, changed at random: it is right, or one clear message, and nothing else.

The examples written out are inputs that once ended in a traceback, a hang or a wrong table.
"""

import contextlib
import copy
import json
import os
import unicodedata
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import tiny
import yaml
from config_files import CONFIG, load
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tokentrails.claims.sql import tables_of
from tokentrails.errors import TokentrailsError
from tokentrails.files.json_file import read_object
from tokentrails.files.tables import for_spreadsheets
from tokentrails.files.yaml_file import YamlFile
from tokentrails.models.fit import complete, refuse_misfit
from tokentrails.models.source import file_name
from tokentrails.network.weights import Weights
from tokentrails.settings import TextTable
from tokentrails.texts.spans import NotAligned, find_words, span_of, words_in
from tokentrails.texts.table import prompts_of, prompts_table, read_prompts
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

# The same inputs on every machine; a hang ends the test run instead of a single example.
fuzz = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.sampled_from(["", "no", "../x", "=1+1", "{model}", "\u200b", "a" * 300]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def right_or_refused():
    """Nothing but a message with a hint may come out."""
    try:
        yield
    except TokentrailsError as error:
        assert str(error).count("\nHint: ") == 1 and len(str(error)) < 3000
        str(error).encode("utf-8")  # can be printed, and written to a log


def places(data, place=()):
    """The key paths of all values of nested data."""
    yield place
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*place, key))


@st.composite
def changed(draw, base):
    """A copy of nested data, with one to three values replaced, removed or added."""
    data = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(data))[1:] or [()]))
        inner = data
        for key in place[:-1]:
            inner = inner[key]
        match draw(st.sampled_from(["replace", "remove", "add"])) if place else "nothing":
            case "replace":
                inner[place[-1]] = draw(JSON)
            case "remove":
                del inner[place[-1]]
            case "add" if isinstance(inner, dict):
                inner[draw(TEXT)] = draw(JSON)
    return data


FULL = {
    **CONFIG,
    "models": {
        "m": {"source": "path:x", "checkpoints": ["step0", "step1"], "reference": "step1"},
        "h": {"source": "hub:o/n@v1", "keep_weights": False},
        "t": {"source": "train:pico", "training": {"steps": 4}},
    },
    "experiments": {"e": {"file": "e.yaml", "models": ["m"]}},
    "extract": {"device": "cpu", "dtype": "float32", "store": "float16", "token_budget": 64},
    "summary": {"half_life_threshold": 0.1},
    "statistics": {"bootstrap": 1000, "permutations": 100, "confidence": 0.95, "seed": 0},
    "figures": {"senses": "{model} of {experiment}"},
    "paper": [{"study": "s", "number": "1", "figure": "f", "title": "t"}],
}
PROMPTS = {
    "prompts": [
        {"label": "a", "word": " lead", "sense": "x", "prompt": "They lead us.", "occurrence": 1},
        {"label": "b", "token": "lead", "sense": "y", "prompt": "A lead pipe."},
    ],
    "analyses": ["identity", "context"],
    "pooling": "last",
}
WORDS = {"words": {"list": "wordfreq", "per_group": 3, "tokens": [1, 2], "template": "a {word}"}}


@fuzz
@given(changed(FULL))
def test_a_configuration(data):
    Path("e.yaml").write_text(yaml.safe_dump(PROMPTS))
    with right_or_refused():
        load(data)


@fuzz
@given(st.sampled_from([PROMPTS, WORDS]).flatmap(changed))
@example({"prompts": [{"label": "a", "prompt": "p", "measure": "m", "y": 1, "context": 2**70}]})
def test_an_experiment_file(data):
    Path("e.yaml").write_text(json.dumps(data))
    with right_or_refused():
        load(CONFIG)
    Path("e.yaml").write_text(yaml.safe_dump(data, allow_unicode=True))
    with right_or_refused():
        load(CONFIG)


BOMB = b"x0: &x0 [x]\n" + b"".join(
    b"x%d: &x%d [%s]\n" % (level, level, b", ".join([b"*x%d" % (level - 1)] * 9))
    for level in range(1, 10)
)


@fuzz
@given(st.binary(max_size=200) | TEXT.map(str.encode))
@example(b"a: &a [*a]")
@example(b"[" * 100_000)
@example(BOMB)
@example(b'{"emoji": "\\ud83d\\ude42", "half": "\\ud83d"}')
@example(b"date: 2024-13-45")
def test_the_bytes_of_a_yaml_file(data):
    Path("e.yaml").write_bytes(data)
    with right_or_refused():
        YamlFile("e.yaml")


HEADER = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    "__metadata__": {"format": "pt"},
}


@fuzz
@given(changed(HEADER), st.integers(-40, 40), st.binary(max_size=40))
@example(HEADER, 0, bytes(32))
@example({"a": HEADER["a"] | {"data_offsets": [0, 2**63]}}, 0, bytes(32))
def test_the_header_of_safetensors(header, shift, data):
    text = json.dumps(header).encode()
    Path("w.safetensors").write_bytes(max(len(text) + shift, 0).to_bytes(8, "little") + text + data)
    with right_or_refused():
        entries = Weights("w.safetensors").entries
        assert all(0 <= e.begin <= e.end <= len(data) for e in entries.values())


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    saved = tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"))
    return json.loads((saved / "config.json").read_text()), Weights(
        saved / "model.safetensors"
    ).entries


@settings(fuzz, max_examples=60)
@given(data=st.data())
def test_a_models_configuration(gpt2, data):
    config, entries = gpt2
    other = data.draw(changed(config))
    sizes = ("n_embd", "n_layer", "n_head", "n_positions", "vocab_size")
    with right_or_refused():
        # A file that transformers has just saved holds nothing that it computes.
        refuse_misfit(complete(other, where="here"), entries, {}.__getitem__, where="here")
        # What is let through is the model that the tensors are of.
        default = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
        default |= {"vocab_size": 50257}
        for key in set(sizes) - {"n_head"}:
            assert other.get(key, default[key]) == config[key]


@fuzz
@given(st.binary(max_size=60) | JSON.map(lambda data: json.dumps(data).encode()))
@example(b"[" * 100_000)
@example(b"\xff\xfe{}")
def test_a_json_file(data):
    Path("config.json").write_bytes(data)
    with right_or_refused():
        assert isinstance(read_object(Path("config.json")), dict)


@fuzz
@given(JSON)
@example("../../../../victim")
@example("/etc")
@example("a\x00b")
@example("..")
@example("a\n")
def test_a_name_from_outside(name):
    with right_or_refused():
        inside = Path("here") / file_name(name, "there")
        assert os.path.normpath(inside) == str(inside) and inside.parent == Path("here")


SQL = "SELECT a FROM t WITH AS JOIN ON ( ) 'x' \" ` -- /* */ , ; * . read_csv"


@fuzz
@given(TEXT | st.lists(st.sampled_from(SQL.split())).map(" ".join))
@example("SELECT * FROM read_csv/**/('x')")
@example("SELECT " + "(" * 5000)
def test_a_query(sql):
    with right_or_refused():
        assert all(isinstance(name, str) for name in tables_of(sql, "here"))


LETTERS = st.text("ab Lé\u0301'-\u200c\u00ad\u093e\u0915东京ก็,.\n", max_size=15)


def _seen(text):
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


@fuzz
@given(LETTERS, LETTERS.filter(str.strip), LETTERS)
@example("", "\u00ad", "")
@example("", "can", "'t")
@example("", "lead", "-free")
@example("今天", "天气", "很好")
@example("我们的", "lead", "很好")
@example("a caf", "e\u0301", "")
def test_a_word_is_found_where_it_is_one(before, word, after):
    text = f"{before} {word} {after}"
    ranges = find_words(text, word)
    composed = partial(unicodedata.normalize, "NFC")
    assert all(composed(text[a:b]) == composed(word.strip()) for a, b in ranges)
    words = list(words_in(text))
    # Format characters, which are not seen, may be in a word or between two.
    assert _seen("".join(text[a:b] for a, b in words)) == _seen("".join(text.split()))
    for start, end in ranges:
        offsets = [(i, i + 1) for i in range(len(text))]
        try:
            span = span_of(text, offsets, start, end)
        except NotAligned:
            continue
        assert (span.first, span.last) == (start, end - 1)


@fuzz
@given(st.lists(TEXT, min_size=1, max_size=5))
@example(["=1+1", "\n=1", "＝1", "+1", "@x", "\t=1", " =1"])
def test_a_cell_of_a_table(cells):
    shown = for_spreadsheets(pa.table({"text": cells, "list": [[cell] for cell in cells]}))
    for cell, out in zip(cells, shown["text"], strict=True):
        assert out in (cell, f"'{cell}")
        assert not out.startswith(tuple("=+-@＝＋－＠\t\r\n"))


CELLS = ['"', ",", "\t", "\n", "\r", "lead", " ", "a lead", "2", "2-3", "9" * 30, "é", "\0", "²"]
CELLS += [
    "{",
    '{"t": "a lead", "w": "lead"}',
    '{"t": "\\ud800", "w": "lead"}',
    '{"t": 1e999}',
    "[]",
]


@fuzz
@given(
    st.lists(st.sampled_from(CELLS), max_size=12).map("".join),
    st.sampled_from(["csv", "tsv", "jsonl"]),
    st.sampled_from([{"word": ("w",)}, {"start": ("s",), "unit": "words"}, {"label": "w"}]),
    st.sampled_from([None, True, False]),
)
@example('{"t": "\\ud800", "w": "lead"}', "jsonl", {}, None)
def test_rows_of_a_table(body, suffix, keys, quotes):
    delimiter = "\t" if suffix == "tsv" else ","
    header = "" if suffix == "jsonl" else delimiter.join("tws") + "\n"
    Path(f"x.{suffix}").write_text(header + body, newline="")
    table = TextTable(f"x.{suffix}", ("t",), quotes=quotes, most_skipped=1, **keys)
    with right_or_refused():
        prompts, lines, _ = read_prompts(table)
        assert prompts_of(prompts_table(prompts, lines, table)) == prompts


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Of byte pairs, of word pieces, and of pieces with a space of their own in front."""
    made = {}
    for model_type in ("gpt2", "bert", "llama"):
        folder = tiny.save(model_type, tmp_path_factory.mktemp(model_type))
        made[model_type] = TokenizerFiles.load(folder)
    return made


@settings(fuzz, max_examples=60)
@given(LETTERS, LETTERS, LETTERS | TEXT)
@example("the ", "lead", " guide")
@example("", "lead", " guide")
@example("lead", "lead", "lead lead")
def test_a_target_is_measured_where_it_stands(tokenizers, before, word, after):
    """Whatever the tokenizer, the row's tokens are those of the word, and never of another one."""
    prompt = {"label": "a", "word": word, "prompt": before + word + after}
    Path("e.yaml").write_text(json.dumps({"prompts": [prompt]}))

    def letters(text):  # BERT's tokenizer drops accents, and what is not seen
        apart = unicodedata.normalize("NFD", text)
        return "".join(c for c in apart if unicodedata.category(c)[0] in "LNP")

    for name, files in tokenizers.items():
        with right_or_refused():
            experiment = load(CONFIG).experiments["e"]
            (row,) = tokenize(experiment, files, 64, model="m")[0].to_pylist()
            encoding = files.tokenizer.encode(prompt["prompt"])
            start = min(a for a, b in encoding.offsets[row["first"] : row["last"] + 1] if b > a)
            end = max(b for _, b in encoding.offsets[row["first"] : row["last"] + 1])
            assert letters(prompt["prompt"][start:end]) == letters(word), name
