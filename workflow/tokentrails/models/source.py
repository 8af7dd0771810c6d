"""What every kind of source hands over."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORM = 2
"""Raised when the folders' form changes, which makes every model be fetched and converted again."""


@dataclass(frozen=True)
class Fetched:
    """The files of a checkpoint as its source keeps them.

    Attributes
    ----------
    folder: holds a transformers model (`config.json`, weights, tokenizer), or a GGUF file.
    revision: what identifies the content: a commit hash, a version, a content hash.
    gguf: name of the GGUF file, if the weights are in one.
    facts: what else belongs into the provenance.
    """

    folder: Path
    revision: str
    gguf: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# What is taken from a source; never code, never pickles unless asked for.
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
CONFIG_FILE = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
