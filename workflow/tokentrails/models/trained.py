"""A model that the workflow trained itself."""

from __future__ import annotations

import json
from pathlib import Path

from ..config.trainings import FACTS
from ..errors import TokentrailsError
from ..settings import Source
from .source import Fetched

FOLDER = "resources/training/{model}/checkpoints"
"""Where the rule `training` keeps a model's checkpoints, in folders named after their steps."""


def fetch_trained(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """The checkpoint's folder as the training left it; its content hash is its revision.

    Parameters
    ----------
    checkpoint: a step; the last one is meant where the model has no list of checkpoints.

    Raises
    ------
    TokentrailsError: if the training did not save it.
    """
    folder = Path(FOLDER.format(model=source.model))
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
