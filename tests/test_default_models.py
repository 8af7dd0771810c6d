"""The embedded default config, as a new user runs it: real models out of the package registry."""

import html
import json
from pathlib import Path

import polars as pl
import pytest
from slow_loop import largest_difference, read_curves, slow_loop
from workflow import checkout, contents, edited, half_written, read_yaml, rules_to_run, run

from tokentrails.catalogue import ANALYSES
from tokentrails.config.load import load_config
from tokentrails.network.size import ModelSize
from tokentrails.running.cost import memory_mb, occurrences_of, states_mb, tokens_of
from tokentrails.running.job_cost import JobCost

CIRCUITS = tuple(each.name for each in ANALYSES if each.inside)

MODELS = ("smollm2-135m", "minilm-l6")
EXPERIMENTS = ("polysemy",)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All of it, but a shorter training of pico, fewer words and fewer texts."""
    folder = checkout(tmp_path_factory.mktemp("default"))
    edit(folder / "config/config.yaml", shorten)
    experiments = folder / "config/experiments"
    edit(experiments / "words.yaml", lambda file: file["words"].update(per_group=12))
    # Heads and neurons of a large vocabulary take minutes; tests/test_circuits.py has tiny ones.
    quick = ["evolution", "attribution"]
    edit(experiments / "baseball.yaml", lambda file: file.update(analyses=quick))
    edit(experiments / "vocabulary.yaml", lambda file: file.update(prompts=file["prompts"][:8]))
    edit(experiments / "senses.yaml", lambda file: file.update(prompts=file["prompts"][:60]))
    run(folder)
    return folder


def shorten(config: dict) -> None:
    """A few steps of pico, and figures in one format."""
    config["figures"] = {"formats": ["svg"]}
    config["models"]["pico"] |= {"steps": 2, "checkpoints": ["step0", "step2"]}


def edit(path: Path, change) -> None:
    with edited(path) as data:
        change(data)


def prompts(folder: Path, experiment: str) -> list[dict]:
    config = read_yaml(folder / "config/config.yaml")
    file = read_yaml(folder / config["experiments"][experiment]["file"])
    return file.get("prompts") or file["experiments"]


def test_everything_is_made_and_nothing_is_left_to_do(folder):
    assert rules_to_run(folder) == {}
    assert half_written(folder) == []
    for experiment in EXPERIMENTS:
        for composite in ("senses", "depth"):
            assert (folder / f"results/composites/{experiment}_{composite}.svg").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_tables_agree_with_the_plain_loop_over_transformers(folder, model):
    for experiment in EXPERIMENTS:
        metrics = folder / f"results/metrics/{model}/main/{experiment}"
        identity, context = slow_loop(
            folder / f"resources/models/{model}/main", prompts(folder, experiment)
        )
        assert largest_difference(identity, read_curves(metrics / "identity.csv")) < 1e-5
        assert largest_difference(context, read_curves(metrics / "context.csv")) < 1e-5


def test_rotary_embeddings_leave_layer_zero_as_it_is(folder):
    for metric in ("identity", "context"):
        table = pl.read_parquet(
            folder / f"results/metrics/smollm2-135m/main/polysemy/{metric}.parquet"
        )
        start = table.filter(pl.col("site") == "resid", pl.col("layer") == 0)
        assert len(start) and start["cosine"].unique().to_list() == [1.0]


def test_provenance_says_that_the_weights_were_quantised_and_that_logits_did_not_change(folder):
    file = folder / "resources/models/smollm2-135m/main/provenance.json"
    provenance = json.loads(file.read_text())
    assert provenance["conversion"]["logits_max_difference"] == 0
    assert provenance["conversion"]["logits_compared"] > 100_000
    assert "Q4_1" in provenance["quantisation"]
    assert "de-quantised" in provenance["note"]
    config = json.loads((file.parent / "config.json").read_text())
    assert "quantization_config" not in config


def test_jobs_take_no_more_than_they_ask_for(folder, monkeypatch):
    """Tokens, states and memory of every run, against the formulas by which they are foretold."""
    monkeypatch.chdir(folder)  # the configuration names files from there
    setup = load_config(read_yaml(folder / "config/config.yaml"))
    for model, checkpoint, experiment in setup.runs():
        place = f"{model.name}/{checkpoint}/{experiment.name}"
        size = ModelSize.from_folder(folder / f"resources/models/{model.name}/{checkpoint}")
        tokens = pl.read_parquet(
            folder / f"results/tokens/{model.name}/{experiment.name}.parquet",
            columns=["text", "token_ids"],
        )
        texts = tokens.unique("text") if experiment.has_whole_texts else tokens
        assert texts["token_ids"].list.len().sum() <= tokens_of(experiment), place
        assert len(tokens) <= occurrences_of(experiment), place
        if set(experiment.analyses) <= set(CIRCUITS):
            continue  # they need no states
        states = folder / f"results/hidden_states/{place}.parquet"
        around = 0.1  # Parquet's own, about each layer
        assert states.stat().st_size / 1e6 <= states_mb(experiment, size) + around, place
        spent = JobCost.read(folder / f"results/logs/hidden_states/{place}.log")
        assert spent.max_rss_mb < memory_mb(size.weights_mb), place


# A row for each word, token or pair, or for each part that moves it: too long to be read in a page.
LONG = {
    *("identity", "context", "convergence", "perturbation", "perturbation_contexts", "ranks"),
    *("evolution", "predictions", "attribution", "attribution_cosine", "attribution_sum"),
    *("baseline_dimensions", "half_lives", "half_life_curve", "parameters"),
}


def test_the_report_holds_every_figure_and_no_long_table_in_ten_megabytes(folder):
    run(folder, "--report", "results/report.html")
    report = html.unescape((folder / "results/report.html").read_text())
    assert len(report.encode()) <= 10e6
    files = contents(folder / "results", "figures/**/*.svg", "composites/*.svg", "metrics/**/*.csv")
    assert {Path(name).stem for name in files} > {
        "alignment",
        "perturbation_steps",
        "polysemy_depth",
        "vocabulary_ranks",
    }
    for name in files:
        if name.endswith(".svg") or Path(name).stem in LONG:
            assert (f'"results/{name}"' in report) == name.endswith(".svg"), name
