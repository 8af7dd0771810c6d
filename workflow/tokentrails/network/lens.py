"""A lens: an affine map of the stream at each layer, behind which the model's own head reads it.

A tuned lens (Belrose et al. 2023) adds to the stream what its translators make of it, as in the
package `tuned-lens`; any other, such as mean Jacobians, is the map itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ..errors import TokentrailsError, one_line
from ..files.atomic import replacing
from ..files.json_file import read_object

FACTS = "lens"
"""The key of a file's metadata that says what the lens was fitted on, as a JSON object."""

_TENSOR = re.compile(r"(?:layer_translators\.)?(0|[1-9][0-9]{0,3})\.(weight|bias)")
_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True, eq=False)
class AffineLens:
    """Maps of the stream before each block; behind the last one there is nothing to map.

    Attributes
    ----------
    kind: `tuned`, x + W x + b, or `affine`, W x + b.
    """

    weights: Float32[Tensor, "layers d d"]
    biases: Float32[Tensor, "layers d"]
    kind: str

    def __call__(self, x: Float32[Tensor, "n d"], layer: int) -> Float32[Tensor, "n d"]:
        """What the head reads in the place of the stream at a layer."""
        if layer == len(self.weights):
            return x
        mapped = functional.linear(x, self.weights[layer], self.biases[layer])
        return x + mapped if self.kind == "tuned" else mapped

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write a file that `read` takes, with what the lens was fitted on."""
        parts = {"weight": self.weights, "bias": self.biases}
        tensors = {
            f"{layer}.{name}": tensor.cpu().contiguous()
            for name, maps in parts.items()
            for layer, tensor in enumerate(maps)
        }
        # In one key, since the order of several is not always the same.
        said = {FACTS: json.dumps({**facts, "kind": self.kind}, sort_keys=True)}
        with replacing(path) as part:
            save_file(tensors, part, said)

    @classmethod
    def read(
        cls, path: Path, kind: str, model: Mapping[str, Any], device: torch.device
    ) -> AffineLens:
        """The lens of a safetensors file.

        Its tensors are `0.weight`, `0.bias`, `1.weight`, and so on, one of each for each block; all
        biases may be missing. What it was fitted on may be said in `config.json` beside it, as the
        package `tuned-lens` writes it, and in the file's metadata (`FACTS`).

        Parameters
        ----------
        model: the facts of the checkpoint (`Checkpoint.facts`) whose stream it is to read.

        Raises
        ------
        TokentrailsError: for a file that is no lens of this model.
        """
        tensors, facts = _contents(path)
        _refuse_other_model(facts, kind, model, path)
        depth, width = model["depth"], model["d_model"]
        parts: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}}
        for name, tensor in tensors.items():
            match = _TENSOR.fullmatch(name)
            if match is None or int(match[1]) in parts[match[2]]:
                raise TokentrailsError(
                    f"the tensor {name!r} is no part of a lens",
                    where=path,
                    hint="name them 0.weight, 0.bias, 1.weight and so on, by the layer.",
                )
            wanted = (width, width) if match[2] == "weight" else (width,)
            if tensor.shape != wanted:
                raise _misfit(
                    f"{name!r} has the shape {tuple(tensor.shape)}, not {wanted}", model, path
                )
            if tensor.dtype not in _TYPES:
                raise TokentrailsError(
                    f"the tensor {name!r} has the type {tensor.dtype}",
                    where=path,
                    hint="save the lens in float32, float16 or bfloat16.",
                )
            parts[match[2]][int(match[1])] = tensor.to(device, torch.float32)
            if not parts[match[2]][int(match[1])].isfinite().all():
                raise TokentrailsError(
                    f"the tensor {name!r} has values that are not finite",
                    where=path,
                    hint="fit the lens again.",
                )
        for name, found in parts.items():
            if found.keys() != set(range(depth)) and (found or name == "weight"):
                raise _misfit(
                    f"it has {len(found)} tensors N.{name}, not one of each layer from 0 to "
                    f"{depth - 1}",
                    model,
                    path,
                )
        weights, biases = ([found[layer] for layer in sorted(found)] for found in parts.values())
        none = torch.zeros(depth, width, device=device)
        return cls(torch.stack(weights), torch.stack(biases) if biases else none, kind)


def _contents(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, and what is said of them."""
    beside = path.with_name("config.json")
    facts = read_object(beside, hint="mend or remove it.") if beside.exists() else {}
    if "base_model_name_or_path" not in facts:  # the config of something else
        facts = {}
    try:
        with safe_open(path, "pt") as file:
            inside = json.loads((file.metadata() or {}).get(FACTS, "{}"))
            return {name: file.get_tensor(name) for name in file.offset_keys()}, facts | inside
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise TokentrailsError(
            f"the lens cannot be read: {one_line(error)}",
            where=path,
            hint=f"give a safetensors file; if it has metadata, {FACTS!r} in it is a JSON object.",
        ) from error


def _refuse_other_model(
    facts: Mapping[str, Any], kind: str, model: Mapping[str, Any], path: Path
) -> None:
    """Raise for a lens that was fitted on another stream, as far as it says so.

    A hash of the weights decides; without one, the last part of the model's name.
    """
    own = model["sha256"]["model.safetensors"]
    for key, mine in (("d_model", model["d_model"]), ("num_hidden_layers", model["depth"])):
        if facts.get(key, mine) != mine:
            raise _misfit(f"it says {key}: {facts[key]!r}, which is {mine} here", model, path)
    if facts.get("kind", kind) != kind:
        raise TokentrailsError(
            f"the lens says that its kind is {facts['kind']!r}, the configuration {kind!r}",
            where=path,
            hint="mend `kind` in the configuration.",
        )
    if "weights_sha256" in facts:
        if facts["weights_sha256"] != own:
            raise _misfit(f"it was fitted on weights {facts['weights_sha256']!s:.12}", model, path)
    elif name := facts.get("base_model_name_or_path"):
        known = {_last(model["model"]), _last(model["source"])}
        if _last(str(name)) not in known:
            raise _misfit(f"it was fitted on the model {name!r}", model, path)


def _last(name: str) -> str:
    """What a model is called: without its owner, its folder and its version."""
    return re.split(r"[/:]", name.partition("==")[0].rstrip("/"))[-1].casefold()


def _misfit(problem: str, model: Mapping[str, Any], path: Path) -> TokentrailsError:
    own = model["sha256"]["model.safetensors"]
    return TokentrailsError(
        f"the lens does not fit {model['model']} ({model['checkpoint']}): {problem}",
        where=path,
        hint=f"give a lens of this model, with {model['depth']} layers of width "
        f"{model['d_model']}; where it is one under another name, add weights_sha256: {own} to "
        "what the file says of itself.",
    )
