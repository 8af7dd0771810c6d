"""GPUs for one process alone, on a machine where nobody hands them out."""

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
    """GPUs that are this process's alone.

    Attributes
    ----------
    indices: which of the names, ascending.
    files: their locks; a GPU is free again when its own is closed, or when the process has died.
    """

    indices: tuple[int, ...]
    files: tuple[IO[str], ...]


def folder_of_locks() -> Path:
    """Where the locks lie: one folder for all runs of a user on a machine, in whatever folder.

    Not the temporary folder of the environment, which may be another one for each job.
    """
    return Path("/tmp") / f"tokentrails-gpus-{os.getuid()}"


def lease(names: Sequence[str], folder: Path | None = None, *, n: int = 1) -> Lease:
    """Take the first n GPUs that are free; wait where fewer are.

    Who waits holds none, so that no two wait for each other. The kernel drops a lock when its
    process ends, however it ends.

    Parameters
    ----------
    names: of the GPUs to choose from, the same in all processes.
    folder: of the locks; by default that of `folder_of_locks`.
    n: at most as many as there are names.

    Raises
    ------
    TokentrailsError: if there are fewer than n, the folder is somebody else's, or there are no
        locks where it lies.
    """
    if n > len(names):
        raise TokentrailsError(
            f"{n} GPUs were asked for, and there are {len(names)}",
            where="extract.device_map.gpus",
            hint="ask for fewer: what they cannot hold lies in the machine's memory.",
        )
    folder = folder_of_locks() if folder is None else folder
    _own(folder)
    waiting = False
    while True:
        free: dict[int, IO[str]] = {}
        holders = []
        for index, name in enumerate(names):
            if len(free) == n:
                break
            file = (folder / f"{name}.lock").open("a+", encoding="ascii")
            if lock(file):
                free[index] = file
                continue
            with file:
                file.seek(0)
                holders.append(file.read().strip() or "?")
        if len(free) == n:
            for held in free.values():
                held.truncate(0)
                held.write(f"{os.getpid()}\n")  # for those who wait
                held.flush()
            return Lease(tuple(free), tuple(free.values()))
        for held in free.values():
            held.close()
        if not waiting:
            by = ", ".join(holders)
            text = "%d of %d GPUs are taken, by the processes %s; waiting for %d"
            log.info(text, len(holders), len(names), by, n)
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
