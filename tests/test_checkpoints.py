"""Models with many checkpoints: which step each is, what is asked of it, and what an edit makes."""

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import checkpoints
import hub as stand_in
import pyarrow as pa
import pytest
import tiny
import workflow as wf
from config_files import refused
from workflow import Job, edited, jobs_to_run, read_yaml

from tokentrails.errors import TokentrailsError
from tokentrails.models.checkpoints import (
    checkpoints_table,
    refuse_other_tokenizer,
    refuse_out_of_vocabulary,
)
from tokentrails.settings import step_of

# Names and steps


STEPPED = {
    **{name: 64 for name in ("step-64", "step_64", "step064", "Step64")},
    **{"step143000": 143000, "step0": 0, "stage1-step1000-tokens4B": 1000},
    **{"stage2-ingredient3-step5000-tokens20B": 5000, "checkpoint-500": 500, "500": 500},
    **{"global_step100": 100, "step999999999999999999": 999999999999999999},
}
NO_STEP = ["main", "v1.0", "2024-01-02", "step", "step1.5", "step64k", "footstep64", "stage1"]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *STEPPED.items(),
        *((name, None) for name in [*NO_STEP, "3f2a", f"step{10**18}"]),
    ],
)
def test_the_step_is_the_number_in_the_name(name, step):
    assert step_of(name) == step


# What is known of the checkpoints of one model

ALIKE = {
    "model": "m",
    "source": "hub:o/m",
    "architecture": "gpt2",
    "depth": 3,
    "d_model": 32,
    "vocabulary_rows": 406,
    "tokenizer_sha256": "t",
}


def known(weights: dict[str, str], **of_last: object) -> list[dict]:
    """Provenances of checkpoints with these hashes, and more of the last one."""
    one = [
        ALIKE | {"checkpoint": name, "revision": f"r{name}", "tensors_sha256": digest}
        for name, digest in weights.items()
    ]
    return [*one[:-1], one[-1] | of_last]


def warnings(weights: dict[str, str], **of_last: object) -> dict[str, str]:
    rows = checkpoints_table("m", known(weights, **of_last)).to_pylist()
    assert [row["checkpoint"] for row in rows] == list(weights)
    return {row["checkpoint"]: row["warning"] for row in rows if row["warning"]}


def test_the_table_lists_the_checkpoints():
    table = checkpoints_table("m", known({"step8": "a", "main": "b", "step16": "b"}))
    expected = {"model": "m", "checkpoint": "step8", "step": 8, "revision": "rstep8"}
    assert table.to_pylist()[0] == expected | {"tensors_sha256": "a", "warning": None}
    assert table["step"].to_pylist() == [8, None, 16]


def test_the_same_weights_twice_are_a_warning():
    assert warnings({"step0": "a", "step1": "a", "step2": "b", "step4": "a"}) == {
        "step0": "the same weights as step1, step4",
        "step1": "the same weights as step0, step4",
        "step4": "the same weights as step0, step1",
    }
    assert warnings({"step0": "a", "step1": "b"}) == {}


def test_main_has_the_weights_of_the_last_step():
    assert warnings({"main": "b", "step0": "a", "step1": "b"}) == {}
    assert warnings({"step0": "a", "step1": "b", "main": "c"}) == {
        "main": "other weights than the last step, step1"
    }
    assert warnings({"step0": "a", "step1": "b", "main": "a"}) == {
        "step0": "the same weights as main",
        "main": "the same weights as step0; other weights than the last step, step1",
    }
    assert warnings({"main": "a", "v1": "b"}) == {}


def test_the_last_step_has_the_files_of_main():
    weights = {"step0": "a", "step1": "b"}
    wrong = {"step1": "the last step, but other weight files than main"}
    assert warnings(weights, same_files_as_main=False, last_published_step=1) == wrong
    assert warnings(weights, same_files_as_main=False, last_published_step=None) == wrong
    # Training went on: then it has to differ.
    assert warnings(weights, same_files_as_main=False, last_published_step=2) == {}
    assert warnings(weights, same_files_as_main=True, last_published_step=1) == {}
    assert warnings(weights, same_files_as_main=None, last_published_step=1) == {}
    # Where main is listed, the tensors decide.
    listed = {"main": "b", **weights}
    assert warnings(listed, same_files_as_main=False, last_published_step=1) == {}


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("architecture", "opt", "another architecture"),
        ("depth", 4, "another depth"),
        ("d_model", 64, "another width"),
        ("vocabulary_rows", 500, "another number of vocabulary rows"),
        ("tokenizer_sha256", "u", "another tokenizer"),
    ],
)
def test_checkpoints_of_one_model_are_alike(key, value, name):
    with refused("models.m.", "'step2'", "'step0'", name, f"{value} and {ALIKE[key]}"):
        checkpoints_table("m", known({"step0": "a", "step1": "b", "step2": "c"}, **{key: value}))


def test_texts_that_another_tokenizer_cut_are_refused():
    refuse_other_tokenizer({"tokenizer_sha256": "t"}, known({"step8": "a"})[0])
    with pytest.raises(TokentrailsError, match=r"models\.m\..*'step8': u and t"):
        refuse_other_tokenizer({"tokenizer_sha256": "u"}, known({"step8": "a"})[0])


