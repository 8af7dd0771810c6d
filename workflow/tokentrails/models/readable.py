"""Whether a model can be read, from all of its files but the weights."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..files.json_file import read_object
from ..network.architectures import text_config
from .derive import derived
from .fit import complete
from .source import CONFIG_FILE, TOKENIZER, refuse_missing_shards
from .tokenizer import refuse_unfit
from .trial import base_name, tried


def checked_config(
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
    refuse_missing_shards(folder, names, where=where)
    if TOKENIZER in names and (rows := config.get("vocab_size")) is not None:
        refuse_unfit(folder / TOKENIZER, rows, where)
    return config, base
