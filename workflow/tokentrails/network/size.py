"""How large a model is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .architectures import Architecture, text_config
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
    vocabulary: tokens that the embedding has rows for.
    tied: whether the embedding is the unembedding too.
    causal: whether a text can be cut after the last position that is read.
    """

    weights_mb: float
    parameters: int
    depth: int
    d_model: int
    vocabulary: int
    tied: bool
    causal: bool

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
        shapes = (entry.shape for entry in checkpoint.weights.entries.values())
        parameters = sum(map(math.prod, shapes))
        config = text_config(checkpoint.config)
        return cls.from_config(config, checkpoint.architecture, size / 1e6, parameters)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], architecture: Architecture, weights_mb: float, parameters: int
    ) -> ModelSize:
        """The size of a model of which a configuration tells all but the weights."""
        return cls(
            weights_mb,
            parameters,
            architecture.depth(config),
            architecture.width(config),
            config.get("vocab_size", 0),
            bool(config.get("tie_word_embeddings", True)),
            architecture.causal and not architecture.alone,
        )

    @property
    def in_blocks(self) -> int:
        """Parameters that each token is multiplied with; those of positions and norms are few."""
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.d_model
        return max(0, self.parameters - embeddings)

    @property
    def heads(self) -> int:
        """An upper bound of the heads of a block: few models have heads narrower than 32."""
        return max(1, self.d_model // 32)
