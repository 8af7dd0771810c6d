"""Models of the hub, fetched from a stand-in on loopback."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import workflow as wf
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from tokentrails.errors import TokentrailsError
from tokentrails.models.prepare import prepare
from tokentrails.settings import Source

MODEL = "owner/model"
NEEDED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
SOURCE = Source("m", f"hub:{MODEL}", "hub", MODEL, None, "main", False, False)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.save("gpt2", tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """A model like `model` with other weights."""
    return tiny.save("gpt2", tmp_path_factory.mktemp("hub") / "other", seed=1)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A model of some 40 MB: huggingface_hub keeps what it has got by pieces of ten."""
    return tiny.save("gpt2", tmp_path_factory.mktemp("hub") / "large", n_embd=512)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "made"


def fetch(
    target: Path, checkpoint: str = "main", siblings: Sequence[Path] = (), **keys: Any
) -> dict[str, Any]:
    """Fetch a checkpoint; its provenance is given."""
    prepare(replace(SOURCE, **keys), checkpoint, target, siblings)
    assert not (target / ".fetch").exists()
    return json.loads((target / "provenance.json").read_text())


def refused(target: Path, *parts: str, **keys: Any) -> None:
    """Assert that fetching fails with one message, and that no file of a model appears."""
    with pytest.raises(TokentrailsError) as error:
        fetch(target, **keys)
    for part in (*parts, "\nHint: "):
        assert part in str(error.value)
    assert not [f for f in target.iterdir() if f.name != ".fetch"]


def same_weights(made: Path, model: Path) -> bool:
    a, b = load_file(made / "model.safetensors"), load_file(model / "model.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_branch_is_resolved_to_its_commit_and_only_what_is_needed_is_downloaded(
    hub, model, target, tmp_path
):
    full = tmp_path / "full"
    shutil.copytree(model, full)
    for name in ("modeling.py", "pytorch_model.bin", "onnx/model.onnx", "flax_model.msgpack"):
        (full / name).parent.mkdir(exist_ok=True)
        (full / name).write_bytes(b"not needed")
    shutil.copy(full / "model.safetensors", full / "onnx/model.safetensors")
    sha = hub.add(MODEL, full)
    provenance = fetch(target)
    assert provenance["revision"] == sha
    assert provenance["requested_revision"] == "main"
    assert provenance["source"] == f"hub:{MODEL}"
    assert sorted(set(hub.downloaded())) == sorted(NEEDED)
    assert {f.name for f in target.iterdir()} == NEEDED | {"provenance.json"}
    assert same_weights(target, model)


def test_named_checkpoints_are_revisions(hub, model, other, target):
    hub.add(MODEL, model)
    sha = hub.add(MODEL, other, "step64")
    provenance = fetch(target, "step64", has_checkpoints=True)
    assert (provenance["revision"], provenance["checkpoint"]) == (sha, "step64")
    assert same_weights(target, other) and not same_weights(target, model)


def compared(provenance: dict) -> tuple[bool | None, int | None]:
    return provenance["same_files_as_main"], provenance["last_published_step"]


def test_revisions_are_compared_with_main(hub, model, other, target):
    """`step2` is what `main` is; `step1` is `step0` once more."""
    hub.add(MODEL, model, "step2")
    hub.add(MODEL, other, "step0")
    hub.add(MODEL, other, "step1")
    first = fetch(target / "0", "step0", has_checkpoints=True)
    assert compared(first) == (None, 2)  # there is no main
    hub.add(MODEL, model)
    second = fetch(target / "1", "step1", has_checkpoints=True)
    assert compared(second) == (False, 2)
    assert second["tensors_sha256"] == first["tensors_sha256"]
    hub.lists_refs = False
    last = fetch(target / "2", "step2", has_checkpoints=True)
    assert compared(last) == (True, None)
    assert last["tensors_sha256"] != first["tensors_sha256"]
    # Only the metadata of main was asked for, never its files.
    assert hub.downloaded().count("model.safetensors") == 3


def test_a_day_is_no_step(hub, model, other, target):
    hub.add(MODEL, model)
    hub.add(MODEL, other, "step2")
    for name in ("step1", "20240101", "other-step9"):
        hub.add(MODEL, model, name)
    assert compared(fetch(target, "step2", has_checkpoints=True)) == (False, 2)


