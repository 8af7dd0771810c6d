"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

from tqdm import tqdm


def progress_bar(total: int, label: str, unit: str = "tok") -> tqdm:
    """A bar that shows units per second, on a terminal alone."""
    return tqdm(total=total, desc=label, unit=unit, unit_scale=True, disable=None, leave=False)
