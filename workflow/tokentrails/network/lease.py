"""One GPU for one process, on a machine where nobody hands them out."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import TokentrailsError
from ..files.locks import lock

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Lease:
    """A GPU that is this process's alone.

    Attributes
    ----------
    index: which of the names.
    file: its lock; the GPU is free again when this is closed, or when the process has died.
    """

    index: int
    file: IO[str]


def folder_of_locks() -> Path:
    """Where the locks lie: one folder for all runs of a user on a machine, in whatever folder.

    Not the temporary folder of the environment, which may be another one for each job.
    """
    return Path("/tmp") / f"tokentrails-gpus-{os.getuid()}"


def lease(names: Sequence[str], folder: Path | None = None) -> Lease:
    """Take the first GPU that is free; wait where none is.

    The kernel drops a lock when its process ends, however it ends.

    Parameters
    ----------
    names: of the GPUs to choose from, the same in all processes.
    folder: of the locks; by default that of `folder_of_locks`.

    Raises
    ------
    TokentrailsError: if the folder is somebody else's, or there are no locks where it lies.
    """
    folder = folder_of_locks() if folder is None else folder
    _own(folder)
    waiting = False
    while True:
        holders = []
        for index, name in enumerate(names):
            file = (folder / f"{name}.lock").open("a+", encoding="ascii")
            if not lock(file):
                with file:
                    file.seek(0)
                    holders.append(file.read().strip() or "?")
                continue
            file.truncate(0)
            file.write(f"{os.getpid()}\n")  # for those who wait
            file.flush()
            return Lease(index, file)
        if not waiting:
            by = ", ".join(holders)
            log.info("all %d GPUs are taken, by the processes %s; waiting for one", len(names), by)
            waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _own(folder: Path) -> None:
    """Make the folder, or see that it is ours: others may write where it lies."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise TokentrailsError(
            "this folder, in which GPUs are locked, belongs to somebody else",
            where=folder,
            hint="remove it, or have it removed; or use extract.device: cpu.",
        )
