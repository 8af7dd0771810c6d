"""The unembedding of a checkpoint, which is in the weights file, but not in the bare model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from ..errors import TokentrailsError
from .architectures import Architecture, MaskedHead
from .norms import Norm, epsilon, norm_at
from .weights import Weights


@dataclass(frozen=True, eq=False)
class Unembedding:
    """U, with what an encoder's masked-token head puts before it; each None where it is missing.

    Attributes
    ----------
    weight: the embedding's own matrix where they are tied, or equal.
    bias: of the logits.
    transform: norm(activation(dense(x))) of a masked-token head.
    """

    weight: Float[Tensor, "v d"] | None = None
    bias: Float[Tensor, " v"] | None = None
    transform: Norm | None = None

    @classmethod
    def load(cls, model: nn.Module, architecture: Architecture, weights: Weights) -> Unembedding:
        """Read what belongs to a bare model.

        Raises
        ------
        TokentrailsError: if the tensors do not fit the model.
        """
        rows = model.get_submodule(architecture.embedding).weight
        names = architecture.unembedding
        if isinstance(names, str):
            weight = _matrix(names, weights, rows, tied=model.config.tie_word_embeddings)
            return cls(weight, _read(weights, rows.device, f"{names}.bias"))
        if f"{names.dense}.weight" not in weights.entries:
            return cls()
        return cls(
            _matrix(names.decoder, weights, rows, tied=model.config.tie_word_embeddings),
            _read(weights, rows.device, *names.biases),
            _transform(names, weights, model, architecture, rows.device),
        )


def _read(weights: Weights, device: torch.device, *names: str) -> Tensor | None:
    """A tensor by the first of its names that the file has."""
    for name in names:
        if name in weights.entries:
            return torch.from_numpy(weights.tensor(name)).to(device)
    return None


def _matrix(name: str, weights: Weights, rows: Tensor, *, tied: bool) -> Tensor | None:
    weight = _read(weights, rows.device, f"{name}.weight")
    if weight is None:
        return rows if tied else None
    if weight.shape != rows.shape:
        raise TokentrailsError(
            f"{name}.weight has the shape {tuple(weight.shape)}, the embedding {tuple(rows.shape)}",
            where=weights.path,
            hint="the weights do not fit config.json; fetch or save the model again.",
        )
    return rows if torch.equal(weight, rows) else weight


def _transform(
    names: MaskedHead,
    weights: Weights,
    model: nn.Module,
    architecture: Architecture,
    device: torch.device,
) -> Norm:
    def need(*names: str) -> Tensor:
        tensor = _read(weights, device, *names)
        if tensor is None:
            raise TokentrailsError(
                f"the weights have no tensor {names[0]!r}, which the masked-token head needs",
                where=weights.path,
                hint="save or fetch the model again, with its whole head or without any.",
            )
        return tensor

    weight = need(f"{names.dense}.weight")
    # BERT's first files call a norm's weight and bias gamma and beta.
    gain = need(f"{names.norm}.weight", f"{names.norm}.gamma")
    read = need if names.biased else partial(_read, weights, device)
    bias, shift = read(f"{names.dense}.bias"), read(f"{names.norm}.bias", f"{names.norm}.beta")
    if names.activation is None:
        first = model.get_submodule(architecture.blocks)[0]
        activation = first.get_submodule(architecture.mlp.activation)
    else:
        activation = ACT2FN[names.activation]
    # One number for all of the model's norms.
    eps = epsilon(norm_at(model, architecture.embedding_norm))

    def transform(x: Tensor) -> Tensor:
        x = activation(functional.linear(x, weight, bias))
        return functional.layer_norm(x, gain.shape, gain, shift, eps)

    return transform
