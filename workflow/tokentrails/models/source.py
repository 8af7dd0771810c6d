"""What a checkpoint is made from: kinds of sources, and the files that each hands over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError, Where, refuse_all
from ..files.json_file import read_object
from ..settings import SOURCE_KINDS, Model, Source
from .adapter import ADAPTER_CONFIG, adapter_files

FORM = 3
"""Raised when the folders' form changes, which makes every model be fetched and converted again."""


def module_of(source: Source) -> Any:
    """The module of a source's kind, imported only now: some need a second for that."""
    return import_module(f"{__package__}.{SOURCE_KINDS[source.kind].module}")


def source_files(source: Source, checkpoint: str) -> list[Path]:
    """The files of this machine that a checkpoint is made from.

    Raises
    ------
    TokentrailsError: if they should be there and are not.
    """
    on_disk = SOURCE_KINDS[source.kind].on_disk
    own = module_of(source).files(source, checkpoint) if on_disk else []
    return own + [Path(source.base or "") / name for name in PREPARED if source.base]


def files_of_all(models: Iterable[Model], where: Where) -> dict[tuple[str, str], list[str]]:
    """The files of this machine that checkpoints are made from, by model and checkpoint.

    Parameters
    ----------
    where: the configuration's top level, for messages.

    Raises
    ------
    TokentrailsError: with what is wrong with each of the models.
    """
    found, errors = {}, []
    for model in models:
        try:
            for checkpoint in (*model.checkpoints, model.tokenizer_checkpoint):
                files = source_files(model.source, checkpoint)
                found[model.name, checkpoint] = list(map(str, files))
        except TokentrailsError as error:
            errors.append((where / "models" / model.name).placed(error))
    refuse_all(errors, "models cannot be made")
    return found


@dataclass(frozen=True)
class Fetched:
    """The files of a checkpoint as its source keeps them.

    Attributes
    ----------
    folder: holds a transformers model (`config.json`, weights, tokenizer), or a GGUF file.
    revision: what identifies the content: a commit hash or a version; empty for its own hash.
    gguf: name of the GGUF file, if the weights are in one.
    facts: what else belongs into the provenance.
    """

    folder: Path
    revision: str
    gguf: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def file_name(name: object, where: object) -> str:
    """A name of a file or commit that came from outside, if it can lead nowhere else.

    Raises
    ------
    TokentrailsError: for a path, a pattern, or anything but letters, digits, points and dashes.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TokentrailsError(
            f"{name!r:.80} is no name of a file here",
            where=where,
            hint="names have letters, digits, '.', '_', '+' and '-', and begin with a letter or "
            "digit; whoever sent another one may not be trusted.",
        )
    return name


def files_by_tensor(index: Path) -> dict[str, str]:
    """The file that each tensor is in, as an index says.

    Raises
    ------
    TokentrailsError: if it does not say so.
    """
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise TokentrailsError(
            "its weight_map does not say which tensor is in which file",
            where=index,
            hint="fetch or save the model again.",
        )
    return {tensor: file_name(name, index) for tensor, name in named.items()}


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")

# What is taken from a source; never code, never pickles unless asked for.
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
CHAT_TEMPLATE = "chat_template.jinja"
VOCABULARIES = (("vocab.json", "merges.txt"), ("vocab.txt",))
"""Files that transformers makes a tokenizer of, where there is no `tokenizer.json`."""
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    ADDED_TOKENS,
    CHAT_TEMPLATE,
    *(name for files in VOCABULARIES for name in files),
)
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
CONFIG_FILE = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PROVENANCE = "provenance.json"
PREPARED = (SAFETENSORS, CONFIG_FILE, TOKENIZER, TOKENIZER_CONFIG, PROVENANCE)
"""What a checkpoint's folder holds when it is in its final form."""
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
GGUF = ".gguf"
WEIGHTS = (".safetensors", ".bin", GGUF)


