"""The measures against plain loops over their formulas, and what is known without computing."""

import csv
import json
import math
import re
from itertools import combinations
from pathlib import Path

import measures
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from measures import moved
from tiny import CONFIGS, ENCODERS

from tokentrails import __version__
from tokentrails.documents.paper import Item, index_csv
from tokentrails.files.states import Layer, StatesReader, StatesWriter, places
from tokentrails.files.tables import (
    describe,
    provenance_of,
    read_frame,
    read_frames,
    read_table,
    write_table,
)
from tokentrails.metrics.context import context
from tokentrails.metrics.identity import identity, own_token_ids
from tokentrails.metrics.summary import summary
from tokentrails.network.architectures import ARCHITECTURES
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.network.weights import Weights
from tokentrails.settings import OWN, Experiment, Prompt
from tokentrails.statistics.forms import FORMS, MATCHED
from tokentrails.statistics.similarity import row_cosine
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

ROOT = Path(__file__).parent.parent
DEPTH = 4
PLACES = places(["resid", "resid_mid", "final_norm"], DEPTH)
PROVENANCE = measures.PROVENANCE | {"experiment_hash": "0123", "source_revision": "abc"}
ROTARY = [name for name in CONFIGS if ARCHITECTURES[name].rotary]

# word, tokens of the target, sense
TARGETS = [
    ("lead", [7], "metal"),
    ("lead", [7], "guide"),
    ("lead", [7], "metal"),
    ("Lead", [8], "metal"),
    ("bank", [3, 4], "river"),
    ("bank", [3, 4], "money"),
    ("bank", [5], "money"),
    ("riverbank", [6, 4], "river"),
    ("spring", [9], None),
    ("spring", [9], "coil"),
    ("light", [11], "lamp"),
    ("light", [11], "lamp"),
]


def tokens_table(targets=TARGETS):
    """A tokens table whose labels are not in alphabetical order."""
    words, ids, senses = zip(*targets, strict=True)
    labels = [f"{word}_{(5 * i) % len(words)}" for i, word in enumerate(words)]
    return measures.tokens_table(words, ids, labels, sense=pa.array(senses, pa.string()))


def random_layers(seed=0, n=12, d=6):
    """States that drift away from a common beginning."""
    draw = np.random.default_rng(seed)
    begin = draw.normal(size=(n, d))
    layers = []
    for site, layer in PLACES:
        hidden = begin * 0.6**layer + draw.normal(size=(n, d)) * 0.25 * layer + 0.05
        layers.append(Layer(site, layer, np.arange(n), hidden.astype(np.float32)))
    return layers, begin.astype(np.float32)


def slow_cosine(a, b):
    a, b = [float(x) for x in a], [float(x) for x in b]
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    norm = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(x * x for x in b))
    return dot / norm if norm > 0 else None


def tables(layers, begin, *, pooling="last", threshold=0.1, tokens=None, groups=("sense",)):
    tokens = tokens_table() if tokens is None else tokens
    about = {"pooling": pooling, "provenance": PROVENANCE}
    first = identity(layers, tokens, begin, groups=[*groups], **about)
    second = context(layers, tokens, **about)
    third = summary(first, second, threshold=threshold, provenance=PROVENANCE)
    return first, second, third


