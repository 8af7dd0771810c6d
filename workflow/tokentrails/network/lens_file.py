"""What a lens's file says of itself: its names, shapes and types, without the numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import TokentrailsError, one_line
from ..files.json_file import read_object
from ..files.lfs import refuse_pointer

FACTS = "lens"
"""The key of a file's metadata that says what the lens was fitted on, as a JSON object."""

_TENSOR = re.compile(r"(?:layer_translators\.)?(0|[1-9][0-9]{0,3})\.(weight|bias)")
_TYPES = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class LensFile:
    """A lens's file that is one by its header; of which model, `facts` may say.

    Attributes
    ----------
    weights, biases: names of the tensors, by the layer; no biases, or one for each.
    facts: what is said of the lens, in `config.json` beside it and in its metadata.
    """

    path: Path
    weights: tuple[str, ...]
    biases: tuple[str, ...]
    width: int
    facts: dict[str, Any]

    @property
    def depth(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, path: Path, kind: str) -> LensFile:
        """The header of a safetensors file.

        Its tensors are `0.weight`, `0.bias`, `1.weight`, and so on, one of each for each block; all
        biases may be missing. What it was fitted on may be said in `config.json` beside it, as the
        package `tuned-lens` writes it, and in the file's metadata (`FACTS`).

        Raises
        ------
        TokentrailsError: for a file that is no lens, or says that it is one of another kind.
        """
        shapes, facts = _header(path)
        if facts.get("kind", kind) != kind:
            raise TokentrailsError(
                f"the lens says that its kind is {facts['kind']!r}, the configuration {kind!r}",
                where=path,
                hint="mend `kind` in the configuration.",
            )
        parts: dict[str, dict[int, str]] = {"weight": {}, "bias": {}}
        widths = Counter(shape[-1] for shape, _ in shapes.values() if shape)
        width = max(widths, key=widths.__getitem__, default=0)
        for name, (shape, dtype) in shapes.items():
            match = _TENSOR.fullmatch(name)
            if match is None or int(match[1]) in parts[match[2]]:
                raise TokentrailsError(
                    f"the tensor {name!r} is no part of a lens",
                    where=path,
                    hint="name them 0.weight, 0.bias, 1.weight and so on, by the layer.",
                )
            wanted = (width, width) if match[2] == "weight" else (width,)
            if shape != wanted:
                raise TokentrailsError(
                    f"the tensor {name!r} has the shape {shape}, not {wanted}",
                    where=path,
                    hint="give weights of the stream's width d, d × d, and biases of d.",
                )
            if dtype not in _TYPES:
                raise TokentrailsError(
                    f"the tensor {name!r} has the type {dtype}",
                    where=path,
                    hint="save the lens in float32, float16 or bfloat16.",
                )
            parts[match[2]][int(match[1])] = name
        depth = 1 + max((layer for found in parts.values() for layer in found), default=0)
        for part, names in parts.items():
            if len(names) != depth and (names or part == "weight"):
                raise TokentrailsError(
                    f"the lens has {len(names)} tensors N.{part}, not one of each layer from 0 to "
                    f"{depth - 1}",
                    where=path,
                    hint="give a weight for each block, and a bias for each or for none.",
                )
        weights, biases = (tuple(each[i] for i in sorted(each)) for each in parts.values())
        return cls(path, weights, biases, width, facts)


def _header(path: Path) -> tuple[dict[str, tuple[tuple[int, ...], str]], dict[str, Any]]:
    """The shape and type of each tensor, and what is said of them."""
    refuse_pointer(path)
    beside = path.with_name("config.json")
    facts = read_object(beside, hint="mend or remove it.") if beside.exists() else {}
    if "base_model_name_or_path" not in facts:  # the config of something else
        facts = {}
    try:
        with safe_open(path, "np") as file:
            inside = json.loads((file.metadata() or {}).get(FACTS, "{}"))
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            shapes = {n: (tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise TokentrailsError(
            f"the lens cannot be read: {one_line(error)}",
            where=path,
            hint=f"give a safetensors file; if it has metadata, {FACTS!r} in it is a JSON object.",
        ) from error
    if not isinstance(inside, dict):
        raise TokentrailsError(
            f"the metadata {FACTS!r} of the lens is no JSON object, but {json.dumps(inside):.80}",
            where=path,
            hint='write what the lens was fitted on by name, such as {"d_model": 576}.',
        )
    return shapes, facts | inside
