"""Running texts of any size: how they are read and cut, and what is refused."""

import gzip
import json
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from config_files import refused, written
from measures import ENGLISH

from tokentrails.config.experiments import load_experiment
from tokentrails.files import documents as module
from tokentrails.files.documents import Documents
from tokentrails.files.origin import refuse_strangers
from tokentrails.running.cost import flop, occurrences_of, shards_of, states_mb, tokens_of, work
from tokentrails.settings import Corpus
from tokentrails.texts import corpus as cutting
from tokentrails.texts.corpus import SPARE, with_pieces_of
from tokentrails.texts.streamed import tokenize_streamed
from tokentrails.texts.word_list import WordList

TEXT = " ".join([*tiny.CORPUS] * 200)
ROWS = ["The spring water is cold.", "naïve café, lead pipes", 'a "quoted" word\nand a line']
CORPUS = {"text": "t.txt", "tokens": 5000, "length": 40, "states": "stream"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_text(TEXT, encoding="utf-8")
    Path("words.txt").write_text("the\nlead\n", encoding="utf-8")


def experiment(**keys):
    data = {"corpus": {**CORPUS, **keys}}
    return load_experiment("e", {"file": written(data)}, models=("m",))


def parts(made, files, context_length=64, classes=ENGLISH):
    corpus, words = made.corpus, WordList.read(Path("words.txt"))
    documents = Documents(corpus, Path(corpus.text))
    given = classes, files, context_length
    return list(tokenize_streamed(made, documents, words, *given, model="m"))


def cut(made, files, context_length=64):
    """The rows of pieces, and those left out."""
    found = zip(*parts(made, files, context_length), strict=True)
    return [pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))) for tables in found]


def texts_of(name, column=None):
    documents = Documents(Corpus(name, 5000, 40, column, "stream"), Path(name))
    return [" ".join("".join(parts).split()) for parts in documents], documents.left_out


@pytest.mark.parametrize("part", [1, 2, 7, 1 << 18])
@pytest.mark.parametrize("text", ["", "  \n", "one", " a  bc\n\ndéf ", "x" * 30 + " y"])
def test_words_are_whole_wherever_a_part_ends(monkeypatch, text, part):
    monkeypatch.setattr(module, "PART", part)
    for name, content in (("a.txt", text.encode()), ("a.txt.gz", gzip.compress(text.encode()))):
        Path(name).write_bytes(content)
        (parts,) = Documents(Corpus(name, 5000, 40), Path(name))
        assert [word for each in parts for word in each.split()] == text.split()


def test_every_kind_of_table_gives_the_same_documents():
    lines = [json.dumps({"id": i, "body": row}) for i, row in enumerate(ROWS)]
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    Path("a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    quoted = (row.replace('"', '""') for row in ROWS)
    cells = "".join(f'{i},"{row}"\r\n' for i, row in enumerate(quoted))
    Path("a.csv").write_bytes(b"\xef\xbb\xbf" + f"id,body\r\n{cells}".encode())
    pq.write_table(pa.table({"body": ROWS}), "a.parquet")
    wanted = [" ".join(row.split()) for row in ROWS]
    refuse_strangers(["a.parquet"])  # it is of the user, and says nothing of where it is from
    Path("b.parquet").write_bytes(b"junk")
    refuse_strangers(["b.parquet"])
    plain = "".join(f"{i}\t{' '.join(row.split())}\n" for i, row in enumerate(ROWS))
    Path("a.tsv").write_text(f"id\tbody\n{plain}", encoding="utf-8")
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.parquet"):
        assert texts_of(name, "body") == (wanted, [])


def test_rows_that_are_no_documents_are_left_out_by_their_line(files):
    rows = [{"body": "The lead pipes are cold."}] * 400
    rows[3], rows[5] = {"body": " "}, {"body": 3}
    lines = [json.dumps(row) for row in rows] + ["{", *map(json.dumps, rows[:1] * 600)]
    Path("a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pieces, skipped = cut(experiment(text="a.jsonl", column="body"), files("llama"))
    assert dict(skipped.select("label", "reason").rows()) == {
        "line 4": "'body' is empty",
        "line 401": skipped.filter(label="line 401")["reason"].item(),
    }
    assert pieces["text"].n_unique() == 2  # a number is a text, too
    assert pieces["document"].to_list() == list(range(len(pieces)))


def test_pieces_are_those_of_a_stored_text_but_for_the_end(files):
    """The last one is not cut short: a piece is a piece wherever the text ends."""
    made = experiment()
    stored = load_experiment("e", {"file": written({"corpus": {**CORPUS, "states": "stored"}})})
    pieces, _ = cut(made, files("gpt2"))
    other = with_pieces_of(TEXT, stored, files("gpt2"), 64, model="m").prompts
    n = min(len(other), len(pieces)) - 1
    assert n > 100 and [p.prompt for p in other[:n]] == pieces["text"].to_list()[:n]
    assert pieces["n_tokens"].sum() >= 5000 > pieces["n_tokens"][:-1].sum()
    assert made.hash == stored.hash  # the same texts


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "roberta"])
def test_rows_have_ids_words_and_frequencies(files, name):
    pieces, _ = cut(experiment(), files(name), 40)
    tokenizer = files(name).tokenizer
    assert pieces["n_tokens"].max() <= 40
    assert pieces["label"].to_list()[:2] == ["piece0000000", "piece0000001"]
    for row in pieces.head(20).rows(named=True):
        assert row["token_ids"] == tokenizer.encode(row["text"]).ids
        assert row["tokens"] == [tokenizer.id_to_token(i) for i in row["token_ids"]]
        lengths = {len(row[k]) for k in ("token_ids", "word_class", "frequency_band")}
        assert lengths == {row["n_tokens"]} and (row["first"], row["last"]) == (
            0,
            row["n_tokens"] - 1,
        )
    of_class = pieces.explode("tokens", "word_class", "frequency_band")
    seen = dict(of_class.select("tokens", "word_class").drop_nulls().rows())
    for word in ("the", "lead", "pipes"):
        entries = [e for e in seen if e.strip("▁Ġ#").casefold() == word]
        assert {seen[e] for e in entries} <= {ENGLISH.of(word)}
    bands = set(of_class["frequency_band"].unique().drop_nulls())
    assert bands == {"1-100", "unknown"}  # a list of two words says nothing of others