def by_key(table, *keys):
    rows = {tuple(row[k] for k in keys): row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows


# --- against plain loops ----------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_identity_is_the_cosine_with_the_own_embedding(pooling):
    layers, begin = random_layers()
    tokens = tokens_table()
    rows = by_key(tables(layers, begin, pooling=pooling)[0], "label", "site", "layer")
    assert len(rows) == len(TARGETS) * len(PLACES)
    end = 0 if pooling == "first" else -1
    assert own_token_ids(tokens, pooling).tolist() == [ids[end] for _, ids, _ in TARGETS]
    for i, (word, ids, sense) in enumerate(TARGETS):
        label = tokens["label"][i].as_py()
        for at in layers:
            row = rows[label, at.site, at.layer]
            assert row["cosine"] == pytest.approx(slow_cosine(at.hidden[i], begin[i]), abs=1e-6)
            assert (row["word"], row["token"], row["sense"]) == (word, f"t{ids[end]}", sense)
            assert (row["model"], row["checkpoint"], row["experiment"]) == ("m", "main", "e")
            assert row["text"] == f"text {i}" and row["n_tokens"] == len(ids)
            assert {row[form] for form in FORMS[1:] if form != MATCHED} == {None}


def test_context_is_the_cosine_of_every_pair_with_the_same_tokens():
    layers, begin = random_layers()
    labels = tokens_table()["label"].to_pylist()
    rows = by_key(tables(layers, begin)[1], "label_a", "label_b", "site", "layer")
    expected = 0
    for a, b in combinations(range(len(TARGETS)), 2):
        word, ids, sense_a = TARGETS[a]
        _, other, sense_b = TARGETS[b]
        if ids != other:
            assert not any({labels[a], labels[b]} == set(key[:2]) for key in rows)
            continue
        known = sense_a is not None and sense_b is not None
        relation = ("within" if sense_a == sense_b else "between") if known else None
        for at in layers:
            row = rows[labels[a], labels[b], at.site, at.layer]
            cosine = slow_cosine(at.hidden[a], at.hidden[b])
            assert row["cosine"] == pytest.approx(cosine, abs=1e-6)
            assert (row["sense_a"], row["sense_b"]) == (sense_a, sense_b)
            assert (row["relation"], row["word"]) == (relation, word)
            assert row["token"] == f"t{ids[-1]}" and row["adjusted"] is None
            expected += 1
    assert len(rows) == expected == 6 * len(PLACES)


def curve(*values):
    """An identity table and a context table of one label with given cosines on resid."""
    n = len(values)
    shared = {"model": ["m"] * n, "checkpoint": ["main"] * n, "experiment": ["e"] * n}
    where = {"site": ["resid"] * n, "layer": pa.array(range(n), pa.int32())}
    own, pair = zip(*values, strict=True)
    first = {"label": ["a"] * n, "word": ["w"] * n, "token": ["t"] * n, "text": ["x"] * n}
    second = {"label_a": ["a"] * n, "label_b": ["b"] * n, "relation": ["between"] * n}
    null = dict.fromkeys(FORMS[1:], pa.nulls(n, pa.float32()))
    return (
        pa.table(shared | first | where | {"cosine": pa.array(own, pa.float32())} | null),
        pa.table(shared | second | where | {"cosine": pa.array(pair, pa.float32())} | null),
    )


@pytest.mark.parametrize(
    ("values", "half_life", "dominance"),
    [
        ([(1.0, 1.0), (0.5, 0.9), (0.05, 0.9)], 2, None),
        ([(1.0, 1.0), (0.5, 0.4), (0.2, 0.9)], None, 1),
        ([(0.05, 0.9), (0.5, 0.9), (0.2, 0.1)], 0, 2),
        ([(0.3, 0.2), (0.05, 0.01), (0.9, 0.95)], 1, 0),
        ([(0.3, 0.3), (0.3, 0.3), (0.3, 0.3)], None, None),
        ([(None, 0.3), (0.3, None), (-0.5, -0.6)], 2, 2),
        ([(None, None), (None, None), (None, None)], None, None),
    ],
)
def test_half_life_and_dominance_are_first_layers_or_null(values, half_life, dominance):
    first, second = curve(*values)
    (row,) = summary(first, second, threshold=0.1, provenance=PROVENANCE).to_pylist()
    assert row["half_life_layer"] == half_life
    assert row["context_dominance_layer"] == dominance
    assert row["final_similarity"] == pytest.approx(values[-1][0])
    assert row["final_norm_similarity"] is None
    assert (row["word"], row["depth"], row["half_life_threshold"]) == ("w", 2, 0.1)


def test_half_life_is_strictly_below_the_threshold():
    first, second = curve((0.5, 1.0), (0.25, 1.0))
    at = summary(first, second, threshold=0.25, provenance=PROVENANCE)
    above = summary(first, second, threshold=0.5, provenance=PROVENANCE)
    assert at["half_life_layer"].to_pylist() == [None]
    assert above["half_life_layer"].to_pylist() == [1]


def test_only_the_stream_between_blocks_counts_for_half_life_and_dominance():
    layers, begin = random_layers()
    other = moved(layers, lambda at: at.hidden if at.site == "resid" else -at.hidden[::-1])
    columns = ["label", "half_life_layer", "context_dominance_layer", "final_similarity"]
    third, changed = tables(layers, begin)[2], tables(other, begin)[2]
    assert third.select(columns).equals(changed.select(columns))
    assert not third["final_norm_similarity"].equals(changed["final_norm_similarity"])


def test_dominance_is_measured_against_other_senses_where_there_are_any():
    targets = [("w", [7], "x"), ("w", [7], "x"), ("w", [7], "y")]
    hidden = np.array([[1, 0, 0], [0, 1, 0], [1, 0.1, 0]], np.float32)
    layers = [Layer("resid", 0, np.arange(3), hidden)]
    begin = np.array([[1, 0.2, 0], [1, 2, 0], [1, 1, 0]], np.float32)
    table = tables(layers, begin, tokens=tokens_table(targets))[2]
    found = dict(
        zip(table["label"].to_pylist(), table["context_dominance_layer"].to_pylist(), strict=True)
    )
    # The first is nearer to the other sense than to its embedding, and far from its own sense.
    assert found == {"w_0": None, "w_1": 0, "w_2": 0}


# --- what is known without computing ----------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_equal_directions_have_cosine_one_exactly(scale):
    rows = np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32)
    other = (rows * np.float32(scale)).astype(np.float32)
    assert (row_cosine(rows, rows) == 1).all()
    assert (row_cosine(rows, -rows) == -1).all()
    assert (row_cosine(rows, other) == 1).all()


