"""The explorer's panels, opened on demand: their numbers are those of the workflow's tables."""

# ruff: noqa: F811 - fixtures of the other file

import json
import re
from dataclasses import replace
from functools import cache, partial
from io import StringIO

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
import yaml
from measures import classed
from test_explore import (  # noqa: F401
    BASELINE,
    MODELS,
    PLACE,
    PROVENANCE,
    TEXT,
    answer,
    client,
    explorer,
    refusal,
    view_of,
)

from tokentrails.config.experiments import load_experiment, load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.explore.chance import Chance
from tokentrails.explore.circuits import Circuits
from tokentrails.explore.look import Look
from tokentrails.explore.models import Models
from tokentrails.explore.server import Explorer
from tokentrails.explore.two_texts import Chosen, measured, tables
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.metrics.activations import ActivationTables
from tokentrails.metrics.attribution import attribution
from tokentrails.metrics.context import context
from tokentrails.metrics.evolution import Lens, evolution
from tokentrails.metrics.heads import HeadTables
from tokentrails.metrics.identity import identity, own_token_ids
from tokentrails.metrics.neurons import neurons
from tokentrails.network.extract import extract
from tokentrails.network.load import load_language_model, load_model
from tokentrails.network.parts import load_parts
from tokentrails.network.spread import Placement, is_spread
from tokentrails.network.trace import trace
from tokentrails.settings import Experiment, Prompt
from tokentrails.texts.replacement import replaced
from tokentrails.texts.tokenization import tokenize
from tokentrails.texts.whole import whole_texts
from tokentrails.vocabulary.spaces import Spaces

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
    tokens = classed(tokens)
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


@pytest.mark.parametrize("form", ["cosine", "scaled", "standardised"])
def test_two_texts_have_every_form_with_chance_and_control(client, explorer, form):
    look, at = Look("resid_mid", "embedding", form), positions(explorer)
    asked = ASKED | at | {"site": look.site, "form": form, "chance": True, "random": True}
    while answer(client, "chance", **PLACE, form=form, wanted="form")["doing"]:
        pass
    (figure,) = answer(client, "two_texts", **asked)["figures"]
    found = pl.read_csv(StringIO(figure["csv"])).sort("measure", "label", "layer")
    pair = tuple(chosen_of(explorer, "gpt2", text, "bank") for text in BOTH)
    expected = {}
    for name, views in (
        ("gpt2", pair),
        ("llama", [Chosen(view_of(explorer, "llama", c.text), c.position) for c in pair]),
    ):
        chance = Chance(views[0].view.loaded, name, BASELINE)
        while chance.piece(look, bands=False):
            pass
        expected[name] = measured({"bank": tuple(views)}, look, chance)
        if name == "gpt2":
            bands = chance.pair_bands(look)
    for index, measure in enumerate(("identity", "context")):
        rows = found.filter(measure=measure)
        for name, column in (("gpt2", form), ("llama", "control")):
            table = expected[name][index]
            table = table.sort("label" if "label" in table.columns else "label_a", "layer")
            assert rows[column].to_list() == pytest.approx(table[form].to_list(), abs=1e-5)
        band = bands.filter(measure={"identity": "cosine"}.get(measure, measure))
        ends = rows.filter(label="text 1").select("chance_low", "chance", "chance_high")
        assert ends.to_numpy() == pytest.approx(band.select("low", "value", "high").to_numpy())
    # Every row says which token of which text, those of context of both.
    assert found["text"].unique(maintain_order=True).to_list() == list(BOTH)
    context_rows = found.filter(measure="context").select(
        "position", "other_text", "other_position"
    )
    assert set(context_rows.rows()) == {(at["position"], BOTH[1], at["place"])}
    said = "".join(figure["spec"]["title"]["subtitle"])
    for number, text in enumerate(BOTH, 1):
        assert f"text {number}: " in said and text[:30] in said
    assert ("Standardised:" in said) == (form == "standardised")
    drawn = [row for data in figure["spec"]["datasets"].values() for row in data]
    of_chance = {row.get("cosine") for row in drawn if row.get("style") == "chance"}
    assert of_chance >= {round(value, 6) for value in bands["value"]}


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


# Heads, neurons, words by layer


@pytest.fixture(scope="module")
def inside(explorer, prepared):
    """By name: what the explorer makes of the text, and the same text as the workflow takes it."""

    def of(name):
        circuits = Circuits(view_of(explorer, name))
        model, architecture, parts = load_parts(prepared[name], torch.device("cpu"))
        spaces = Spaces(parts, circuits.view.loaded.readout.entries)
        texts = whole_texts(circuits.view.tokens)
        return circuits, texts, partial(trace, model, architecture), spaces

    return cache(of)