def test_of_rows_of_parquet_few_are_held_at_a_time():
    rows = [f"{i:05} " * 4000 for i in range(1200)]
    pq.write_table(pa.table({"body": rows}), "a.parquet")
    size = sum(map(len, rows))
    del rows
    tracemalloc.start()
    documents = Documents(Corpus("a.parquet", 5000, 40, "body", "stream"), Path("a.parquet"))
    assert sum(len(part) for parts in documents for part in parts) == size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_long_word_is_cut_into_as_few_equal_parts_as_fit(files, monkeypatch, name):
    """And not counted whole for each number of parts."""
    word = "".join(random.Random(0).choices(["船", "水", "lead", "é", "7"], k=1500))
    characters, room, counts = list(word), 30, cutting._counts
    n = -(-counts([word], files(name))[0] // room)
    while True:
        size = -(-len(characters) // n)
        parts = ["".join(characters[i : i + size]) for i in range(0, len(characters), size)]
        if max(counts(parts, files(name))) <= room:
            break
        n += 1
    counted: list[str] = []
    monkeypatch.setattr(cutting, "_counts", lambda w, f: counted.extend(w) or counts(w, f))
    pieces = [piece for _, piece in cutting.streamed_pieces([[word]], files(name), room)]
    assert pieces == parts and len(parts) > 40
    assert len("".join(counted)) < 12 * len(word)


def test_memory_does_not_hold_the_whole_text(files):
    """Of a text of any length no more is read than the tokens need."""
    Path("long.txt").write_text("the lead pipes " * 400_000, encoding="utf-8")
    made = experiment(text="long.txt")
    documents = Documents(made.corpus, Path("long.txt"))
    read = []
    monitor = type("Monitor", (), {"left_out": [], "__iter__": lambda _: iter([watched()])})

    def watched():
        for part in next(iter(documents)):
            read.append(len(part))
            yield part

    words = WordList.read(Path("words.txt"))
    for _ in tokenize_streamed(made, monitor(), words, ENGLISH, files("llama"), 64, model="m"):
        pass
    assert sum(read) <= 2 * module.PART


@pytest.mark.parametrize(
    ("keys", "problems"),
    [
        ({"states": "stored", "column": "body"}, ("corpus.column", "'column' goes with a text")),
        (
            {"states": "stored", "text": "a.jsonl"},
            ("corpus.text", "'a.jsonl' is a table, and states are stored", "'states: stream'"),
        ),
        ({"states": "stored", "readout": 3}, ("corpus.readout", "'states: stream'")),
        ({"text": "a.jsonl"}, ("corpus.text", "is a table, and no column is named", "column")),
        ({"column": "body"}, ("corpus.text", "is no table, and a column is named", ".jsonl")),
        ({"readout": -1}, ("corpus.readout",)),
        ({"states": "streamed"}, ("corpus.states",)),
        ({"tokens": 10**9}, ("corpus.text", "bytes, and 1,000,000,000 tokens")),
    ],
)
def test_bad_keys_are_refused_when_they_are_read(keys, problems):
    Path("a.jsonl").write_text('{"body": "a"}\n', encoding="utf-8")
    with refused("e.yaml", *problems):
        experiment(**keys)


@pytest.mark.parametrize(
    ("content", "keys", "problems"),
    [
        (b"one two", {"text": "a.txt.gz"}, ("a.txt.gz", "cannot be read")),
        (gzip.compress(TEXT.encode())[:-40], {"text": "a.txt.gz"}, ("a.txt.gz", "cannot be read")),
        (b"\xff\xfe", {"text": "a.txt.gz", "gz": True}, ("not UTF-8",)),
        (
            b'{"other": "a"}\n' * 9,
            {"text": "a.jsonl", "column": "body"},
            ("corpus.column: the column 'body' is not there in a.jsonl", "check its spelling"),
        ),
        (b'{"body": "a"}\n{"body": ""}\n' * 9, {"text": "a.jsonl", "column": "body"}, ("9 of 18",)),
        (b" \n", {"text": "a.txt.gz", "gz": True}, ("'a.txt.gz' is empty",)),
        (b"id,body\n", {"text": "a.csv", "column": "body"}, ("'a.csv' is empty",)),
        (
            b'{"body": "a b"}\n',
            {"text": "a.jsonl", "column": "body"},
            ("5,000 tokens are asked for", "a longer text."),
        ),
    ],
)
def test_bad_texts_are_refused_with_one_message(files, content, keys, problems):
    content = gzip.compress(content) if keys.pop("gz", False) else content
    Path(keys["text"]).write_bytes(content)
    made = experiment(**keys)
    with refused(*problems):
        cut(made, files("llama"))


@pytest.mark.parametrize("word", ["x1" * 300, "e\u0301" * 200 + "y"])
def test_a_word_that_is_longer_than_a_piece_is_cut_between_characters(files, word):
    Path("t.txt").write_text(f"the {word} lead {TEXT}", encoding="utf-8")
    pieces, skipped = cut(experiment(), files("llama"))
    assert skipped.is_empty() and pieces["n_tokens"].max() <= 40
    texts = pieces["text"].to_list()
    last = next(i for i, text in enumerate(texts) if " lead" in text)
    assert last > 3 and texts[0] == "the"
    assert "".join(texts[1 : last + 1]).startswith(f"{word} lead")
    assert not any(text.startswith("\u0301") for text in texts)


def test_a_piece_that_is_too_long_for_the_model_is_left_out(files):
    """Special tokens, and a first word without its space, may come to more than was left free."""
    made = replace(experiment(), corpus=replace(experiment().corpus, length=SPARE + 33))
    found = parts(made, files("roberta"), SPARE + 33)
    lengths = [n for table, _ in found for n in table["n_tokens"].to_pylist()]
    assert max(lengths) <= SPARE + 33


def test_no_room_is_planned_for_states_and_work_is_shared_out():
    from test_cost import SIZE

    made = experiment(tokens=5500, readout=0)
    assert states_mb(made, SIZE) == occurrences_of(made) == 0
    assert [shards_of(made, n) for n in (10_000, 5500, 5499, 1000)] == [1, 1, 2, 6]
    whole = flop("corpus_sums", made, SIZE)
    assert whole == 2 * SIZE.in_blocks * tokens_of(made)
    extract = {"shard_tokens": 2000, "store": "float32"}
    assert work("corpus_sums", made, SIZE, extract) == (whole / 3, SIZE.weights_mb)
    read_out = flop("corpus_sums", experiment(tokens=5500, readout=4), SIZE)
    vectors = tokens_of(made) * 3 * (SIZE.depth + 1) * 4 / 40
    assert read_out == whole + 2 * SIZE.vocabulary * SIZE.d_model * vectors


def test_a_tokenizer_that_does_not_know_the_words_is_refused(files):
    Path("t.txt").write_text("жизнь щука фея " * 4000, encoding="utf-8")
    with refused("does not know"):
        cut(experiment(), files("bert"))
