"""Tiny models with several checkpoints, which share a tokenizer and differ in their weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import tiny
import torch
from safetensors.torch import load_file, save_file
from workflow import write_yaml

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
            "baseline": {"enabled": False},
            "claims": {"enabled": False},
        },
    )
