"""How large a checkpoint is, before it is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import TokentrailsError
from ..files.json_file import read_object
from ..network.architectures import architecture_of, is_known, text_config
from ..network.size import ModelSize
from ..settings import SOURCE_KINDS, Model, Source
from .source import CONFIG_FILE, WEIGHTS, is_gguf, module_of

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Of a number, by the name that a model's configuration has for its type."""


@dataclass(frozen=True)
class Expected:
    """What one checkpoint will take.

    Attributes
    ----------
    size: of the model; its weights as they will lie on the disk.
    download_mb: what comes over the network for it.
    """

    size: ModelSize
    download_mb: float


def expected(model: Model, folders: Iterable[Path]) -> Expected:
    """The size of a model's checkpoints, which are all equally large.

    It is read from a checkpoint that is there; else the source is asked.

    Parameters
    ----------
    folders: where checkpoints of the model may lie already.

    Raises
    ------
    TokentrailsError: if the source cannot be reached, or says nothing before it is fetched.
    """
    on_disk, base = SOURCE_KINDS[model.source.kind].on_disk, model.source.base
    if is_gguf(model.source):
        raise unread(model.source)
    for folder in folders:
        try:
            size = ModelSize.from_folder(folder)
        except FileNotFoundError:
            continue
        return Expected(size, 0.0 if on_disk else size.weights_mb)
    return module_of(model.source).size(model) if base is None else size_of_other(model, Path(base))


def unread(source: Source) -> TokentrailsError:
    """Of weights that have other sizes when they are de-quantised."""
    return TokentrailsError(
        "how large de-quantised weights are is not known before they are read",
        where=f"models.{source.model}",
        hint="have it read first: snakemake --cores 1 models.",
    )


def size_of_other(model: Model, folder: Path) -> Expected:
    """The size that another model has in float32, which one is made of.

    Parameters
    ----------
    folder: of the other's checkpoint.

    Raises
    ------
    TokentrailsError: if it is not there yet.
    """
    try:
        other = ModelSize.from_folder(folder)
    except FileNotFoundError:
        raise TokentrailsError(
            f"it is as large as {folder.parent.name!r}, which is not fetched yet",
            where=f"models.{model.name}",
            hint="fetch it first: snakemake --cores 1 models.",
        ) from None
    return Expected(replace(other, weights_mb=4 * other.parameters / 1e6), 0.0)


def size_from_config(source: Source, folder: Path, sizes: Mapping[str, int]) -> ModelSize:
    """The size out of `config.json` and of the sizes of the weights' files, in bytes.

    Raises
    ------
    TokentrailsError: if `config.json` cannot be read, or does not say how large the model is.
    """
    config = text_config(read_object(folder / CONFIG_FILE))
    if config.get("quantization_config"):
        raise unread(source)
    if not is_known(config.get("model_type")):
        from .derive import derived  # loads torch

        config = derived(config, where=f"models.{source.model}")
    architecture = architecture_of(config, where=f"models.{source.model}")
    for key in set(architecture.size_keys) - config.keys():
        raise TokentrailsError(
            f"its config.json leaves {key} to the class's default",
            where=f"models.{source.model}",
            hint="the size is known when it is fetched: snakemake --cores 1 models.",
        )
    weights = sum(size for name, size in sizes.items() if name.endswith(WEIGHTS))
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    parameters = weights // BYTES.get(str(dtype), 4)
    return ModelSize.from_config(config, architecture, weights / 1e6, parameters)
