"""The training step in a checkpoint's name."""

from __future__ import annotations

import re

# `step64`, `step-64`, `global_step64`, `stage1-step64-tokens4B`; `checkpoint-64`; `64`.
# Eighteen digits fit into the int64 of a table.
_STEP = re.compile(r"(?<![a-z])step[-_]?([0-9]{1,18})(?![^-_])", re.IGNORECASE)
_WHOLE = re.compile(r"(?:checkpoint-)?([0-9]{1,18})", re.IGNORECASE)


def step_of(checkpoint: str) -> int | None:
    """The step that a checkpoint is named after; None for a name without one, such as `main`."""
    match = _WHOLE.fullmatch(checkpoint) or _STEP.search(checkpoint)
    return int(match[1]) if match else None
