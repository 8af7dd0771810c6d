"""Controls: models that never learnt, and texts whose words are shuffled."""

import json
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import tiny
import torch
import workflow as wf
from config_files import CONFIG, PROMPT, WHOLE, changed, load, load_e, refused, written
from conftest import local_source
from drawn import BAND, labels, line_points, notes, panels
from pytest import approx
from safetensors.torch import load_file
from test_figures import TWO
from test_figures import tables as made_up

from tokentrails.config.experiments import load_experiment
from tokentrails.config.load import load_config
from tokentrails.figures.half_lives import (
    composite_half_lives,
    half_life,
    half_life_thresholds,
)
from tokentrails.figures.identity import identity_context
from tokentrails.figures.pieces.notes import altered_notes, pooling_notes, uncontrolled_notes
from tokentrails.figures.pieces.theme import (
    GREY,
    PALETTE,
    annotated,
    figure,
    model_colours,
    nothing_to_show,
)
from tokentrails.models.prepare import prepare
from tokentrails.models.size import expected
from tokentrails.network.load import load_language_model
from tokentrails.running.targets import Targets
from tokentrails.settings import Prompt
from tokentrails.texts.replacement import replaced
from tokentrails.texts.shuffle import shuffled
from tokentrails.texts.spans import find_words

RANDOM = changed(CONFIG, "models.r", {"source": "random:m"})


# --- random weights: the configuration -----------------------------------------------------------


def test_a_control_has_the_architecture_of_another_model_and_its_draws_are_checkpoints(here):
    config = load(RANDOM)
    control = config.models["r"]
    assert (control.control_of, control.source.revision) == ("m", "main")
    assert (control.checkpoints, control.reference) == (("draw0",), "draw0")
    assert list(config.studied) == ["m"]
    assert config.controls("m", config.experiments["e"]) == [control]
    several = changed(RANDOM, "models.r.checkpoints", ["draw3", "draw0"])
    assert load(several).models["r"].checkpoints == ("draw3", "draw0")
    trained = changed(RANDOM, "models.m", {"source": "train:pico", "checkpoints": ["step2"]})
    assert load(trained).models["r"].source.revision == "step0"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"models.r.source": "random:mm"},
            ["models.r.source", "'mm', which this one is made of, is not in", "own: m."],
        ),
        (
            {"models.r.source": "random:r"},
            ["models.r.source", "'r', which this one is made of, has no weights of its own"],
        ),
        (
            {"models.s": {"source": "random:r"}},
            ["models.s.source", "has no weights", ": m."],
        ),
        (
            {"models.m.checkpoints": ["step0"], "models.m.keep_weights": False},
            [
                "models.r.source",
                "weights of 'm', which",
                "not kept",
                "add a model of the same source",
            ],
        ),
        ({"models.r.checkpoints": ["draw0", "main"]}, ["models.r", "'main'", "draw0, draw1"]),
        ({"models.r.checkpoints": ["draw00"]}, ["models.r", "'draw00'", "seeds"]),
        ({"models.r.checkpoints": "all"}, ["models.r", "'checkpoints: all'"]),
        ({"models.r.seed": 1}, ["models.r", "'seed'", "list draws as its checkpoints"]),
        ({"models.r.initializer_range": 0}, ["models.r.initializer_range", "0"]),
        (
            {"models.m.initializer_range": 0.1},
            ["models.m.initializer_range", "a key of random weights", "random:MODEL"],
        ),
    ],
)
def test_a_control_that_cannot_be_made_is_refused_with_one_message(here, changes, parts):
    data = RANDOM
    for path, value in changes.items():
        data = changed(data, path, value)
    with refused("c.yaml, line ", *parts):
        load(data)


# --- random weights: the folder ------------------------------------------------------------------

WIDTH_OF_INIT = 0.05


@pytest.fixture
def source(here, request):
    """The folder of a prepared tiny model without its weights, and a control of it."""
    saved = tiny.save(request.param, here / "saved", initializer_range=WIDTH_OF_INIT)
    folder = here / "resources/models/m/main"
    prepare(local_source("m", saved), "main", folder)
    (folder / "model.safetensors").unlink()
    return load(RANDOM).models["r"].source


