"""Files that Git LFS has not fetched: a few lines stand in their place and point to them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..errors import TokentrailsError

_BEGINNING = b"version https://git-lfs"


def refuse_pointer(path: Path) -> None:
    """Raise where a file, if it can be read, is a pointer of Git LFS and not what it is named for.

    Raises
    ------
    TokentrailsError: then; what else is wrong with the file, its own reader says.
    """
    found = b""
    if path.is_file():  # no pipe, which would be waited for
        with suppress(OSError), path.open("rb") as file:
            found = file.read(len(_BEGINNING))
    if found != _BEGINNING:
        return
    raise TokentrailsError(
        "the file was not fetched: it is a pointer of Git LFS",
        where=path,
        hint="run 'git lfs pull' in the repository that it lies in.",
    )
