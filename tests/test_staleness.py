"""Only what is stale reruns, a killed run is taken up again, and equal input gives equal bytes."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import tiny
import workflow as wf
from slow_loop import largest_difference, read_curves, slow_loop
from workflow import Job, edited, jobs_to_run, read_yaml, rules_to_run, write_yaml

pytestmark = pytest.mark.e2e


# What depends on what

RUNS = (("gpt2", "senses"), ("bert", "senses"), ("bert", "plain"))


def jobs(runs: Iterable[tuple[str, str]], *rules: str) -> set[Job]:
    """These rules for each model and experiment."""
    return {Job(rule, f"{model}/main/{experiment}") for model, experiment in runs for rule in rules}


def composites(*experiments: str) -> set[Job]:
    return {Job(f"{name}_figure", e) for name in ("senses", "depth") for e in experiments}


def everything(experiment: str, *models: str, context: bool = True) -> set[Job]:
    """All that is made from an experiment's prompts."""
    runs = [(model, experiment) for model in models]
    tokens = {Job("tokens", f"{model}/{experiment}") for model in models}
    states = jobs(runs, "hidden_states", "identity", *(["context"] if context else []))
    return tokens | states | jobs(runs, "curves", *SUMMARISED, *FIGURES) | composites(experiment)


FIGURES = ("identity_context_figure", "summary_figure")
SUMMARISED = ("summary", "summary_figure")
CONTEXT = jobs(RUNS[:2], "context")
COMPOSITES = composites("senses", "plain")
SENSES = everything("senses", "gpt2", "bert")
PLAIN = everything("plain", "bert", context=False)
TOKENS = {job for job in SENSES | PLAIN if job.rule == "tokens"}

# Edits


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def edit_config(folder: Path, **changes: dict) -> None:
    """Add to the top-level mappings of the configuration."""
    path = folder / "config/config.yaml"
    with edited(path) as config:
        for key, values in changes.items():
            config[key] = config.get(key, {}) | values


def library(folder: Path, name: str = "") -> Path:
    return folder / "workflow/tokentrails" / name


def more_code(path: Path) -> None:
    path.write_text(path.read_text() + "\nEXTRA = 1\n")


def change_titles_and_comments(folder: Path) -> None:
    edit_config(folder, figures={"identity_context": "Drift in {model}", "senses": "{experiment}"})
    for path in library(folder).rglob("*.py"):
        path.write_text("# A remark.\n\n" + path.read_text() + "\n\n# Another.\n")


def add_a_format(folder: Path) -> None:
    """And have it for one figure of each run."""
    edit_config(folder, figures={"formats": ["html", "json", "png", "svg"]})
    for model, experiment in RUNS:
        (folder / f"results/figures/{model}/main/{experiment}/summary.json").touch()


def change_prompts_and_columns(folder: Path) -> None:
    edit(folder / "config/experiments/senses.yaml", "approved the loan", "refused the loan")
    path = folder / "config/experiments/plain.yaml"
    with edited(path) as data:
        data["prompts"][0]["domain"] = "people"


def change_token_budget(folder: Path) -> None:
    edit_config(folder, extract={"token_budget": 64})


def change_library(folder: Path) -> None:
    """A module that only the two similarity measures import."""
    more_code(library(folder, "statistics/similarity.py"))


def change_scripts(folder: Path) -> None:
    edit(library(folder, "figures/pieces/page_script.py"), "compiled: false", "compiled: true")
    more_code(folder / "workflow/scripts/summary.py")


def add_model_and_experiment(folder: Path) -> None:
    tiny.save("opt", folder / "models/opt")
    edit_config(folder, models={"opt": {"source": "path:models/opt"}})
    shutil.copy(folder / "config/experiments/senses.yaml", folder / "config/experiments/new.yaml")
    new = {"file": "config/experiments/new.yaml", "models": ["bert"]}
    edit_config(folder, experiments={"new": new})


def drop_model_change_threshold_and_layout(folder: Path) -> None:
    """And what makes nothing stale: layout, a docstring, the words of errors, a format less."""
    with edited(folder / "config/config.yaml") as config:
        del config["models"]["gpt2"]
    edit_config(folder, summary={"half_life_threshold": 0.2}, figures={"formats": ["html", "svg"]})
    os.utime(folder / "config/experiments/plain.yaml")
    path = folder / "config/experiments/senses.yaml"
    path.write_text("# Senses.\nanalyses: [context, identity]\n" + path.read_text())
    similarity = library(folder, "statistics/similarity.py")
    edit(similarity, "in double precision.", "in double precision, always.")
    edit(library(folder, "errors.py"), r"\nHint: ", r"\nWhat to do: ")


