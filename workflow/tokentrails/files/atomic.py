"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import TokentrailsError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path in the same folder to write to; move it to `path` once the block has succeeded.

    The name keeps its ending, since some writers choose the format by it. A block that fails leaves
    neither file; one that was killed leaves a hidden file that the next writer removes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    of_this = re.compile(rf"\.part-\d+-{re.escape(path.name)}")  # and not of `big-{path.name}`
    for abandoned in path.parent.glob(".part-*"):
        if of_this.fullmatch(abandoned.name):
            abandoned.unlink(missing_ok=True)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_other_parts(parts: Sequence[str]) -> None:
    """Remove the parts of another number that an earlier run has left beside these."""
    kept = {Path(part).name for part in parts}
    for path in Path(parts[0]).parent.glob("[0-9]*_of_[0-9]*.*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def mixed_parts(parts: Sequence[str | os.PathLike[str]]) -> TokentrailsError:
    """What is said of parts that do not make a whole."""
    folder = Path(parts[0]).parent
    return TokentrailsError(
        "the parts were not made in one way: on a GPU and on a CPU, batches are not the same",
        where=folder,
        hint=f"set extract.device, delete them (rm -r '{folder}') and run the same command again.",
    )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8 text whose lines end alike on every system."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
