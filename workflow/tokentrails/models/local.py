"""A model in a folder, or a GGUF file, of one's own."""

from __future__ import annotations

from pathlib import Path

from ..errors import TokentrailsError
from ..files.json_file import read_object
from ..files.lfs import refuse_pointer
from ..files.near import near_path
from ..settings import Model, Source
from .size import Expected, size_from_config
from .source import GGUF, Fetched, model_files, refuse_missing_shards
from .supported import refuse_config


def files(source: Source, checkpoint: str) -> list[Path]:
    """The files of a checkpoint, which lie in the folder itself or in its subfolder of that name.

    A GGUF file is all by itself.

    Raises
    ------
    TokentrailsError: if the folder is not there, or holds no model, or one of its files is none: a
        folder, a pipe (which would be waited for), a broken link, a pointer of Git LFS; or if
        the configuration says that the model is not supported, or the adapter cannot be merged.
    """
    folder = _folder(source, checkpoint)
    if _is_gguf(folder) and folder.is_file():
        refuse_pointer(folder)
        return [folder]
    if not folder.is_dir():
        if _is_gguf(folder):
            raise TokentrailsError(
                f"the model does not exist: there is no file '{folder}'",
                where=f"models.{source.model}.source",
                hint=f"{near_path(folder)}the path is relative to the working directory.",
            )
        what = f"checkpoint {checkpoint!r}" if source.has_checkpoints else "model"
        raise TokentrailsError(
            f"the {what} does not exist: there is no folder '{folder}'",
            where=f"models.{source.model}.source",
            hint=f"{near_path(folder, Path.is_dir)}the path is relative to the working directory.",
        )
    names = sorted(file.name for file in folder.iterdir())
    found = [folder / name for name in model_files(names, source, f"the folder '{folder}'")]
    for file in found:
        if not file.is_file():
            raise TokentrailsError(
                f"'{file}' is no file, but a folder, a pipe or a broken link",
                where=f"models.{source.model}.source",
                hint="put the model's own file in its place.",
            )
        refuse_pointer(file)
    if not _is_gguf(found[0]):
        refuse_config(read_object(found[0]), source)
        refuse_missing_shards(folder, names, where=f"models.{source.model}")
    return found


def size(model: Model) -> Expected:
    """The size that the files of the reference checkpoint have."""
    sizes = {file.name: file.stat().st_size for file in files(model.source, model.reference)}
    folder = _folder(model.source, model.reference)
    return Expected(size_from_config(model.source, folder, sizes), 0.0)


def fetch(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """The checkpoint's folder as it is; its content hash is its revision."""
    (first, *_) = files(source, checkpoint)
    if _is_gguf(first):
        # Alone: with an adapter beside it, transformers would load that one's base instead.
        alone = scratch / "gguf"
        alone.mkdir()
        (alone / first.name).symlink_to(first.absolute())
        return Fetched(alone, revision="", gguf=first.name)
    return Fetched(_folder(source, checkpoint), revision="")


def _is_gguf(path: Path) -> bool:
    return path.suffix == GGUF


def _folder(source: Source, checkpoint: str) -> Path:
    folder = Path(source.location).expanduser()
    return folder / checkpoint if source.has_checkpoints else folder
