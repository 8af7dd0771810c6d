"""The explorer: its numbers are those of the workflow's tables, and it refuses what it should."""

import asyncio
import gc
import json
import socket
import time
import weakref
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
import yaml
from browser import CHROMIUM, Browser, running
from starlette.testclient import TestClient
from test_metrics import PROVENANCE

from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.explore import server as module
from tokentrails.explore.chance import PAIRS, Chance
from tokentrails.explore.chance import _pairs as random_pairs
from tokentrails.explore.keep import FOLDER, text_file
from tokentrails.explore.look import FORMS, Look
from tokentrails.explore.models import VIEWS, Loaded, Models, Recent
from tokentrails.explore.server import HEADER, HEADERS, Explorer, application, listen
from tokentrails.explore.view import MOST_SHOWN, NEAREST, View, nearest_lists
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.metrics.as_published import position_rows, published_states
from tokentrails.metrics.baseline import Sample, baseline, baseline_dimensions, chances
from tokentrails.metrics.identity import identity
from tokentrails.metrics.own_token import Readout, own_token
from tokentrails.metrics.ranks import Published, Vocabulary, ranks
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.network.spread import Placement
from tokentrails.settings import Experiment, Prompt
from tokentrails.statistics.baseline import NO_BASELINE, Baseline
from tokentrails.statistics.bootstrap import Bootstrap
from tokentrails.statistics.similarity import row_cosine
from tokentrails.texts.tokenization import tokenize

TEXT = "The boat reached the river bank."
TOKEN, HOST = "a-token", "127.0.0.1:8765"
ASKED = {"model": "gpt2", "checkpoint": "main", "text": TEXT, "special_tokens": "default"}
TEXTS = {"boats": ("none", [("boat", TEXT, " river", 1)]), "words": ("default", [])}
PLACE = {"positions": [1, 3], "site": "resid", "matrix": "embedding"}
SENTENCES = [
    f"{who} {did} {what} by the river."
    for who in ("My uncle", "The sailor", "A nurse")
    for did in ("found the old", "painted a small")
    for what in ("table", "bridge", "letter", "boat")
]
BASELINE = Experiment(
    name="baseline",
    file="baseline.yaml",
    models=(),
    pooling="last",
    special_tokens="default",
    sites=("resid", "resid_mid"),
    analyses=("baseline",),
    prompts=tuple(Prompt(f"s{i}", text) for i, text in enumerate(SENTENCES)),
)
LINE = {"position", "layer", "cosine", "colour"}
RESID = Look("resid", "embedding")
MODELS = ("gpt2", "bert", "llama")


@pytest.fixture(scope="module")
def explorer(prepared) -> Explorer:
    return made_of(prepared)


def made_of(prepared) -> Explorer:
    folders = {name: {"main": prepared[name]} for name in MODELS}
    models = Models(folders, Placement((torch.device("cpu"),)))
    # The control is another model with the same tokenizer.
    return Explorer(models, TEXTS, BASELINE, {"gpt2": "llama"})


@pytest.fixture(scope="module")
def client(explorer) -> TestClient:
    app = application(explorer, TOKEN, [HOST])
    return TestClient(app, f"http://{HOST}", raise_server_exceptions=False)


def post(client, name, asked, **headers):
    body = json.dumps(asked)  # ASCII, as half a character has no bytes
    headers = {HEADER: TOKEN, "content-type": "application/json"} | headers
    return client.post(f"/{name}", content=body, headers=headers)


def answer(client, name, /, **more):
    found = post(client, name, ASKED | more)
    assert found.status_code == 200, found.text
    return found.json()


def refusal(client, name="tokens", /, **more):
    """The one message on a request that is refused; the next one is answered."""
    found = post(client, name, ASKED | more)
    said = found.json()
    assert set(said) == {"problem", "hint"} and all(said.values())
    assert answer(client, "tokens")["tokens"]
    return found.status_code, said["problem"]


# Numbers


def view_of(explorer, name, text=TEXT) -> View:
    return View.of(explorer.models.get(name, "main"), name, text, "default")


@pytest.mark.parametrize(("name", "tied"), [("gpt2", True), ("gemma2", True), ("llama", False)])
def test_an_unembedding_is_tied_though_the_stream_gets_a_multiple(prepared, name, tied):
    assert Loaded.from_folder(prepared[name], Placement((torch.device("cpu"),))).is_tied is tied


@pytest.fixture(scope="module")
def stored(explorer, prepared, tmp_path_factory):
    """The states of the same text, as the workflow computes and stores them."""

    def states(name: str) -> tuple[StatesReader, View]:
        view = view_of(explorer, name)
        return stored_states(prepared[name], view.tokens, tmp_path_factory.mktemp(name)), view

    return states


def stored_states(weights: Path, tokens: pa.Table, folder: Path) -> StatesReader:
    model, architecture = load_model(weights, torch.device("cpu"))
    checkpoint, path = Checkpoint(weights), folder / "states.parquet"
    read = places(["resid", "resid_mid"], checkpoint.facts["depth"])
    rows = tokens["occurrence"].to_pylist()
    with StatesWriter(path, read, rows, checkpoint.embedding.shape[1]) as writer:
        settings = {"pooling": "last", "token_budget": 64, "name": weights.name}
        extract(model, architecture, tokens, writer, **settings)
        writer.finish(PROVENANCE)
    return StatesReader(path)


@pytest.mark.parametrize("name", MODELS)
def test_ranks_and_identity_are_those_of_the_tables(explorer, stored, name):
    reader, view = stored(name)
    positions = list(range(len(view.ids)))
    for matrix, vocabulary in view.loaded.matrices.items():
        for site in ("resid", "resid_mid"):
            table = ranks(
                (reader.layer(*place) for place in reader.places if place[0] == site),
                view.tokens,
                vocabulary,
                nearest=NEAREST,
                baseline=NO_BASELINE,
                offsets=None,
                published=None,
                pooling="last",
                groups=[],
                provenance=PROVENANCE,
            )
            expected = pl.DataFrame(pl.from_arrow(table)).sort("position", "layer")
            found = view.ranks(positions, Look(site, matrix))
            same = ["position", "layer", "token", "word", "word_class", "rank", "nearest"]
            assert found.select(same).equals(expected.select(same))
            np.testing.assert_allclose(found["cosine"], expected["cosine"], atol=1e-6)
    own = view.loaded.checkpoint.embedding_rows(np.array(view.ids))
    how = {"pooling": "last", "groups": [], "provenance": PROVENANCE}
    cosine = pl.DataFrame(pl.from_arrow(identity(reader, view.tokens, own, **how)))
    cosine = cosine.filter(site="resid").sort("position", "layer")["cosine"]
    found = view.ranks(positions, RESID)["cosine"]
    np.testing.assert_allclose(found, cosine, atol=1e-6)


