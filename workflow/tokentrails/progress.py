"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys

from tqdm import tqdm


def token_bar(total: int, label: str) -> tqdm:
    """A bar that counts tokens and shows tokens per second; quiet when stderr is not a terminal."""
    return _bar(total, label, "tok")


def neuron_bar(total: int, label: str) -> tqdm:
    """The same for neurons."""
    return _bar(total, label, " neurons")


def _bar(total: int, label: str, unit: str) -> tqdm:
    quiet = not sys.stderr.isatty()
    return tqdm(total=total, desc=label, unit=unit, unit_scale=True, disable=quiet, leave=False)


def no_bar(total: int) -> tqdm:
    """A bar that is never shown."""
    return tqdm(total=total, disable=True)