def listed(words) -> list[str]:
    return [entry for *_, entry in words]


@pytest.mark.parametrize("name", MODELS)
def test_attention_and_messages_are_those_of_the_tables(inside, name):
    circuits, texts, run, spaces = inside(name)
    every, heads = range(len(spaces.parts.blocks)), range(len(spaces.parts.blocks[0].heads.W_Q))
    how = {"layers": every, "heads": heads, "listed": every, "top": 10, "high_bias": 2.0}
    made = HeadTables(spaces, **how, provenance=PROVENANCE)
    attention, lists = (
        frame(pa.concat_tables(t)) for t in zip(*made.tables(texts, run), strict=True)
    )
    for position in range(len(texts[0].tokens)):
        wanted = attention.filter(query=position)
        found = circuits.attention(position)
        assert found.select(wanted.columns[4:-1]).equals(wanted.select(wanted.columns[4:-1]))
        assert found["weight"].to_list() == pytest.approx(wanted["weight"].to_list(), abs=1e-6)
    position, layer, head = 2, 1, 1
    found = circuits.head(position, layer, head)
    of_head = lists.filter(layer=layer, head=head)
    own = of_head.filter(position=position)
    assert [listed(each["words"]) for each in found["lists"]] == own["top"].to_list()
    assert [each["space"] for each in found["lists"]] == own["space"].to_list()
    for each in found["attended"]:
        key = {"kind": "message", "space": found["space"], "position": each["position"]}
        assert listed(each["words"]) == of_head.filter(**key)["top"].item().to_list()
    weights = attention.filter(query=position, layer=layer, head=head)["weight"].sort(
        descending=True
    )
    assert [each["weight"] for each in found["attended"]] == pytest.approx(weights[:10].to_list())


@pytest.mark.parametrize("name", MODELS)
def test_neurons_are_those_of_the_tables(inside, name):
    circuits, texts, run, spaces = inside(name)
    position, layer = 2, 1
    (table,) = ActivationTables(spaces.parts, [layer], 10, PROVENANCE).tables(texts, run)
    strongest = frame(table).filter(position=position).sort("contribution_norm", descending=True)
    (words,) = neurons(spaces, layers=[layer], top=10, high_bias=2.0, provenance=PROVENANCE)
    found = circuits.neurons(position, layer)
    assert [each["neuron"] for each in found] == strongest["neuron"].to_list()
    assert [each["activation"] for each in found] == pytest.approx(
        strongest["activation"].to_list()
    )
    for each in found:
        rows = frame(words).filter(neuron=each["neuron"])
        assert [(x["name"], x["space"]) for x in each["lists"]] == rows.select(
            "role", "space"
        ).rows()
        assert [listed(x["words"]) for x in each["lists"]] == rows["top"].to_list()


@pytest.mark.parametrize("name", MODELS)
def test_what_moves_identity_is_in_the_tables(inside, name):
    circuits, texts, run, spaces = inside(name)
    checkpoint = circuits.view.loaded.checkpoint
    own = lambda ids: checkpoint.embedding_rows(np.array(ids))  # noqa: E731
    _, cosine, _ = attribution(texts, run, spaces.parts, own, provenance=PROVENANCE)
    of_token = frame(cosine).filter(position=2)
    figure, most = circuits.attribution(2)
    size = pl.col("contribution").abs()
    wanted = of_token.sort(size, descending=True, maintain_order=True).head(10)
    for column in ("layer", "part", "head"):
        assert [part[column] for part in most] == wanted[column].to_list()
    assert [p["contribution"] for p in most] == pytest.approx(
        wanted["contribution"].to_list(), abs=1e-6
    )
    titles = [panel.get("title", {}).get("text") for panel in figure["spec"]["vconcat"]]
    (of_one,) = [t for t in figure["spec"]["title"]["subtitle"] if t.startswith("text: ")]
    entry = circuits.view.loaded.readable(texts[0].tokens[2])
    assert of_one == f"text: the token {entry} at position 2."
    assert "contribution to identity" in titles and not any("mean" in str(t) for t in titles)