def test_a_look_finds_no_neighbours_as_none_are_shown(explorer, monkeypatch):
    monkeypatch.setattr(Vocabulary, "neighbour_cosines", None)
    assert len(view_of(explorer, "gpt2", "A look.").ranks([1], RESID))


@pytest.mark.parametrize("name", MODELS)
def test_own_logprob_and_length_are_those_of_the_tables(explorer, stored, name):
    reader, view = stored(name)
    positions = list(range(len(view.ids)))
    table = own_token(view.tokens, view.loaded.readout, provenance=PROVENANCE)
    expected = pl.DataFrame(pl.from_arrow(table)).filter(space="unembedding")
    keys = ["position", "layer"]
    found = view.own_logprob(positions).join(expected, on=keys)
    assert len(found) == len(positions) * (view.depth + 1)
    np.testing.assert_allclose(found["value"], found["own_logprob"], atol=1e-5)
    lengths = view.lengths([2], "resid_mid").sort("layer")["value"]
    states = [reader.layer("resid_mid", layer).hidden[2] for layer in range(view.depth)]
    np.testing.assert_allclose(lengths, np.linalg.norm(states, axis=1), rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("site", ["resid", "resid_mid"])
def test_every_form_is_that_of_the_tables(explorer, stored, prepared, tmp_path, name, site):
    reader, view = stored(name)
    checkpoint = view.loaded.checkpoint
    texts, _ = tokenize(BASELINE, view.loaded.files, 64, model=name)
    sample = Sample.from_tokens(texts, "baseline.yaml")
    rows = checkpoint.embedding_rows(sample.token_ids)
    pairs = list(
        chances(
            stored_states(prepared[name], texts, tmp_path), sample, rows, Bootstrap(50, 0.95, 0)
        )
    )
    made = baseline(pairs, sample, provenance=PROVENANCE)
    dimensions = baseline_dimensions(pairs, rows, provenance=PROVENANCE)
    how = {
        "baseline": Baseline.from_tables(made, dimensions),
        "pooling": "last",
        "groups": [],
        "provenance": PROVENANCE,
    }
    layers = [reader.layer(*place) for place in reader.places if place[0] == site]
    own = checkpoint.embedding_rows(np.array(view.ids))
    expected = pl.DataFrame(pl.from_arrow(identity(layers, view.tokens, own, **how)))
    ranked = ranks(
        layers,
        view.tokens,
        view.loaded.matrices["embedding"],
        nearest=NEAREST,
        offsets=None,
        published=None,
        **how,
    )
    keys = ("position", "layer")
    expected = expected.sort(*keys)
    standardised = pl.DataFrame(pl.from_arrow(ranked)).sort(*keys)["rank_standardised"]
    positions = list(range(len(view.ids)))
    chance = Chance(view.loaded, name, BASELINE)
    last = Look(site, "embedding", "standardised")
    while chance.piece(last):
        assert chance.doing
    for form in FORMS:
        found = view.ranks(positions, Look(site, "embedding", form), chance)
        np.testing.assert_allclose(found["cosine"], expected[form], atol=2e-5)
        if form == "standardised":
            assert found["rank"].equals(standardised.alias("rank"))
    raw, scaled = (
        view.ranks(positions, Look(site, "embedding", form), chance).select(
            "layer", nearest=pl.col("nearest_cosine").list.first()
        )
        for form in FORMS[:2]
    )
    for kind in ("states", "embedding"):
        for place in ((site, layer) for layer in range(view.depth)):
            ours, table = chance.baselines["embedding"], how["baseline"]
            expected = pytest.approx(table.chance_of(kind, place), abs=1e-6)
            assert ours.chance_of(kind, place) == expected
    b = np.array([how["baseline"].chance_of("embedding", (site, n)) for n in raw["layer"]])
    np.testing.assert_allclose(scaled["nearest"], (raw["nearest"] - b) / (1 - b), atol=2e-5)
    band = chance.bands(last)
    assert set(band["measure"]) == {"cosine", "rank", "length", "own_logprob"}
    assert (band["low"] <= band["value"]).all() and (band["value"] <= band["high"]).all()


def test_the_band_of_chance_is_of_another_token(explorer):
    view = view_of(explorer, "gpt2")
    chance = Chance(view.loaded, "gpt2", BASELINE)
    positional = replace(RESID, positional=True)
    while chance.piece(RESID) or chance.piece(positional):
        pass
    texts, _ = tokenize(BASELINE, view.loaded.files, 64, model="gpt2")
    sample = Sample.from_tokens(texts, "baseline.yaml")
    labels = np.array(texts["label"].to_pylist())[sample.rows]
    own, others = random_pairs(labels, sample.token_ids)
    assert len(own) == PAIRS and (labels[own] != labels[others]).all()
    assert (sample.token_ids[own] != sample.token_ids[others]).all()
    words = view.loaded.readout.parts.embedding.numpy()[sample.token_ids[others]]
    states = chance.loaded.readout.parts.embedding.numpy()[sample.token_ids[own]]
    positions = texts["last"].to_numpy()[sample.rows][own]
    offsets = position_rows(view.loaded.checkpoint, positions)
    states = states + offsets
    own, middle = sample.token_ids[others], (0.1, 0.5, 0.9)
    for look, moved in ((positional, offsets), (RESID, None)):
        found = view.loaded.matrices["embedding"].rank(states, own, 0, moved)
        for measure, values in (("cosine", found.cosine), ("rank", found.rank)):
            band = chance.bands(look).filter(measure=measure, layer=0)
            expected = pytest.approx(np.quantile(values, middle), abs=1e-5)
            assert band.select("low", "value", "high").row(0) == expected
    against = words / np.linalg.norm(words, axis=1)[:, None]
    cosine = (states * against).sum(1) / np.linalg.norm(states, axis=1)
    band = chance.bands(RESID).filter(measure="cosine", layer=0)
    assert band["value"][0] == pytest.approx(np.median(cosine), abs=1e-5)
    both = chance.loaded.readout.parts.embedding.numpy()[sample.token_ids[others]]
    both = both + position_rows(
        view.loaded.checkpoint, texts["last"].to_numpy()[sample.rows][others]
    )
    pairs = chance.pair_bands(RESID).filter(measure="context", layer=0)
    expected = pytest.approx(np.quantile(row_cosine(states, both), middle), abs=1e-5)
    assert pairs.select("low", "value", "high").row(0) == expected
    scaled = chance.bands(replace(RESID, form="scaled")).filter(measure="cosine", layer=0)
    mean = chance.baselines["embedding"].chance_of("embedding", ("resid", 0))
    assert scaled["value"][0] == pytest.approx((band["value"][0] - mean) / (1 - mean))


def test_the_texts_run_once_for_each_checkpoint(explorer, monkeypatch):
    view = view_of(explorer, "gpt2")
    chance = Chance(view.loaded, "gpt2", BASELINE)
    while chance.piece(RESID):
        pass
    monkeypatch.setattr("tokentrails.explore.chance.run", None)
    monkeypatch.setattr(Readout, "logprob", None)
    other = Look("resid_mid", "unembedding", "centred")
    assert set(chance.bands(other)["measure"]) == {"cosine", "length", "own_logprob"}  # at once
    while chance.piece(other):
        pass
    assert set(chance.bands(other)["measure"]) == {"cosine", "rank", "length", "own_logprob"}


def test_a_correction_waits_for_its_own_model_alone(prepared):
    explorer = made_of(prepared)
    asked = {**ASKED, **PLACE, "form": "standardised"}
    while explorer.chance({**asked, "wanted": "form"})["doing"]:
        pass
    assert explorer.nearest(asked)["tokens"] and explorer.figures({**asked, "chance": True})
    assert len(explorer.models._loaded) == 1
    (chance,) = explorer.models.get("gpt2", "main").chance._kept.values()
    assert "rank" not in set(chance.bands(Look("resid", "embedding", "standardised"))["measure"])


def test_figures_have_chance_and_control(client, explorer):
    more = {**PLACE, "site": "resid_mid", "form": "centred"}
    for wanted in ("form", "bands", "control"):
        while doing := answer(client, "chance", **more, wanted=wanted)["doing"]:
            assert any(word in doing for word in ("layer", "texts", "part"))
    answered = answer(client, "figures", **more, chance=True, random=True)["figures"]
    found = {figure["name"]: figure for figure in answered}
    figures = {name: figure["spec"] for name, figure in found.items()}
    look = Look("resid_mid", "embedding", "centred")
    control = view_of(explorer, "llama")
    chance = Chance(control.loaded, "llama", BASELINE)
    while chance.piece(look, bands=False):
        pass
    expected = control.measured([1, 3], look, chance)["ranks"]
    rows = [r for data in figures["similarity"]["datasets"].values() for r in data]
    lines = {(r["position"], r["layer"]): r["cosine"] for r in rows if set(r) == LINE}
    assert len(lines) == len(expected)
    for position, layer, cosine in expected.select("position", "layer", "cosine").iter_rows():
        assert lines[position, layer] == pytest.approx(cosine, abs=1e-5)
    table = pl.read_csv(StringIO(found["similarity"]["csv"]))
    assert table["control"].to_list() == pytest.approx(expected["cosine"].to_list(), abs=1e-5)
    assert (table["chance_low"] < table["chance_high"]).all() and (table["form"] == "centred").all()
    colours = {r["position"]: r["colour"] for r in rows if "series" in r}
    dashed = {(r["position"], r["colour"]) for r in rows if set(r) == LINE}
    assert dashed == set(colours.items()) and len(set(colours.values())) == 2
    for spec in figures.values():
        assert TEXT in "".join(spec["title"]["subtitle"])
        assert "Grey band" in json.dumps(spec) and "random weights" in json.dumps(spec)
    plain = answer(client, "figures", **more)["figures"]
    assert "Grey band" not in json.dumps(plain)


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_positions_and_the_published_formula_are_those_of_the_table(stored, name):
    reader, view = stored(name)
    checkpoint, published = view.loaded.checkpoint, None
    positions = list(range(len(view.ids)))
    if name == "bert":
        of_all = published_states(reader, ["text"] * len(positions), checkpoint)
        published = Published(of_all, position_rows(checkpoint, [0])[0])
    table = ranks(
        (reader.layer("resid_mid", layer) for layer in range(view.depth)),
        view.tokens,
        view.loaded.matrices["embedding"],
        nearest=NEAREST,
        baseline=NO_BASELINE,
        offsets=position_rows(checkpoint, positions),
        published=published,
        pooling="last",
        groups=[],
        provenance=PROVENANCE,
    )
    look = Look("resid_mid", "embedding", positional=True, as_published=name == "bert")
    expected = pl.DataFrame(pl.from_arrow(table)).sort("position", "layer")
    found = view.ranks(positions[1:3], look)
    expected = expected.filter(pl.col("position").is_in(positions[1:3]))
    columns = ["rank", "nearest", "positional", "rank_as_published"]
    assert found.select(columns).equals(expected.select(columns))
    assert found["positional"].all() and view.loaded.has_positions
    assert found["rank_as_published"].is_not_null().all() == (name == "bert")
    (first, _) = nearest_lists(found, view.loaded.readable)
    assert first["layers"][0]["published"][1] == expected["rank_as_published"][0]


def test_what_a_model_has_is_offered(client):
    for name, positional, published in (
        ("gpt2", True, False),
        ("bert", True, True),
        ("llama", False, False),
    ):
        found = answer(client, "tokens", model=name)
        assert (found["positional"], found["as_published"]) == (positional, published)
        assert found["forms"] == ["cosine", "scaled", "centred", "standardised"]
    found = refusal(client, "nearest", model="llama", **PLACE, positional=True)
    assert "adds no learned vector" in found[1]
    assert refusal(client, "nearest", **PLACE, form="matched")[0] == 400


def test_the_api_gives_these_numbers(client, explorer):
    view = view_of(explorer, "gpt2")
    (first, second) = answer(client, "nearest", **PLACE)["tokens"]
    assert (first["position"], second["position"]) == (1, 3)
    rows = view.ranks([3], RESID)
    assert [layer["rank"] for layer in second["layers"]] == rows["rank"].to_list()
    assert [layer["cosine"] for layer in second["layers"]] == rows["cosine"].to_list()
    assert second["layers"][0]["layer"] == 0 and len(second["layers"][0]["nearest"]) == 10


def test_what_other_tokens_need_is_computed_ahead(client, explorer, monkeypatch):
    more = {"text": "A bank by the river.", "site": "resid", "matrix": "embedding"}
    pieces = 0
    while answer(client, "ahead", **more)["more"]:
        pieces += 1
    expected = view_of(explorer, "gpt2", more["text"])
    every = list(range(len(expected.ids)))
    assert pieces == 2 * len(every)  # ranks, and log-probabilities
    found = explorer._view(ASKED | more)
    monkeypatch.setattr(View, "_rank", None)  # nothing is left to compute
    monkeypatch.setattr(Readout, "logprob", None)
    kept, logprobs = found.ranks(every, RESID), found.own_logprob(every)
    monkeypatch.undo()
    assert kept.equals(expected.ranks(every, RESID))
    np.testing.assert_allclose(logprobs["value"], expected.own_logprob(every)["value"], atol=1e-5)


@pytest.mark.parametrize("site", ["resid", "resid_mid"])
def test_figures_show_the_tokens_that_are_asked_for(client, explorer, site):
    place = PLACE | {"site": site, "matrix": "unembedding"}
    figures = {f["name"]: f["spec"] for f in answer(client, "figures", **place)["figures"]}
    assert list(figures) == ["similarity", "rank", "own_token", "length"]
    view = view_of(explorer, "gpt2")
    for name, column in {"similarity": "cosine", "own_token": "own_logprob"}.items():
        rows = [row for data in figures[name]["datasets"].values() for row in data]
        wanted = {"position", "layer", column}
        rows = [row for row in rows if wanted <= row.keys()]
        drawn = {(row["position"], row["layer"]): row[column] for row in rows}
        assert {position for position, _ in drawn} == {1, 3}
        if name == "own_token":
            for position, layer, value in view.own_logprob([1, 3]).iter_rows():
                assert drawn[position, layer] == pytest.approx(value, abs=1e-5)
    assert "unembedding matrix" in json.dumps(figures["similarity"]["title"])


def test_figures_have_their_tables(client, explorer):
    text = "=1+1 the -2 boat"
    (word, *_) = view_of(explorer, "gpt2", text).tokens["tokens"][0].as_py()
    place = {"positions": [0, 2], "site": "resid_mid", "matrix": "embedding", "text": text}
    figures = {f["name"]: f for f in answer(client, "figures", **place)["figures"]}
    assert all("table" not in figure for figure in figures.values())
    tables = {name: pl.read_csv(StringIO(f["csv"])) for name, f in figures.items()}
    view = view_of(explorer, "gpt2", text)
    keys = ["position", "layer"]
    expected = {
        "similarity": (
            "resid_mid",
            "embedding",
            "cosine",
            view.ranks([0, 2], Look("resid_mid", "embedding")),
        ),
        "own_token": ("resid", "unembedding", "own_logprob_nats", view.own_logprob([0, 2])),
        "length": ("resid_mid", None, "length_model_units", view.lengths([0, 2], "resid_mid")),
    }
    for name, (site, matrix, column, numbers) in expected.items():
        table = tables[name]
        assert table["model"].unique().to_list() == ["gpt2"]
        assert table["checkpoint"].unique().to_list() == ["main"]
        assert table["text"].unique().to_list() == ["'" + text]  # no formula in a spreadsheet
        assert table["token"][0] == "'" + word
        assert table["token_shown"][0] == "'" + view_of(explorer, "gpt2").loaded.readable(word)
        assert table["site"].unique().to_list() == [site]
        assert table.get_column("matrix", default=pl.Series([None]))[0] == matrix
        both = table.join(
            numbers.rename({"cosine" if name == "similarity" else "value": "known"}), on=keys
        )
        assert len(both) == len(numbers) == len(table)
        assert (both[column].cast(pl.Float32) == both["known"].cast(pl.Float32)).all()
        assert not {"colour", "place", "series"} & set(table.columns)
        title = figures[name]["spec"]["title"]["text"]
        assert "".join(title).startswith("gpt2 (main): ")


def test_tokens_are_told_apart(client):
    tokens = answer(client, "tokens", model="bert")["tokens"]
    assert [t["special"] for t in tokens] == [True, *[False] * (len(tokens) - 2), True]
    tokens = answer(client, "tokens", text="café 東京")["tokens"]
    assert not any("Ã" in each["readable"] for each in tokens)
    assert [t["position"] for t in tokens] == list(range(len(tokens)))


def test_bytes_are_told_from_letters(client):
    text = "Ã 東"
    tokens = answer(client, "tokens", text=text)["tokens"]
    each = next(t for t in tokens if "<0x" in t["readable"])
    more = PLACE | {"text": text, "positions": [each["position"]]}
    (listed,) = answer(client, "nearest", **more)["tokens"]
    assert (listed["readable"], listed["entry"]) == (each["readable"], each["entry"])
    nearest = listed["layers"][0]["nearest"]
    assert [each["readable"], each["entry"]] in [[word, entry] for word, _, entry in nearest]
    figures = answer(client, "figures", **more)["figures"]
    more = {"text": "本 the", "position": 1, "key": None}  # its byte 0x9C is no letter Ń
    inside = [answer(client, name, **more)["figures"][0] for name in ("heads", "evolution")]
    for figure, column in zip(inside, ("key_token", "token"), strict=True):
        table = pl.read_csv(StringIO(figure["csv"]))
        assert set(table[f"{column}_shown"]) >= {"<0x9C>"}
    assert all("<0x9C>" in json.dumps(figure["spec"]) for figure in inside)
    drawn = [row for f in figures for d in f["spec"]["datasets"].values() for row in d]
    assert {row["series"] for row in drawn if "series" in row} == {each["readable"]}


def test_tokens_have_colours_of_their_own_and_lengths_a_log_axis(client, explorer):
    figures = answer(client, "figures", **PLACE)["figures"]
    for figure in figures:
        rows = [row for data in figure["spec"]["datasets"].values() for row in data]
        colours = {(row["position"], row["colour"]) for row in rows if "series" in row}
        assert len(colours) == len({colour for _, colour in colours}) == 2
    drawn = {(row["position"], row["layer"]): row["log"] for row in rows if "log" in row}
    for position, layer, length in view_of(explorer, "gpt2").lengths([1, 3], "resid").iter_rows():
        assert drawn[position, layer] == pytest.approx(np.log10(length), abs=1e-5)


def test_choices_are_those_of_the_configuration(client):
    found = answer(client, "choices")
    assert found["models"] == [{"name": name, "checkpoints": ["main"]} for name in MODELS]
    boats = {
        "experiment": "boats",
        "special_tokens": "none",
        "prompts": [["boat", TEXT, TEXT.index(" bank")]],
    }
    assert found["texts"] == [boats]


# Memory


def test_only_the_last_values_stay():
    made = []
    recent = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent.get(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 2] and len(recent) == 2


def test_large_values_are_fewer_but_two():
    gone = []
    recent = Recent(10, gone.append, size=lambda key: key, least=2)
    for key in (4, 5, 1, 6, 20, 30):
        recent.get(key, lambda key=key: key)
    # 6 finds room beside 1 alone; the largest stay beside one other.
    assert gone == [4, 5, 1, 6] and len(recent) == 2


def test_models_and_texts_are_few(client, explorer):
    for index in range(6 * len(MODELS)):
        answer(client, "tokens", text=f"{TEXT} {index}", model=MODELS[index // 6])
    assert len(explorer.models._loaded) == len(MODELS)
    assert len(explorer.models.get(MODELS[-1], "main").views) == VIEWS


def test_a_checkpoint_that_is_let_go_is_free_at_once(prepared, monkeypatch):
    monkeypatch.setattr("tokentrails.explore.models.MOST_BYTES", 1)  # which leaves two
    folders = {name: {"main": prepared[name]} for name in MODELS}
    explorer = Explorer(Models(folders, Placement((torch.device("cpu"),))), {}, BASELINE)
    gc.collect()
    gc.disable()
    try:
        asked = {**ASKED, **PLACE, "form": "centred"}
        explorer.nearest(asked)
        explorer.chance({**asked, "wanted": "bands"})  # and is not done
        gone = weakref.ref(explorer.models.get("gpt2", "main"))
        assert gone() is not None
        for name in MODELS[1:]:
            explorer.nearest({**asked, "model": name})
        assert gone() is None
    finally:
        gc.enable()


# What is refused


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1", ""])
def test_another_host_is_refused(client, host):
    for found in (
        client.get("/", headers={"host": host}),
        post(client, "tokens", ASKED, host=host),
    ):
        assert found.status_code == 400
        assert found.json()["problem"] == "this server is called by another name"


@pytest.mark.parametrize("headers", [{}, {HEADER: "another"}, {HEADER: ""}, {HEADER: "é".encode()}])
def test_a_request_needs_the_token(client, headers):
    found = client.post("/tokens", json=ASKED, headers=headers)
    assert found.status_code == 403 and "token" in found.json()["problem"]


def test_another_page_is_refused(client):
    assert post(client, "tokens", ASKED, origin="http://evil.example").status_code == 403
    assert post(client, "tokens", ASKED, origin=f"http://{HOST}").status_code == 200
    asked = client.options("/tokens", headers={"origin": "http://evil.example"})
    assert asked.status_code == 405
    assert not any(name.startswith("access-control") for name in asked.headers)


def test_only_json_is_taken_and_only_by_post(client):
    header = {HEADER: TOKEN}
    assert client.get("/tokens", headers=header).status_code == 405
    found = client.post("/tokens", data=ASKED, headers=header)
    assert found.status_code == 415 and found.json()["problem"] == "the request is not JSON"
    json_header = header | {"content-type": "application/json"}
    for body in (b"", b"[1]", b"{", b"\xff", b"[" * 60_000):
        found = client.post("/tokens", content=body, headers=json_header)
        assert found.status_code == 400 and "no JSON object" in found.json()["problem"]
    assert client.post("/nothing", json={}, headers=header).status_code == 404


@pytest.mark.parametrize(
    ("more", "status", "problem"),
    [
        ({"text": "a" * 100_000}, 413, "the request has more than 64 KiB"),
        ({"text": "a" * 5000}, 422, "the text has 5000 characters, more than 4000"),
        ({"text": "a b " * 200}, 422, "the text has more than 64 tokens"),
        ({"text": " \n"}, 422, "there is no text"),
        ({"text": "a\ud800b"}, 422, "lone surrogate"),
        ({"text": "a\0b"}, 422, "NUL"),
        ({"text": 3}, 400, "text is not a text"),
        ({"model": "gpt5"}, 422, "'gpt5' is no model of this configuration"),
        ({"model": "../../etc"}, 422, "no model"),
        ({"checkpoint": "../main"}, 422, "no checkpoint of gpt2"),
        ({"special_tokens": "all"}, 400, "special_tokens is 'all'"),
    ],
)
def test_bad_requests_have_one_message(client, more, status, problem):
    found, said = refusal(client, **more)
    assert found == status and problem in said


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"positions": []}, "0 tokens are chosen"),
        ({"positions": list(range(MOST_SHOWN + 1))}, f"{MOST_SHOWN + 1} tokens are chosen"),
        ({"positions": [-1]}, "positions are not numbers"),
        ({"positions": [99]}, "positions are not numbers"),
        ({"positions": [True]}, "positions are not numbers"),
        ({"positions": "1"}, "positions are not numbers"),
        ({"site": "final_norm"}, "site is 'final_norm'"),
        ({"matrix": "rows"}, "matrix is 'rows'"),
    ],
)
def test_bad_places_have_one_message(client, more, problem):
    for name in ("nearest", "figures"):
        _, said = refusal(client, name, **(PLACE | more))
        assert problem in said


