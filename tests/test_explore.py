"""The explorer: its numbers are those of the workflow's tables, and it refuses what it should."""

import json
import socket
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from browser import CHROMIUM, Browser, running
from starlette.testclient import TestClient
from test_metrics import PROVENANCE

from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.explore import server as module
from tokentrails.explore.keep import FOLDER, experiment_file
from tokentrails.explore.models import MOST_LOADED, Models, Recent
from tokentrails.explore.server import HEADER, HEADERS, Explorer, application, listen
from tokentrails.explore.view import MOST_SHOWN, NEAREST, View
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.metrics.identity import identity
from tokentrails.metrics.own_token import Readout, own_token
from tokentrails.metrics.ranks import ranks
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.statistics.baseline import NO_BASELINE
from tokentrails.texts.word_classes import word_class

TEXT = "The boat reached the river bank."
TOKEN, HOST = "a-token", "127.0.0.1:8765"
ASKED = {"model": "gpt2", "checkpoint": "main", "text": TEXT, "special_tokens": "default"}
PLACE = {"positions": [1, 3], "site": "resid", "matrix": "embedding"}
MODELS = ("gpt2", "bert", "llama")


@pytest.fixture(scope="module")
def explorer(prepared) -> Explorer:
    folders = {name: {"main": prepared[name]} for name in MODELS}
    return Explorer(Models(folders, torch.device("cpu")), {"boats": [("boat", TEXT)]})


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


@pytest.fixture(scope="module")
def stored(explorer, prepared, tmp_path_factory):
    """The states of the same text, as the workflow computes and stores them."""

    def states(name: str) -> tuple[StatesReader, View]:
        view, path = view_of(explorer, name), tmp_path_factory.mktemp(name) / "states.parquet"
        model, architecture = load_model(prepared[name], torch.device("cpu"))
        read = places(["resid", "resid_mid"], view.depth)
        width = len(view.states["resid", 0][0])
        rows = view.tokens["occurrence"].to_pylist()
        with StatesWriter(path, read, rows, width) as writer:
            settings = {"pooling": "last", "token_budget": 64, "name": name}
            extract(model, architecture, view.tokens, writer, **settings)
            writer.finish(PROVENANCE)
        return StatesReader(path), view

    return states


@pytest.mark.parametrize("name", MODELS)
def test_ranks_and_identity_are_those_of_the_tables(explorer, stored, name):
    reader, view = stored(name)
    positions = list(range(len(view.ids)))
    words = [word_class(word) for word in view.tokens["word"].to_pylist()]
    for matrix, vocabulary in view.loaded.matrices.items():
        for site in ("resid", "resid_mid"):
            table = ranks(
                (reader.layer(*place) for place in reader.places if place[0] == site),
                view.tokens,
                vocabulary,
                word_classes=words,
                nearest=NEAREST,
                baseline=NO_BASELINE,
                offsets=None,
                published=None,
                pooling="last",
                groups=[],
                provenance=PROVENANCE,
            )
            expected = pl.DataFrame(pl.from_arrow(table)).sort("position", "layer")
            found = view.ranks(positions, site, matrix)
            same = ["position", "layer", "token", "word", "word_class", "rank", "nearest"]
            assert found.select(same).equals(expected.select(same))
            np.testing.assert_allclose(found["cosine"], expected["cosine"], atol=1e-6)
    own = view.loaded.checkpoint.embedding_rows(np.array(view.ids))
    how = {"pooling": "last", "groups": [], "provenance": PROVENANCE}
    cosine = pl.DataFrame(pl.from_arrow(identity(reader, view.tokens, own, **how)))
    cosine = cosine.filter(site="resid").sort("position", "layer")["cosine"]
    found = view.ranks(positions, "resid", "embedding")["cosine"]
    np.testing.assert_allclose(found, cosine, atol=1e-6)


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


def test_the_api_gives_these_numbers(client, explorer):
    view = view_of(explorer, "gpt2")
    (first, second) = answer(client, "nearest", **PLACE)["tokens"]
    assert (first["position"], second["position"]) == (1, 3)
    rows = view.ranks([3], "resid", "embedding")
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
    kept, logprobs = found.ranks(every, "resid", "embedding"), found.own_logprob(every)
    monkeypatch.undo()
    assert kept.equals(expected.ranks(every, "resid", "embedding"))
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