@pytest.mark.parametrize("name", MODELS)
def test_words_by_layer_are_those_of_the_tables(inside, prepared, name):
    circuits, texts, _, spaces = inside(name)
    model, architecture = load_language_model(prepared[name], torch.device("cpu"), name=name)
    lens = Lens(model, architecture, spaces, name)
    about = {"top": 10, "prefix": str, "provenance": PROVENANCE}
    table = frame(evolution(texts, lens, **about)[0])
    for position, layer in ((0, 0), (2, 1), (3, circuits.view.depth)):
        rows = table.filter(position=position, layer=layer)
        found = circuits.evolved(position, layer)
        (most,) = [each["words"] for each in found if each["name"] == "most"]
        through = rows.filter(~pl.col("predicted"), space="unembedding")
        assert listed(most) == through["most_probable"].to_list()
        assert most[0][1] == pytest.approx(through["probability"][0], abs=1e-6)
        found = [each for each in found if each["name"] != "most"]
        assert [each["space"] for each in found] == rows["space"].to_list()
        assert [each["name"] == "predicted" for each in found] == rows["predicted"].to_list()
        for each, top, score in zip(found, rows["top"], rows["top_score"], strict=True):
            assert listed(each["words"]) == list(top)
            assert [s for _, s, _ in each["words"]] == pytest.approx(score.to_list(), abs=1e-5)
    drawn = circuits.evolution()["spec"]["datasets"].values()
    assert {"predicted"} < {row.get("row") for rows in drawn for row in rows}


def test_looking_inside_changes_no_states(explorer):
    view = view_of(explorer, "gpt2")
    before = view.loaded.readout.model.config._attn_implementation
    assert Circuits(view).traced.attention.shape[2] == len(view.ids)
    assert view.loaded.readout.model.config._attn_implementation == before != "eager"


def test_the_grid_shows_a_token_or_the_one_with_most(inside):
    circuits, *_ = inside("gpt2")
    rows = circuits.attention(3)
    for key, wanted in (
        (None, pl.col("weight").max()),
        (1, pl.col("weight").filter(key=1).first()),
    ):
        spec = circuits.heads(3, key)["spec"]
        drawn = [row for data in spec["datasets"].values() for row in data if "weight" in row]
        expected = rows.group_by("layer", "head").agg(wanted).rows_by_key(["layer", "head"])
        assert len(drawn) == len(expected) > 1
        for row in drawn:
            (weight,) = expected[row["layer"], row["head"]][0]
            assert row["weight"] == pytest.approx(weight, abs=1e-4)
    hidden = circuits.heads(3, 5)["spec"]
    assert "Grey: the mask hides the token." in hidden["title"]["subtitle"]


INSIDE = {"position": 2, "key": None, "layer": 0, "head": 0}


def test_what_is_inside_is_answered(client, inside):
    circuits, *_ = inside("gpt2")
    assert answer(client, "heads", **INSIDE)["figures"][0]["name"] == "heads"
    found = answer(client, "head", **INSIDE)
    assert found["neurons"][0]["neuron"] == circuits.neurons(2, 0)[0]["neuron"]
    assert [each["weight"] for each in found["attended"]] == [
        each["weight"] for each in circuits.head(2, 0, 0)["attended"]
    ]
    assert len(answer(client, "attribution", **INSIDE)["parts"]) == 10
    assert answer(client, "evolution", **INSIDE)["figures"][0]["name"] == "evolution"
    evolved = answer(client, "evolved", **INSIDE)
    assert evolved["lists"][0]["space"] == "embedding"
    of_bert = answer(client, "evolved", **INSIDE | {"model": "bert"})
    for said, spaced in ((evolved, True), (found, True), (of_bert, False)):
        begin = ", which begin with a space" * spaced
        assert said["listed"] == f"words and beginnings of words{begin}"


@pytest.mark.parametrize(
    ("call", "more", "problem"),
    [
        ("heads", {"key": 99}, "key is not a number from 0"),
        ("head", {"layer": 99}, "layer is not a number from 0"),
        ("head", {"head": -1}, "head is not a number from 0"),
        ("evolved", {"layer": None}, "layer is not a number from 0"),
        ("attribution", {"position": "2"}, "position is not a number from 0"),
        ("evolution", {"text": "a b " * 21}, "tokens, and the grid has room for 40"),
    ],
)
def test_what_is_not_inside_is_refused(client, call, more, problem):
    _, said = refusal(client, call, **INSIDE | more)
    assert problem in said


def test_the_saved_experiment_measures_what_was_open(client, tmp_path):
    for opened, more in (
        (["two"], ()),
        (["inside"], ("heads", "neurons", "attribution")),
        (["evolution", "inside"], ("heads", "neurons", "attribution", "evolution")),
        ("inside", ()),
    ):
        path = tmp_path / "seen.yaml"
        content = answer(client, "experiment", name="seen", opened=opened)["content"]
        path.write_text(content, encoding="utf-8")
        analyses = load_experiment_file(str(path)).analyses
        assert set(analyses) == {"identity", "ranks", "own_token", *more}