def test_weights_that_a_sibling_still_has_are_not_fetched_again(hub, model, other, target):
    sha = hub.add(MODEL, model)
    provenance = fetch(target / "a")
    hub.log.clear()
    siblings = (target / "empty", target / "a")
    assert fetch(target / "b", siblings=siblings) == provenance
    assert hub.downloaded() == []
    files = [target / name / "model.safetensors" for name in "ab"]
    assert files[0].samefile(files[1])
    for name in NEEDED:
        assert (target / "a" / name).read_bytes() == (target / "b" / name).read_bytes()
    # What the sibling has must be what the hub has now, and whole.
    files[0].unlink()
    assert fetch(target / "c", siblings=(target / "a",))["revision"] == sha
    files[0].write_bytes(files[1].read_bytes()[:-1] + b"\0")
    fetch(target / "d", siblings=(target / "a",))
    assert same_weights(target / "c", model) and same_weights(target / "d", model)
    hub.add(MODEL, other)
    fetch(target / "e", siblings=(target / "b",))
    assert same_weights(target / "e", other)


def test_weights_of_another_file_are_not_a_siblings(hub, model, target, monkeypatch):
    """Of one commit several GGUF files can be taken, and pickles only where they are allowed."""
    hub.add(MODEL, model)
    fetch(target / "a")
    taken = []

    def stop(source, *_):
        taken.append((source.file, source.allow_pickle))
        raise TokentrailsError("stopped", hint="none.")

    monkeypatch.setattr("tokentrails.models.hub.fetch", stop)
    for keys in ({"file": "m-Q8_0.gguf"}, {"allow_pickle": True}):
        refused(target / "b", "stopped", siblings=(target / "a",), **keys)
    assert taken == [("m-Q8_0.gguf", False), (None, True)]
    merged = json.loads((target / "a/provenance.json").read_text()) | {"base": {"model": "n"}}
    (target / "a/provenance.json").write_text(json.dumps(merged))
    refused(target / "b", "stopped", siblings=(target / "a",))


def sharded(model: Path, folder: Path) -> Path:
    """The same model with its weights in several files."""
    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    GPT2LMHeadModel.from_pretrained(model).save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def test_files_of_another_model_that_failed_do_not_get_in(hub, model, other, target, tmp_path):
    """What a hub has sent is kept for the next run, which may be told to fetch another model."""
    wrong = tmp_path / "wrong"
    shutil.copytree(model, wrong)
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"model_type": "xlnet"}))
    hub.add("owner/wrong", wrong)
    refused(target, "'xlnet' is not supported", location="owner/wrong")
    hub.add(MODEL, sharded(other, tmp_path / "sharded"))
    fetch(target)
    assert same_weights(target, other)


def pickled(model: Path, folder: Path, state: dict[str, Any]) -> Path:
    """A model whose weights are a pickle of `state`."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def test_pickles_are_refused_unless_allowed_and_then_converted(hub, model, target, tmp_path):
    hub.add(MODEL, pickled(model, tmp_path / "p", load_file(model / "model.safetensors")))
    refused(target, "holds no model.safetensors", "set allow_pickle: true")
    assert hub.downloaded() == []
    provenance = fetch(target, allow_pickle=True)
    assert "converted from PyTorch .bin" in provenance["note"]
    assert same_weights(target, model)


def test_a_pickle_that_runs_code_or_is_cut_short_is_refused(hub, model, target, tmp_path):
    bad = "pytorch_model.bin: the weights are missing, cut short, or more than tensors"
    code = {"wte.weight": _Touch(tmp_path / "was_run")}
    hub.add(MODEL, pickled(model, tmp_path / "p", code))
    refused(target, bad, allow_pickle=True)
    assert not (tmp_path / "was_run").exists()
    folder = pickled(model, tmp_path / "p", load_file(model / "model.safetensors"))
    with (folder / "pytorch_model.bin").open("r+b") as file:
        file.truncate(50_000)
    hub.add(MODEL, folder)
    refused(target, bad, allow_pickle=True)


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_with_another_hash_is_refused_and_fetched_again(hub, model, target):
    hub.add(MODEL, model)
    hub.lies["model.safetensors"] = "0" * 64
    refused(target, "model.safetensors arrived with sha256", "0" * 64, "removed")
    assert not list(target.rglob("*.safetensors"))
    hub.lies.clear()
    fetch(target)
    assert same_weights(target, model)


def test_a_download_that_is_cut_goes_on_where_it_was(hub, large, target):
    hub.add(MODEL, large)
    hub.cut["model.safetensors"] = 1
    fetch(target)
    first, second = hub.ranges("model.safetensors")
    assert first is None and _start(second) >= 10_000_000
    assert same_weights(target, large)


FETCH = "import sys, pathlib, test_hub; test_hub.fetch(pathlib.Path(sys.argv[1]))"


def run(script: str, hub: Any, target: Path, home: Path) -> subprocess.Popen[bytes]:
    """A process that runs a script, whose argument is the target."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(target)],
        env=wf.environment(**wf.from_hub(hub.url, home))
        | {"PYTHONPATH": f"{wf.ROOT / 'workflow'}:{wf.ROOT / 'tests'}"},
    )


