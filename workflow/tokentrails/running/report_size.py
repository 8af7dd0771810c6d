"""What the report embeds, so that it stays a page that a browser opens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .cost import size_in_words

MEGABYTE = 1_000_000
PAGE = 4_000_000
"""Bytes of Snakemake's own page and the code of the rules."""
ENTRY = 4_000
"""Bytes of a file's caption, labels and parameters."""
JOB = 200
"""Bytes of the time that a job took, for each file, shown or not."""
UNKNOWN = 100_000
"""What a file is taken for that is not on this disk: not made yet, or in a bucket."""


@dataclass(frozen=True)
class LeftOut:
    """All files of a kind, which the page has no room for."""

    pattern: str
    files: int
    megabytes: float

    @property
    def size(self) -> str:
        return size_in_words(self.megabytes)


@dataclass(frozen=True)
class Embedded:
    """Patterns of the files that are embedded, and what is not."""

    kinds: set[str] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)


def embedded(kinds: Mapping[str, Sequence[str]], megabytes: float) -> Embedded:
    """The kinds for which there is room, tried in their order: all files of a kind, or none.

    Parameters
    ----------
    kinds: by its pattern, the files of a kind.
    megabytes: of the whole page.
    """
    room = megabytes * MEGABYTE - PAGE - JOB * sum(map(len, kinds.values()))
    found = Embedded()
    for pattern, files in kinds.items():
        size = sum(map(_embedded_size, files))
        if size <= room or not files:
            found.kinds.add(pattern)
            room -= size
        else:
            found.left_out.append(LeftOut(pattern, len(files), size / MEGABYTE))
    return found


def _embedded_size(path: str) -> int:
    """Bytes of a file in the page: base64 has four for every three."""
    size = os.path.getsize(path) if os.path.exists(path) else UNKNOWN
    return ENTRY + 4 * size // 3
