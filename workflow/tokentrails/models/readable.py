"""Whether a model can be read, from all of its files but the weights."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError
from ..files.json_file import read_object
from ..network.architectures import text_config
from .derive import derived
from .fit import complete
from .source import (
    CONFIG_FILE,
    PICKLE,
    PICKLE_INDEX,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    TOKENIZER,
    files_by_tensor,
)
from .tokenizer import refuse_unfit
from .trial import base_name, tried


def refuse_unreadable(
    folder: Path, names: Collection[str], *, where: str
) -> tuple[dict[str, Any], str]:
    """The complete configuration of the model of texts, and what the bare model is called in it.

    Parameters
    ----------
    folder: with all files but, maybe, the weights.
    names: of all files, those of the weights too.
    where: the model in the configuration, for messages.

    Raises
    ------
    TokentrailsError: for a configuration by which no model can be built or run, a tokenizer with
        entries beyond its vocabulary, or an index of files that are not there.
    """
    config = complete(
        derived(text_config(read_object(folder / CONFIG_FILE)), where=where), where=where
    )
    base = base_name(tried(config, where=where))
    if (index := _index(names)) is not None:
        indexed = files_by_tensor(folder / index)
        if missing := sorted(set(indexed.values()) - set(names)):
            raise TokentrailsError(
                f"{index} names {len(missing)} files that are not there, among them "
                f"{missing[0]!r}, with {sum(f in missing for f in indexed.values()):,} tensors",
                where=where,
                hint="fetch or save the model again, with all files of its weights.",
            )
    if TOKENIZER in names and (rows := config.get("vocab_size")) is not None:
        refuse_unfit(folder / TOKENIZER, rows, where)
    return config, base


def _index(names: Collection[str]) -> str | None:
    """The index of a model's files, if its weights are in several."""
    safe = any(name.endswith(".safetensors") for name in names)
    whole, index = (SAFETENSORS, SAFETENSORS_INDEX) if safe else (PICKLE, PICKLE_INDEX)
    return index if index in names and whole not in names else None
