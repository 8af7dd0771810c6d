"""The command `tokentrails`: Snakemake with the workflow of the installed package.

`tokentrails init` copies what a folder of one's own needs: config/ and profiles/. Any other
arguments are those of Snakemake.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ..project import PROJECT, SNAKEFILE

COPIED = ("config", "profiles")


def main() -> None:
    if sys.argv[1:] == ["init"]:
        sys.exit(initialise(Path.cwd()))
    # Snakemake starts `python` for the scripts, which has to be this one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, *sys.argv[1:]]
    os.execve(command[0], command, os.environ | {"PATH": path})


def initialise(folder: Path) -> str | None:
    """Copy the configuration and the profiles into a folder; what went wrong, None for nothing."""
    if present := [name for name in (*COPIED, "slurm") if os.path.lexists(folder / name)]:
        return f"{present[0]} is already in {folder}.\nHint: move it away, or use another folder."
    for name in COPIED:
        shutil.copytree(PROJECT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")  # for --profile slurm
    return None
