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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ..errors import TokentrailsError
from ..files.atomic import replacing
from .lens_file import FACTS, LensFile


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
        """The lens of a file, as `LensFile` says.

        Parameters
        ----------
        model: the facts of the checkpoint (`Checkpoint.facts`) whose stream it is to read.

        Raises
        ------
        TokentrailsError: for a file that is no lens of this model.
        """
        file = LensFile.of(path, kind)
        _refuse_other_model(file, model)
        with safe_open(path, "pt") as tensors:
            weights, biases = (
                [tensors.get_tensor(name).to(device, torch.float32) for name in names]
                for names in (file.weights, file.biases)
            )
        for name, tensor in zip(file.weights + file.biases, weights + biases, strict=True):
            if not tensor.isfinite().all():
                raise TokentrailsError(
                    f"the tensor {name!r} has values that are not finite",
                    where=path,
                    hint="fit the lens again.",
                )
        none = torch.zeros(file.depth, file.width, device=device)
        return cls(torch.stack(weights), torch.stack(biases) if biases else none, kind)


def _refuse_other_model(file: LensFile, model: Mapping[str, Any]) -> None:
    """Raise for a lens of another size, or that was fitted on another stream, as far as it says so.

    A hash of the weights decides; without one, the last part of the model's name.
    """
    facts, own = file.facts, model["sha256"]["model.safetensors"]
    sizes = (("d_model", file.width, "width"), ("num_hidden_layers", file.depth, "depth"))
    for (key, found, what), mine in zip(sizes, (model["d_model"], model["depth"]), strict=True):
        if facts.get(key, mine) != mine:
            raise _misfit(f"it says {key}: {facts[key]!r}, which is {mine} here", model, file.path)
        if found != mine:
            raise _misfit(f"its {what} is {found}, which is {mine} here", model, file.path)
    if "weights_sha256" in facts:
        if facts["weights_sha256"] != own:
            problem = f"it was fitted on weights {facts['weights_sha256']!s:.12}"
            raise _misfit(problem, model, file.path)
    elif name := facts.get("base_model_name_or_path"):
        known = {last_name(model["model"]), last_name(model["source"])}
        if last_name(str(name)) not in known:
            raise _misfit(f"it was fitted on the model {name!r}", model, file.path)


def last_name(name: str) -> str:
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
