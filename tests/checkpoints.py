"""Tiny models with several checkpoints, which share a tokenizer and differ in their weights."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import tiny
import torch
from safetensors.torch import load_file, save_file
from workflow import ALONE, write_yaml

PROMPTS = {
    "alone": ("water", "A spring of cold water ran down the hill."),
    "with": (" bank", "The bank approved the loan."),
}


def save(folder: Path, names: Sequence[str], model_type: str = "gpt2") -> Path:
    """A folder of checkpoints; the tokenizer is trained once, since that is not deterministic."""
    first = tiny.save(model_type, folder / names[0])
    for seed, name in enumerate(names[1:], start=1):
        shutil.copytree(first, folder / name)
        change(folder / name, seed)
    return folder


def change(folder: Path, seed: int) -> None:
    """Give a checkpoint other weights."""
    path = folder / "model.safetensors"
    torch.manual_seed(seed)
    tensors = {k: v + torch.randn_like(v) * 0.1 for k, v in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})


def write_config(folder: Path, models: dict[str, dict], experiments: Sequence[str]) -> None:
    """A configuration of local models and of experiments that ask for identity."""
    for name in experiments:
        word, prompt = PROMPTS[name]
        data = {
            "analyses": ["identity"],
            "prompts": [{"label": name, "word": word, "prompt": prompt}],
        }
        write_yaml(folder / f"config/experiments/{name}.yaml", data)
    write_yaml(
        folder / "config/config.yaml",
        {
            "models": {
                name: {"source": f"path:models/{name}", **keys} for name, keys in models.items()
            },
            "experiments": {
                name: {"file": f"config/experiments/{name}.yaml"} for name in experiments
            },
            **ALONE,
        },
    )


def weight_files(folder: Path) -> set[int]:
    """The files of tensors in a folder of checkpoints, those that are being made included."""
    found = set()
    for parent, _, names in os.walk(folder):  # passes over what has gone
        for name in names:
            if name.endswith(".safetensors"):
                with contextlib.suppress(FileNotFoundError):
                    # Several names of one file take the room of one.
                    found.add(os.stat(os.path.join(parent, name)).st_ino)
    return found


def most_weights(folder: Path, process: subprocess.Popen[str]) -> tuple[int, str]:
    """How many files of weights there are at most while a process runs, and what it prints."""
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.002):
            most = max(most, len(weight_files(folder)))

    watching = threading.Thread(target=watch)
    watching.start()
    output, _ = process.communicate()
    assert watching.is_alive()
    ended.set()
    watching.join()
    return most, output
