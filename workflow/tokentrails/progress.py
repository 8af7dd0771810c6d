"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys

from tqdm import tqdm


def token_bar(total: int, label: str) -> tqdm:
    """A bar that counts tokens and shows tokens per second; quiet when stderr is not a terminal."""
    quiet = not sys.stderr.isatty()
    return tqdm(total=total, desc=label, unit="tok", unit_scale=True, disable=quiet, leave=False)


def no_bar(total: int) -> tqdm:
    """A bar that is never shown."""
    return tqdm(total=total, disable=True)
