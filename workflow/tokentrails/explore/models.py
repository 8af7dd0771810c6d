"""Checkpoints that are loaded when they are first asked for; the last few of them stay."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from jaxtyping import Float32
from torch import Tensor

from ..errors import TokentrailsError
from ..figures.pieces.text import readable
from ..metrics.head_summary import Words
from ..metrics.own_token import Readout
from ..metrics.ranks import Vocabulary
from ..network.checkpoint import Checkpoint
from ..network.parts import load_parts
from ..network.spread import Placement
from ..texts.tokenization import TokenizerFiles
from ..vocabulary.spaces import Spaces

MOST_BYTES = 2 << 30
"""Bytes of the weights that are in memory at a time."""
LEAST_LOADED = 2
"""Checkpoints that are, however large: one and its control; one alone that is spread."""
VIEWS = 4
"""Texts whose states are kept of each."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values that were used last, as many as there is room for; others are made again."""

    def __init__(
        self,
        most: int,
        drop: Callable[[Value], object] = lambda value: None,
        size: Callable[[Key], int] = lambda key: 1,
        least: int = 1,
    ) -> None:
        """`drop` is told of each value that is let go.

        There is room for sizes that are `most` together, and for `least` values of any size.
        """
        self.most, self.drop, self.size, self.least = most, drop, size, least
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        if key not in self._kept:
            # Before, so that there is room for the new one.
            self.keep(self.most - self.size(key), self.least - 1)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        return self._kept[key]

    def keep(self, most: int, least: int = 0) -> None:
        """Let go of those that were used first, until they are at most so large, or so few."""
        while len(self._kept) > least and sum(map(self.size, self._kept)) > most:
            self.drop(self._kept.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint in memory.

    Attributes
    ----------
    readout: its model, and the parts of it.
    views, chance: what was computed with it last, which goes with it.
    """

    checkpoint: Checkpoint
    files: TokenizerFiles
    readout: Readout
    views: Recent[Hashable, Any] = field(default_factory=lambda: Recent(VIEWS))
    chance: Recent[str, Any] = field(
        default_factory=lambda: Recent(1, lambda chance: chance.close())
    )

    @classmethod
    def from_folder(cls, folder: Path, place: Placement) -> Loaded:
        """Load a checkpoint; raises a `TokentrailsError` as `network.load.load_model` does."""
        model, architecture, parts = load_parts(folder, place.device, place.spread)
        files = TokenizerFiles.load(folder)
        entries = files.entries(len(parts.embedding))
        return cls(Checkpoint(folder), files, Readout(model, architecture, parts, entries))

    def forget(self) -> None:
        """Let go of what refers back to it, so that its memory is free at once."""
        self.views.keep(0)
        self.chance.keep(0)

    @property
    def sites(self) -> list[str]:
        """Where its states are read."""
        return [site for site in ("resid", "resid_mid") if site in self.readout.architecture.sites]

    @property
    def context_length(self) -> int:
        return self.readout.architecture.context_length(self.checkpoint.config)

    @cached_property
    def matrices(self) -> dict[str, Vocabulary]:
        """What states are compared with, by what a row of it is called."""
        parts = self.readout.parts
        found: dict[str, Float32[Tensor, "v d"] | None] = {
            "embedding": parts.embedding,
            "unembedding": parts.unembedding,
        }
        entries = self.readout.entries
        return {n: Vocabulary(entries, rows) for n, rows in found.items() if rows is not None}

    @property
    def has_positions(self) -> bool:
        """Whether it has learned positions, which can be added to rows."""
        return self.readout.architecture.position_embedding is not None

    @property
    def has_published(self) -> bool:
        """Whether there is a published formula of it."""
        return "as_published" not in self.readout.architecture.lacks

    @property
    def is_tied(self) -> bool:
        """Whether the unembedding is the input embedding, but for a factor of all rows."""
        parts, own = self.readout.parts, self.readout.model.get_input_embeddings().weight
        return any(parts.unembedding is rows for rows in (parts.embedding, own))

    @cached_property
    def spaces(self) -> Spaces:
        """What words are listed of; raises a `TokentrailsError` where no entry is a whole word."""
        return Spaces.of(self.readout.parts, self.files)

    @property
    def listed(self) -> str:
        """Which entries lists of words have, for people; raises as `spaces` does."""
        spaced = self.spaces.surfaces[int(self.spaces.entries[0])].startswith(" ")
        return "words and beginnings of words" + ", which begin with a space" * spaced

    @cached_property
    def words(self) -> Words:
        """What these are as words; raises as `spaces` does."""
        return Words.of(self.spaces)

    def readable(self, entry: str) -> str:
        """An entry of the vocabulary as people read it."""
        return readable(entry, byte_level=self.files.is_byte_level)


class Models:
    """The checkpoints of a configuration."""

    def __init__(self, folders: Mapping[str, Mapping[str, Path]], place: Placement) -> None:
        """`folders` are of each model's checkpoints, in their order."""
        self.folders, self.place = folders, place
        least = LEAST_LOADED if place.device_map is None else 1
        self._loaded: Recent[tuple[str, str], Loaded] = Recent(
            MOST_BYTES, Loaded.forget, self._bytes, least
        )

    def get(self, model: str, checkpoint: str) -> Loaded:
        """Raises a `TokentrailsError` for a name that is not in the configuration."""
        _refuse_unknown("model", model, self.folders)
        checkpoints = self.folders[model]
        _refuse_unknown(f"checkpoint of {model}", checkpoint, checkpoints)
        return self._loaded.get(
            (model, checkpoint), lambda: Loaded.from_folder(checkpoints[checkpoint], self.place)
        )

    def _bytes(self, key: tuple[str, str]) -> int:
        """Those of the weights, which are loaded in float32."""
        model, checkpoint = key
        entries = Checkpoint(self.folders[model][checkpoint]).weights.entries
        return 4 * sum(math.prod(entry.shape) for entry in entries.values())


def _refuse_unknown(kind: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise TokentrailsError(
            f"{name!r} is no {kind} of this configuration",
            hint=f"choose from {', '.join(known)}.",
        )