def drawn(source, checkpoint: str, folder: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Provenance and tensors of a draw."""
    return prepare(source, checkpoint, Path(folder)), load_file(f"{folder}/model.safetensors")


@pytest.mark.parametrize("source", ["gpt2", "llama", "bert"], indirect=True)
def test_weights_scatter_as_before_a_training_and_the_rest_is_the_other_models(source):
    provenance, tensors = drawn(source, "draw0", "made")
    other = json.loads(Path("resources/models/m/main/provenance.json").read_text())
    alike = ("architecture", "depth", "d_model", "vocabulary_rows", "tokenizer_sha256")
    assert {key: provenance[key] for key in alike} == {key: other[key] for key in alike}
    assert provenance["source"] == "random:m" and provenance["random_weights_of"] == "m"
    assert (provenance["seed"], provenance["initializer_range"]) == (0, WIDTH_OF_INIT)
    matrices = {name: t for name, t in tensors.items() if t.ndim == 2 and t.numel() > 1000}
    # GPT-2 scales the matrices that write into the stream down by the number of these writes.
    scales = {name: (2 * 3) ** -0.5 if "c_proj" in name else 1.0 for name in matrices}
    for name, matrix in matrices.items():
        assert matrix.std().item() == approx(WIDTH_OF_INIT * scales[name], rel=0.1), name
        assert matrix.mean().item() == approx(0, abs=0.1 * WIDTH_OF_INIT), name
    others = {name: t.unique().tolist() for name, t in tensors.items() if t.ndim < 2}
    assert all(values in ([0.0], [1.0]) for values in others.values())  # biases, and norms
    assert len(matrices) > 10 and others
    load_language_model(Path("made"), torch.device("cpu"), name="r")


@pytest.mark.parametrize("source", ["llama"], indirect=True)
def test_weights_scatter_as_the_configuration_says(source):
    data = changed(RANDOM, "models.r.initializer_range", 0.3)
    provenance, tensors = drawn(load(data).models["r"].source, "draw0", "made")
    assert provenance["initializer_range"] == 0.3
    assert tensors["model.layers.0.mlp.up_proj.weight"].std().item() == approx(0.3, rel=0.05)
    assert json.loads(Path("made/config.json").read_text())["initializer_range"] == 0.3


@pytest.mark.parametrize("source", ["llama"], indirect=True)
def test_a_seed_gives_the_same_bytes_and_another_one_others(source):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    hashes = [
        drawn(source, draw, f"made/{number}")[0]["sha256"]["model.safetensors"]
        for number, draw in enumerate(("draw0", "draw1", "draw0"))
    ]
    assert hashes[0] == hashes[2] != hashes[1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("source", ["llama"], indirect=True)
def test_the_size_of_a_control_is_that_of_the_other_model(source, here):
    model = load(RANDOM).models["r"]
    with refused("models.r", "as large as 'm'", "snakemake --cores 1 models"):
        expected(model, [])
    shutil.copyfile(
        here / "saved/model.safetensors", here / "resources/models/m/main/model.safetensors"
    )
    size = expected(model, []).size
    assert size.weights_mb == approx(4e-6 * size.parameters) and size.parameters > 10_000


# --- random weights: what is made of them --------------------------------------------------------


def test_figures_read_the_control_and_neither_claims_nor_sizes_do(here):
    written({"prompts": [WHOLE], "analyses": ["identity"]}, "w.yaml")
    data = changed(RANDOM, "models.r.checkpoints", ["draw0", "draw1"])
    data = changed(data, "experiments.w", {"file": "w.yaml"})
    config = load_config(data)
    targets, figures = Targets(config), config.catalogue.figures
    for name, experiment, table in (
        ("identity_context", "e", "identity"),
        ("half_life", "w", "half_life_curve"),
        ("half_life_thresholds", "w", "half_lives_by_threshold"),
    ):
        run = {"model": "m", "checkpoint": "main", "experiment": experiment}
        assert targets.figure_inputs(figures[name], run)["control"] == [
            f"results/metrics/r/{draw}/{experiment}/{table}.parquet" for draw in ("draw0", "draw1")
        ]
        own = run | {"model": "r", "checkpoint": "draw0"}
        assert targets.figure_inputs(figures[name], own)["control"] == []
    sized = [path for paths in targets.scaling_inputs.values() for path in paths]
    assert sized and not [path for path in sized if "/r/" in path]


@pytest.mark.parametrize("entry", [{"replace": ["thing"]}, {"shuffle": 0}], ids=["words", "order"])
def test_sizes_are_compared_in_the_texts_themselves(here, entry):
    senses = [PROMPT | {"label": f"{s}{i}", "sense": s} for s in "xy" for i in "ab"]
    written({"prompts": senses, "analyses": ["senses"]}, "s.yaml")
    data = changed(CONFIG, "experiments.s", {"file": "s.yaml"})
    data = changed(data, "experiments.altered", {"file": "s.yaml"} | entry)
    sized = Targets(load_config(data)).scaling_inputs["senses_by_layer"]
    assert sized == ["results/metrics/m/main/s/senses_by_layer.parquet"]


def test_figures_of_other_words_or_another_order_say_so():
    said = altered_notes([{"replace": "thing, one"}, {"replace": "thing, one"}, {}])
    assert len(said) == 1 and "in the place of each word stands another (thing, one)" in said[0]
    assert "in random order" in altered_notes([{"shuffle": "0"}])[0] and not altered_notes([{}])
    chart = annotated(figure(nothing_to_show("t"), title="t", notes=["n"], width=300), ["own"])
    assert chart.title.subtitle == ["own", "n"]


def test_figures_say_what_stands_for_words_of_several_tokens_unless_it_is_the_last_one():
    last = {"pooling": "last"}
    assert pooling_notes([{}, last]) == []
    (said,) = pooling_notes([last, {"pooling": "mean"}, {"pooling": "mean"}, {}])
    assert said == "Words of several tokens: the mean of their states (pooling: mean)."
    assert "first one (pooling: first)" in pooling_notes([{"pooling": "first"}])[0]


def test_figures_without_random_weights_say_so():
    one, untrained, every = (
        {"checkpoint": name, "source": source}
        for name, source in (("main", "path:m"), ("draw0", "random:m"), ("all", "train:nano"))
    )
    table = pl.DataFrame({"model": ["m", "m"]})
    later, begun, undated = (
        table.with_columns(step=pl.Series(steps, dtype=pl.Int64))
        for steps in ([64, 512], [0, 512], [None, None])
    )
    # Also of one checkpoint without a step, of a training from a later step on, and of all models.
    for found, drawn in (
        ([{}, one, every], table),
        ([every], undated),
        ([every], later),
        ([{}, {}], table),
    ):
        assert "does not show what was learnt" in uncontrolled_notes(found, drawn)[0]
    # The control itself or beside another, training from its beginning, tables of no model.
    for found, drawn in (
        ([untrained], table),
        ([one, untrained], table),
        ([every], begun),
        ([{}], pl.DataFrame({"loss": [1.0]})),
        ([], None),
    ):
        assert not uncontrolled_notes(found, drawn)


def test_models_of_random_weights_are_grey_among_others():
    groups = [("all", "all words"), ("word_part", "whole")]
    both = pl.concat([curve_table(name, shift, *groups) for name, shift in (("r", 0.5), ("m", 0))])
    chart = composite_half_lives(both, threshold=0.1, controls={"r": "m"}, **BAND)
    for panel in panels(chart).values():
        colours = {row["line"]: row["colour"] for row in line_points(panel)}
        assert colours == {"r": GREY, "m": PALETTE[0]}
    assert "Grey: models of random weights." in notes(chart)
    assert model_colours(["r"], {"r": "m"}) == {"r": PALETTE[0]}  # alone
    assert "Grey" not in notes(composite_half_lives(both, threshold=0.1, **BAND))


def test_classes_within_bands_from_few_texts_are_left_out_and_it_says_so():
    groups = [("all", "all words"), ("word_class_in_band", "a"), ("word_class_in_band", "b")]
    few = pl.col("group") == "b"
    curve = curve_table("m", 0.0, *groups).with_columns(few=few)
    said = notes(half_life(curve, threshold=0.1, **BAND))
    assert "Drawn: 1 of 2 classes within a band; the others are of few texts or types." in said
    every = curve.with_columns(few=pl.lit(value=False))
    assert "Drawn" not in notes(half_life(every, threshold=0.1, **BAND))


DRAWS = pl.DataFrame({"checkpoint": ["draw0", "draw1"], "shift": [0.0, 0.1]})


def test_the_figure_of_identity_has_the_control_in_grey():
    identity, context, _ = made_up(TWO, texts=2)
    control = identity.with_columns(pl.col("cosine") / 2).drop("checkpoint")
    both = control.join(DRAWS, how="cross").with_columns(pl.col("cosine") + pl.col("shift"))
    for given, n in ((both.filter(checkpoint="draw0"), 1), (both, 2)):
        chart = identity_context(identity, context, None, given, **BAND)
        panel = panels(chart)["lead"]
        line = [r for r in line_points(panel, width=2.2) if r["style"] == "control"]
        assert len(line) == 13 and {row["colour"] for row in line} == {"#777777"}
        (row,) = (row for row in line if row["layer"] == 4)
        here = {"word": "lead", "site": "resid", "layer": 4}
        mean = identity.filter(**here)["cosine"].cast(pl.Float64).mean() / 2
        assert row["cosine"] == approx(mean + (n - 1) * 0.05, abs=1e-6)
        ends = (row["low"], row["high"])
        range_of_two = approx((mean, mean + 0.1), abs=1e-6)
        assert ends == ((None, None) if n == 1 else range_of_two)
        assert "random weights" in labels(panel)
        assert ("mean and range of 2 draws" in notes(chart)) is (n == 2)
        assert "Solid grey: the same architecture with random weights" in notes(chart)
    assert "andom" not in notes(identity_context(identity, context, None, None, **BAND))


def curve_table(model: str, shift: float, *groups: tuple[str, str]) -> pl.DataFrame:
    """A table half_life_curve of made-up shares."""
    key = {"model": model, "checkpoint": "main", "n": 9, "n_texts": 3, "n_types": 8, "few": False}
    return pl.DataFrame(
        [
            key
            | {"measure": measure, "grouping": grouping, "group": group, "layer": layer}
            | {"lost": layer / 10 + shift, "lost_low": layer / 10, "lost_high": 1.0}
            for measure in ("cosine", "scaled")
            for grouping, group in groups
            for layer in range(5)
        ],
        schema_overrides={"lost": pl.Float32},
    )


def test_the_figure_of_half_lives_has_all_words_of_the_control_in_grey():
    groups = [("all", "all words"), ("word_class", "function"), ("word_part", "whole")]
    curve, control = curve_table("m", 0.0, *groups), curve_table("r", 0.5, *groups)
    chart = half_life(curve, control, threshold=0.1, **BAND)
    found = panels(chart)
    assert len(found) == 4
    for panel in found.values():
        line = [row for row in line_points(panel) if row["line"] == "random weights"]
        assert [row["value"] for row in line] == approx([0.5, 0.6, 0.7, 0.8, 0.9])
        assert {row["colour"] for row in line} == {"#777777"} and "random weights" in labels(panel)
    assert "Solid grey: the same architecture with random weights" in notes(chart)
    assert "random weights" not in notes(half_life(curve, None, threshold=0.1, **BAND))


def test_figures_of_half_lives_say_that_words_are_of_letters():
    curve = curve_table("m", 0.0, ("all", "all words"), ("word_class", "function"))
    medians = pl.DataFrame(
        {"measure": ["cosine"], "group": "function", "threshold": 0.1, "depth": 6, "few": False}
        | {"n": 9, "n_texts": 3, "n_types": 8, "median_layer": 2}
        | {"median_layer_low": 1, "median_layer_high": 3}
    )
    for chart in (
        half_life(curve, threshold=0.1, **BAND),
        composite_half_lives(curve, threshold=0.1, **BAND),
        half_life_thresholds(medians, threshold=0.1, **BAND),
    ):
        assert "Words are those of letters, not numbers, punctuation and signs;" in notes(chart)


def test_the_figure_of_thresholds_leaves_out_what_is_never_reached():
    key = {
        "model": "m",
        "checkpoint": "main",
        "n": 9,
        "n_texts": 3,
        "n_types": 8,
        "few": False,
        "depth": 6,
    }
    medians = pl.DataFrame(
        [
            key
            | {"measure": form, "grouping": "all", "group": "all words", "threshold": threshold}
            | {"median_layer": median, "median_layer_low": median, "median_layer_high": high}
            for form in ("cosine", "adjusted", "centred")
            for threshold, median, high in ((0.05, None, None), (0.1, 5, None), (0.5, 2, 3))
        ]
    )
    control = medians.with_columns(median_layer=1)
    chart = half_life_thresholds(medians, control, threshold=0.1, **BAND)
    found = panels(chart)
    assert list(found) == ["cosine", "centred"]
    assert "Centred" in notes(chart) and "Standardised" not in notes(chart)
    for panel in found.values():
        rows = [row for row in line_points(panel) if row["line"] == "all words"]
        assert [(row["threshold"], row["value"]) for row in rows] == [(0.1, 5), (0.5, 2)]
        assert [(row["low"], row["high"]) for row in rows] == [(5, 6), (2, 3)]  # open, and closed
        grey = [row for row in line_points(panel) if row["line"] == "random weights"]
        assert [row["value"] for row in grey] == [1, 1, 1]
        assert {row["colour"] for row in grey} == {"#777777"}
    assert "random weights" not in notes(half_life_thresholds(medians, threshold=0.1, **BAND))


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ([1], (1, None, None)),
        ([1, 3, 2], (2, 1, 3)),
        ([1, 3, 2, 2], (2, 1, 3)),
        ([1, None, 2], (2, 1, 6)),  # up to the top
        ([1, None, None], None),
        ([1, None], None),
        ([None], None),
    ],
)
def test_a_draw_that_never_falls_counts_as_the_last_of_all(layers, shown):
    key = {
        "model": "r",
        "n": 9,
        "n_texts": 3,
        "n_types": 8,
        "few": False,
        "depth": 6,
        "measure": "cosine",
    }
    key |= {"grouping": "all", "group": "all words", "threshold": 0.1}
    control = pl.DataFrame(
        [
            key
            | {"checkpoint": f"draw{i}", "median_layer": layer}
            | {"median_layer_low": layer, "median_layer_high": layer}
            for i, layer in enumerate(layers)
        ],
        schema_overrides=dict.fromkeys(
            ("median_layer", "median_layer_low", "median_layer_high"), pl.Int32
        ),
    )
    own = control.head(1).with_columns(
        model=pl.lit("m"), checkpoint=pl.lit("main"), median_layer=pl.lit(4, pl.Int32)
    )
    chart = half_life_thresholds(own, control, threshold=0.1, **BAND)
    (panel,) = panels(chart).values()
    grey = [row for row in line_points(panel) if row["line"] == "random weights"]
    assert [(row["value"], row["low"], row["high"]) for row in grey] == [shown] * (
        shown is not None
    )
    several = f", median and range of {len(layers)} draws" if len(layers) > 1 else "training."
    assert several in notes(chart)


# --- shuffled texts ------------------------------------------------------------------------------

TEXTS = [
    Prompt("a", "The captain's old ship, once lost, reached the port at dawn.", word=" ship"),
    Prompt("b", "Misleading leaders lead nobody; they lead (it seems) a parade!", word=" lead"),
    Prompt("c", "The pipes were contaminated with lead.", token="Ġlead"),
    Prompt("d", "A well-known rule: “don't touch it”, she said twice."),
]


def words(text: str) -> Counter[str]:
    return Counter(word.strip(".,;:!()“”") for word in text.split())


@pytest.mark.parametrize("prompt", TEXTS, ids=lambda prompt: prompt.label)
def test_shuffling_keeps_the_words_the_target_and_the_punctuation(prompt):
    texts = [shuffled(prompt, seed) for seed in range(20)]
    assert texts == [shuffled(prompt, seed) for seed in range(20)]
    assert len(set(texts)) > 15
    before = prompt.prompt
    for text in texts:
        assert words(text) == words(before)
        assert [c for c in text if c in ".,;:!()“”"] == [c for c in before if c in ".,;:!()“”"]
        assert text[-1] == before[-1]
    if not prompt.is_whole:
        target = (prompt.word or " lead").strip()
        for text in texts:
            places = [text[:start].count(" ") for start, _ in find_words(text, target)]
            assert places == [before[:start].count(" ") for start, _ in find_words(before, target)]


def test_every_other_word_may_come_to_every_other_place():
    prompt = Prompt("a", "one two lead three four.", word="lead")
    texts = [shuffled(prompt, seed).strip(".").split() for seed in range(100)]
    for place in (0, 1, 3, 4):
        assert {text[place] for text in texts} == {"one", "two", "three", "four"}
    others = [shuffled(Prompt(label, prompt.prompt, word="lead"), 0) for label in "abcdefgh"]
    assert len(set(others)) > 4  # by the label, too


def test_an_experiment_of_shuffled_texts_differs_in_its_texts_alone(here):
    data = changed(CONFIG, "experiments.s", {"file": "e.yaml", "shuffle": 3})
    experiments = load(data).experiments
    own, mixed = experiments["e"], experiments["s"]
    (before,), (after,) = own.prompts, mixed.prompts
    assert words(after.prompt) == words(before.prompt) and after.prompt != before.prompt
    assert after.label == before.label and mixed.hash != own.hash
    assert mixed.token_settings == own.token_settings | {"shuffle": 3}
    for seed in (3, 3.0):
        assert load_e(changed(CONFIG, "experiments.e.shuffle", seed)).hash == mixed.hash


@pytest.mark.parametrize(
    ("data", "shuffle", "parts"),
    [
        ({"words": {}}, 0, ["experiments.e.shuffle", "has words", "remove 'shuffle'"]),
        ({"words": {}, "contexts": ["a {word}", "the {word}"]}, 0, ["has words"]),
        ({"sentences": {"lead": {"sentences": ["They lead."]}}}, 0, ["has words"]),
        ({"prompts": [PROMPT]}, True, ["experiments.e.shuffle", "True"]),
        ({"prompts": [PROMPT]}, -1, ["experiments.e.shuffle", "-1"]),
        (
            {"prompts": [PROMPT | {"prompt": "A lead."}]},
            0,
            ["experiments.e.shuffle", "'a' of the file e.yaml", "two words", "lengthen"],
        ),
    ],
)
def test_what_cannot_be_shuffled_is_refused(here, data, shuffle, parts):
    written(data)
    with refused("c.yaml, line ", *parts):
        load(changed(CONFIG, "experiments.e.shuffle", shuffle))


# --- other words in the target's place -----------------------------------------------------------


def test_targets_take_words_in_turn_and_keep_their_names():
    prompts = [
        Prompt("a", "One ship, once lost, is one ship.", word=" ship", occurrence=2),
        Prompt("b", "They lead a parade.", token="Ġlead"),
        Prompt("c", "Ship it!", word="Ship"),
        Prompt("d", "The arm hurts.", word=" arm"),
        Prompt("e", "A ship sails.", word=" ship"),
    ]
    made = list(replaced(prompts, ["one", "thing"]))
    # Ship, arm, lead, ship: in the order of the alphabet, with capitals first.
    assert [prompt.prompt for prompt in made] == [
        "One ship, once lost, is one thing.",
        "They one a parade.",
        "one it!",
        "The thing hurts.",
        "A thing sails.",
    ]
    assert [prompt.word for prompt in made] == [" thing", " one", "one", " thing", " thing"]
    assert [prompt.stands_for for prompt in made] == ["ship", "lead", "Ship", "arm", "ship"]
    (again,) = replaced([Prompt("f", "One is one ship of one.", word=" ship")], ["one"])
    assert (again.prompt, again.occurrence) == ("One is one one of one.", 2)
    for prompt in [*made, again]:
        start, end = find_words(prompt.prompt, prompt.word)[prompt.occurrence - 1]
        assert prompt.prompt[start:end] in {"one", "thing"}
    assert list(replaced([Prompt("g", "Nothing.", word="ship")], ["one"])) == [None]


def test_an_experiment_of_replaced_targets_names_them_by_the_old_ones(here):
    data = changed(CONFIG, "experiments.s", {"file": "e.yaml", "replace": ["thing", "one"]})
    experiments = load(data).experiments
    own, other = experiments["e"], experiments["s"]
    assert other.prompts[0].stands_for == "lead" and " one" in other.prompts[0].prompt
    assert other.token_settings == own.token_settings | {"replace": ["one", "thing"]}
    again = load_experiment("s", other.token_settings | {"models": ["m"]}, ())
    assert (again.prompts, again.hash) == (other.prompts, other.hash)  # as the job reads it
    assert other.hash != own.hash


def test_the_control_of_an_experiment_differs_by_the_words_alone(here):
    written({"prompts": [PROMPT]}, "f.yaml")
    alike = {"file": "e.yaml", "replace": ["thing"]}
    apart = {
        "file": alike | {"file": "f.yaml"},
        "shuffled": alike | {"shuffle": 0},
        "special": alike | {"special_tokens": "none"},
        "pooled": alike | {"pooling": "mean"},
        "models": alike | {"models": ["n"]},
    }
    data = changed(CONFIG, "models.n", CONFIG["models"]["m"])
    for name, entry in apart.items():
        data = changed(data, f"experiments.{name}", entry)
    config = load(data)
    assert config.replaced("m", config.experiments["e"]) is None
    assert config.replaced("n", config.experiments["e"]) == config.experiments["models"]
    config = load(changed(data, "experiments.s", alike))
    assert config.replaced("m", config.experiments["e"]) == config.experiments["s"]
    for name in ("s", *apart):  # no control has one, so that none waits for itself
        assert config.replaced("m", config.experiments[name]) is None


@pytest.mark.parametrize(
    ("data", "words", "parts"),
    [
        ({"words": {}}, ["one"], ["experiments.e.replace", "targets of prompts", "remove"]),
        ({"prompts": [WHOLE]}, ["one"], ["experiments.e.replace", "targets of prompts"]),
        ({"prompts": [PROMPT]}, ["two words"], ["replace", "two words"]),
        ({"prompts": [PROMPT]}, [], ["replace"]),
        ({"prompts": [PROMPT]}, ["Lead"], ["experiments.e.replace", "'lead'", "itself"]),
    ],
)
def test_what_cannot_be_replaced_is_refused(here, data, words, parts):
    written(data)
    with refused("c.yaml, line ", *parts):
        load(changed(CONFIG, "experiments.e.replace", words))


@pytest.mark.parametrize("key", ["prompts", "experiments"])
def test_a_target_that_is_not_in_its_text_is_shown_in_its_own_file(here, key):
    written({key: [PROMPT, PROMPT | {"label": "b", "word": "led"}]})
    with refused(
        f"e.yaml, line 5, {key}[1]: the target 'led'", "experiments.e.replace", "spelling"
    ):
        load(changed(CONFIG, "experiments.e.replace", ["one"]))


# --- both, through the workflow ------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.slow
def test_controls_are_added_to_a_finished_run_and_nothing_is_made_again(folder):
    with wf.edited(folder / "config/config.yaml") as config:
        config["models"]["blank"] = {"source": "random:gpt2", "checkpoints": ["draw0", "draw1"]}
        mixed = {"file": "config/experiments/senses.yaml", "models": ["gpt2"], "shuffle": 0}
        config["experiments"]["mixed"] = mixed
        config["experiments"]["other"] = mixed | {"replace": ["thing", "one"]}
        del config["experiments"]["other"]["shuffle"]
    again = {job for job in wf.jobs_to_run(folder) if job.wildcards.startswith(("gpt2", "bert"))}
    assert {
        job.rule for job in again if not any(name in job.wildcards for name in ("mixed", "other"))
    } == {"identity_context_figure"}
    blank, picture = (
        "results/metrics/blank",
        "results/figures/gpt2/main/senses/identity_context.svg",
    )
    tables = [f"{blank}/draw{i}/senses/identity.parquet" for i in (0, 1)]
    tables.append(f"{blank}/all/checkpoints.parquet")
    tables += [f"results/tokens/gpt2/{e}.parquet" for e in ("senses", "mixed", "other")]
    wf.run(folder, picture, *tables)
    *drawn, warnings, plain, mixed, other = (pl.read_parquet(folder / path) for path in tables)
    assert drawn[0]["cosine"].to_list() != drawn[1]["cosine"].to_list()
    assert warnings["warning"].null_count() == 2
    said = "random weights, before any training, mean and range of 2 draws"
    assert said in (folder / picture).read_text()
    for derived in (mixed, other):
        assert plain["word"].equals(derived["word"])
        assert set(plain["text"]).isdisjoint(derived["text"])
    assert all("thing" in text or "one" in text for text in other["text"])
    assert not wf.jobs_to_run(folder, picture, *tables)