def test_tokens_are_told_apart(client):
    tokens = answer(client, "tokens", model="bert")["tokens"]
    assert [t["special"] for t in tokens] == [True, *[False] * (len(tokens) - 2), True]
    tokens = answer(client, "tokens", text="café 東京")["tokens"]
    assert tokens[0]["readable"] == "c" or "Ã" not in tokens[0]["readable"]
    assert [t["position"] for t in tokens] == list(range(len(tokens)))


def test_choices_are_those_of_the_configuration(client):
    found = answer(client, "choices")
    assert found["models"] == [{"name": name, "checkpoints": ["main"]} for name in MODELS]
    assert found["texts"] == [{"experiment": "boats", "label": "boat", "text": TEXT}]


# Memory


def test_only_the_last_values_stay():
    made = []
    recent = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent.get(key, lambda key=key: made.append(key) or key) == key
    assert made == [1, 2, 3, 2] and len(recent) == 2


def test_models_and_texts_are_few(client, explorer):
    for index in range(12):
        answer(client, "tokens", text=f"{TEXT} {index}", model=MODELS[index % len(MODELS)])
    assert len(explorer.models._loaded) == MOST_LOADED
    assert len(explorer._views) == module.VIEWS


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
    assert found["written"] is None and not FOLDER.exists()
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
    again = refusal(client, "experiment", **more, write=True)
    assert again == (422, f"{path}: the file is there already")


@pytest.mark.parametrize("name", ["", "../seen", "a/b", ".hidden", "a" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(TokentrailsError, match="cannot be the name of an experiment"):
        experiment_file(name, TEXT)


# In a browser


LAYERS = "[...document.querySelectorAll('.list[data-position=\"{}\"] tbody tr')]"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_page_in_a_browser(explorer, tmp_path):
    view = view_of(explorer, "gpt2")
    text = f"{TEXT} <script>document.body.remove()</script>"
    with running(lambda hosts: application(explorer, TOKEN, hosts)) as address:
        browser = Browser(tmp_path)
        try:
            browser.open(f"{address}/#token={TOKEN}")
            browser.wait("document.body && document.body.dataset.ready")
            browser.evaluate("document.getElementById('text').focus()")
            browser.type(TEXT)
            browser.press_enter()
            browser.wait("document.body.dataset.figures")
            browser.click("#tokens [data-position='3']")
            browser.wait("document.body.dataset.figures === '3'")
            shown = browser.evaluate(f"{LAYERS.format(3)}.map(r => r.cells[2].textContent)")
            assert shown == [f"{rank:,}" for rank in view.ranks([3], "resid", "embedding")["rank"]]
            assert browser.evaluate("document.querySelectorAll('figure canvas').length") == 4

            browser.click("#pin")
            browser.click("#tokens [data-position='1']")
            browser.wait("document.body.dataset.figures === '1,3'")
            browser.evaluate("document.getElementById('matrix').value = 'unembedding'")
            browser.evaluate("document.getElementById('matrix').dispatchEvent(new Event('change'))")
            cosine = f"{view.ranks([1], 'resid', 'unembedding')['cosine'][2]:.3f}"
            browser.wait(f"{LAYERS.format(1)}[2].cells[1].textContent === '{cosine}'")

            browser.click("#two summary")
            browser.click("#other")
            browser.type(TEXT.replace("river bank", "bank"))
            browser.press_enter()
            browser.wait("document.getElementById('two').dataset.shown")
            browser.click("#both")
            browser.wait("document.getElementById('two').dataset.shown.endsWith('true')")

            link = browser.evaluate("location.href")
            browser.open(link)
            browser.wait("document.body && document.body.dataset.figures === '1,3'")
            browser.wait("document.querySelectorAll('#two figure canvas').length === 1")
            browser.click("#replace")
            browser.wait("document.getElementById('other').value.includes('thing')")
            assert browser.evaluate("document.getElementById('matrix').value") == "unembedding"

            browser.evaluate("document.getElementById('text').select()")
            browser.type(text)
            browser.press_enter()
            browser.wait("document.querySelectorAll('#tokens li').length > 20")
            assert browser.errors == []
        finally:
            browser.close()
