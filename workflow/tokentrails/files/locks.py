"""Locks on files, which the kernel drops when their process ends, however it ends."""

from __future__ import annotations

import fcntl
from typing import IO

from ..errors import TokentrailsError


def lock(file: IO[str]) -> bool:
    """Take a file's lock, for as long as the file is open; false where another process has it.

    Raises
    ------
    TokentrailsError: if the file system has no locks, as some that are shared.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise TokentrailsError(
            f"this file system has no locks: {error.strerror}",
            where=file.name,
            hint="use a folder on another one.",
        ) from error
    return True
