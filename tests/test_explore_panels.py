"""The explorer's panels, opened on demand: their numbers are those of the workflow's tables."""

# ruff: noqa: F811 - fixtures of the other file

import polars as pl
import pytest
import torch
from test_explore import MODELS, PROVENANCE, answer, client, explorer, refusal, view_of  # noqa: F401

from tokentrails.explore.two_texts import Chosen, tables
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.metrics.context import context
from tokentrails.metrics.identity import identity, own_token_ids
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.settings import Experiment, Prompt
from tokentrails.texts.replacement import replaced
from tokentrails.texts.tokenization import tokenize

BOTH = ("The boat reached the bank of the river.", "A clerk of the bank left early.")
ABOUT = {"pooling": "last", "provenance": PROVENANCE}


def frame(table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


# Two texts


def chosen_of(explorer, name, text, word, special_tokens="default") -> Chosen:
    """The last token of a word."""
    view = view_of(explorer, name, text)
    words = view.tokens["word"].to_pylist()
    return Chosen(view, len(words) - 1 - words[::-1].index(word))


@pytest.mark.parametrize("control", [None, "boat"])
@pytest.mark.parametrize("name", MODELS)
def test_two_texts_have_the_numbers_of_the_tables(explorer, prepared, tmp_path, name, control):
    prompts = [Prompt(f"text {i}", text, word=" bank") for i, text in enumerate(BOTH, 1)]
    word, sites = control or "bank", ("resid", "resid_mid")
    if control:
        prompts = list(replaced(prompts, [control]))
    pair = tuple(chosen_of(explorer, name, prompt.prompt, word) for prompt in prompts)
    experiment = Experiment(
        name="two",
        file="two.yaml",
        models=(name,),
        pooling="last",
        special_tokens="default",
        sites=sites,
        analyses=("identity", "context"),
        prompts=tuple(prompts),
    )
    view = pair[0].view
    tokens, _ = tokenize(experiment, view.loaded.files, 64, model=name)
    model, architecture = load_model(prepared[name], torch.device("cpu"))
    width = len(view.states["resid", 0][0])
    path = tmp_path / "states.parquet"
    with StatesWriter(path, places(sites, view.depth), [0, 1], width) as writer:
        settings = {"pooling": "last", "token_budget": 64, "name": name}
        extract(model, architecture, tokens, writer, **settings)
        writer.finish(PROVENANCE)
    reader = StatesReader(path)
    own = view.loaded.checkpoint.embedding_rows(own_token_ids(tokens, "last"))
    expected = (
        frame(identity(reader, tokens, own, groups=[], **ABOUT)),
        frame(context(reader, tokens, **ABOUT)),
    )
    for site in sites:
        for found, table in zip(tables(pair, site, word), expected, strict=True):
            key = "label" if "label" in table.columns else "label_a"
            table, found = (
                each.sort(key, "layer") for each in (table.filter(site=site), frame(found))
            )
            assert len(found) == len(table) > 1
            assert found.select(key, "layer").equals(table.select(key, "layer"))
            assert found["cosine"].to_list() == pytest.approx(table["cosine"].to_list(), abs=1e-5)


ASKED = {"text": BOTH[0], "other": BOTH[1], "site": "resid", "control": ""}


def positions(explorer) -> dict[str, int]:
    first, second = (chosen_of(explorer, "gpt2", text, "bank").position for text in BOTH)
    return {"position": first, "place": second}


def panels(found) -> list[str]:
    (figure,) = found["figures"]
    return [panel["title"]["text"] for panel in figure["spec"]["concat"]]


def test_the_control_is_drawn_beside_the_word(client, explorer):
    at = positions(explorer)
    assert panels(answer(client, "two_texts", **ASKED, **at)) == ["bank"]
    found = answer(client, "two_texts", **ASKED | {"control": "boat"}, **at)
    assert panels(found) == ["bank", "boat (control)"]
    found = answer(client, "two_texts", **ASKED | at | {"position": 1})
    assert panels(found) == ["boat / bank"]


def test_a_word_is_replaced_as_experiments_do(client, explorer):
    text = "The bank by the bank's bank."
    view = view_of(explorer, "gpt2", text)
    words = view.tokens["word"].to_pylist()
    last = [i for i, word in enumerate(words) if word == "bank"]
    prompts = [Prompt("text", text, word="bank", occurrence=n) for n in (1, 2, 3)]
    expected = [prompt.prompt for prompt in replaced(prompts, ["boat"])]
    seen = []
    for position in last:
        found = answer(client, "control", text=text, position=position, control="boat")
        tokens = answer(client, "tokens", text=found["text"])["tokens"]
        assert tokens[found["position"]]["word"] == "boat"
        seen.append(found["text"])
    assert list(dict.fromkeys(seen)) == expected


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"control": "two words"}, "'two words' cannot stand in the place of 'bank'"),
        ({"control": "Bank"}, "'Bank' cannot stand in the place of 'bank'"),
        ({"control": ""}, "'' cannot stand"),
        ({"control": 3}, "control is not a text"),
        ({"position": 99}, "position is not a number from 0"),
        ({"position": True}, "position is not a number from 0"),
    ],
)
def test_a_control_that_is_none_is_refused(client, explorer, more, problem):
    asked = {"text": BOTH[0], "position": positions(explorer)["position"], "control": "boat"}
    _, said = refusal(client, "control", **asked | more)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"other": " "}, "there is no text"),
        ({"other": None}, "text is not a text"),
        ({"other": "a" * 5000}, "the text has 5000 characters"),
        ({"place": 99}, "place is not a number from 0"),
        ({"site": "final_norm"}, "site is 'final_norm'"),
    ],
)
def test_a_second_text_that_is_none_is_refused(client, explorer, more, problem):
    _, said = refusal(client, "two_texts", **ASKED | positions(explorer) | more)
    assert said.startswith(problem)


def test_a_token_of_no_word_is_not_replaced(client):
    asked = {"model": "bert", "text": BOTH[0], "control": "boat"}
    assert refusal(client, "control", **asked, position=0)[1] == "the token is part of no word"