def test_a_text_with_a_token_beyond_the_embedding_is_refused():
    ids, names = [[1, 2], [3, 1, 4]], [["a", "b"], ["c", "a", "[NEW]"]]
    tokens = pa.table({"label": ["x", "y"], "token_ids": ids, "tokens": names})
    refuse_out_of_vocabulary(tokens, {"model": "m", "vocabulary_rows": 5})
    message = r"models\.m: the token '\[NEW\]' of the text 'y' has the id 4, beyond the 4 rows"
    with pytest.raises(TokentrailsError, match=message):
        refuse_out_of_vocabulary(tokens, {"model": "m", "vocabulary_rows": 4})


# The whole workflow: `kept` has a checkpoint twice; the weights of `m` are not kept

STEPS = ("step0", "step2", "step32")
KEPT = ("step0", "step4", "step8")
METRICS = ("metrics", "--cores", "4", *wf.ONE_THREAD)
CONFIG = Path("config/config.yaml")


def edit_model(folder: Path, name: str, **keys: object) -> None:
    with edited(folder / CONFIG) as config:
        config["models"][name] |= keys


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, str, int]:
    """A finished run, what it printed, and how many files of weights of `m` there were at most."""
    folder = wf.checkout(tmp_path_factory.mktemp("checkpoints") / "run")
    checkpoints.save(folder / "models/m", STEPS)
    shutil.copytree(folder / "models/m/step0", folder / "models/kept/step0")
    shutil.copytree(folder / "models/m/step0", folder / "models/kept/step4")
    shutil.copytree(folder / "models/m/step32", folder / "models/kept/step8")
    checkpoints.write_config(
        folder,
        {
            "kept": {"checkpoints": list(KEPT)},
            "m": {"checkpoints": list(STEPS), "keep_weights": False},
        },
        ["alone"],
    )
    process = wf.start(folder, *METRICS, **wf.served())
    most, output = checkpoints.most_weights(folder / "resources/models/m", process)
    assert process.returncode == 0, output
    return folder, output, most


