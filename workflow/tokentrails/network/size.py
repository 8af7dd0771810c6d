"""How large a model is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from .checkpoint import Checkpoint


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
    def from_folder(cls, folder: Path) -> ModelSize:
        """The size of the checkpoint in a folder of `resources/models`; only headers are read.

        Raises
        ------
        FileNotFoundError: if it is not there, or not any more.
        """
        # First: of what may be missing, every job's own input.
        size = (folder / "model.safetensors").stat().st_size
        checkpoint = Checkpoint(folder)
        depth, d_model = checkpoint.facts["depth"], checkpoint.facts["d_model"]
        shapes = (entry.shape for entry in checkpoint.weights.entries.values())
        return cls(size / 1e6, sum(map(math.prod, shapes)), depth, d_model)

    @property
    def heads(self) -> int:
        """An upper bound of the heads of a block: few models have heads narrower than 32."""
        return max(1, self.d_model // 32)