@pytest.mark.parametrize("control", ["", "boat"])
def test_two_words_are_saved_as_targets(client, explorer, tmp_path, control):
    asked = ASKED | positions(explorer) | {"name": "seen", "pair": True, "control": control}
    found = answer(client, "experiment", **asked)
    path = tmp_path / "seen.yaml"
    path.write_text(found["content"], encoding="utf-8")
    content = load_experiment_file(str(path))
    assert content.analyses == ("identity", "context")
    assert [(p.label, p.word, p.prompt) for p in content.prompts] == [
        ("seen_1", "bank", BOTH[0]),
        ("seen_2", "bank", BOTH[1]),
    ]
    assert "&" not in found["entry"]  # no anchors
    entries = yaml.safe_load(found["entry"])["experiments"]
    assert list(entries) == ["seen", *(["seen_replaced"] if control else [])]
    for name, entry in entries.items():
        experiment = load_experiment(name, {**entry, "file": str(path)})
        assert (experiment.pooling, experiment.special_tokens) == ("last", "default")
        word = "bank" if name == "seen" else "boat"
        assert all(word in prompt.prompt for prompt in experiment.prompts)


def test_two_words_that_are_not_one_have_no_context(client, explorer):
    asked = ASKED | positions(explorer) | {"position": 1, "name": "seen", "pair": True}
    assert yaml.safe_load(answer(client, "experiment", **asked)["content"])["analyses"] == [
        "identity"
    ]


def test_the_middle_of_a_word_is_no_target(client, explorer):
    text = "An incomprehensibilities bank."
    words = view_of(explorer, "gpt2", text).tokens["word"].to_pylist()
    pieces = [i for i, word in enumerate(words) if word == "incomprehensibilities"]
    assert len(pieces) > 2
    asked = ASKED | positions(explorer) | {"text": text, "name": "seen", "pair": True}
    status, said = refusal(client, "experiment", **asked | {"position": pieces[1]})
    assert status == 422 and said.startswith("the tokens are not both the first of their words")


@pytest.mark.parametrize("name", [*MODELS, "mixtral"])
def test_a_model_that_is_not_in_memory_answers_the_same(prepared, name):
    """Its weights are read from the disk."""
    folders, cpu = {name: {"main": prepared[name]}}, (torch.device("cpu"),)
    places = (Placement(cpu), Placement(cpu, {"gpus": 1, "cpu_mb": 0}))
    whole, apart = (Explorer(Models(folders, place), {}) for place in places)
    asked = {"model": name, "checkpoint": "main", "text": TEXT, "special_tokens": "default"}
    (token,) = [i for i, word in enumerate(_words(whole, asked)) if word == "bank"]
    asked |= PLACE | INSIDE | {"positions": [token], "position": token}
    asked |= {"other": TEXT, "place": 1, "control": ""}
    is_on_disk = [is_spread(each.models.get(name, "main").readout.model) for each in (whole, apart)]
    assert is_on_disk == [False, True]
    for method in ("nearest", "figures", "two_texts", "heads", "head", "attribution", "evolution"):
        assert_alike(*(_by_place(each.answer(method, asked)) for each in (whole, apart)))


def _by_place(answer):
    """An answer whose data are named by their place, and not by their last digits."""
    text = json.dumps(answer)
    for place, name in enumerate(dict.fromkeys(re.findall(r"\bdata-[0-9a-f]{32}\b", text))):
        text = text.replace(name, f"data-{place}")
    return json.loads(text)


def _words(explorer, asked) -> list[str]:
    return explorer._view(asked).tokens["word"].to_pylist()


def assert_alike(one, other):
    """Two answers have the same words, and the same numbers but for rounding."""
    assert type(one) is type(other)
    if isinstance(one, dict | list):
        assert len(one) == len(other)
        for key in one if isinstance(one, dict) else range(len(one)):
            if key != "csv":
                assert_alike(one[key], other[key])
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    else:
        assert one == other


def test_experts_have_heads_and_no_neurons(prepared):
    models = Models({"mixtral": {"main": prepared["mixtral"]}}, Placement((torch.device("cpu"),)))
    explorer = Explorer(models, {})
    asked = {"model": "mixtral", "checkpoint": "main", "text": TEXT, "special_tokens": "default"}
    found = explorer.head(asked | INSIDE)
    assert found["neurons"] is None and found["attended"]
    saved = explorer.experiment(asked | {"name": "seen", "opened": ["inside"]})["content"]
    assert yaml.safe_load(saved)["analyses"][-2:] == ["heads", "attribution"]


def test_words_by_layer_need_an_unembedding(inside):
    view = inside("gpt2")[0].view
    readout = view.loaded.readout
    headless = replace(readout, parts=replace(readout.parts, unembedding=None))
    circuits = Circuits(replace(view, loaded=replace(view.loaded, readout=headless)))
    with pytest.raises(TokentrailsError, match=r"gpt2 \(main\) have no unembedding"):
        circuits.evolution()
    assert circuits.head(2, 0, 0)["space"] == "embedding"
