"""Where tensors are computed."""

from __future__ import annotations

import torch

from .errors import TokentrailsError


def choose_device(device: str) -> torch.device:
    """`auto` is the first GPU, or the CPU where there is none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TokentrailsError(
            "device cuda was asked for, and there is none",
            where="extract.device",
            hint="use 'auto' or 'cpu', or run on a machine with a GPU.",
        )
    return torch.device(device)
