"""What is known of a model from its configuration alone, before its weights are fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..catalogue import ANALYSES, MODEL_FOLDER
from ..config.selection import existing
from ..errors import TokentrailsError, Where, refuse_all
from ..files.json_file import read_object
from ..files.memo import Memo
from ..network.architectures import (
    READ_AS,
    Architecture,
    MaskedHead,
    architecture_of,
    is_known,
    size_of,
    text_config,
)
from ..network.checkpoint import Checkpoint
from ..network.weights import Weights
from ..settings import SOURCE_KINDS, Config, Experiment, Model, Source
from .adapter import refuse_unmergeable
from .source import is_gguf, source_files

_ROWS = Memo("rows", __version__)
"""Of configurations of types outside the table, the row of it that fits; torch is needed for it."""

_HEADLESS = "its weights have no head, through which the stream would be read"


def refuse_config(config: dict[str, Any], source: Source) -> None:
    """Raise for what can be known of a model or an adapter from its configuration.

    Parameters
    ----------
    config: its `config.json` or `adapter_config.json`.
    """
    if source.base is not None:
        refuse_unmergeable(config, source)
    else:
        _architecture(config, f"models.{source.model}")


def _architecture(config: dict[str, Any], where: str) -> Architecture:
    inner = text_config(config)
    if is_known(inner.get("model_type")):
        return architecture_of(config, where=where)

    def row(_: str) -> str:
        from .derive import derived  # loads torch

        found = derived(config, where=where)
        architecture_of(found, where=where)
        return str(found[READ_AS])

    found = _ROWS(json.dumps(config, sort_keys=True), row)
    return architecture_of(inner | {READ_AS: found}, where=where)


@dataclass(frozen=True)
class _Known:
    """What is known of a model before it runs: its configuration, row, and what it lacks."""

    config: dict[str, Any]
    architecture: Architecture
    lacks: dict[str, str]


def refuse_analyses(config: Config) -> None:
    """Raise for what experiments ask of models that cannot give it, as far as that is known.

    Known are models in folders of the user, and those that were prepared from the same source.
    """
    known = {name: _known(model, config.models) for name, model in config.models.items()}
    errors = []
    for experiment in config.experiments.values():
        for name in experiment.models:
            if (model := known[name]) is not None:
                try:
                    here = config.where / "experiments" / experiment.name
                    _refuse_lacking(experiment, name, model, here)
                except TokentrailsError as error:
                    errors.append(error)
    refuse_all(errors, "analyses cannot be made")


def _refuse_lacking(experiment: Experiment, name: str, model: _Known, where: Where) -> None:
    for place, what, needed in _asked(experiment, where):
        if reason := model.lacks.get(needed):
            raise place.error(
                f"{what} cannot be had of {name!r} ({model.architecture.model_type}): {reason}",
                "leave it out, or name other models.",
            )
    if (circuits := experiment.circuits) is None:
        return
    row, of_model = model.architecture, f"{where / 'circuits'}, model {name}"
    for what, key, chosen in (
        ("layers", row.depth_key, (*(circuits.layers or ()), *(circuits.lists or ()))),
        ("heads", row.heads_key, circuits.heads),
    ):
        if key in model.config:  # else it is that of its class
            existing(chosen, size_of(model.config, key), what, where=of_model)


def _asked(experiment: Experiment, where: Where) -> Iterator[tuple[Where, str, str]]:
    """What an experiment asks for, where its key is, and the part that it needs, or the option."""
    for analysis in ANALYSES:
        if analysis.needs and analysis.name in experiment.analyses:
            yield where / "analyses", analysis.name, analysis.needs
    if (ranks := experiment.ranks) is not None:
        for option in ("positional", "as_published"):
            if getattr(ranks, option):
                yield where / "ranks" / option, f"ranks with {option}: true", option


def _known(model: Model, models: Mapping[str, Model]) -> _Known | None:
    """None for a model of which nothing lies on this disk, or nothing that can be read."""
    source = model.source
    with suppress(TokentrailsError, OSError):  # whoever makes the model says what is wrong
        if model.made_of is not None:
            return _known(models[model.made_of], models)
        if SOURCE_KINDS[source.kind].on_disk and not is_gguf(source) and not model.training:
            (first, *others) = source_files(source, model.reference)
            return _described(read_object(first), others)
        folder = Path(MODEL_FOLDER.format(model=model.name, checkpoint=model.reference))
        checkpoint = Checkpoint(folder)
        if checkpoint.facts["source"] == source.spec:
            row, checked = checkpoint.architecture, checkpoint.facts.get("self_check", {})
            headless = "logits" not in checked.get("errors", ("logits",))
            return _Known(checkpoint.config, row, _with_head(checkpoint.lacks, headless))
    return None


def _described(config: dict[str, Any], files: Iterable[Path]) -> _Known:
    """Before it is prepared: its configuration, and its other files, of which weights may be."""
    architecture, inner = _architecture(config, "config.json"), text_config(config)
    own, names = architecture.unembedding_tensor, list[str]()
    with suppress(TokentrailsError, OSError):  # of weights that cannot be read, whoever reads them
        shards = [file for file in files if file.suffix == ".safetensors"]
        names = [name for shard in shards for name in Weights(shard).entries]
    masked = isinstance(architecture.unembedding, MaskedHead)
    needs_own = masked or inner.get("tie_word_embeddings") is False
    headless = needs_own and bool(names) and not any(name.endswith(own) for name in names)
    return _Known(inner, architecture, _with_head(architecture.lacks, headless))


def _with_head(lacks: Mapping[str, str], headless: bool) -> dict[str, str]:
    """The same with why there is no unembedding, if there is none."""
    reason = lacks.get("logits") or (_HEADLESS if headless else "")
    return {**lacks, "unembedding": reason} if reason else dict(lacks)
