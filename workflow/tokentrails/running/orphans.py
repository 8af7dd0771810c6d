"""Slurm jobs that outlived the Snakemake which sent them.

After `kill -9`, or when the machine that Snakemake runs on goes down, its jobs run on. The next run
in the same folder would send the same jobs again, and two would write the same files.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ..errors import TokentrailsError

PREFIX = "tokentrails_"
"""The names of all jobs begin with it; profiles/slurm tells the executor so."""

SECONDS = 120
"""How long cancelled jobs may take to end."""


def cancel_orphans(folder: Path) -> list[str]:
    """Cancel the jobs that an earlier run sent from a folder, and wait until they have ended.

    Only the run that holds the folder's lock may do this: then no other run can have sent them.
    The numbers of the jobs are returned.

    Raises
    ------
    TokentrailsError: if Slurm does not answer, or they do not end.
    """
    orphans = jobs_of(folder)
    if not orphans:
        return []
    _slurm("scancel", *orphans)
    waiting = time.monotonic() + SECONDS
    while left := jobs_of(folder):
        if time.monotonic() > waiting:
            raise TokentrailsError(
                f"jobs of an earlier run do not end: {', '.join(left)}",
                where=str(folder),
                hint="end them with scancel, or wait; then run the same command again.",
            )
        time.sleep(1)
    return orphans


def refuse_orphans(folder: Path) -> None:
    """Refuse jobs that were sent from a folder, where nobody knows whether their run has ended.

    Raises
    ------
    TokentrailsError: if there are any, or Slurm does not answer.
    """
    if jobs := jobs_of(folder):
        raise TokentrailsError(
            f"jobs of another run may still write files: {', '.join(jobs)}",
            where=str(folder),
            hint="wait for that run; if it was killed, end them with scancel. Then run the same "
            "command again.",
        )


def jobs_of(folder: Path) -> list[str]:
    """The user's waiting and running jobs that were sent from a folder by this workflow."""
    listing = _slurm("squeue", "--me", "--noheader", "--format=%A|%j|%Z")
    jobs = [line.strip().split("|", 2) for line in listing.splitlines() if line.strip()]
    return [job for job, name, place in jobs if name.startswith(PREFIX) and Path(place) == folder]


def _slurm(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        problem = (getattr(error, "stderr", None) or str(error)).strip()
        raise TokentrailsError(
            f"{command[0]} failed: {problem}",
            where="Slurm",
            hint="jobs of an earlier run may still be running, and are looked for first; "
            "see whether squeue works, then run the same command again.",
        ) from error
    return done.stdout
