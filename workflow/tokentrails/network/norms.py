"""What a norm does to a state: the only place that knows what its module calls its parameters.

norm(x) = gain * (x - mean) / divisor + shift, where only a LayerNorm subtracts the mean and has a
shift. A norm that an architecture does not have is the identity.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[Tensor], Tensor]


def norm_at(parent: nn.Module, name: str | None) -> nn.Module:
    """A module's norm by its path; the identity where there is none."""
    return nn.Identity() if name is None else parent.get_submodule(name)


def gain(norm: Norm, x: Float[Tensor, "... d"]) -> Float[Tensor, " d"]:
    """Factor of each dimension of states such as x, after the division."""
    ones = x.new_ones(x.shape[-1])
    if isinstance(norm, nn.Identity):
        return ones
    if isinstance(norm, nn.LayerNorm):
        return norm.weight
    # Whatever a norm by root mean square calls its weight (Gemma's counts from -1), this is it.
    return norm(2.0**14 * ones)


def shift(norm: Norm | None) -> Float[Tensor, " d"] | None:
    """Bias of a norm; None for one without."""
    return getattr(norm, "bias", None)


def divisor(norm: Norm, x: Float[Tensor, "... d"]) -> Float[Tensor, "... 1"]:
    """Divisor of a norm by root mean square, √(mean(x²) + ε); 1 for the identity."""
    if isinstance(norm, nn.Identity):
        return torch.ones_like(x[..., :1])
    names = ("variance_epsilon", "eps")
    eps = next(getattr(norm, name) for name in names if hasattr(norm, name))
    return (x.square().mean(-1, keepdim=True) + eps).sqrt()


def standardised(norm: Norm, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """States before the gain and the shift of a norm, but for their lengths.

    A norm that does not subtract the mean changes lengths alone, which no cosine sees.
    """
    if not isinstance(norm, nn.LayerNorm):
        return x
    return functional.layer_norm(x, x.shape[-1:], eps=norm.eps)
