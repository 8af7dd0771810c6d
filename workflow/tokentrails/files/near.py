"""The names that misspelt ones most likely stand for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path


def closest(word: str, known: list[str]) -> str | None:
    """The known word that a misspelt one most likely stands for."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return matches[0] if matches else None


def near_name(word: str, known: list[str], otherwise: str) -> str:
    """A hint for a misspelt word: what it most likely stands for, or something else to do."""
    guess = closest(word, known)
    return f"did you mean {guess!r}?" if guess else otherwise


def near_or_all(word: str, known: Collection[str]) -> str:
    """The known word that a misspelt one most likely stands for, or all that are known."""
    return closest(word, list(known)) or ", ".join(known)


def near_path(path: str | Path, is_meant: Callable[[Path], bool] = Path.is_file) -> str:
    """The beginning of a hint for a path that cannot be read: what it most likely stands for.

    Parameters
    ----------
    is_meant: whether a path is of the kind that is looked for.

    Returns
    -------
    A question, which is another one where the path is there; or nothing where no name is near.
    """
    if is_meant(Path(path)):
        return "may you read it? "
    path = Path(path).expanduser()
    for wrong in (path, *path.parents):
        with suppress(OSError, ValueError):
            rest = path.relative_to(wrong)
            beside = (wrong.with_name(name) for name in sorted(os.listdir(wrong.parent)))
            known = [each for each in beside if is_meant(each / rest)]
            known.sort(key=lambda each: each.suffix == wrong.suffix)  # it is taken where two are
            by_stem = {each.stem: each for each in known}  # what files end in is alike anyway
            if guess := closest(wrong.stem, list(by_stem)):
                return f"did you mean '{by_stem[guess] / rest}'? "
            break
    return ""
