"""Sums over a running text against plain loops over its tokens, whatever the number of shards."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from config_files import refused
from measures import ENGLISH, classed, statistics
from pytest import approx
from test_evolution import Case as Blocks
from test_metrics import PROVENANCE
from test_whole_texts import whole
from tiny_models import frame

from tokentrails.files.states import places
from tokentrails.files.tables import describe, write_parts
from tokentrails.metrics.corpus import (
    GROUPINGS,
    corpus_by_layer,
    corpus_geometry,
    corpus_types,
    refuse_mixed,
)
from tokentrails.metrics.corpus_sums import (
    CorpusSums,
    Pieces,
    Running,
    piece_batches,
    shard_of,
    summed,
)
from tokentrails.metrics.own_token import Readout
from tokentrails.statistics.baseline import Baseline
from tokentrails.statistics.bootstrap import FEWEST_UNITS
from tokentrails.statistics.fixed_point import from_fixed, to_fixed
from tokentrails.statistics.spectrum import effective_rank, isoscore, participation_ratio
from tokentrails.texts.streamed import SCHEMA
from tokentrails.texts.tokenization import tokenize
from tokentrails.texts.whole import whole_texts
from tokentrails.texts.word_classes import FrequencyBands
from tokentrails.texts.word_list import Entry, WordList

TEXTS = [
    "The lead pipes are cold.",
    "She will lead the team, and the boat reached the river bank.",
    "A spring of cold water ran down the hill, and the lead guide followed it to the bank.",
    "naïve café words",
    "The bank approved the loan. The water is cold.",
    "lead the lead, the lead guide",
    "In 1845 the bank was there.",
]
NAMES = ("gpt2", "llama", "roberta", "gemma2")
LINES = {"the": 1, "a": 2, "lead": 500, "water": 5000, "yew": 10_000}
BANDS = FrequencyBands(WordList(tuple(Entry(line, word) for word, line in LINES.items()), "x"))
READ_OUT = 3
GROUPED = ("word_class", "frequency_band")
STATISTICS = statistics(50, few=2)
KEYS = ("measure", "space", "site", "layer", "grouping", "group")


class Case(Blocks):
    """A tiny model, and its texts as the pieces of a running text, two to a document."""

    def __init__(self, name, folder, files, target):
        super().__init__(name, folder, files)
        self.tokens = classed(tokenize(whole(*TEXTS), files, 64, model=name)[0])
        self.texts = whole_texts(self.tokens)
        rows = []
        for number, text in enumerate(self.texts):
            words = self.tokens.filter(pa.compute.equal(self.tokens["label"], text.label))
            about = [(ENGLISH.of(w), BANDS.of(w)) for w in words["word"].to_pylist()]
            row = dict.fromkeys(SCHEMA.names) | {
                "occurrence": number,
                "label": text.label,
                "document": number // 2,
                "token_ids": text.token_ids,
                "n_tokens": len(text.token_ids),
            }
            rows.append(row | dict(zip(GROUPED, zip(*about, strict=True), strict=True)))
        self.path = target / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), self.path, row_group_size=2)
        self.pieces = Pieces(pq.ParquetFile(self.path))
        self.about = pl.DataFrame(rows)
        self.places = places(["resid", "resid_mid"], len(self.parts.blocks))

    def running(self, read_out=READ_OUT, parts=None):
        parts = parts or self.parts
        readout = Readout(self.model, self.architecture, parts, self.names)
        E = parts.embedding
        kept = readout if read_out else None
        return Running(
            self.model, self.architecture, self.places, E, kept, read_out, 0, "tiny (main)"
        )

    def parts_of(self, target, shards, budget=40, device="cpu", parts=None):
        """The files of sums, from so many shards, by their kind."""
        batches = piece_batches(self.pieces.lengths, budget)
        paths = {kind: [] for kind in ("pieces", "types", "products")}
        about = "sums", PROVENANCE | {"device": device}
        for number in range(1, shards + 1):

            def write(kind, tables, name=f"{number}_of_{shards}"):
                paths[kind].append(target / f"{name}.{kind}.parquet")
                write_parts((describe(table, *about) for table in tables), paths[kind][-1])

            sums = CorpusSums(self.running(parts=parts), self.pieces[batches[0]])
            write("pieces", summed(sums, self.pieces, shard_of(batches, number, shards), "tiny"))
            write("types", [sums.types(self.names)])
            write("products", sums.geometry(self.names))
        return paths

    @property
    def n_states(self):
        """Of all tokens but the first one of each piece."""
        return sum(length - 1 for length in self.pieces.lengths)

    def tables(self, target, shards, budget=40, baseline=None, parts=None):
        """The tables, from so many shards."""
        paths = self.parts_of(target, shards, budget, parts=parts)
        refuse_mixed(**paths, n_states=self.n_states)
        about = {"provenance": PROVENANCE}
        return {
            "by_layer": corpus_by_layer(
                paths["pieces"],
                baseline=baseline or Baseline(),
                statistics=STATISTICS,
                **about,
            ),
            "types": corpus_types(paths["types"], 2, **about),
            "geometry": corpus_geometry(paths["products"], **about),
        }

    def plain(self):
        """A row for each token and layer, by the model's own run of each text alone."""
        rows = []
        E = self.parts.embedding.double().numpy()
        for text, about in zip(self.texts, self.about.rows(named=True), strict=True):
            streams = self.states(text).double().numpy()
            for layer, x in enumerate(streams):
                for position, token in enumerate(text.token_ids):
                    row = {"document": about["document"], "piece": about["occurrence"]}
                    row |= {"layer": layer, "position": position, "token": token, "all": "all"}
                    row |= {name: about[name][position] for name in GROUPED}
                    row["length"] = np.linalg.norm(x[position])
                    row["identity"] = cosine(x[position], E[token])
                    before = streams[layer - 1, position]
                    row["neighbour"] = cosine(x[position], before) if layer else None
                    rows.append(row | {"state": x[position]})
        return pl.DataFrame(rows, infer_schema_length=None)


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.fixture(scope="module")
def case(prepared, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    return cache(lambda name: Case(name, prepared[name], files(name), folder))


# --- batches and shards -----------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 10, 31, 32, 1000])
def test_batches_hold_every_piece_once_and_no_more_than_the_budget(budget):
    lengths = [10, 3, 9, 9, 30, 1, 1, 1, 10]
    found = piece_batches(lengths, budget)
    assert [row for batch in found for row in batch] == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    for one, after in pairwise(found):  # and none could take the next one
        joined = [lengths[row] for row in (*one, after[0])]
        assert len(joined) * max(joined) > budget
    assert piece_batches([], 10) == []


@pytest.mark.parametrize(("batches", "shards"), [(7, 1), (7, 3), (3, 7), (8, 8)])
def test_shards_share_the_batches_out(batches, shards):
    every = [range(i, i + 1) for i in range(batches)]
    parts = [shard_of(every, number, shards) for number in range(1, shards + 1)]
    assert [batch for part in parts for batch in part] == every
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_sums_of_whole_numbers_do_not_depend_on_an_order():
    values = np.random.default_rng(0).uniform(-1, 1, 10_000)
    fixed = to_fixed(values)
    assert fixed.sum() == fixed[::-1].sum() == sum(fixed[i::7].sum() for i in range(7))
    assert from_fixed(fixed.sum()) == approx(values.sum(), abs=1e-6)
    assert to_fixed(np.array([1.0, np.nan])).tolist() == [2**36, 0]
    assert 2**36 * 10**8 < 2**63  # so many tokens of cosine 1 fit


# --- against plain loops ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("measure", ["identity", "length", "neighbour"])
def test_means_are_those_of_a_plain_loop(case, name, measure, tmp_path):
    made = case(name)
    found = frame(made.tables(tmp_path, 1)["by_layer"])
    found = found.filter(measure=measure, site="resid")
    tokens = made.plain().filter(pl.col("position") > 0, pl.col("word_class").is_not_null())
    rows = 0
    for grouping in GROUPINGS:
        groups = tokens.drop_nulls([grouping, measure]).group_by("layer", grouping)
        for (layer, group), here in groups:
            row = found.filter(layer=layer, grouping=grouping, group=group).row(0, named=True)
            texts = here["document"].n_unique()
            assert (row["n"], row["n_texts"], row["few"]) == (len(here), texts, texts < 2)
            assert row["mean"] == approx(here[measure].mean(), rel=1e-5, abs=1e-5)
            if texts >= FEWEST_UNITS:
                assert row["ci_low"] <= row["mean"] + 1e-6 and row["mean"] <= row["ci_high"] + 1e-6
            else:
                assert row["ci_low"] is row["ci_high"] is None
            rows += 1
    assert rows == len(found) > 0


@pytest.mark.parametrize("name", ["llama", "roberta"])
def test_what_is_read_out_is_what_the_table_own_token_has(case, name, tmp_path):
    from tokentrails.metrics.own_token import own_token

    made = case(name)
    every = made.running(10_000)
    readout = every.readout
    table = frame(own_token(made.tokens, readout, provenance=PROVENANCE))
    sums = CorpusSums(every, made.pieces[range(1)])
    parts = pl.DataFrame(pl.from_arrow(sums.add(made.pieces[range(len(made.texts))])))
    parts = parts.with_columns(pl.col(pl.Categorical).cast(pl.String)).drop_nulls("space")
    last = table.group_by("label").agg(last=pl.col("position").max())
    words = table.join(last, on="label").filter(
        pl.col("position").is_between(1, pl.col("last") - 1), pl.col("word_class").is_not_null()
    )
    values = {
        "own_log_rank": (1 + pl.col("own_rank")).log10(),
        "next_first": pl.col("next_rank") == 0,
        "own_logprob": "own_logprob",
        "next_logprob": "next_logprob",
        "entropy": "entropy",
        "kl": "kl",
    }
    for measure, column in values.items():
        column = pl.col(column) if isinstance(column, str) else column
        wanted = words.with_columns(column.cast(pl.Float64).alias("value")).drop_nulls("value")
        of_measure = parts.filter(measure=measure)
        assert of_measure["n"].sum() == len(wanted) > 0
        for (space, layer), here in wanted.group_by("space", "layer"):
            row = of_measure.filter(space=space, layer=layer)
            assert row["sum"].sum() == approx(here["value"].sum(), rel=1e-4, abs=1e-3)


def test_the_same_tokens_are_read_out_whatever_the_batch(case):
    made = case("llama")
    running = made.running(2)
    pieces = made.pieces[range(len(made.texts))]
    starts = np.cumsum([0, *made.pieces.lengths])
    together, _ = running.read(running.states(pieces), pieces)
    alone = [
        start + row
        for start, piece in zip(starts, pieces, strict=False)
        for row in running.read(running.states([piece]), [piece])[0]
    ]
    assert together.tolist() == alone and 0 < len(alone) <= 2 * len(pieces)
    groups = np.concatenate([piece.group for piece in pieces])
    assert (groups[together] >= 0).all()


@pytest.mark.parametrize("name", ["gpt2", "roberta"])
def test_types_are_means_over_their_tokens(case, name, tmp_path):
    made = case(name)
    found = frame(made.tables(tmp_path, 1)["types"]).filter(site="resid")
    tokens = made.plain().filter(pl.col("position") > 0, pl.col("word_class").is_not_null())
    wanted = tokens.group_by("token", "layer").agg(pl.col("identity").mean(), n=pl.len())
    wanted = wanted.filter(pl.col("n") >= 2).sort("token", "layer")
    assert (
        found.select("token_id", "layer", "n").rows() == wanted.select("token", "layer", "n").rows()
    )
    assert found["cosine"].to_list() == approx(wanted["identity"].to_list(), abs=1e-5)
    assert found["token"].to_list() == [made.names[i] for i in found["token_id"]]


def test_tokens_without_a_direction_take_no_part_in_identities_and_ranks(
    case, tmp_path, monkeypatch
):
    made = case("llama")
    whole = frame(made.tables(tmp_path, 1)["types"])
    absent, other = whole["token_id"].unique()[:2]
    E = made.parts.embedding.clone()
    E[absent] = 0
    states = Running.states

    def without(running, pieces):
        found = states(running, pieces).clone()
        labels = [(p.occurrence, i) for p in pieces for i in p.token_ids]
        found[:, [label == (piece, other) for label in labels]] = 0
        return found

    later = pl.col("position") > 0
    tokens = made.plain().filter(later, pl.col("word_class").is_not_null(), token=other)
    piece = tokens["piece"][0]
    tokens = tokens.filter(pl.col("piece") != piece).sort("layer")
    wanted = tokens.group_by("layer", maintain_order=True).agg(pl.col("identity").mean())
    monkeypatch.setattr(Running, "states", without)
    tables = made.tables(tmp_path, 2, parts=replace(made.parts, embedding=E))
    found = frame(tables["types"])
    assert found.drop("cosine").equals(whole.drop("cosine"))
    nulls = found.filter(pl.col("cosine").is_null())
    assert len(nulls) and nulls.equals(found.filter(token_id=absent))
    means = found.filter(token_id=other, site="resid")["cosine"].to_list()
    assert means == approx(wanted["identity"].to_list(), abs=1e-5)
    rest = ~pl.col("token_id").is_in([absent, other])
    assert found.filter(rest).equals(whole.filter(rest))
    read = frame(tables["by_layer"]).filter(space="embedding").select("measure", *KEYS[2:], "n")
    shares, ranks = (read.filter(measure=f"own_{name}") for name in ("first", "log_rank"))
    assert shares["n"].equals(ranks["n"]) and len(shares)


@pytest.mark.parametrize("name", NAMES)
def test_geometry_is_that_of_all_states_together(case, name, tmp_path):
    made = case(name)
    found = frame(made.tables(tmp_path, 2)["geometry"])
    for row in found.rows(named=True):
        here = made.plain().filter(pl.col("position") > 0, layer=row["layer"])
        states = np.stack(here["state"].to_list())
        values = np.maximum(np.linalg.eigvalsh(np.cov(states.T))[::-1], 0)
        assert row["n"] == len(states)
        assert row["effective_rank"] == approx(effective_rank(values), rel=1e-3)
        assert row["participation_ratio"] == approx(participation_ratio(values), rel=1e-3)
        assert row["isoscore"] == approx(isoscore(values, states.shape[1]), rel=1e-3, abs=1e-5)
        at, dimension = np.unravel_index(np.abs(states).argmax(), states.shape)
        assert row["largest"] == approx(np.abs(states).max(), rel=1e-5)
        assert row["largest_dimension"] == dimension
        keys = ("largest_piece", "largest_position")
        assert tuple(row[k] for k in keys) == here.select("piece", "position").row(int(at))
        assert row["largest_token"] == made.names[here["token"][int(at)]]


def test_a_large_common_part_drowns_nothing():
    """States of a mean of 10,000 with deviations of 1: products of the raw ones lose these."""
    from tokentrails.metrics.corpus_sums import Piece, Products

    rng = np.random.default_rng(1)
    states = (1e4 + rng.normal(size=(1, 4000, 8)) * np.arange(1, 9)).astype(np.float32)
    products = Products(torch.from_numpy(states[:, :50].mean(axis=1)))
    for start in range(0, 4000, 500):
        piece = Piece(start, start, "a", [0] * 500, np.zeros(500, int))
        products.add(torch.from_numpy(states[:, start : start + 500]), [piece])
    (total,), (scatter,) = products.total[0], products.scatter[0]
    covariance = (scatter - np.outer(total, total) / products.n) / (products.n - 1)
    later = np.delete(states[0].astype(float), np.arange(0, 4000, 500), axis=0)
    assert covariance == approx(np.cov(later.T), rel=1e-4, abs=1e-3)


# --- shards -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "roberta"])
def test_tables_are_the_same_bytes_whatever_the_shards(case, name, tmp_path):
    made = case(name)
    chance = Baseline({("embedding", ("resid", 1)): 0.25}, {})
    one = made.tables(tmp_path, 1, budget=20, baseline=chance)
    assert len(piece_batches(made.pieces.lengths, 20)) > 2
    for shards in (2, 3, 9):  # of some there is no batch
        other = made.tables(tmp_path, shards, budget=20, baseline=chance)
        for kind, table in one.items():
            assert table.equals(other[kind], check_metadata=True), (kind, shards)


@pytest.mark.parametrize("swapped", [(0,), (1,), (2,), (0, 1)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_parts_that_do_not_hold_each_piece_once_are_refused(case, tmp_path, swapped, device):
    """Another budget shares the pieces out at other borders; so does another device."""
    made = case("llama")
    paths = made.parts_of(tmp_path / "e", 3, budget=20)
    others = made.parts_of(tmp_path / "other", 3, budget=1000, device=device)
    refuse_mixed(**others, n_states=made.n_states)
    for kind in paths:
        for index in swapped:
            paths[kind][index] = others[kind][index]
    with refused("not made in one way", "delete them (rm -r", "run the same command again"):
        refuse_mixed(**paths, n_states=made.n_states)


def test_identity_beyond_chance_is_that_of_its_mean(case, tmp_path):
    made = case("llama")
    chance = Baseline({("embedding", ("resid", 1)): 0.25}, {})
    found = frame(made.tables(tmp_path, 1, baseline=chance)["by_layer"])
    for row in found.filter(measure="identity", layer=1, site="resid").rows(named=True):
        keys = {k: row[k] for k in ("layer", "site", "grouping", "group")}
        for form, scale in (("adjusted", 1), ("scaled", 0.75)):
            beyond = found.filter(measure=f"identity_{form}", **keys).row(0, named=True)
            assert beyond["mean"] == approx((row["mean"] - 0.25) / scale, abs=1e-6)
            if row["ci_low"] is not None:
                assert beyond["ci_low"] == approx((row["ci_low"] - 0.25) / scale, abs=1e-6)
            assert beyond["n"] == row["n"]
    assert set(found.filter(pl.col("measure") == "identity_scaled")["layer"]) == {1}
    assert found.select(KEYS).equals(found.select(KEYS).sort(KEYS, nulls_last=True))


def test_a_state_that_is_not_finite_names_its_piece(case):
    made = case("llama")
    running = made.running(0)
    broken = made.pieces[range(2)]
    weight = made.model.get_submodule("layers.1").mlp.down_proj.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:] = torch.nan
        with pytest.raises(Exception, match=f"layer 2, label {broken[0].label!r}"):
            running.states(broken)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
