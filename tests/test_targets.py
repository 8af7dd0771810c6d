"""Which files a configuration asks for, and which tables each figure reads; without Snakemake."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import workflow as wf
from config_files import refused

from tokentrails.catalogue import CATALOGUE, Kind, Scope
from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.running.targets import Targets

EXPERIMENTS = {
    "pairs": {"analyses": ["identity", "context", "senses"], "prompts": "senses"},
    "drift": {"analyses": ["identity"], "prompts": "senses"},
    "texts": {
        "analyses": [
            *("identity", "ranks", "own_token", "matched_groups", "geometry"),
            *("heads", "neurons", "evolution"),
        ]
    },
    "words": {"words": {"n_tokens": [1, 2]}},
    "moved": {"words": {"n_tokens": [1]}, "contexts": ["A {word}.", "The {word}."]},
    "natural": {"sentences": {"word": {"sentences": ["A word.", "The word."]}}, "words": {}},
}
SENSES = [
    {"label": f"{word}{sense}{i}", "word": word, "sense": sense, "prompt": f"A {word} {sense} {i}."}
    for word in ("lead", "bank")
    for sense in ("x", "y")
    for i in range(2)
]
TEXTS = [{"label": "first", "prompt": "A text."}, {"label": "second", "prompt": "Another."}]


@pytest.fixture
def targets(tmp_path, monkeypatch) -> Targets:
    monkeypatch.chdir(tmp_path)
    return targets_in(tmp_path)


def targets_in(tmp_path, *, texts=None, words=True, **settings) -> Targets:
    experiments = {}
    for name, file in EXPERIMENTS.items():
        prompts = {} if "words" in file else {"prompts": SENSES if "prompts" in file else TEXTS}
        wf.write_yaml(tmp_path / f"{name}.yaml", file | prompts)
        experiments[name] = {"file": f"{name}.yaml"}
    experiments["words"]["models"] = ["nano"]
    if not words:
        del experiments["words"]
    experiments["texts"] |= texts or {}
    models = {
        "nano": {"source": "train:nano", "checkpoints": ["step0", "step1"]},
        "one": {"source": "hub:owner/one"},
    }
    return Targets(load_config({"models": models, "experiments": experiments} | settings))


def tables(paths: list[str], part: str) -> set[str]:
    """Names of the Parquet tables below a folder."""
    found = (path.removeprefix(f"results/metrics/{part}/") for path in paths if part in path)
    return {path.removesuffix(".parquet") for path in found if path.endswith(".parquet")}


def test_the_tables_of_an_experiment_are_those_of_its_analyses_and_kind(targets):
    made = targets.tables()
    senses = {"senses", "senses_by_layer", "senses_best"}
    identity = {"identity", "summary", "curves"}
    assert tables(made, "one/main/pairs") == identity | {"context"} | senses
    assert tables(made, "one/main/drift") == identity
    lives = {f"half_lives{suffix}" for suffix in ("", "_by_group", "_by_threshold")}
    lives |= {"half_life_curve"}
    ranks = {"ranks", "ranks_by_class", "ranks_gap", "ranks_summary"}
    inside = {"attention", "heads", "head_summary", "activations", "first_position_neurons"}
    stream = {"evolution", "predictions", "geometry", "own_token", "own_token_by_layer"}
    stream |= {"matched_groups"}
    assert tables(made, "nano/step0/texts") == {"identity"} | lives | ranks | inside | stream
    assert tables(made, "nano/step0/weights") == {"neurons"}
    assert tables(made, "nano/all/words") == {"convergence", "convergence_by_group", "alignment"}
    for experiment in ("moved", "natural"):
        assert tables(made, f"nano/all/{experiment}") == {"perturbation_by_group"}
    assert tables(made, "one/main/baseline") == {"baseline", "baseline_dimensions"}
    assert not tables(made, "one/all/words")
    several = [path for path in made if path.endswith("all/checkpoints.csv")]
    assert several == ["results/metrics/nano/all/checkpoints.csv"]
    assert "results/metrics/one/main/texts/predictions.txt" in made
    assert "results/scaling.csv" in made
    assert len(made) == len(set(made))


def test_figures_are_drawn_where_their_tables_are_made(targets):
    drawn = {path.removesuffix(".svg") for path in targets.figures() if path.endswith(".svg")}
    assert "results/figures/one/main/drift/identity_context" in drawn  # without context
    assert "results/figures/one/main/texts/identity_context" not in drawn
    assert "results/figures/one/main/texts/half_life" in drawn
    assert "results/figures/nano/training" in drawn
    assert "results/figures/one/training" not in drawn
    random_pairs = {path for path in drawn if path.endswith("/baseline")}
    assert random_pairs == {
        f"results/figures/{run}/baseline/baseline" for run in ("nano/step1", "one/main")
    }
    steps = {path for path in drawn if path.endswith("perturbation_steps")}
    assert steps == {
        f"results/figures/nano/all/{experiment}/perturbation_steps"
        for experiment in ("moved", "natural")
    }
    runs = ("step1/texts/geometry", "step0/texts/own_token", "step0/texts/matched_groups")
    assert {f"results/figures/nano/{run}" for run in runs} < drawn
    assert "results/figures/nano/step0/texts/geometry" not in drawn
    maps = {path for path in drawn if path.endswith("geometry_steps")}
    assert maps == {"results/figures/nano/all/texts/geometry_steps"}
    composites = {path for path in drawn if "composites" in path}
    assert {f"{path}.svg" for path in composites} < set(targets.composites())
    assert {path.removeprefix("results/composites/") for path in composites} == {
        *("pairs_senses", "pairs_depth", "pairs_separability", "drift_senses", "drift_depth"),
        *("texts_half_lives", "texts_ranks", "scaling"),
    }
    assert len(targets.figures()) == 3 * len(drawn)


def test_a_figure_across_checkpoints_reads_the_tables_of_all_runs(targets):
    figure = CATALOGUE.figures["geometry_steps"]
    found = targets.figure_inputs(figure, {"model": "nano", "experiment": "texts"})
    assert found == {
        "geometry": [f"results/metrics/nano/step{i}/texts/geometry.parquet" for i in (0, 1)],
        "checkpoints": ["results/metrics/nano/all/checkpoints.parquet"],
    }


@pytest.mark.parametrize(
    "asked, runs, across",
    [("all", ["step0", "step1", "step2"], True), (["step0"], ["step0", "step2"], True),
     ("reference", ["step2"], False)],
)  # fmt: skip
def test_an_experiment_runs_on_the_checkpoints_it_names(tmp_path, monkeypatch, asked, runs, across):
    monkeypatch.chdir(tmp_path)
    wf.write_yaml(tmp_path / "e.yaml", {"analyses": ["identity"], "prompts": TEXTS})
    wf.write_yaml(tmp_path / "w.yaml", {"analyses": ["convergence"], "words": {}})
    nano = {"source": "train:nano", "checkpoints": ["step0", "step1", "step2"]}
    several = {"file": "w.yaml", "models": ["nano"]} | ({"checkpoints": asked} if across else {})
    config = load_config(
        {
            "models": {"nano": nano, "one": {"source": "hub:owner/one"}},
            "experiments": {"e": {"file": "e.yaml", "checkpoints": asked}, "w": several},
            "baseline": {"enabled": False},
        }
    )
    found = [(model.name, name) for model, name, each in config.runs() if each.name == "e"]
    assert found == [*(("nano", name) for name in runs), ("one", "main")]
    made = Targets(config).tables("half_life")
    assert {path.split("/")[3] for path in made if "/nano/" in path} == set(runs)
    (inputs,) = config.across(CATALOGUE.tables["convergence"])
    assert inputs[1].checkpoints_of(inputs[0]) == tuple(runs if across else nano["checkpoints"])


def test_figures_are_asked_for_in_the_formats_of_the_configuration(targets, tmp_path):
    few = targets_in(tmp_path, figures={"formats": ["svg", "pdf"]})
    assert {Path(path).suffix for path in few.figures()} == {".svg", ".pdf"}
    assert {Path(path).suffix for path in targets.figures()} == {".html", ".svg", ".png"}
    assert set(few.composites()) < set(few.figures())


def test_of_one_model_nothing_is_drawn_over_sizes(targets, tmp_path):
    one = targets_in(tmp_path, models={"one": {"source": "hub:owner/one"}}, words=False)
    assert "results/scaling.csv" in one.tables()
    assert ["results/composites/scaling.svg" in each.figures() for each in (targets, one)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    "target, table, figure",
    [
        ("senses", "pairs/senses_best", "results/figures/one/main/pairs/senses_words.svg"),
        ("half_life", "texts/half_lives", "results/composites/scaling.svg"),
        ("convergence", "words/alignment", "results/figures/nano/all/words/alignment.svg"),
        ("vocabulary", "texts/ranks_gap", "results/composites/texts_ranks.svg"),
        ("neurons", "weights/neurons", None),
    ],
)
def test_a_target_is_part_of_all(targets, target, table, figure):
    assert target in targets.names()
    mine = targets.tables(target), targets.figures(target), targets.documents(target)
    every = targets.tables(), targets.figures(), targets.documents()
    for part, whole in zip(mine, every, strict=True):
        assert set(part) <= set(whole)
    assert any(path.endswith(f"{table}.parquet") for path in mine[0])
    assert len(mine[0]) < len(every[0])
    assert figure in mine[1] if figure else not mine[1]


def test_an_experiment_may_have_no_documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {"file": "texts.yaml", "circuits": {"documents": False}}
    made = targets_in(tmp_path, texts=texts)
    assert made.documents() == [] and "head_summary" in tables(made.tables(), "one/main/texts")


def test_texts_have_documents_for_the_analyses_that_people_read(targets):
    run = "results/tables/one/main/texts"
    assert {path for path in targets.documents() if "/one/" in path} == {
        f"{run}/{label}.{suffix}" for label in ("first", "second") for suffix in ("xlsx", "html")
    }
    wildcards = {"model": "one", "checkpoint": "main", "experiment": "texts"}
    names = ["attention", "heads", "activations", "evolution", "predictions", "neurons"]
    assert list(targets.document_inputs(wildcards)) == names


def test_a_figure_reads_its_tables_of_one_run_or_of_every_model(targets):
    wildcards = {"model": "one", "checkpoint": "main", "experiment": "drift"}
    run = "results/metrics/one/main/drift"
    figures = CATALOGUE.figures
    assert targets.figure_inputs(figures["identity_context"], wildcards) == {
        "identity": [f"{run}/identity.parquet"],
        "context": [],
        "curves": [f"{run}/curves.parquet"],
        "control": [],
    }
    assert targets.figure_inputs(figures["separability"], {"experiment": "pairs"}) == {
        name: [f"results/metrics/{run}/pairs/{name}.parquet" for run in ("nano/step1", "one/main")]
        for name in ("senses_by_layer", "senses_best")
    }
    across = {"model": "nano", "experiment": "words"}
    assert targets.figure_inputs(figures["alignment"], across) == {
        "alignment": ["results/metrics/nano/all/words/alignment.parquet"],
        "checkpoints": ["results/metrics/nano/all/checkpoints.parquet"],
    }


def test_every_row_names_what_exists():
    for figure in CATALOGUE.figures.values():
        module = import_module(f"tokentrails.{figure.drawing}")
        assert callable(getattr(module, figure.function or figure.name)), figure.name
        assert set(figure.tables) <= CATALOGUE.tables.keys(), figure.name
        assert set(figure.optional) <= set(figure.tables), figure.name
        assert figure.control in ("", *figure.tables), figure.name
        caption = wf.ROOT / f"workflow/report/figures/{figure.caption or figure.name}.rst"
        assert caption.is_file(), figure.name
    for table in CATALOGUE.tables.values():
        assert set(table.analyses) <= CATALOGUE.analyses.keys(), table.name
        caption = wf.ROOT / f"workflow/report/tables/{table.caption or table.name}.rst"
        assert caption.is_file() or not table.reported, table.name
    for analysis in CATALOGUE.analyses.values():
        assert set(analysis.default) <= set(analysis.kinds) <= set(Kind), analysis.name
        made = [t for t in CATALOGUE.tables.values() if analysis.name in t.analyses]
        assert any(t.scope in (Scope.RUN, Scope.ACROSS) for t in made), analysis.name


@pytest.mark.parametrize(
    "run, table, said",
    [
        (
            ("one", "main", "pairs"),
            "half_lives.csv",
            "is a table of whole texts, and the file pairs.yaml has prompts with targets\n"
            "Hint: write texts in the place of 'pairs'.",
        ),
        (("one", "main", "texts"), "senses.parquet", "Hint: write pairs or drift in the place of"),
        (("nano", "all", "texts"), "perturbation.csv", "write moved or natural in the place of"),
        (
            ("one", "main", "texts"),
            "splits.csv",
            "add an experiment of words cut up with splits among its 'analyses'; there is none",
        ),
        (("nano", "step0", "pairs"), "baseline.csv", "write baseline in the place of 'pairs'"),
        (("nano", "all", "texts"), "identity.csv", "write one in the place of 'all': step0, step1"),
        (("nano", "step0", "words"), "alignment.csv", "Hint: write all in the place of 'step0'"),
        (
            ("one", "main", "drift"),
            "ranks.csv",
            "is a table of the analysis ranks, which the experiment does not ask for\n"
            "Hint: add ranks to its 'analyses'.",
        ),
    ],
)
def test_a_table_is_refused_where_it_cannot_be(targets, run, table, said):
    model, checkpoint, experiment = run
    path = f"results/metrics/{model}/{checkpoint}/{experiment}/{table}"
    assert re.fullmatch(targets.misplaced, path.removeprefix(f"results/metrics/{model}/"))
    with refused(f"experiments.{experiment}: {path} ", said):
        targets.refuse_misplaced(path)


def test_a_table_that_is_not_asked_for_is_refused_where_the_texts_have_nothing_for_it(
    targets, tmp_path
):
    for place in ("main/drift/senses.csv", "main/texts/matched_groups.csv"):
        assert not re.fullmatch(targets.misplaced, place)
    plain = [{k: v for k, v in prompt.items() if k != "sense"} for prompt in SENSES]
    wf.write_yaml(tmp_path / "plain.yaml", {"prompts": plain})
    wf.write_yaml(tmp_path / "shape.yaml", {"analyses": ["geometry"], "prompts": TEXTS})
    experiments = {name: {"file": f"{name}.yaml"} for name in ("plain", "shape")}
    models = {"one": {"source": "hub:owner/one"}}
    targets = Targets(load_config({"models": models, "experiments": experiments}))
    for place, analysis in (
        ("main/plain/senses_best.csv", "senses"),
        ("main/shape/matched_groups.csv", "matched_groups"),
    ):
        assert re.fullmatch(targets.misplaced, place)
        with refused(f"one/{place} is a table of the analysis {analysis}, which the experiment"):
            targets.refuse_misplaced(f"results/metrics/one/{place}")
    with refused("add an experiment of whole texts with heads among its 'analyses'"):
        targets.refuse_misplaced("results/metrics/one/main/plain/heads.csv")


def test_a_document_is_refused_where_nothing_is_to_be_shown(targets):
    run = {"model": "one", "checkpoint": "main", "experiment": "drift", "label": "leadx0"}
    with refused("experiments.drift: results/tables/one/main/drift/leadx0", "heads, ", "whole"):
        targets.document_inputs(run)


def test_no_table_that_is_asked_for_or_could_be_is_misplaced(targets):
    made = [path for path in targets.tables() if path.startswith("results/metrics/")]
    places = [path.split("/", 3)[3] for path in made]
    assert len(places) > 100
    for place in (*places, "main/pairs/geometry.csv", "main/elsewhere/heads.csv", "all/x.csv"):
        assert not re.fullmatch(targets.misplaced, place), place


def test_names_that_are_not_configured_are_refused(targets):
    run = {"model": "nano", "checkpoint": "step1", "experiment": "texts", "label": "first"}
    for known in (run, run | {"checkpoint": "step0"}, {"experiment": "baseline"}, {}):
        targets.refuse_unknown(known)
    for wrong, said in (
        ({"model": "nani"}, "no model 'nani'\nHint: did you mean 'nano'?"),
        ({"checkpoint": "step2"}, "no checkpoint 'step2' of nano\nHint: did you mean 'step1'?"),
        ({"checkpoint": "x"}, "no checkpoint 'x' of nano\nHint: there are step0, step1."),
        ({"experiment": "text"}, "no experiment 'text'\nHint: did you mean 'texts'?"),
        ({"label": "frist"}, "no label 'frist' of texts\nHint: did you mean 'first'?"),
    ):
        with pytest.raises(TokentrailsError) as refused:
            targets.refuse_unknown(run | wrong)
        assert str(refused.value) == said