def change_weights(folder: Path) -> None:
    tiny.save("gpt2", folder / "models/gpt2", seed=1)


def raise_form(folder: Path) -> None:
    edit(library(folder, "models/source.py"), "\nFORM = ", "\nFORM = 1")


# Edits in one run make different jobs stale, so that none hides what another lacks.
EDITS: list[tuple[Callable[[Path], None], set[Job]]] = [
    (
        change_titles_and_comments,
        jobs(RUNS, "identity_context_figure") | {Job("senses_figure", e) for _, e in RUNS},
    ),
    (add_a_format, jobs(RUNS, "identity_context_figure") | COMPOSITES),
    (change_prompts_and_columns, SENSES | PLAIN),
    (change_token_budget, (SENSES | PLAIN) - TOKENS),
    (change_library, jobs(RUNS, "identity", "curves", "summary", *FIGURES) | CONTEXT | COMPOSITES),
    (change_scripts, {Job("page_script", "")} | jobs(RUNS, "summary", *FIGURES) | COMPOSITES),
    (
        add_model_and_experiment,
        {Job("model", "opt/main")} | everything("senses", "opt") | everything("new", "bert"),
    ),
    (
        drop_model_change_threshold_and_layout,
        jobs(RUNS[1:], *SUMMARISED) | composites("senses"),
    ),
    (change_weights, {Job("model", "gpt2/main")} | everything("senses", "gpt2")),
    (raise_form, SENSES | PLAIN | {Job("model", "gpt2/main"), Job("model", "bert/main")}),
]


@pytest.mark.parametrize("change, stale", EDITS, ids=[change.__name__ for change, _ in EDITS])
def test_an_edit_reruns_what_depends_on_it_and_nothing_else(folder, change, stale):
    change(folder)
    assert jobs_to_run(folder) == stale


def strange_prompt(folder: Path) -> None:
    edit(folder / "config/experiments/plain.yaml", "word: words", "word: absent")


def weights_that_are_not_finite(folder: Path) -> None:
    def spoil(tensors: dict) -> dict:
        tensors["transformer.wte.weight"][0] = float("nan")
        return tensors

    model = folder / "models/gpt2"
    tiny.change(model, folder / "spoilt", spoil)
    shutil.copy(folder / "spoilt/model.safetensors", model)


def test_jobs_that_failed_are_stale_until_they_succeed(folder):
    """Their outputs are gone, while what rests on them is there from before."""
    config, models = (
        shutil.copytree(folder / n, folder / f"{n}.kept") for n in ("config", "models")
    )
    assert jobs_to_run(folder) == set()
    strange_prompt(folder)
    weights_that_are_not_finite(folder)
    stale = jobs_to_run(folder)
    for _ in range(2):
        wf.one_message(wf.snakemake(folder), "Error in rule tokens:", "Error in rule model:")
        assert jobs_to_run(folder) == stale
    for kept in (config, models):
        shutil.copytree(kept, kept.with_suffix(""), dirs_exist_ok=True)
    assert jobs_to_run(folder) == set()  # what is there is of what the configuration is again


def test_a_table_gives_the_same_bytes_as_prompts_and_its_edits_concern_it_alone(folder):
    prompts = read_yaml(folder / "config/experiments/senses.yaml")["prompts"]
    table = folder / "senses.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in prompts))
    keys = {"file": table.name, "text": "prompt", "word": "word", "label": "label"}
    made = {"table": keys | {"sense": "sense"}}
    write_yaml(folder / "config/experiments/senses.yaml", made)
    expected = wf.contents(folder / "results/tokens/bert")
    (folder / "results/tokens/bert/senses.parquet").unlink()
    wf.run(folder, "results/tokens/bert/senses.parquet")
    assert wf.contents(folder / "results/tokens/bert") == expected
    with table.open("a") as file:
        file.write("\n")
    assert jobs_to_run(folder) == SENSES | {Job("texts", "senses")}


def test_another_configuration_takes_the_place_of_the_default_one(folder):
    experiment = folder / "config/experiments/plain.yaml"
    other = {
        "models": {"gpt2": {"source": "path:models/gpt2"}},
        "experiments": {"plain": {"file": str(experiment.relative_to(folder))}},
        **wf.ALONE,
    }
    write_yaml(folder / "other.yaml", other)
    stale = jobs_to_run(folder, "--configfile", "other.yaml")
    assert stale == everything("plain", "gpt2", context=False)


# A run that is killed, and two at once

