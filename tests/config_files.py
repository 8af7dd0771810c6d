"""Configurations and experiment files for tests, and the message that refuses a bad one."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.settings import Config, Experiment

TEXT = "She will lead the team."
WHOLE = {"label": "a", "prompt": TEXT}
PROMPT = WHOLE | {"word": "lead"}
STORM = {"label": "storm", "prompt": "The storm is over."}
CONTEXTS = ["a {word}", "the {word}"]
CONFIG = {"models": {"m": {"source": "path:somewhere"}}, "experiments": {"e": {"file": "e.yaml"}}}
"""Of a working directory that has a file e.yaml."""
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * b"0" + b"\nsize 9\n"
"""What Git LFS puts in the place of a file until it is fetched."""


def written(data: Any, path: str = "e.yaml") -> str:
    """The path of a file with this content: bytes, text, or data to write as YAML."""
    content = data if isinstance(data, str | bytes) else yaml.safe_dump(data, sort_keys=False)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of nested data with one value put at a dotted path."""
    data = copy.deepcopy(base)
    *parents, last = path.split(".")
    inner = data
    for key in parents:
        inner = inner.setdefault(key, {})
    inner[last] = value
    return data


def load(data: dict[str, Any]) -> Config:
    """The configuration in a file c.yaml."""
    return load_config(data, [written(data, "c.yaml")])


def load_e(data: dict[str, Any]) -> Experiment:
    return load(data).experiments["e"]


@contextmanager
def refused(*parts: object) -> Iterator[Any]:
    """One clear error with these parts must be raised inside, and end in a hint."""
    with pytest.raises(TokentrailsError) as caught:
        yield caught
    message = str(caught.value)
    for part in parts:
        assert str(part) in message, message
    first, hint = message.split("\nHint: ")
    assert len(first) < 400 and len(hint) > 5, message
    assert not hint.endswith((" .", "..")), message