@pytest.mark.slow
def test_after_a_killed_download_only_what_is_not_there_is_fetched(hub, large, target, tmp_path):
    hub.add(MODEL, large)
    hub.stall.add("model.safetensors")
    process = run(FETCH, hub, target, tmp_path)
    arrived = {"model.safetensors"} ^ NEEDED
    arrived |= {f"{name}.metadata" for name in arrived}  # written behind each file
    wf.wait_until(lambda: _largest(target) > 0 and _names(target) >= arrived, process)
    process.kill()
    process.wait()
    assert list(target.rglob("*.incomplete"))
    hub.release.set()
    hub.log.clear()
    # This time it fails, so that what it leaves can be seen.
    hub.stall.clear()
    hub.lies["model.safetensors"] = "0" * 64
    refused(target, "arrived with sha256")
    assert hub.downloaded() == ["model.safetensors"]
    assert not list(target.rglob("*.incomplete"))
    hub.lies.clear()
    fetch(target)
    assert same_weights(target, large)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("model-*.safetensors"))


@pytest.fixture
def in_shards(hub, model, tmp_path) -> Path:
    """The folder of a model in several files, which the hub has."""
    folder = sharded(model, tmp_path / "sharded")
    hub.add(MODEL, folder)
    return folder


@pytest.fixture(params=["in the kernel", "not here", "not between these files"])
def copying(request, monkeypatch) -> None:
    """The ways in which bytes of files are copied."""

    def refuse(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    if request.param == "not here":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif request.param != "in the kernel":
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)


def test_shards_are_merged(copying, in_shards, model, target):
    fetch(target)
    assert same_weights(target, model)
    assert shards(in_shards) and not shards(target)


def test_the_disk_never_holds_more_than_a_model_and_its_largest_shard(
    in_shards, target, monkeypatch
):
    held, unlink = [], Path.unlink

    def watched(path: Path, *args: Any, **options: Any) -> None:
        if path in shards(target):
            held.append(sum(file.stat().st_size for file in target.rglob("*.safetensors")))
        unlink(path, *args, **options)

    monkeypatch.setattr(Path, "unlink", watched)
    sizes = [file.stat().st_size for file in shards(in_shards)]
    fetch(target)
    assert len(held) == len(sizes)
    header = int.from_bytes((target / "model.safetensors").read_bytes()[:8], "little") + 8
    assert sum(sizes) < max(held) <= sum(sizes) + max(sizes) + header


KILLED = f"""
import os, pathlib, signal, sys
unlink, target = pathlib.Path.unlink, pathlib.Path(sys.argv[1])

def killed(path, *args, **options):
    unlink(path, *args, **options)
    if path.name.startswith("model-00001") and list(target.rglob("made/model.safetensors")):
        os.kill(os.getpid(), signal.SIGKILL)

pathlib.Path.unlink = killed
{FETCH}
"""


@pytest.mark.slow
def test_of_a_merge_that_was_killed_only_what_is_gone_is_fetched_again(
    hub, in_shards, model, target, tmp_path
):
    assert run(KILLED, hub, target, tmp_path).wait() == -signal.SIGKILL
    (first, *others) = (file.name for file in shards(in_shards))
    assert [file.name for file in shards(target)] == others
    hub.log.clear()
    fetch(target)
    assert hub.downloaded() == [first]
    assert same_weights(target, model)


