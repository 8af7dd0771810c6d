"""What a training that was killed goes on from."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..files.atomic import replacing

STATE = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values over the one before, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(folder / STATE) as part:
        part.write_bytes(buffer.getbuffer())


def load_state(folder: Path, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """The last saved state; None if there is none, or if it is of another training.

    Parameters
    ----------
    recipe: all that decides the bytes of the training; compared with the state's.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    state = torch.load(path, weights_only=True)
    return state if state["recipe"] == recipe else None


def discard(folder: Path) -> None:
    """Delete a folder, its state first: with half of its checkpoints it must not be taken up."""
    (folder / STATE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Make a folder that appears when it is complete, in place of one of that name."""
    part = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write(part)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
