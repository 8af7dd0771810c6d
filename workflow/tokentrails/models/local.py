"""A model in a folder of one's own."""

from __future__ import annotations

from pathlib import Path

from ..errors import TokentrailsError
from ..settings import Source
from .source import (
    CONFIG_FILE,
    PICKLE,
    PICKLE_INDEX,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    TOKENIZER_FILES,
    Fetched,
)

_KNOWN = (CONFIG_FILE, SAFETENSORS_INDEX, PICKLE_INDEX, *TOKENIZER_FILES)


def local_folder(source: Source, checkpoint: str) -> Path:
    """Where a checkpoint lies: the folder itself, or the subfolder of that name."""
    folder = Path(source.location).expanduser()
    return folder / checkpoint if source.has_checkpoints else folder


def local_files(source: Source, checkpoint: str) -> list[Path]:
    """The files of a checkpoint, so that a changed one makes its results stale.

    Raises
    ------
    TokentrailsError: if the folder is not there, or holds no model.
    """
    folder = local_folder(source, checkpoint)
    if not folder.is_dir():
        what = f"checkpoint {checkpoint!r}" if source.has_checkpoints else "model"
        raise TokentrailsError(
            f"the {what} does not exist: there is no folder '{folder}'",
            where=f"models.{source.model}.source",
            hint="the path is relative to the working directory.",
        )
    files = [f for f in sorted(folder.iterdir()) if f.name in _KNOWN]
    files += sorted(folder.glob("model*.safetensors"))
    if source.allow_pickle and not any(f.suffix == ".safetensors" for f in files):
        files += sorted(folder.glob(f"{Path(PICKLE).stem}*.bin"))
    names = [f.name for f in files]
    if CONFIG_FILE not in names or not any(n.endswith((".safetensors", ".bin")) for n in names):
        pickles = any(folder.glob("*.bin"))
        missing = CONFIG_FILE if CONFIG_FILE not in names else SAFETENSORS
        raise TokentrailsError(
            f"the folder '{folder}' holds no {missing}",
            where=f"models.{source.model}.source",
            hint="convert its .bin weights, or set allow_pickle: true to have them converted."
            if pickles and missing == SAFETENSORS
            else "save the model with save_pretrained().",
        )
    return files


def fetch_local(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """The checkpoint's folder as it is; its content hash is its revision."""
    local_files(source, checkpoint)
    return Fetched(local_folder(source, checkpoint), revision="")
