"""A model that the workflow trained itself."""

from __future__ import annotations

import json
from pathlib import Path

from ..config.trainings import FACTS, SIZES
from ..errors import TokentrailsError
from ..network.size import ModelSize
from ..settings import Model, Source
from .size import Expected
from .source import Fetched

FOLDER = "resources/training/{model}/checkpoints"
"""Where the rule `training` keeps a model's checkpoints, in folders named after their steps."""


def files(source: Source, checkpoint: str) -> list[Path]:
    """The folder of all checkpoints, which one run of the rule `training` makes."""
    return [Path(FOLDER.format(model=source.model))]


def size(model: Model) -> Expected:
    """The size of a GPT-NeoX whose tokenizer has as many entries as it may: an upper bound."""
    assert model.training is not None
    shape = SIZES[model.training.size]
    block = 12 * shape.width**2 + 13 * shape.width  # attention, MLP and two norms, with biases
    parameters = (
        2 * shape.vocabulary * shape.width + shape.layers * block + 2 * shape.width  # final norm
    )
    made = (shape.layers, shape.width, shape.vocabulary)
    return Expected(
        ModelSize(4 * parameters / 1e6, parameters, *made, tied=False, causal=True), 0.0
    )


def fetch(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """The checkpoint's folder as the training left it; its content hash is its revision.

    Parameters
    ----------
    checkpoint: a step; the last one is meant where the model has no list of checkpoints.

    Raises
    ------
    TokentrailsError: if the training did not save it.
    """
    (folder,) = files(source, checkpoint)
    saved = {f.parent.name: f for f in folder.glob(f"step*/{FACTS}")}
    if not source.has_checkpoints and saved:
        checkpoint = max(saved, key=lambda name: int(name.removeprefix("step")))
    if checkpoint not in saved:
        raise TokentrailsError(
            f"the training saved no checkpoint {checkpoint!r}",
            where=f"models.{source.model}",
            hint=f"delete the folder '{folder}' and run again; the model is trained anew.",
        )
    facts = json.loads(saved[checkpoint].read_text(encoding="utf-8"))
    return Fetched(saved[checkpoint].parent, revision="", facts=facts)