def test_an_unexpected_error_leaves_the_server_up(client, monkeypatch, caplog):
    monkeypatch.setattr(View, "of", lambda *_: 1 / 0)
    status, said = post(client, "tokens", ASKED | {"text": "another one"}), None
    monkeypatch.undo()
    assert status.status_code == 500
    assert status.json()["problem"] == "ZeroDivisionError: this is unexpected"
    assert said is None and "ZeroDivisionError" in caplog.text
    assert answer(client, "tokens")


def test_too_many_requests_at_a_time(client, monkeypatch):
    monkeypatch.setattr(module, "MOST_REQUESTS", 0)
    assert refusal_alone(client) == (503, "too many requests at a time")


def test_a_request_at_ctrl_c_is_answered(explorer, monkeypatch):
    monkeypatch.setattr(explorer, "answer", lambda *_: time.sleep(0.3))
    app, sent = application(explorer, TOKEN, [HOST]), []
    headers = {"host": HOST, HEADER: TOKEN, "content-type": "application/json"}
    scope = {"type": "http", "method": "POST", "path": "/tokens", "query_string": b""}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        sent.append(message)

    async def ask():
        task = asyncio.ensure_future(app(scope, receive, send))
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    asyncio.run(ask())
    assert sent[0]["status"] == 503 and b"the explorer has ended" in sent[1]["body"]