def test_cosines_near_one_keep_their_digits():
    a = np.full((1, 4096), 1000, np.float32)
    b = a.copy()
    b[0, 0] = 1064
    exact = slow_cosine(a[0], b[0])
    assert 0 < 1 - exact < 1e-5
    assert row_cosine(a, b)[0] == np.float32(exact) < 1


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_states_without_a_direction_give_null(value):
    layers, begin = random_layers()
    layers[1].hidden[0, :] = value
    site, layer = PLACES[1]
    label = tokens_table()["label"][0].as_py()
    first, second, _ = tables(layers, begin)
    empty = [r for r in first.to_pylist() if r["cosine"] is None]
    assert [(r["label"], r["site"], r["layer"]) for r in empty] == [(label, site, layer)]
    empty = [r for r in second.to_pylist() if r["cosine"] is None]
    assert len(empty) == 2
    for row in empty:
        assert label in (row["label_a"], row["label_b"])
        assert (row["site"], row["layer"]) == (site, layer)
    for table in (first, second):
        assert not any(c is not None and math.isnan(c) for c in table["cosine"].to_pylist())


def test_without_pairs_context_is_empty_and_dominance_is_null():
    targets = [("lead", [7], "x"), ("bank", [8], "x"), ("Lead", [9], "y")]
    layers, begin = random_layers(n=3)
    first, second, third = tables(layers, begin, tokens=tokens_table(targets))
    assert second.num_rows == 0 and first.num_rows == 3 * len(PLACES)
    full = tables(*random_layers())[1]
    assert second.schema.equals(full.schema, check_metadata=True)
    assert third["context_dominance_layer"].to_pylist() == [None] * 3
    assert third["context_pairs"].to_pylist() == [0] * 3


def test_without_context_dominance_is_null():
    layers, begin = random_layers()
    first, _, third = tables(layers, begin)
    alone = summary(first, None, threshold=0.1, provenance=PROVENANCE)
    assert set(alone["context_dominance_layer"].to_pylist()) == {None}
    assert alone.schema.equals(third.schema, check_metadata=True)
    of_context = ["context_dominance_layer", "context_pairs"]
    assert alone.drop(of_context).equals(third.drop(of_context))
    assert set(alone["context_pairs"].to_pylist()) == {0} < set(third["context_pairs"].to_pylist())


# --- on models --------------------------------------------------------------------------------