def test_too_little_room_for_a_merge_is_said_before_any_shard_is_removed(
    hub, in_shards, model, target, monkeypatch
):
    free = max(file.stat().st_size for file in shards(in_shards))
    usage = shutil.disk_usage(in_shards)
    with monkeypatch.context() as small:
        small.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
        refused(target, "too little room to join its", f"needed, {free:,} are free", "make room")
    assert [f.name for f in shards(target)] == [f.name for f in shards(in_shards)]
    hub.log.clear()
    fetch(target)
    assert hub.downloaded() == []
    assert same_weights(target, model)


def _names(folder: Path) -> set[str]:
    return {f.name for f in folder.rglob("*")}


def _start(asked: str | None) -> int:
    """Where a Range begins."""
    return int((asked or "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def _largest(folder: Path) -> int:
    return max((f.stat().st_size for f in folder.rglob("*.incomplete")), default=0)


def test_unknown_model(hub, target):
    refused(target, f"the model does not exist on the hub: '{MODEL}'")


def test_unknown_revision(hub, model, target):
    hub.add(MODEL, model)
    refused(target, "no revision 'step9'", revision="step9")
    refused(target, "no revision 'step9'", checkpoint="step9", has_checkpoints=True)


def test_no_network(hub, target):
    hub.shutdown()
    hub.server_close()
    refused(target, "the hub cannot be reached", hub.url, "check the network")


def test_what_is_not_supported_is_known_before_weights_are_fetched(hub, model, target, tmp_path):
    folder = shutil.copytree(model, tmp_path / "quantised")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    hub.add(MODEL, folder)
    refused(target, "its weights are quantised")
    assert hub.downloaded() == ["config.json"]


SHARDS = {"transformer.wte.weight": "model-2.safetensors", "a": "model-3.safetensors"}


@pytest.mark.parametrize(
    ("changes", "index", "parts"),
    [
        ({"activation_function": "nosuch"}, None, ["activation_function is 'nosuch'"]),
        ({"n_head": 5}, None, ["n_head is 5", "does not divide"]),
        ({"n_embd": "32"}, None, ["n_embd is '32', not a number from 1 on"]),
        ({"vocab_size": 20}, None, ["its tokenizer has the entry", "the 20 rows"]),
        ({"torch_dtype": "nosuch", "dtype": None}, None, ["torch_dtype is 'nosuch'"]),
        ({}, SHARDS, ["names 1 files", "'model-3.safetensors', with 1 tensors"]),
    ],
)
def test_what_cannot_be_read_is_known_before_weights_are_fetched(
    hub, model, target, tmp_path, changes, index, parts
):
    folder = shutil.copytree(model, tmp_path / "senseless")
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    if index:
        (folder / "model.safetensors").rename(folder / "model-2.safetensors")
        text = json.dumps({"weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text)
    hub.add(MODEL, folder)
    refused(target, "models.m: ", *parts)
    assert not [name for name in hub.downloaded() if name.endswith(".safetensors")]


def test_a_file_system_without_locks_is_no_network_without_a_hub(hub, model, target, monkeypatch):
    hub.add(MODEL, model)

    def no_lock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    refused(target, "cannot be written: [Errno 37] No locks available", "no locks")


@pytest.mark.parametrize("sha", ["../../../../victim", "/victim", "main", "", None, 3, ["a"]])
def test_a_commit_that_is_none_leads_nowhere(hub, model, target, tmp_path, sha):
    """The folder that files arrive in is named after it."""
    victim = tmp_path / "victim"
    shutil.copytree(model, victim)
    (victim / "config.json").write_text("mine")
    (victim / "download.incomplete").write_text("mine")
    hub.shas[hub.add(MODEL, model)] = str(victim) if sha == "/victim" else sha
    refused(target, f"what answers at {hub.url} for '{MODEL}' is no hub", "the commit")
    assert hub.downloaded() == []
    assert {(victim / name).read_text() for name in ("config.json", "download.incomplete")} == {
        "mine"
    }


@pytest.mark.parametrize("tag", ["x/../../../../../../victim", "../../../../../victim"])
def test_a_tag_of_a_file_leads_nowhere(hub, model, target, tmp_path, tag):
    """huggingface_hub names unfinished files after it."""
    hub.add(MODEL, model)
    hub.lies["model.safetensors"] = tag
    refused(target, "cannot be written: [Errno 2] No such file")
    assert [file.name for file in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    "name", ["model*.safetensors", "model [1].safetensors", "model-\\..safetensors"]
)
def test_a_file_whose_name_is_a_path_or_a_pattern_is_refused(hub, model, target, name):
    hub.add(MODEL, model)
    files = hub.repos[MODEL]["main"]
    files[name] = files.pop("model.safetensors")
    refused(target, "is no name of a file here")
    assert hub.downloaded() == []


HTML = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "part"),
    [
        (200, HTML, b"<html>Sign in to our network</html>", "is no hub: JSONDecodeError"),
        (200, {}, b"[]", "is no hub: "),
        (200, {}, b'{"id": "owner/model", "siblings": 3}', "is no hub: "),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            b"",
            "answers 401",
        ),
        (404, {"X-Error-Code": "RepoNotFound"}, b"", "does not exist on the hub"),
        (403, {}, b"", "answers 403 for 'owner/model': it does not let this account read it"),
        (403, {"X-Error-Code": "GatedRepo"}, b"", "asks for an agreement"),
        (429, {"Retry-After": "9999999"}, b"", "asks to wait for 9,999,999 seconds"),
        (429, {"RateLimit": '"api";r=0;t=86400'}, b"", "asks to wait for 86,400 seconds"),
    ],
)
def test_what_a_hub_answers_is_told_apart(hub, target, status, headers, body, part):
    hub.answer = status, headers, body
    refused(target, part)


# The published figures


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    return wf.checkout(tmp_path_factory.mktemp("paper") / "run")


PAPER = ("--configfile", "config/paper.yaml")


@pytest.mark.e2e
@pytest.mark.slow
def test_the_paper_is_planned_for_the_models_of_each_study(paper):
    jobs = wf.rules_to_run(paper, "composites", *PAPER)
    assert jobs["context"] == jobs["curves"] == 3  # the GPT-2 family
    # roberta-base without and with positions, and the GPT-2 family on the same texts.
    assert jobs["ranks"] == jobs["ranks_by_class"] == jobs["half_lives"] == 2 + 3
    assert jobs["identity"] == 3 + 2 + 3
    assert jobs["senses_tables"] == 2 * 3  # of the texts, and with other words in their place
    assert jobs["decodability_tables"] == 3  # plays, in the GPT-2 family
    # The baseline's texts run on every model.
    assert jobs["model"] == 3 + 1 and jobs["hidden_states"] == 3 + 2 + 3 + 2 * 3 + 3 + 4
    assert jobs["tokens"] == jobs["hidden_states"] + 1  # of what heads and MLPs do, without states
    assert jobs["baseline"] == 4
    assert sum(n for rule, n in jobs.items() if rule.endswith("_figure")) == 3 + 2 * 3 + 1 + 1 + 2


@pytest.mark.e2e
@pytest.mark.slow
def test_the_paper_is_planned_for_every_checkpoint_of_pythia(paper):
    jobs = wf.rules_to_run(paper, "convergence", "perturbation", *PAPER)
    assert jobs["hidden_states"] == jobs["passing_model"] == 5 * 9  # the baseline is the fifth
    assert jobs["perturbation_table"] == 2 * jobs["baseline"] == 2 * 9
    assert jobs["tokens"] == 5 and jobs["convergence_tables"] == jobs["alignment_table"] == 2
    assert "model" not in jobs


@pytest.mark.e2e
@pytest.mark.slow
def test_the_paper_is_made_from_the_hub(hub, paper, tmp_path):
    repos = {
        "gpt2": "openai-community/gpt2",
        "distilgpt2": "distilbert/distilgpt2",
        "gpt2-medium": "openai-community/gpt2-medium",
    }
    shas = {
        name: hub.add(repo, tiny.save("gpt2", tmp_path / name, seed=seed, n_layer=2 + seed))
        for seed, (name, repo) in enumerate(repos.items())
    }
    with wf.edited(paper / "config/paper.yaml") as config:
        config["baseline"] = {"enabled": False}  # its texts are too long for tiny models
    wf.run(
        paper,
        *(f"results/composites/drift_{name}.pdf" for name in ("senses", "depth")),
        *PAPER,
        **wf.from_hub(hub.url, tmp_path / "home"),
    )
    for name, sha in shas.items():
        folder = paper / "resources/models" / name / "main"
        assert json.loads((folder / "provenance.json").read_text())["revision"] == sha
    made = {f.suffix for f in (paper / "results/composites").glob("drift_*")}
    assert made == {".html", ".svg", ".png", ".pdf", ".json"}
    for figure in (paper / "results/composites").glob("*.svg"):
        assert all(name in figure.read_text() for name in repos)