def refusal_alone(client):
    found = post(client, "tokens", ASKED)
    return found.status_code, found.json()["problem"]


def test_every_answer_has_the_policy(client):
    for found in (client.get("/"), post(client, "tokens", ASKED), client.get("/nothing")):
        for name, value in HEADERS.items():
            assert found.headers[name] == value
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    page = client.get("/").text
    assert "<style" not in page and "style=" not in page and " on" not in page.replace(" one", "")
    script = client.get("/page.js").text + client.get("/page.panels.js").text
    assert not any(word in script for word in ("innerHTML", "eval(", "insertAdjacentHTML"))
    assert "vegaEmbed" in client.get("/vega.js").text


def test_texts_are_never_html(client):
    found = post(client, "tokens", ASKED | {"text": "<script>alert(1)</script> \u202ebank"})
    assert found.headers["content-type"] == "application/json"
    assert "\u202e" not in "".join(each["readable"] for each in found.json()["tokens"])


def test_a_port_in_use_is_said():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            TokentrailsError, match=rf"explore\.port: port {port} is in use\nHint: "
        ):
            listen(port)
    with listen(0) as own:
        assert own.getsockname()[0] == "127.0.0.1"


# Keeping


@pytest.mark.parametrize(
    "text", [TEXT, "a: \"b\" 'c' #d", " {é} \u202e🙂", "two\nlines", "no", "7"]
)
def test_the_saved_experiment_loads(client, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    more = {"name": "seen", "text": text}
    found = answer(client, "experiment", **more)
    assert found["written"] is False and not FOLDER.exists()
    assert (found["path"], found["taken"]) == ("config/experiments/seen.yaml", [])
    path = answer(client, "experiment", **more, write=True)["written"]
    assert Path(path).read_text(encoding="utf-8") == found["content"]
    content = load_experiment_file(path)
    (prompt,) = content.prompts
    assert (prompt.label, prompt.prompt, prompt.is_whole) == ("seen", text, True)
    assert content.analyses == ("identity", "ranks", "own_token")
    (entry,) = yaml.safe_load(found["entry"])["experiments"].values()
    experiment = load_experiment("seen", entry)
    assert (experiment.models, experiment.special_tokens) == (("gpt2",), "default")
    assert experiment.ranks.sites == experiment.sites == ("resid", "resid_mid")
    assert (experiment.ranks.nearest, experiment.checkpoints) == (NEAREST, "all")
    assert answer(client, "experiment", **more)["taken"] == ["the file is there already"]
    again = refusal(client, "experiment", **more, write=True)
    assert again == (422, f"{path}: the file is there already")


@pytest.mark.parametrize("name", ["baseline", "weights", "seen.skipped"])
def test_a_name_of_the_workflow_is_refused(client, name):
    assert refusal(client, "experiment", name=name)[1].startswith(f"the name '{name}' is taken: ")


def test_the_name_of_the_entry_with_a_control_is_refused_too(client, monkeypatch, explorer):
    pair = {"pair": True, "position": 1, "other": TEXT, "place": 1, "control": "thing"}
    assert (
        "_replaced' cannot be the name"
        in refusal(client, "experiment", name="abcdefghij" * 6, **pair)[1]
    )
    monkeypatch.setattr(
        explorer, "texts", {"seen_replaced (without its chat format)": ("default", [])}
    )
    taken = ["the configuration has an experiment 'seen_replaced'"]
    assert answer(client, "experiment", name="seen", **pair)["taken"] == taken
    assert answer(client, "experiment", name="seen", **pair | {"control": ""})["taken"] == []


@pytest.mark.parametrize("name", ["", "../seen", "a/b", ".hidden", "a" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(TokentrailsError, match=r"cannot be the name .*\nHint: use the letters a-z"):
        text_file(name, TEXT)


def test_the_entry_names_the_checkpoint(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {"gpt2": {"step0": prepared["gpt2"], "step1": prepared["gpt2"]}}
    explorer = Explorer(Models(folders, Placement((torch.device("cpu"),))), TEXTS)
    more = {"checkpoint": "step0", "name": "words", "write": True}
    found = explorer.experiment(ASKED | more)
    (entry,) = yaml.safe_load(found["entry"])["experiments"].values()
    assert load_experiment("words", entry).checkpoints == ("step0",)
    assert found["taken"] == ["the configuration has an experiment 'words'"]


# In a browser


LAYERS = "[...document.querySelectorAll('.list[data-position=\"{}\"] tbody tr')]"


@pytest.fixture(scope="module")
def address(prepared):
    # Not the one whose numbers are expected: a model runs one text at a time.
    served = made_of(prepared)
    with running(lambda hosts: application(served, TOKEN, hosts)) as address:
        yield f"{address}/#token={TOKEN}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address) -> Browser:
    browser.open(address)
    browser.wait("document.body && document.body.dataset.ready")
    browser.errors.clear()
    return browser


def show(page, text):
    page.evaluate("document.getElementById('text').select()")
    page.type(text)
    page.press_enter()


def settled(page, text):
    """Whether the chips are those of a text, and the rest fits them."""
    words = "[...document.querySelectorAll('#tokens button')].map(b => b.textContent).join('')"
    page.wait(
        f"{words} === {json.dumps(text.replace(' ', ''))}"
        " && document.querySelector('#figures figure:not([inert])')"
        " && !document.querySelector('[inert]')"
    )


def choose(page, menu, value):
    page.evaluate(
        f"(() => {{ const menu = document.getElementById('{menu}'); menu.value = '{value}';"
        " menu.dispatchEvent(new Event('change')); })()"
    )


def value(page, name):
    return page.evaluate(f"document.getElementById('{name}').value")


def problem(page):
    return page.wait("document.getElementById('problem').textContent")


@pytest.mark.slow
def test_chips_and_numbers_are_of_one_text(page, explorer, monkeypatch):
    cut = View.of
    show(page, "the river bank")
    settled(page, "the river bank")
    monkeypatch.setattr(View, "of", lambda *asked: time.sleep(0.5) or cut(*asked))
    show(page, "the boat reached the bank")
    for selector in ("#tokens [data-position='0']", "#show"):  # while the text is on its way
        assert page.evaluate(f"document.querySelector(\"{selector}\").closest('[inert]') !== null")
        page.click(selector)
    settled(page, "the boat reached the bank")
    view = view_of(explorer, "gpt2", "the boat reached the bank")
    last = len(view.ids) - 1
    shown = page.evaluate(f"{LAYERS.format(last)}.map(r => r.cells[2].textContent)")
    assert shown == [f"{rank:,}" for rank in view.ranks([last], RESID)["rank"]]
    assert page.evaluate("document.getElementById('file').hidden")

    monkeypatch.undo()
    page.click("#tokens [data-position='2']")  # figures of the token before are not for use
    assert page.evaluate("document.querySelector('#figures figure').inert")
    page.wait("document.body.dataset.figures === '2' && !document.querySelector('[inert]')")
    entry = page.evaluate("document.querySelector('.list td bdi').title")
    assert entry == view.ranks([2], RESID)["nearest"][0][0]
    page.evaluate(
        "HTMLAnchorElement.prototype.click = function() { window.saved = this.download; }"
    )
    page.click("#figure-rank figcaption button:last-child")
    assert page.wait("window.saved") == "gpt2_main_the-boat-reached-the-bank_rank.csv"
    order = "[...document.querySelectorAll('#figures figure')].map(f => f.id.slice(7)).join(' ')"
    assert page.evaluate(order) == "similarity rank own_token length"
    assert page.errors == []


@pytest.mark.slow
def test_what_cannot_be_shown_leaves_what_is_shown(page):
    choose(page, "model", "bert")
    show(page, "the river bank")
    chips = page.wait("document.getElementById('tokens').textContent")
    page.click("#pin")
    choose(page, "special", "bos")
    assert problem(page).startswith("the tokenizer of 'bert' has no beginning-of-sequence token")
    assert value(page, "special") == "default"
    show(page, " ")
    page.wait("document.getElementById('problem').textContent.startsWith('there is no text')")
    assert page.evaluate("document.querySelectorAll('section.stale').length") == 4
    page.evaluate("document.getElementById('text').select()")
    page.type("the river bank")
    assert page.evaluate("document.querySelectorAll('section.stale').length") == 0
    assert page.evaluate("document.getElementById('tokens').textContent") == chips
    assert page.evaluate("document.querySelectorAll('#tokens .pinned').length") == 1
    assert not any("Error" in error for error in page.errors)


@pytest.mark.slow
def test_a_switch_that_would_change_nothing_is_grey_and_empty(page):
    choose(page, "model", "bert")
    show(page, "the river bank")
    page.wait("document.body.dataset.figures && !document.querySelector('[inert]')")
    page.click("#positional")
    is_on = "[positional, as_published].map(e => [e.disabled, e.checked])"
    assert page.evaluate(is_on) == [[False, True], [True, False]]
    choose(page, "site", "resid_mid")
    page.click("#as_published")
    assert page.evaluate(is_on) == [[False, True], [False, True]]
    choose(page, "form", "scaled")
    assert page.evaluate(is_on) == [[True, False], [True, False]]
    page.wait("document.querySelector('.list th:nth-child(2)').textContent === 'scaled cosine'")
    choose(page, "form", "cosine")  # what was chosen is again
    assert page.evaluate(is_on) == [[False, True], [False, True]]


@pytest.mark.slow
def test_pins_stay_where_the_same_token_is_there_again(page):
    show(page, "the river bank")
    settled(page, "the river bank")
    for position in (0, 2):
        page.click(f"#tokens [data-position='{position}']")
        page.click("#pin")
    show(page, "the boat bank")
    settled(page, "the boat bank")
    pinned = "[...document.querySelectorAll('#tokens .pinned')].map(b => b.dataset.position)"
    assert page.evaluate(pinned) == ["0"]
    last = len(page.evaluate("[...document.querySelectorAll('#tokens li')].map(() => 0)")) - 1
    page.click(f"#tokens [data-position='{last - 1}']")
    page.click(f"#tokens [data-position='{last}']", shift=True)
    page.wait(f"document.body.dataset.figures === '{','.join(map(str, {0, last - 1, last}))}'")


@pytest.mark.slow
def test_a_link_in_an_open_page(page, address, explorer):
    link = f"{address}&text=the+river+bank&model=llama&current=0"
    page.evaluate(f"location.href = {json.dumps(link)}")
    page.wait("document.body.dataset.figures === '0' && !document.querySelector('[inert]')")
    assert value(page, "model") == "llama"
    gone = link.replace("llama", "gpt9") + "&site=middle&pinned=1,70"
    page.evaluate(f"location.href = {json.dumps(gone)}")
    assert problem(page) == (
        "Not shown: model “gpt9”, token 70, site “middle”.\n"
        "Hint: the page shows what there is instead."
    )
    settled_on = page.evaluate("document.body.dataset.figures")
    assert (settled_on, value(page, "model")) == ("0,1", "llama")
    ids = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('ids')")
    view = View.of(explorer.models.get("llama", "main"), "llama", "the river bank", "default")
    assert ids == ",".join(map(str, view.ids))
    for given, said in ((ids, False), (ids + ",7", True)):
        page.evaluate(f"location.href = {json.dumps(f'{link}&ids={given}')}")
        page.wait("document.body.dataset.figures === '0' && !document.querySelector('[inert]')")
        if said:
            assert problem(page).startswith("Not shown: the token ids (the text is cut")
        else:
            assert page.evaluate("document.getElementById('problem').hidden")
        page.evaluate("document.body.dataset.figures = ''")


@pytest.mark.slow
def test_what_of_a_link_cannot_be_is_said(page, address):
    link = (
        f"{address}&text={'+'.join('abcdefgh')}&current=-1&pinned=0,1,2,3,4,5,6&special=weird&x=1"
        "&both=maybe&open=foo,two&other=the+river&place=77"
    )
    page.evaluate(f"location.href = {json.dumps(link)}")
    page.wait("document.getElementById('two').dataset.shown && !document.querySelector('[inert]')")
    assert problem(page).splitlines()[0] == (
        "Not shown: “x”, current “-1”, both “maybe”, pinned “6”, open “foo”, special “weird”, "
        "more than 5 pinned tokens."
    ).replace("pinned “6”, ", "")
    assert value(page, "special") == "default"
    assert page.evaluate("document.body.dataset.figures").startswith("0,1,2,3,4")
    panel = "document.querySelector('#two .problem').textContent"
    assert page.wait(panel).startswith("Not shown: token 77 of the second text.")
    page.evaluate("document.getElementById('two').dataset.shown = ''")
    page.evaluate(f"location.href = {json.dumps(link.replace('77', '78'))}")  # the same, now open
    page.wait("document.getElementById('two').dataset.shown && !document.querySelector('[inert]')")
    assert page.evaluate(panel).startswith("Not shown: token 78 of the second text.")
    page.click("#unpin")
    page.wait("document.querySelectorAll('#tokens .pinned').length === 0")


def last_of(explorer, name, text, word, special="default") -> int:
    """The position of a word's last token."""
    view = View.of(explorer.models.get(name, "main"), name, text, special)
    return max(i for i, each in enumerate(view.tokens["word"].to_pylist()) if each == word)


@pytest.mark.slow
def test_the_same_words_stay_chosen_however_the_text_is_cut(page, explorer):
    first, second = "the boat reached the river bank", "the river bank"
    show(page, first)
    settled(page, first)
    page.click(f"#tokens [data-position='{last_of(explorer, 'gpt2', first, 'boat')}']")
    page.click("#pin")
    page.click(f"#tokens [data-position='{last_of(explorer, 'gpt2', first, 'river')}']")
    page.wait("document.body.dataset.figures.includes(',') && !document.querySelector('[inert]')")
    page.click("#two summary")
    page.click("#other")
    page.type(second)
    page.press_enter()
    place = last_of(explorer, "gpt2", second, "river")
    page.wait(f"document.querySelector('#other-tokens [data-position=\"{place}\"]') !== null")
    page.click(f"#other-tokens [data-position='{place}']")
    for name, special in (("gpt2", "default"), ("bert", "default"), ("bert", "none")):
        choose(page, "model", name)
        choose(page, "special", special)
        words = ((first, "boat"), (first, "river"), (second, "river"))
        boat, river, other = (last_of(explorer, name, *each, special) for each in words)
        shown = "document.getElementById('two').dataset.shown === '{},{},false'"
        page.wait(f"{shown.format(river, other)} && !document.querySelector('[inert]')")
        pinned = "[...document.querySelectorAll('#tokens .pinned')].map(b => b.dataset.position)"
        assert page.evaluate(pinned) == [str(boat)]
    choose(page, "special", "default")
    page.wait("!document.querySelector('[inert]')")
    page.click("#other-tokens [data-position='0']")  # [CLS]
    page.click("#tokens [data-position='0']")
    choose(page, "special", "none")
    assert problem(page).startswith("Not shown: the token “[CLS]”.")
    said = page.wait("document.querySelector('#two .problem').textContent")
    assert said.startswith("Not shown: the token “[CLS]” of the second text.")

    page.wait("!document.querySelector('[inert]')")
    page.click(f"#tokens [data-position='{river}']")
    page.wait("!document.querySelector('[inert]')")
    page.click("#replace")
    page.wait("document.getElementById('other').value.includes('thing')")
    page.click("#before")
    assert value(page, "other") == second


@pytest.mark.slow
def test_a_text_is_taken_from_an_experiment_and_kept(page, explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    groups = "[...document.querySelectorAll('#texts optgroup')].map(g => g.label + g.innerText)"
    assert page.evaluate(groups) == [f"boatsboat: {TEXT}"]
    choose(page, "texts", TEXT)
    page.wait("document.body.dataset.figures && !document.querySelector('[inert]')")
    assert value(page, "special") == "none"
    river = last_of(explorer, "gpt2", TEXT, "river", "none")
    assert page.evaluate("document.body.dataset.figures") == str(river)
    page.click("#search")
    page.type("BOATS, none")
    assert page.evaluate(groups) == []
    page.evaluate("document.getElementById('search').select()")
    page.type("BOATS river")
    assert page.evaluate(groups) == [f"boatsboat: {TEXT}"]
    page.evaluate("document.getElementById('name').value = 'words'")
    page.click("#show")
    said = "document.getElementById('keep-problem').textContent"
    assert page.wait(said).startswith("Not free: the configuration has an experiment 'words'.")
    page.click("#name")
    page.type("_2")
    page.wait("document.getElementById('path').textContent.endsWith('words_2.yaml')")
    assert page.evaluate("document.getElementById('entry').textContent.includes('words_2:')")
    page.click("#write")
    page.wait("document.getElementById('kept').textContent.startsWith('Written: ')")
    assert (tmp_path / "config/experiments/words_2.yaml").exists()
    page.evaluate("document.getElementById('text').focus()")
    page.type(" and")
    page.click("#show")
    assert page.wait(said).startswith("The text above is not the one that is shown.")


@pytest.mark.slow
def test_the_page_in_a_browser(page, explorer):
    view = view_of(explorer, "gpt2")
    text = f"{TEXT} <script>document.body.remove()</script>"
    page.evaluate("document.getElementById('text').focus()")
    page.type(TEXT)
    page.press_enter()
    page.wait("document.body.dataset.figures")
    page.click("#tokens [data-position='3']")
    page.wait("document.body.dataset.figures === '3'")
    shown = page.evaluate(f"{LAYERS.format(3)}.map(r => r.cells[2].textContent)")
    assert shown == [f"{rank:,}" for rank in view.ranks([3], RESID)["rank"]]
    assert page.evaluate("document.querySelectorAll('figure canvas').length") == 4

    page.click("#pin")
    page.click("#tokens [data-position='1']")
    page.wait("document.body.dataset.figures === '1,3'")
    page.evaluate("document.getElementById('matrix').value = 'unembedding'")
    page.evaluate("document.getElementById('matrix').dispatchEvent(new Event('change'))")
    cosine = f"{view.ranks([1], Look('resid', 'unembedding'))['cosine'][2]:.3f}"
    page.wait(f"{LAYERS.format(1)}[2].cells[1].textContent === '{cosine}'")

    page.wait("document.body.dataset.reference === 'true'")
    chance, look = (
        Chance(view.loaded, "gpt2", BASELINE),
        Look("resid", "unembedding", "standardised"),
    )
    while chance.piece(look, bands=False):
        pass
    choose(page, "form", "standardised")
    turned = view.ranks([1], look, chance)["cosine"][2]
    page.wait(f"{LAYERS.format(1)}[2].cells[1].textContent === '{turned:.3f}'")
    choose(page, "form", "cosine")

    page.click("#two summary")
    page.click("#other")
    page.type(TEXT.replace("river bank", "bank"))
    page.press_enter()
    page.wait("document.getElementById('two').dataset.shown")
    page.click("#both")
    page.wait("document.getElementById('two').dataset.shown.endsWith('true')")
    drawn = "JSON.stringify(document.querySelector('#two-figure figure').made.spec)"
    page.wait(f"{drawn}.includes('Grey bands') && {drawn}.includes('random weights')")

    page.click("#pair")
    page.click("#show")
    page.wait("document.getElementById('entry').textContent.includes('explored_replaced')")
    word = view.tokens["word"][1].as_py()
    assert f"word: {word}" in page.evaluate("document.getElementById('content').textContent")
    page.click("#inside summary")
    page.wait("document.getElementById('inside').dataset.shown === '1,0,0'")
    page.evaluate("document.querySelector('#heads-figure .grid').focus()")
    page.press("ArrowRight")
    page.wait("document.getElementById('head').dataset.shown === '1,1,0'")
    page.click("#evolution summary")
    page.wait("document.getElementById('cell').dataset.shown")
    page.click("#evolution-figure canvas")
    page.wait("!document.getElementById('cell').dataset.shown.startsWith('0,')")
    assert page.evaluate("document.querySelectorAll('#cell tbody tr').length") >= 2

    link = page.evaluate("location.href")
    page.open(link)
    page.wait("document.body && document.body.dataset.figures === '1,3'")
    page.wait("document.querySelectorAll('#two figure canvas').length === 1")
    page.wait("document.getElementById('head').dataset.shown === '1,1,0'")
    page.click("#replace")
    page.wait("document.getElementById('other').value.includes('thing')")
    assert page.evaluate("document.getElementById('matrix').value") == "unembedding"

    page.evaluate("document.getElementById('text').select()")
    page.type(text)
    page.press_enter()
    page.wait("document.querySelectorAll('#tokens li').length > 20")
    assert page.errors == []
