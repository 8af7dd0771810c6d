"""How far long work is: a bar on a terminal, a line in the log now and then elsewhere."""

from __future__ import annotations

import io
import logging
import sys
from functools import partial

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0
"""Work that takes less says nothing in the log."""


def progress_bar(total: int, label: str, unit: str = "tok") -> tqdm:
    """A bar that shows units per second; lines of the same in the log where no terminal is."""
    bar = partial(
        tqdm, total=total, desc=label, unit=unit, unit_scale=True, leave=False, disable=False
    )
    if sys.stderr.isatty():
        return bar()
    return bar(
        file=_LogLines(),
        delay=SECONDS_BETWEEN_LINES,
        mininterval=SECONDS_BETWEEN_LINES,
        miniters=1,
        ascii=True,
        ncols=0,  # numbers without a bar
    )


class _LogLines(io.StringIO):
    """A stream that logs what a bar draws, and nothing of what wipes it away."""

    def write(self, drawn: str) -> int:
        if line := drawn.strip():
            logging.info(line)
        return len(drawn)
