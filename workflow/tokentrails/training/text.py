"""Training text: one speech per line, in two files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import TokentrailsError


@dataclass(frozen=True)
class Text:
    """Speeches to train on, and others of the same kind to measure the loss on."""

    training: list[str]
    held_out: list[str]

    @property
    def sha256(self) -> str:
        """Of the speeches to train on."""
        return hashlib.sha256("\n".join(self.training).encode()).hexdigest()


def read_text(training: Path, held_out: Path) -> Text:
    """Read the two files.

    Raises
    ------
    TokentrailsError: if one is missing, empty, or no text.
    """
    return Text(_speeches(training), _speeches(held_out))


def _speeches(path: Path) -> list[str]:
    hint = f"delete the folder '{path.parent}' and run again; the text is fetched anew."
    try:
        found = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TokentrailsError(
            f"the training text cannot be read: {error}", where=path, hint=hint
        ) from error
    if not found:
        raise TokentrailsError("the training text is empty", where=path, hint=hint)
    return found