@pytest.fixture
def folder(run, tmp_path) -> Iterator[Path]:
    """A copy of the finished run, to be edited."""
    yield wf.copy_of(run[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run")


def measured(model: str, step: str, experiment: str = "alone") -> set[Job]:
    """What is made from a checkpoint."""
    rules = ("hidden_states", "identity", "curves", "summary")
    return {Job(rule, f"{model}/{step}/{experiment}") for rule in rules}


def stale(folder: Path) -> set[Job]:
    return jobs_to_run(folder, "metrics")


@pytest.mark.e2e
@pytest.mark.slow
def test_weights_that_are_not_kept_lie_there_one_at_a_time(run):
    folder, _, most = run
    assert most == 1
    assert checkpoints.weight_files(folder / "resources/models/m") == set()
    assert len(list((folder / "results/hidden_states/m").iterdir())) == len(STEPS)
    assert len(list((folder / "resources/models/kept").glob("*/model.safetensors"))) == len(KEPT)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_finished_run_has_nothing_to_do_though_weights_are_gone(run):
    assert stale(run[0]) == set()


@pytest.mark.e2e
@pytest.mark.slow
def test_doubts_are_printed_and_in_the_table(run):
    folder, output, _ = run
    assert "step0: the same weights as step4\n  step4: the same weights as step0\n" in output
    with (folder / "results/metrics/kept/all/checkpoints.csv").open() as file:
        rows = {row["checkpoint"]: row for row in csv.DictReader(file)}
    assert [(row["step"], row["warning"]) for row in rows.values()] == [
        ("0", "the same weights as step4"),
        ("4", "the same weights as step0"),
        ("8", ""),
    ]
    assert "same weights" in (folder / "results/logs/checkpoints/kept.log").read_text()
    # Other metadata in the header would not hide it: what is compared are the tensors.
    path = folder / "resources/models/kept/step0/provenance.json"
    provenance = json.loads(path.read_text())
    assert rows["step0"]["tensors_sha256"] == provenance["tensors_sha256"]
    assert "of m that" not in output


@pytest.mark.e2e
@pytest.mark.slow
def test_other_checkpoints_are_measured_and_the_rest_is_left(folder):
    """Behind and between those of one model; new and changed ones of weights that are not kept."""
    for step in ("step2", "step9"):
        shutil.copytree(folder / "models/m/step32", folder / f"models/kept/{step}")
    edit_model(folder, "kept", checkpoints=["step0", "step2", "step4", "step8", "step9"])
    shutil.copytree(folder / "models/m/step32", folder / "models/m/step64")
    edit_model(folder, "m", checkpoints=[*STEPS, "step64"])
    checkpoints.change(folder / "models/m/step2", seed=9)
    expected = {Job("checkpoints", "kept"), Job("checkpoints", "m")}
    for step in ("step2", "step9"):
        expected |= {Job("model", f"kept/{step}")} | measured("kept", step)
    for step in ("step2", "step64"):
        expected |= {Job("passing_model", f"m/{step}/alone")} | measured("m", step)
    assert stale(folder) == expected


@pytest.mark.e2e
@pytest.mark.slow
def test_another_experiment_on_weights_that_are_not_kept(folder):
    config = read_yaml(folder / CONFIG)
    models = {name: config["models"][name] for name in ("kept", "m")}
    checkpoints.write_config(folder, models, ["alone", "with"])
    expected = {Job("tokens", f"{model}/with") for model in ("kept", "m")}
    for step in KEPT:
        expected |= measured("kept", step, "with")
    for step in STEPS:
        expected |= {Job("passing_model", f"m/{step}/with")} | measured("m", step, "with")
    assert stale(folder) == expected


@pytest.mark.e2e
@pytest.mark.slow
def test_what_compares_checkpoints_has_those_of_the_experiment(folder):
    words = sorted({word for text in tiny.CORPUS for word in text.split() if word.isalpha()})
    (folder / "words.txt").write_text("\n".join(words))
    given = {"list": "words.txt", "n_tokens": [1, 2], "per_group": 4}
    targets = {"words": ["convergence_by_group", "alignment"], "put": ["perturbation_by_group"]}
    wf.write_yaml(folder / "words.yaml", {"analyses": ["convergence"], "words": given})
    put = {"words": given, "contexts": ["the {word}", "a {word}"], "others": 1}
    wf.write_yaml(folder / "put.yaml", {"analyses": ["perturbation"], **put})
    with edited(folder / CONFIG) as config:
        for name in targets:
            some = {"models": ["kept"], "checkpoints": ["step4"]}
            config["experiments"][name] = {"file": f"{name}.yaml", **some}
    top = folder / "results/metrics/kept/all"
    tables = [top / name / f"{table}.csv" for name in targets for table in targets[name]]
    wf.run(folder, *wf.ONE_THREAD, "--", *(str(path.relative_to(folder)) for path in tables))
    for path in tables:
        with path.open() as file:
            assert {row["checkpoint"] for row in csv.DictReader(file)} == {"step4", "step8"}, path


@pytest.mark.e2e
@pytest.mark.slow
def test_doubts_are_errors_where_that_is_asked_for(folder):
    target = "results/metrics/kept/all/checkpoints.csv"
    edit_model(folder, "kept", strict_checkpoints=True)
    text = wf.one_message(wf.snakemake(folder, target), "models.kept.checkpoints", "same weights")
    assert "Hint: take them off the list" in text
    assert not (folder / target).exists()


@pytest.mark.e2e
@pytest.mark.slow
def test_a_checkpoint_that_is_not_like_the_others_is_refused(folder):
    tiny.save("gpt2", folder / "models/kept/step9", n_embd=64)
    edit_model(folder, "kept", checkpoints=[*KEPT, "step9"])
    done = wf.snakemake(folder, "results/metrics/kept/all/checkpoints.csv")
    wf.one_message(done, "models.kept.checkpoints", "'step9'", "'step0'", "another width", "64")


@pytest.mark.e2e
@pytest.mark.slow
def test_weights_that_pass_need_a_limit(folder):
    edit_model(folder, "m", checkpoints=["step0", "step2"])
    done = wf.snakemake(folder, "metrics", "--resources", "other=1", "--forcerun", "checkpoints")
    wf.one_message(done, "the weights of m are not to be kept", "passing_weights=1")


# A disk that is full


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A checkout whose models lie on a small file system."""
    folder = wf.checkout(tmp_path / "run")
    models = folder / "resources/models"
    models.mkdir(parents=True)
    wf.mount_small(models, "24m")
    yield folder
    subprocess.run(["umount", str(models)], check=True)


@pytest.mark.e2e
@pytest.mark.slow
def test_full_disk_while_weights_are_fetched(small_disk, tmp_path):
    """What has arrived whole is kept, and one file of weights is all the room that is needed."""
    large = tiny.save("gpt2", tmp_path / "large", n_embd=512)
    weights = (large / "model.safetensors").stat().st_size
    assert weights > 24 << 20
    checkpoints.write_config(small_disk, {"m": {"source": "hub:o/m"}}, ["alone"])
    with stand_in.running() as hub:
        hub.add("o/m", large)
        env = wf.from_hub(hub.url, tmp_path / "home")
        done = wf.snakemake(small_disk, "models", **env)
        wf.one_message(done, "model (model m, checkpoint main)", "the disk is full", "make room")
        assert not (small_disk / "resources/models/m/main/model.safetensors").exists()
        whole = set(hub.downloaded()) - {"model.safetensors"}
        hub.log.clear()
        size = f"remount,size={weights + (4 << 20)}"
        models = str(small_disk / "resources/models")
        subprocess.run(["mount", "-o", size, models], check=True)
        wf.run(small_disk, "models", **env)
        assert whole and not whole & set(hub.downloaded())
    made = small_disk / "resources/models/m/main/model.safetensors"
    assert os.stat(made).st_size == weights and wf.half_written(small_disk) == []
