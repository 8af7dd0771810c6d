"""A checkpoint: its folder, and what its files say. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from ..errors import TokentrailsError
from ..files.json_file import read_object
from .architectures import PARTS, Architecture, architecture_of
from .weights import Weights

_FACTS = ("model", "checkpoint", "source", "revision", "sha256", "architecture", "depth", "d_model")


@dataclass(frozen=True)
class Checkpoint:
    """A folder with one set of weights. A file is read when it is first asked for.

    `network.load` makes a running model of it and `texts.tokenization` reads its tokenizer; both
    are separate, so that a change there leaves alone what depends on these files only.
    """

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return self._object("config.json")

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
        facts = self._object("provenance.json")
        if missing := [key for key in _FACTS if key not in facts]:
            raise TokentrailsError(
                f"the file says nothing of {missing[0]!r}",
                where=self.folder / "provenance.json",
                hint=self._again,
            )
        return facts

    def _object(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        path.stat()  # a file that is not there yet is no broken one: its own error goes through
        return read_object(path, hint=self._again)

    @property
    def _again(self) -> str:
        return f"delete the folder '{self.folder}' and run the same command again."

    @property
    def lacks(self) -> dict[str, str]:
        """What it cannot be asked for, and why: by its architecture, and by the check of it."""
        found = self.facts.get("self_check", {})
        if found.get("grade") != "states" or self.architecture.attention.opaque:
            return self.architecture.lacks
        worst = max(found["errors"], key=found["errors"].__getitem__)
        reason = (
            f"its parts do not add up to what it gives: {worst} are off by up to "
            f"{found['errors'][worst]:.2g} of their size"
        )
        return self.architecture.lacks | dict.fromkeys(PARTS, reason)

    def refuse_parts(self) -> None:
        """Raise a `TokentrailsError` for a model of which the stream alone can be read."""
        if reason := self.lacks.get("logits"):
            raise TokentrailsError(
                f"{self.name} cannot be taken apart: {reason}",
                where=self.folder / "provenance.json",
                hint="its states can be read; leave heads, neurons, evolution, attribution, "
                "ablation and own_token out of the analyses.",
            )

    def refuse_far(self, length: int) -> None:
        """Raise a `TokentrailsError` for a text in which patterns are not all of attention."""
        within = self.facts.get("self_check", {}).get("heads_within", length)
        if length > within:
            raise TokentrailsError(
                f"a text has {length:,} tokens, and beyond {within:,} the rotations of {self.name} "
                "depend on more than how far two tokens are apart",
                where="the analysis heads",
                hint="shorten the text, or leave heads out of the analyses.",
            )

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
