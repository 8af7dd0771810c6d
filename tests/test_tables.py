"""Tables as experiments: each dialect by hand, wrong rows, and the same results as from YAML."""

import datetime
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import yaml
from config_files import POINTER, refused, written

from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.config.senses import check_senses
from tokentrails.errors import Where
from tokentrails.files.yaml_file import top_level
from tokentrails.metrics.context import same_token_pairs
from tokentrails.running.cost import occurrences_of, tokens_of
from tokentrails.settings import Prompt
from tokentrails.texts.table import prompts_of, prompts_table, read_prompts
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

ROWS = [
    {"id": "r1", "sentence": "She will lead the team.", "target": "lead", "sense": "guide"},
    {"id": "r2", "sentence": 'The pipes, "of lead",\nare old.', "target": "lead", "sense": "metal"},
    {"id": "r3", "sentence": "naïve café words", "target": "café", "sense": "guide"},
]
KEYS = {"text": "sentence", "word": "target", "label": "id", "sense": "sense"}


pytestmark = pytest.mark.usefixtures("here")


def table_of(content, name="data.csv", **keys):
    """The table of an experiment file whose table file has this content."""
    if isinstance(content, pa.Table):
        pq.write_table(content, name)
    else:
        raw = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    given = {k: v for k, v in (KEYS | {"file": name} | keys).items() if v is not ...}
    table = load_experiment_file(written({"analyses": ["identity"], "table": given})).table
    assert table is not None
    return table


def read(content, name="data.csv", **keys):
    """Its prompts and, of the rows left out, the lines with the reasons."""
    prompts, lines, skipped = read_prompts(table_of(content, name, **keys))
    assert len(prompts) == len(lines)
    return prompts, [(row["line"], row["reason"]) for row in skipped.to_pylist()]