TEXTS = 200
METRICS = ("metrics", *wf.ONE_THREAD)
LONG = "results/metrics/gpt2/main/long/identity.csv"
TABLES = ("tokens/**/*", "hidden_states/**/*", "metrics/**/*")


def long_run(folder: Path, models: Path) -> None:
    """A checkout with an experiment whose extraction has many small batches."""
    wf.small(folder, models)
    prompts = [
        {"label": f"p{i}", "word": " lead", "prompt": f"{i} pipes were contaminated with lead."}
        for i in range(TEXTS)
    ]
    data = {"analyses": ["identity"], "prompts": prompts}
    write_yaml(folder / "config/experiments/long.yaml", data)
    with edited(folder / "config/config.yaml") as config:
        del config["experiments"]["plain"]
        config["experiments"]["long"] = {"file": "config/experiments/long.yaml", "models": ["gpt2"]}


def extracting(folder: Path, **env: str) -> subprocess.Popen[str]:
    """A run whose job of seconds has just opened its log."""
    log = folder / "results/logs/hidden_states/gpt2/main/long.log"
    log.unlink(missing_ok=True)
    process = wf.start(folder, *METRICS, **env)
    wf.wait_until(log.exists, process)
    return process


def kill(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def interrupted(small, tmp_path_factory) -> Path:
    """A long run that was killed while it made a model, then while it extracted, then ended.

    Before its end the same command, and a dry run, were started in its folder.
    """
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    long_run(folder, small / "models")
    first = wf.start(folder, *METRICS)
    # The log is opened before torch is loaded, seconds before anything is made.
    wf.wait_until((folder / "results/logs/model/gpt2/main.log").exists, first)
    kill(first)
    left = folder / "resources/models/gpt2/main/.fetch/work/made/model.safetensors"
    assert not left.exists()  # it was too early for that; what a later kill leaves is put there
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a file")
    kill(extracting(folder))
    assert not (folder / "results/hidden_states/gpt2/main/long.parquet").exists()
    last = extracting(folder, **wf.served())
    os.killpg(last.pid, signal.SIGSTOP)  # it waits, so that it cannot end before the others
    second = wf.snakemake(folder, *METRICS)
    dry = wf.snakemake(folder, *METRICS, "--dry-run")
    os.killpg(last.pid, signal.SIGCONT)
    wf.one_message(second, "another tokentrails run is working in this folder")
    assert dry.returncode == 0, dry.stderr
    output, _ = last.communicate()
    assert last.returncode == 0, output
    return folder


@pytest.mark.slow
def test_a_killed_run_is_taken_up_and_gives_the_same_bytes(interrupted, small, tmp_path):
    assert wf.half_written(interrupted) == []
    assert rules_to_run(interrupted, "metrics") == {}
    assert len(read_curves(interrupted / LONG)) == TEXTS * 5
    made = wf.contents(interrupted / "results", *TABLES)
    senses = wf.contents(small / "results", *TABLES)
    assert {name: data for name, data in made.items() if "long" not in name} == {
        name: data for name, data in senses.items() if "senses" in name
    }
    again = wf.copy_of(interrupted, tmp_path / "again")
    long = [again / "results" / name for name in made if "long" in name]
    assert len(long) == 10
    for path in long:
        path.unlink()
    wf.run(again, *METRICS)
    assert wf.contents(again / "results", *TABLES) == made


@pytest.mark.slow
def test_two_runs_give_the_same_bytes_in_figures(interrupted, small):
    figures = {
        name: data
        for name, data in wf.contents(small / "results", "figures/**/*", "composites/*").items()
        if "senses/" in name or "senses_" in name
    }
    assert {Path(name).suffix for name in figures} == {".html", ".svg", ".png"}
    assert len(figures) == 3 * (2 * 2 + 2)
    wf.run(interrupted, *(f"results/{name}" for name in figures if name.endswith(".svg")))
    again = wf.contents(interrupted / "results", "figures/**/*", "composites/*")
    assert again.keys() == figures.keys()
    assert [name for name in figures if figures[name] != again[name]] == []


# The numbers


@pytest.mark.parametrize("model", ["gpt2", "bert"])
def test_tables_agree_with_the_slow_loop(small, model):
    prompts = read_yaml(small / "config/experiments/senses.yaml")["prompts"]
    identity, context = slow_loop(small / "models" / model, prompts)
    tables = small / f"results/metrics/{model}/main/senses"
    assert largest_difference(read_curves(tables / "identity.csv"), identity) < 1e-5
    assert largest_difference(read_curves(tables / "context.csv"), context) < 1e-5