PROMPTS = [
    Prompt(
        "late", "The pipes of the boat were contaminated with lead by them", None, " lead", 1, {}
    ),
    Prompt("early", "She will lead the team", None, " lead", 1, {}),
    Prompt("other", "down the hill the cold lead guide followed it", None, " lead", 1, {}),
]


@pytest.fixture(scope="session")
def measured(prepared, tmp_path_factory):
    """A function from a model to its three tables and its states."""
    folder = tmp_path_factory.mktemp("measured")
    done = {}

    def measure(name):
        if name not in done:
            model, architecture = load_model(prepared[name], torch.device("cpu"), "float32")
            experiment = Experiment("e", "e", (), "last", "default", (), (), tuple(PROMPTS))
            files = TokenizerFiles.load(prepared[name])
            tokens, skipped = tokenize(experiment, files, 64, model=name)
            tokens = measures.classed(tokens)
            assert skipped.num_rows == 0
            where = places(architecture.sites, 3)
            path = folder / f"{name}.parquet"
            with StatesWriter(path, where, range(3), 32) as writer:
                extract(
                    model, architecture, tokens, writer, pooling="last", token_budget=99, name=name
                )
                writer.finish(PROVENANCE)
            weights = Weights(prepared[name] / "model.safetensors")
            matrix = weights.find(architecture.embedding)
            begin = weights.rows(matrix, own_token_ids(tokens, "last"))
            states = StatesReader(path)
            done[name] = *tables(states, begin, tokens=tokens), states, begin
        return done[name]

    return measure


def cosines(table, site, layer):
    return [r["cosine"] for r in table.to_pylist() if (r["site"], r["layer"]) == (site, layer)]


@pytest.mark.parametrize("name", CONFIGS)
def test_identity_and_context_begin_at_one_exactly_with_rotary_positions_only(measured, name):
    first, second, *_ = measured(name)
    own, pairs = cosines(first, "resid", 0), cosines(second, "resid", 0)
    assert len(own) == 3 and len(pairs) == 3
    if name in ROTARY:
        assert own == [1.0] * 3 and pairs == [1.0] * 3
    else:
        assert max(own) < 0.999 and max(pairs) < 0.999


def test_the_rotary_models_are_the_ones_that_are():
    assert set(ROTARY) == {"gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2"}


@pytest.mark.parametrize("name", CONFIGS)
def test_final_similarity_is_before_the_final_norm_and_beside_it_the_one_after(measured, name):
    _, _, third, states, begin = measured(name)
    order = np.argsort([p.label for p in PROMPTS])
    raw = [slow_cosine(states.layer("resid", 3).hidden[i], begin[i]) for i in order]
    np.testing.assert_allclose(third["final_similarity"].to_pylist(), raw, atol=1e-6)
    if name in ENCODERS:
        assert third["final_norm_similarity"].to_pylist() == [None] * 3
        return
    normed = [slow_cosine(states.layer("final_norm", 3).hidden[i], begin[i]) for i in order]
    np.testing.assert_allclose(third["final_norm_similarity"].to_pylist(), normed, atol=1e-6)
    assert np.abs(np.subtract(raw, normed)).min() > 1e-4


# --- the tables -------------------------------------------------------------------------------


def test_tables_are_sorted_by_their_keys():
    first, second, third = tables(*random_layers())
    for table, keys in [
        (first, ["label", "site", "layer"]),
        (second, ["label_a", "label_b", "site", "layer"]),
        (third, ["label"]),
    ]:
        found = list(zip(*(table[key].to_pylist() for key in keys), strict=True))
        assert found == sorted(found) and len(set(found)) == len(found)


def test_the_order_of_layers_does_not_matter():
    layers, begin = random_layers()
    for one, other in zip(tables(layers, begin), tables(layers[::-1], begin), strict=True):
        assert one.equals(other)