def as_csv(rows, delimiter=",", end="\n"):
    """Every cell in quotes, those within it doubled."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    quoted = (delimiter.join(f'"{str(c).replace(chr(34), 2 * chr(34))}"' for c in r) for r in cells)
    return "".join(row + end for row in quoted)


def as_jsonl(rows):
    return "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


MARK = b"\xef\xbb\xbf"
DIALECTS = {
    "a.csv": as_csv(ROWS),
    "b.csv": MARK + as_csv(ROWS).encode(),
    "c.CSV.gz": as_csv(ROWS),
    "d.jsonl": MARK + as_jsonl(ROWS).encode(),
    "e.ndjson.gz": as_jsonl(ROWS),
    "f.parquet": pa.Table.from_pylist(ROWS),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gives_the_same_prompts(name):
    prompts, skipped = read(DIALECTS[name], name)
    assert skipped == []
    assert prompts == [
        Prompt(r["id"], r["sentence"], word=r["target"], groups={"sense": r["sense"]}) for r in ROWS
    ]


def test_quotes_delimiters_and_ends_of_lines_are_as_the_keys_say():
    one = [ROWS[0], ROWS[2]]
    expected, _ = read(as_csv(one))
    crlf = as_csv(one, end="\r\n")
    assert read(MARK + crlf.encode())[0] == expected
    assert read(as_csv(one, "\t", "\r\n"), "x.tsv", quotes=True)[0] == expected
    assert read(as_csv(one, ";"), "x.txt", delimiter=";")[0] == expected
    plain = "".join("\t".join(row.values()) + "\r\n" for row in one)
    columns = list(ROWS[0])
    assert read(plain, "x.tsv", columns=columns)[0] == expected
    raw = '1\t"lead" and "lead\tlead\tmetal\n'
    (made,), _ = read(raw, "x.tsv", columns=columns, quotes=False)
    assert made.prompt == '"lead" and "lead'
    with refused("x.tsv, line 1", "begins with a quote", "quotes: true"):
        read(raw, "x.tsv", columns=columns)


def test_a_cell_may_hold_a_book():
    book = "lead pipe " * 20_000
    (made,), skipped = read(as_csv([ROWS[0] | {"sentence": book}]))
    assert made.prompt == book and not skipped


def test_groups_of_delimited_files_are_what_yaml_takes_them_for():
    rows = zip(("1", "2"), ("1.5", "2"), ("007", "1"), ("true", ""), ("x", "3"), strict=True)
    body = "".join(f"a b,{','.join(row)}\n" for row in rows)
    names = ["int", "float", "code", "flag", "mixed"]
    prompts, _ = read(
        f"sentence,{','.join(names)}\n{body}",
        **dict.fromkeys(("word", "label", "sense"), ...),
        groups=names,
    )
    assert [each.groups for each in prompts] == [
        {"int": 1, "float": 1.5, "code": "007", "flag": True, "mixed": "x"},
        {"int": 2, "float": 2.0, "code": "1", "flag": None, "mixed": "3"},
    ]
    assert [each.label for each in prompts] == ["line2", "line3"]


def test_values_of_typed_files_keep_their_types():
    day = datetime.date(2026, 1, 2)
    rows = [{"sentence": "a b", "n": 1, "x": 0.5, "d": day, "v": float("nan")}]
    none = dict.fromkeys(("word", "label", "sense"), ...)
    groups = {"n": "n", "x": "x", "year": "d", "empty": "v"}
    (made,), _ = read(pa.Table.from_pylist(rows), "x.parquet", **none, groups=groups)
    assert made.groups == {"n": 1, "x": 0.5, "year": "2026-01-02", "empty": None}
    lines = '{"sentence": "a b", "n": 1}\n{"sentence": "a b", "n": "1"}\n'
    prompts, _ = read(lines, "x.jsonl", **none, groups=["n"])
    assert [type(each.groups["n"]) for each in prompts] == [int, str]
    assert prompts_table(prompts, [1, 2], table_of(lines, "x.jsonl", **none, groups=["n"]))[
        "group_n"
    ].to_pylist() == ["1", "1"]


PLACES = "She saw the lead , and took the lead with lead-free paint ."


@pytest.mark.parametrize(
    ("start", "end", "unit", "expected"),
    [
        (12, 16, "characters", ("lead", 1)),
        (32, 36, "characters", ("lead", 2)),
        (31, 36, "characters", ("lead", 2)),
        (8, 16, "characters", ("the lead", 1)),
        (8, None, "words", ("lead", 2)),
        (7, 9, "words", ("the lead", 2)),
        (10, None, "words", ("lead-free", 1)),
        (4, None, "words", "punctuation alone at words 4 to 5: ','"),
        (42, 46, "characters", "'lead', at 42 to 46, is no whole word"),
        (11, 12, "characters", "is no whole word"),
        (59, 80, "characters", "the text has 59 characters"),
        (12, None, "words", "punctuation alone at words 12 to 13: '.'"),
        (17, 18, "characters", (",", 1)),
        ("8.0", "9.0", "words", ("lead", 2)),
        ("12.", "16.00", "characters", ("lead", 1)),
        ("8.5", "9.0", "words", "'8.5' is no whole number"),
        (13, None, "words", "the text has 13"),
        (4, 4, "characters", "there is no target at 4 to 4"),
        (-1, 4, "characters", "-1 is below 0"),
        ("x", 4, "characters", "'x' is no whole number"),
    ],
)
def test_a_place_is_the_word_that_stands_there(start, end, unit, expected):
    keys = {"word": ..., "label": ..., "sense": ..., "start": "from", "unit": unit}
    row, fine = {"sentence": PLACES, "from": start}, {"sentence": "a b", "from": 0}
    if end is not None:
        keys, row, fine = keys | {"end": "to"}, row | {"to": end}, fine | {"to": 1}
    prompts, skipped = read(as_csv([row, fine]), **keys, most_skipped=0.5)
    if isinstance(expected, tuple):
        assert (prompts[0].word, prompts[0].occurrence) == expected and not skipped
    else:
        ((line, reason),) = skipped
        assert line == 2 and expected in reason


WRONG = """id,sentence,target,sense
a,She will lead.,lead,x
b,She will lead.,read,x
c,,lead,x
d,She will lead.,,x

