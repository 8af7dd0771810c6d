"""A checkpoint: its folder, and what its files say. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from .architectures import Architecture, architecture_of
from .weights import Weights


@dataclass(frozen=True)
class Checkpoint:
    """A folder with one set of weights. A file is read when it is first asked for.

    `network.load` makes a running model of it and `texts.tokenization` reads its tokenizer; both
    are separate, so that a change there leaves alone what depends on these files only.
    """

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))

    @cached_property
    def architecture(self) -> Architecture:
        """Raises a `TokentrailsError` for an architecture outside the table."""
        return architecture_of(self.config, where=self.folder / "config.json")

    @cached_property
    def weights(self) -> Weights:
        """Raises a `TokentrailsError` for a file that is missing or cut short."""
        return Weights(self.folder / "model.safetensors")

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What was noted when the folder was made: source, revision, hashes, sizes."""
        return json.loads((self.folder / "provenance.json").read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return checkpoint_name(self.facts)

    @property
    def provenance(self) -> dict[str, str]:
        """What tables say of a checkpoint that is read or run in float32."""
        return {
            "model": self.facts["model"],
            "checkpoint": self.facts["checkpoint"],
            "source": self.facts["source"],
            "source_revision": self.facts["revision"],
            "weights_sha256": self.facts["sha256"]["model.safetensors"],
            "architecture": self.facts["architecture"],
            "dtype": "float32",
        }

    @cached_property
    def embedding(self) -> Float32[np.ndarray, "v d"]:
        """E, the input embedding matrix, with padded rows."""
        return self.weights.tensor(self.weights.find(self.architecture.embedding))

    def embedding_rows(self, token_ids: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Rows of E, without reading the others."""
        name = self.weights.find(self.architecture.embedding)
        return self.weights.rows(name, np.asarray(token_ids))


def checkpoint_name(provenance: Mapping[str, Any]) -> str:
    """The model and checkpoint of a provenance, as messages name them."""
    return f"{provenance['model']} ({provenance['checkpoint']})"