def test_every_column_is_defined_and_the_provenance_is_there():
    for table in tables(*random_layers()):
        metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        assert metadata["title"] and metadata["tokentrails_version"] == __version__
        assert provenance_of(table) == PROVENANCE
        assert set(json.loads(metadata["definitions"])) == set(table.column_names)
        for field in table.schema:
            assert field.metadata[b"description"]
        units = json.loads(metadata["units"])
        assert set(units) <= set(table.column_names)
        numbers = {*FORMS, "half_life_layer", *(f"half_life_{form}" for form in FORMS[1:])}
        numbers |= {"context_dominance_layer", "final_similarity", "final_norm_similarity"}
        assert set(units) == numbers & set(table.column_names)


def test_an_experiments_own_columns_change_nothing_whatever_their_names():
    source = "".join(path.read_text() for path in (ROOT / "workflow").rglob("*.py"))
    assert not re.search(rf"""['"]{OWN}\w""", source)  # no other column begins like them
    layers, begin = random_layers()
    plain = tables(layers, begin)[-1]
    own = {f"{OWN}{name}": list(range(12)) for name in ("context", "y", "layer", "label_a")}
    tokens = measures.frame(tokens_table()).with_columns(**own).to_arrow()
    table = tables(layers, begin, tokens=tokens, groups=["sense", *own])[-1]
    assert table.select(plain.column_names).equals(plain)
    assert own.keys() < set(table.column_names)


# --- files ------------------------------------------------------------------------------------


def test_the_csv_twin_has_the_same_values(tmp_path):
    for name, table in zip("abc", tables(*random_layers()), strict=True):
        write_table(table, tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv")
        frame = read_frame(tmp_path / f"{name}.parquet")
        text = pl.read_csv(tmp_path / f"{name}.csv", infer_schema_length=0)
        assert text.columns == frame.columns
        twin = text.cast(dict(frame.schema))
        assert twin.equals(frame)


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = tables(*random_layers())[1]
    write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.equals(table)
    assert provenance_of(read) == PROVENANCE
    assert pq.read_schema(tmp_path / "t.parquet").field("cosine").metadata[b"unit"]


@pytest.mark.parametrize("begin", [*"=+-@＝＋－＠\t\r\n"])
def test_no_text_in_a_csv_is_a_formula(tmp_path, begin):
    danger = f"{begin}HYPERLINK(1)"
    table = pa.table(
        {
            "text": [danger, f"safe {begin}", "", None],
            "tokens": [[danger], [], ["東", '"'], None],
            "cosine": [-0.5, 1.0, -1e-9, None],
        }
    )
    write_table(table, tmp_path / "t.parquet", tmp_path / "t.csv")
    assert read_table(tmp_path / "t.parquet").equals(table)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"'{danger}", f"safe {begin}", "", ""]
    assert [row["cosine"] for row in rows[:2]] == ["-0.5", "1.0"]
    assert float(rows[2]["cosine"]) == -1e-9 and rows[3]["cosine"] == ""
    lists = [json.loads(row["tokens"]) for row in rows[:3]]
    assert lists == [[danger], [], ["東", '"']] and "東" in rows[2]["tokens"]


def test_no_title_in_the_index_of_the_paper_is_a_formula():
    title = '=HYPERLINK("http://x")'
    listed = index_csv([Item("s", 1, title, (("a.csv", "b.csv"),)), Item("s", 2, "a, b", ())])
    assert list(csv.reader(listed.splitlines())) == [
        ["study", "number", "title", "file", "made_as"],
        ["s", "1", f"'{title}", "b.csv", "a.csv"],
    ]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="No space"):
        write_table(pa.table({"a": [1]}), tmp_path / "t.parquet", tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_table_cut_short_is_named(tmp_path):
    write_table(tables(*random_layers())[0], tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[:-20])
    with pytest.raises(Exception, match=r"t\.parquet.*cut short"):
        read_table(tmp_path / "t.parquet")


def test_tables_with_different_group_columns_go_below_each_other(tmp_path):
    for name, column in (("a", {"kind": ["x"]}), ("b", {"year": [1]})):
        table = describe(pa.table({"label": [name], **column}), title="t", provenance={})
        write_table(table, tmp_path / f"{name}.parquet")
    frame = read_frames([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert frame is not None
    assert frame.rows(named=True) == [
        {"label": "a", "kind": "x", "year": None},
        {"label": "b", "kind": None, "year": 1},
    ]
    assert read_frames([]) is None