e,She will lead.,lead
f,She will lead.,lead,x,y
g,"She will
lead.",lead,
,She will lead.,lead,x
h,"She" will lead.,lead,x
i,She will lead.,LEAD,x
"""


def test_wrong_rows_are_left_out_with_line_and_reason():
    prompts, skipped = read(WRONG, most_skipped=0.8)
    assert [(each.label, each.groups["sense"]) for each in prompts] == [("a", "x"), ("g", None)]
    assert skipped == [
        (3, "the target 'read' is not in the text"),
        (4, "'sentence' is empty"),
        (5, "'target' is empty"),
        (7, "it has 3 cells, and there are 4 columns"),
        (8, "it has 5 cells, and there are 4 columns"),
        (11, "'id' is empty"),
        (12, "a quote ends within a cell; quotes in quotes are doubled"),
        (13, "the target 'LEAD' is not in the text"),
    ]
    first = "line 3: the target 'read' is not in the text; line 4: 'sentence' is empty; line 5: "
    with refused("8 of 10 rows", "the share of 0.7", first, "; and 5 more", "table.most_skipped"):
        read(WRONG, most_skipped=0.7)
    with refused("2 of 2 rows cannot be used, and none is left", "keys of 'table'.") as caught:
        read("".join(WRONG.splitlines(keepends=True)[i] for i in (0, 2, 3)), most_skipped=1)
    assert "most_skipped" not in str(caught.value)


def test_wrong_lines_of_json_are_left_out():
    lines = [json.dumps(ROWS[0]), "{", "[1]", json.dumps(ROWS[2] | {"sentence": 7})]
    lines += [json.dumps(ROWS[2] | {"sense": [1]}), json.dumps(ROWS[2] | {"sense": 2**64})]
    lines += [json.dumps(ROWS[2] | {"sense": float("inf")}), '{"id": "r9", ' + lines[0][1:]]
    prompts, skipped = read("\n".join(lines), "x.jsonl", most_skipped=0.9)
    assert [each.label for each in prompts] == ["r1"]
    assert [line for line, _ in skipped] == [2, 3, 4, 5, 6, 7, 8]
    reasons = ["no JSON", "no JSON object", "is no text", "of type list", "64 bits", "infinite"]
    reasons += ["'id' is in it twice"]
    assert all(part in reason for part, (_, reason) in zip(reasons, skipped, strict=True))


@pytest.mark.parametrize(
    ("content", "name", "keys", "parts"),
    [
        (as_csv([*ROWS, ROWS[0]]), "x.csv", {}, ("line 6", "'r1'", "line 2", "its own 'id'")),
        (as_csv(ROWS), "x.csv", {"word": "word"}, ("'word' is not there", "'target'")),
        (as_csv(ROWS, ";"), "x.csv", {}, ("x.csv, line 1", "delimiter")),
        ("id;sentence\na;b\n", "x.csv", {}, ("'sentence' is not there", "'id;sentence'")),
        (as_jsonl(ROWS), "x.jsonl", {"word": "word"}, ("'word' is not there",)),
        (pa.Table.from_pylist(ROWS), "x.parquet", {"word": "w"}, ("'w' is not there",)),
        ("sentence,sentence\na,b\n", "x.csv", {}, ("'sentence' is there twice",)),
        ("", "x.csv", {}, ("the file is empty",)),
        ("id,sentence,target,sense\n", "x.csv", {}, ("no row is read", "below the header")),
        (pa.Table.from_pylist(ROWS)[:0], "x.parquet", {}, ("no row is read", "Hint: add rows.")),
        ("\n", "x.jsonl", {}, ("the file is empty",)),
        (json.dumps(ROWS), "x.jsonl", {}, ("x.jsonl, line 1: it is a list and not an object",)),
        (json.dumps(ROWS, indent=1), "x.jsonl", {}, ("line 1: it is a list", "in each line")),
        (json.dumps(ROWS[0], indent=1), "x.jsonl", {}, ("line 1", "no line has an object")),
        (POINTER, "x.csv", {}, ("pointer of Git LFS", "git lfs pull")),
        (POINTER, "x.parquet", {}, ("pointer of Git LFS", "git lfs pull")),
        (as_csv(ROWS), "x.csv", {"where": {"id": "r9"}}, ("no row is read", "where")),
        (as_csv(ROWS).encode("utf-16"), "x.csv", {}, ("not UTF-8",)),
        (as_csv(ROWS)[:-3], "x.csv", {}, ("line 5", "never closed")),
        (gzip.compress(b"x" * 9999, mtime=0)[:-9], "y.gz", {"delimiter": ","}, ("cannot be read",)),
        (b"no parquet", "x.parquet", {}, ("cannot be read",)),
        (as_csv([r | {"target": "x"} for r in ROWS]), "x.csv", {}, ("3 of 3 rows", "none is left")),
    ],
)
def test_a_bad_file_is_one_clear_error(content, name, keys, parts):
    table = table_of("", name, **keys)
    if isinstance(content, pa.Table):
        pq.write_table(content, name)
    else:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    with refused(*parts, name):
        read_prompts(table)


@pytest.mark.parametrize(
    ("key", "given", "place"),
    [
        ("text", "sentense", "line 4, table.text"),
        ("label", "sentense", "line 6, table.label"),
        ("where", {"sentense": "x"}, "line 9, table.where"),
        ("groups", {"year": "sentense"}, "line 9, table.groups"),
    ],
)
def test_a_column_that_is_not_there_is_shown_at_its_key(key, given, place):
    table = table_of(as_csv(ROWS), **{key: given})
    with refused(f"e.yaml, {place}: the column 'sentense' is not there in data.csv", "'target'"):
        read_prompts(table, where=top_level("e.yaml") / "table")


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"file": "gone.csv"}, ("table.file", "there is no file", "Hint: check")),
        ({"file": "dada.csv"}, ("table.file", "there is no file", "did you mean 'data.csv'?")),
        ({"file": "data.txt"}, ("table.file", "delimiter")),
        ({"start": "a"}, ("table.start", "target's place and the target")),
        ({"word": ..., "start": "a"}, ("table.start", "without its 'end'")),
        ({"word": ..., "end": "a"}, ("table.end", "without its 'start'")),
        ({"unit": "words"}, ("table.unit", "no 'start'")),
        ({"word": ..., "occurrence": "a"}, ("table.occurrence", "no 'word'")),
        ({"word": ["a", "b"]}, ("table.word", "names 2 columns")),
        ({"same": "a"}, ("table.same", "one text")),
        ({"text": ["a", "b"], "same": "c"}, ("table.same", "both 'sense' and 'same'")),
        ({"text": ["a", "b"], "word": ...}, ("table.text", "without a target")),
        ({"columns": ["sentence"]}, ("table.columns", "'target'")),
        ({"groups": ["part of speech"]}, ("table.groups", "group column")),
        ({"groups": ["word"]}, ("table.groups", "something else than a group", "word_group")),
        ({"groups": ["words"]}, ("table.groups", "did you mean 'word'", "a name less alike")),
        *(({"delimiter": sign}, ("table.delimiter", repr(sign), "it ")) for sign in '"\n\r'),
        (
            {"where": {2020: "a", "word": "bank"}},
            (
                "e.yaml, line ",
                "table.where[2020]",
                "2020 is not of type string",
                "Put it in quotes",
            ),
        ),
        ({"text": ...}, ("'text' is missing",)),
        ({"most_skipped": 2}, ("most_skipped", "above the maximum")),
        ({"sampel": 2}, ("unknown key 'sampel'", "did you mean 'sample'")),
    ],
)
def test_keys_that_do_not_go_together_are_refused_before_a_row_is_read(keys, parts):
    Path("data.csv").write_bytes(b"\xff")  # no row of it could be read
    Path("data.txt").touch()
    given = {k: v for k, v in (KEYS | {"file": "data.csv"} | keys).items() if v is not ...}
    with refused(*parts):
        load_experiment_file(written({"analyses": ["identity"], "table": given}))


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ({"flag": True}, [2, 3]),
        ({"flag": [False]}, [4]),
        ({"n": 4}, [2]),
        ({"n": [5, ""]}, [3, 4]),
        ({"n": 45}, []),
    ],
)
def test_numbers_and_truth_values_are_chosen_as_pandas_writes_them(where, lines):
    rows = {"sentence": ["a b"] * 4, "flag": [True, True, False, None]}
    typed = pa.table(rows | {"n": [4.0, float("nan"), 5.0, 4.5]})
    text = "sentence,flag,n\na b,True,4.0\na b,TRUE,\na b,False,5.\na b,,4.5\n"
    none = dict.fromkeys(("word", "label", "sense"), ...)
    for content, name, first in ((text, "x.csv", 2), (typed, "x.parquet", 1)):
        table = table_of(content, name, **none, where=where)
        if not lines:
            with refused("no row is read", "check 'where'"):
                read_prompts(table)
            continue
        assert [line - first + 2 for line in read_prompts(table)[1]] == lines


def test_rows_are_chosen_by_where_limit_and_sample():
    rows = [{"n": str(i), "sentence": f"text {i}", "part": "ab"[i % 2]} for i in range(1, 101)]
    none = {"word": ..., "sense": ..., "label": "n"}

    def chosen(**keys):
        return [int(each.label) for each in read(as_csv(rows), **none, **keys)[0]]

    assert chosen() == list(range(1, 101))
    assert chosen(where={"part": "a"}, limit=3) == [2, 4, 6]
    assert chosen(where={"part": ["a", "b"], "n": [7, "9"]}) == [7, 9]
    drawn = chosen(where={"part": "b"}, limit=20, sample=10)
    assert drawn == sorted(set(drawn)) and len(drawn) == 10 and max(drawn) < 40
    assert drawn == chosen(where={"part": "b"}, limit=20, sample=10)
    assert drawn != chosen(where={"part": "b"}, limit=20, sample=10, seed=1)
    counts = [chosen(sample=50, seed=seed) for seed in range(40)]
    often = [sum(n in each for each in counts) for n in (1, 50, 100)]
    assert all(8 < n < 32 for n in often), often  # each row is drawn half of the time


WIC = (
    "board\tN\t2-2\tRoom and board .\tHe nailed boards across it .\tF\n"
    "hit\tV\t1-3\tThey hit the wall .\tA car had hit it .\tT\n"
)
WIC_KEYS = {
    "columns": ["lemma", "pos", "places", "first", "second", "gold"],
    "text": ["first", "second"],
    "start": "places",
    "unit": "words",
    "same": "gold",
    "groups": ["pos"],
    "word": ...,
    "label": ...,
    "sense": ...,
}


@pytest.mark.parametrize(
    ("place", "word"),
    [(0, "Lead"), (1, "bank"), (3, "John's"), (4, "'s"), (5, "lead-free"), (6, "end")],
)
def test_punctuation_beside_a_word_between_spaces_is_no_part_of_it(place, word):
    text = "“Lead (bank), — John's 's lead-free end...”"
    keys = {"columns": ["at", "sentence", "sense"], "start": "at", "unit": "words"}
    (made,), _ = read(f"{place}\t{text}\tx\n", "x.tsv", **keys, word=..., label=...)
    assert made.word == word


def test_two_texts_of_a_row_are_a_pair():
    prompts, skipped = read(WIC, "wic.txt", delimiter="\t", **WIC_KEYS)
    assert skipped == []
    seen = [(p.label, p.word, p.groups["sense"], p.groups["pair"]) for p in prompts]
    assert seen == [
        ("line1.1", "board", "first", "line1"),
        ("line1.2", "boards", "other", "line1"),
        ("line2.1", "hit", "first", "line2"),
        ("line2.2", "hit", "first", "line2"),
    ]
    _, skipped = read(WIC.replace("1-3", "1"), "wic.tsv", **WIC_KEYS, most_skipped=0.5)
    assert skipped == [(2, "'places' is '1', and not two numbers, such as 2-5")]
    _, skipped = read(WIC.replace("T", "?"), "wic.tsv", **WIC_KEYS, most_skipped=0.5)
    assert "'gold' is '?'" in skipped[0][1]
    numbers = WIC.replace("\tF\n", "\t0.0\n").replace("\tT\n", "\t1.0\n")
    assert read(numbers, "wic.tsv", **WIC_KEYS)[0] == prompts
    rows = [{"a": "x lead", "b": "lead y", "w": "lead", "s": "1", "t": "2", "i": "p", "n": "1.0"}]
    keys = {"text": ["a", "b"], "word": "w", "sense": ["s", "t"], "label": "i", "occurrence": "n"}
    prompts, _ = read(as_csv(rows), **keys)
    assert [(p.label, p.word, p.groups["sense"]) for p in prompts] == [
        ("p.1", "lead", 1),
        ("p.2", "lead", 2),
    ]


def test_only_the_texts_of_a_pair_are_compared():
    spans = {"token_ids": [[5, 7]] * 5, "first": [1] * 5, "last": [1] * 5}
    tokens = pa.table(spans | {"pair": ["x", "y", "x", None, None]})
    assert same_token_pairs(tokens) == [(0, 2)]
    assert len(same_token_pairs(tokens.drop_columns("pair"))) == 10


def twins(yaml_keys=None, **entry):
    """An experiment of prompts, and of a table with the same, as planned and as a job has it."""
    prompts = [
        {k: v for k, v in zip(("label", "prompt", "word", "sense"), row.values(), strict=True)}
        for row in ROWS[:2]
    ]
    listed = load_experiment(
        "e", {"file": written({"prompts": prompts} | (yaml_keys or {}), "listed.yaml")} | entry
    )
    Path("data.csv").write_text(as_csv(ROWS[:2]))
    content = {"table": KEYS | {"file": "data.csv"}} | (yaml_keys or {})
    entry = {"file": written(content, "table.yaml")} | entry
    planned = load_experiment("e", entry)
    rows, lines, _ = read_prompts(planned.table)
    stored = prompts_table(rows, lines, planned.table)
    return listed, planned, load_experiment("e", entry, prompts=prompts_of(stored))


@pytest.mark.parametrize(
    ("keys", "entry"),
    [
        ({}, {}),
        ({}, {"shuffle": 3}),
        ({}, {"replace": ["thing"]}),
        ({"splits": {}}, {"pooling": "last"}),
        ({"analyses": ["identity", "ranks", "convergence"]}, {}),
    ],
)
def test_a_table_is_the_same_experiment_as_its_prompts(keys, entry):
    listed, planned, read = twins(keys, **entry)
    assert read.prompts == listed.prompts and read.hash == listed.hash != planned.hash
    same = ("kind", "analyses", "group_columns", "has_whole_texts")
    for name in same:
        assert getattr(planned, name) == getattr(read, name) == getattr(listed, name)
    assert planned.prompts == () and read.table is None


def test_a_table_gives_the_same_tokens_as_its_prompts():
    listed, _, read = twins()
    tiny.save("gpt2", Path("model"))
    files = TokenizerFiles.load(Path("model"))
    made = [tokenize(each, files, 64, model="m") for each in (listed, read)]
    assert made[0][0].equals(made[1][0], check_metadata=True) and len(made[0][0]) == 2
    assert made[0][1].equals(made[1][1])


def test_a_job_asks_for_no_less_than_the_rows_take():
    rows = [{"sentence": "a long enough sentence of some words", "label": i} for i in range(50)]
    none = dict.fromkeys(("word", "sense", "label"), ...)
    for name, data in (("x.csv", as_csv(rows)), ("x.csv.gz", as_csv(rows))):
        table_of(data, name, **none)
        made = load_experiment("e", {"file": "e.yaml"})
        assert tokens_of(made) > 50 * 7
    table_of(as_csv(rows), limit=3, label=..., sense=..., word="sentence")
    assert occurrences_of(load_experiment("e", {"file": "e.yaml"})) == 3


def test_senses_of_a_table_are_checked_when_it_is_read():
    content = {"analyses": ["senses"], "table": KEYS | {"file": "data.csv"}}
    Path("data.csv").write_text(as_csv([ROWS[0], ROWS[1], ROWS[2] | {"sense": ""}]))
    table = load_experiment_file(written(content)).table
    prompts, lines, _ = read_prompts(table, needs_sense=False)
    assert len(prompts) == 3
    with refused("1 of 3 rows", "line 5: 'sense' is empty"):
        read_prompts(table, needs_sense=True)
    with refused("data.csv, line 2", "'guide' of 'lead' has one text"):
        check_senses(prompts[:2], Where(lambda keys: f"data.csv, line {lines[keys[0]]}"))
    del content["table"]["sense"]
    with refused("table", "has no column 'sense'"):
        load_experiment_file(written(content))


def test_wic_pairs_are_refused_by_name_where_all_texts_are_compared():
    keys = {k: v for k, v in WIC_KEYS.items() if v is not ...} | {"file": "wic.tsv"}
    Path("wic.tsv").write_text(WIC)
    with refused("table.same", "analysis senses", "ask for context"):
        load_experiment_file(written({"analyses": ["senses"], "table": keys}))


def test_the_example_is_read_whole():
    root = Path(__file__).parent.parent
    content = yaml.safe_load((root / "examples/tables/pairs.yaml").read_text())
    content["table"]["file"] = str(root / content["table"]["file"])
    prompts, _, skipped = read_prompts(load_experiment_file(written(content)).table)
    assert len(prompts) == 64 and skipped.num_rows == 0
