"""How large a model is."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .weights import Weights


@dataclass(frozen=True)
class ModelSize:
    """How large a model is.

    Attributes
    ----------
    weights_mb: of the file of its weights.
    parameters: numbers in it.
    depth: blocks.
    d_model: width of the stream.
    """

    weights_mb: float
    parameters: int
    depth: int
    d_model: int

    @classmethod
    def of(cls, folder: Path) -> ModelSize:
        """The size of the checkpoint in a folder of `resources/models`; only headers are read.

        Raises
        ------
        FileNotFoundError: if it is not there, or not any more.
        """
        weights = folder / "model.safetensors"
        size = weights.stat().st_size  # first: of what may be missing, every job's own input
        facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        parameters = sum(math.prod(entry.shape) for entry in Weights(weights).entries.values())
        return cls(size / 1e6, parameters, facts["depth"], facts["d_model"])

    @property
    def heads(self) -> int:
        """An upper bound of the heads of a block: few models have heads narrower than 32."""
        return max(1, self.d_model // 32)
