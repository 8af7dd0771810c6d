"""Bad input and a full disk: one message with a hint, and nothing half-written is left.

One fault of each layer, from the command line; what else can be wrong is in the tests of modules.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import workflow as wf
from safetensors.torch import load_file, save_file
from workflow import edited, read_yaml, write_yaml

pytestmark = pytest.mark.e2e

CONFIG = Path("config/config.yaml")
SENSES = Path("config/experiments/senses.yaml")


@pytest.fixture
def fresh(small, tmp_path) -> Iterator[Path]:
    """The same configuration on one model, with nothing made yet."""
    folder = wf.small(tmp_path / "fresh", small / "models")
    change_config(folder, models={"gpt2": {"source": "path:models/gpt2"}})
    change_config(folder, experiments={"senses": {"file": str(SENSES)}})
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def change_config(folder: Path, **keys: object) -> None:
    write_yaml(folder / CONFIG, read_yaml(folder / CONFIG) | keys)


def change_prompt(folder: Path, index: int, **keys: object) -> None:
    with edited(folder / SENSES) as data:
        data["prompts"][index] |= keys


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def refused(folder: Path, *parts: str, args: tuple[str, ...] = ()) -> str:
    """Assert that a run fails with one message, leaving no part of a file; the message is given."""
    text = wf.one_message(wf.snakemake(folder, *args), *parts)
    assert wf.half_written(folder) == []
    return text


def refused_at_once(folder: Path, *parts: str) -> None:
    """The same, before any job has started: the message is the first thing seen."""
    text = refused(folder, *parts)
    assert not any(words in text for words in ("rule ", "Job ", ".smk", "WorkflowError"))


def test_model_that_does_not_exist(fresh):
    change_config(fresh, models={"gpt2": {"source": "path:nowhere"}})
    refused_at_once(fresh, "models.gpt2.source", "no folder 'nowhere'")


@pytest.mark.slow
def test_hub_that_does_not_answer(fresh):
    change_config(fresh, models={"gpt2": {"source": "hub:owner/model"}})
    done = wf.snakemake(fresh, "models", **wf.from_hub("http://127.0.0.1:9", fresh / "home"))
    wf.one_message(done, "model gpt2", "the hub cannot be reached", "check the network")
    assert not list((fresh / "resources/models").rglob("*.json"))


TOKENS = "results/tokens/gpt2/senses.parquet"


def test_target_that_is_not_in_its_prompt(folder):
    change_prompt(folder, 2, word=" loon")
    parts = (str(SENSES), "'bank_loan'", "' loon'", "its tokens are ", "Hint: check spelling")
    refused(folder, *parts, args=(TOKENS,))


def test_results_across_checkpoints_are_not_those_of_a_checkpoint_named_all(fresh):
    figure = "results/figures/gpt2/all/senses/{}.svg"
    of_one = wf.snakemake(fresh, "-n", figure.format("identity_context"))
    assert of_one.returncode and "MissingRule" in of_one.stdout + of_one.stderr
    across = wf.rules_to_run(fresh, figure.format("alignment"))
    assert across["alignment_table"] == across["alignment_figure"] == 1


@pytest.mark.parametrize(
    "target, problem, guess",
    [
        ("metrics/gpt2/main/sense/context.csv", "no experiment 'sense'", "'senses'"),
        ("metrics/gpt-2/main/senses/context.csv", "no model 'gpt-2'", "'gpt2'"),
        ("figures/gpt2/mian/senses/summary.svg", "no checkpoint 'mian' of gpt2", "'main'"),
        ("figures/gpt2/all/sense/alignment.svg", "no experiment 'sense'", "'senses'"),
        ("tables/gpt2/main/senses/bank_lon.html", "no label 'bank_lon' of senses", "'bank_loan'"),
        ("metrics/gpt-2/main/weights/neurons.csv", "no model 'gpt-2'", "'gpt2'"),
        ("metrics/gpt2/main/weights/neurons.csv", "neurons of gpt2", "'analyses'"),
        ("metrics/gpt2/main/weights/lens.csv", "no lens of gpt2 is fitted here", "'train'"),
        ("metrics/gpt2/main/senses/heads.csv", "a table of whole texts", "there is none here"),
        ("metrics/gpt2/main/senses/half_lives.csv", "a table of whole texts", "prompts with"),
        ("metrics/gpt2/all/senses/perturbation.csv", "a table of words in", "prompts with"),
        ("metrics/gpt2/all/senses/identity.csv", "a table of one checkpoint", "'all': main."),
        ("metrics/gpt2/main/senses/ranks.csv", "of the analysis ranks", "its 'analyses'."),
        ("figures/gpt2/main/senses/rank_heatmap.svg", "of the analysis ranks", "its 'analyses'."),
        ("figures/gpt2/main/senses/attention.svg", "experiments.senses: ", "of whole texts"),
        ("tables/gpt2/main/senses/bank_loan.html", "experiments.senses: ", "heads, "),
        ("../resources/training/gpt2/loss.csv", "gpt2 is not trained here", "'train:'"),
    ],
)
def test_name_in_a_target_that_nothing_has(fresh, target, problem, guess):
    text = wf.one_message(wf.snakemake(fresh, "-n", f"results/{target}"), problem, guess)
    assert not any(words in text for words in ("Exception", "KeyError", ".smk"))


STATES = "results/hidden_states/gpt2/main/senses.parquet"
CONTEXT = "results/metrics/gpt2/main/senses/context.csv"


def test_states_cut_short(folder):
    cut_short(folder / STATES)
    # The cut alone is not why it runs: then the states would be made anew.
    args = (CONTEXT, "--forcerun", "context", "--rerun-triggers", "params")
    refused(folder, STATES, "cut short", f"Hint: delete it (rm '{STATES}')", args=args)
    (folder / STATES).unlink()  # as the hint says
    wf.run(folder, CONTEXT, *wf.ONE_THREAD)


def test_weights_that_are_not_finite(fresh):
    weights = fresh / "models/gpt2/model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("h.1.mlp.c_proj.bias"))
    tensors[name][3] = float("nan")
    save_file(tensors, weights, {"format": "pt"})
    refused(fresh, "models.gpt2", f"{name!r} is not finite: 1 of its 32 numbers", "Hint: ")
    assert not list((fresh / "results").rglob("hidden_states/**/*.parquet"))


# A disk that is full


@pytest.fixture
def full_disk(folder) -> Iterator[Path]:
    """The finished run without figures and states, with its results on a small file system."""
    results = folder / "results"
    for name in ("figures", "composites", "hidden_states"):
        shutil.rmtree(results / name)
    results.rename(folder / "kept")
    results.mkdir()
    wf.mount_small(results, "768k")
    wf.copy_of(folder / "kept", results)
    yield folder
    subprocess.run(["umount", str(results)], check=True)


def enlarge(folder: Path) -> None:
    command = ["mount", "-o", "remount,size=64m", str(folder / "results")]
    subprocess.run(command, check=True)


def test_full_disk_while_states_are_written(full_disk):
    prompts = [
        {"label": f"p{i}", "word": " lead", "prompt": f"{i} pipes were contaminated with lead."}
        for i in range(1000)
    ]
    write_yaml(full_disk / SENSES, {"analyses": ["identity"], "prompts": prompts})
    refused(
        full_disk, "hidden_states (model gpt2", STATES, "GB are free", "make room", args=(STATES,)
    )
    assert not (full_disk / STATES).exists()
    enlarge(full_disk)
    wf.run(full_disk, STATES, *wf.ONE_THREAD)
    assert (full_disk / STATES).stat().st_size > 768 * 1024


@pytest.mark.slow
def test_full_disk_while_a_figure_is_written(full_disk):
    target = "results/figures/gpt2/main/senses/summary.html"  # holds a megabyte of scripts
    args = (target, "--rerun-triggers", "mtime")
    refused(
        full_disk, "summary_figure (model gpt2", "the disk is full", "Hint: make room", args=args
    )
    assert not (full_disk / target).exists()
    enlarge(full_disk)
    wf.run(full_disk, *args)
    assert (full_disk / target).stat().st_size > 768 * 1024