def model_files(names: Sequence[str], source: Source, place: str) -> list[str]:
    """Names of the files that make a model: configuration, tokenizer and weights.

    The weights are one file of safetensors, or else its shards; pickles only where the source
    allows them and there is nothing else. An adapter has its own, and its base's tokenizer.

    Parameters
    ----------
    names: of all files that the source has.
    place: what has them, for the message.

    Raises
    ------
    TokentrailsError: if there is no configuration, there are no weights, or there is no tokenizer.
    """
    if is_gguf(source):
        return [_gguf_file(names, source, place)]
    if source.base is not None:
        adapter = adapter_files(names, source, place)
        return adapter + [name for name in names if name == TOKENIZER]  # to be compared
    weights = _weights(names, SAFETENSORS, SAFETENSORS_INDEX)
    if not weights and ADAPTER_CONFIG in names:
        raise TokentrailsError(
            f"{place} holds an adapter, not a model",
            where=f"models.{source.model}.base",
            hint="name the model of this configuration that it was trained on: base: NAME.",
        )
    if not weights and source.allow_pickle:
        weights = _weights(names, PICKLE, PICKLE_INDEX)
    if not weights or CONFIG_FILE not in names:
        missing = SAFETENSORS if CONFIG_FILE in names else CONFIG_FILE
        pickled = missing == SAFETENSORS and any(name.endswith(".bin") for name in names)
        quantised = [name for name in names if name.endswith(GGUF)]
        raise TokentrailsError(
            f"{place} holds no {missing}",
            where=f"models.{source.model}.source",
            hint="set allow_pickle: true to have its .bin weights converted."
            if pickled
            else f"name one of its GGUF files: file: {', '.join(quantised)}"
            if quantised
            else "take a model that transformers has saved, with save_pretrained().",
        )
    for name in weights:
        file_name(name, place)
    return [CONFIG_FILE, *tokenizer_files(names, source, place), *weights]


def is_gguf(source: Source) -> bool:
    """Whether the weights are one GGUF file, which has configuration and tokenizer inside."""
    whole = source.location if source.kind == "path" else ""
    return (source.file or whole).endswith(GGUF)


def _gguf_file(names: Sequence[str], source: Source, place: str) -> str:
    if source.file in names:
        return file_name(source.file, f"models.{source.model}.file")
    raise TokentrailsError(
        f"{place} holds no {source.file}",
        where=f"models.{source.model}.file",
        hint=f"name one of: {', '.join(n for n in names if n.endswith(GGUF)) or 'none is there'}.",
    )


def tokenizer_files(names: Sequence[str], source: Source, place: str) -> list[str]:
    """Names of the files that make a tokenizer, of all that the source has.

    Raises
    ------
    TokentrailsError: if none of them can be read as one: nothing is made up in its place.
    """
    found = [name for name in names if name in TOKENIZER_FILES]
    if TOKENIZER in found or any(set(files) <= set(found) for files in VOCABULARIES):
        return found
    problem = f"{place} holds no tokenizer: no {TOKENIZER}"
    if model := next((name for name in _SENTENCEPIECE if name in names), None):
        problem = (
            f"{place} has its tokenizer in {model} alone, and there is no sentencepiece to read it"
        )
    raise TokentrailsError(
        problem,
        where=f"models.{source.model}.source",
        hint=f"put the model's own {TOKENIZER} beside its weights; save_pretrained() of its fast "
        "tokenizer in transformers writes one.",
    )


def refuse_missing_shards(folder: Path, names: Collection[str], *, where: str) -> None:
    """Raise for an index of weights that names files which are not there.

    Parameters
    ----------
    folder: with the index, if there is one; the weights may be elsewhere.
    names: of all files.
    """
    safe = any(name.endswith(".safetensors") for name in names)
    whole, index = (SAFETENSORS, SAFETENSORS_INDEX) if safe else (PICKLE, PICKLE_INDEX)
    if index not in names or whole in names:
        return
    indexed = files_by_tensor(folder / index)
    if missing := sorted(set(indexed.values()) - set(names)):
        raise TokentrailsError(
            f"{index} names {len(missing)} files that are not there, among them {missing[0]!r}, "
            f"with {sum(f in missing for f in indexed.values()):,} tensors",
            where=where,
            hint="fetch or save the model again, with all files of its weights.",
        )


def _weights(names: Sequence[str], whole: str, index: str) -> list[str]:
    """One file of that name, or its shards with their index."""
    if whole in names:
        return [whole]
    stem, _, ending = whole.rpartition(".")
    shards = [n for n in names if n.startswith(stem) and n.endswith(f".{ending}") and "/" not in n]
    return [index, *shards] if shards and index in names else shards
