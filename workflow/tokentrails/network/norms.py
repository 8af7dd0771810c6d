"""What a norm does to a state: the only place that knows what its module calls its parameters.

norm(x) = gain * (x - mean) / divisor + shift, where only some subtract the mean, and only some have
a shift. A norm that an architecture does not have is the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Norm = Callable[[Tensor], Tensor]


def norm_at(parent: nn.Module, name: str | None) -> nn.Module:
    """A module's norm by its path; the identity where there is none."""
    return nn.Identity() if name is None else parent.get_submodule(name)


class Factor(nn.Module):
    """A plain factor in the place of a norm: what some models multiply a branch by (Granite)."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return self.value * x


class AcrossHeads(nn.Module):
    """One norm over the queries or keys of all heads together (OLMo 2)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm: Any = norm

    def forward(self, x: Float[Tensor, "heads t d_head"]) -> Float[Tensor, "heads t d_head"]:
        return self.norm(_together(x)).unflatten(-1, (len(x), -1)).movedim(-2, 0)


def _together(x: Float[Tensor, "heads t d_head"]) -> Float[Tensor, "t heads*d_head"]:
    return x.movedim(0, -2).flatten(-2)


def gain(norm: Any, x: Float[Tensor, "... d"]) -> Float[Tensor, "*heads d"]:
    """Factor of each dimension of states such as x, after the division; across heads, of each."""
    ones = x.new_ones(x.shape[-1])
    if isinstance(norm, nn.Identity):
        return ones
    if isinstance(norm, Factor):
        return norm.value * ones
    if isinstance(norm, AcrossHeads):
        of_all = gain(norm.norm, norm.norm.weight)
        return of_all.unflatten(0, (-1, 1, len(ones)))
    if type(norm) is nn.LayerNorm:
        return norm.weight if norm.weight is not None else ones
    # Whatever a norm calls its weight (Gemma's counts from -1): what it makes of a vector of mean 0
    # and equal sizes, on which ε has no effect.
    signs = ones.clone()
    signs[1::2] = -1
    beta = shift(norm)
    found = norm(2.0**14 * signs)
    return signs * (found if beta is None else found - beta)


def shift(norm: Norm | None) -> Float[Tensor, " d"] | None:
    """Bias of a norm; None for one without."""
    return getattr(norm, "bias", None)


def divisor(norm: Norm, x: Float[Tensor, "... d"]) -> Float[Tensor, "... 1"]:
    """Divisor of a norm by root mean square, √(mean(x²) + ε); 1 for what does not divide."""
    if isinstance(norm, nn.Identity | Factor):
        return torch.ones_like(x[..., :1])
    if isinstance(norm, AcrossHeads):
        return divisor(norm.norm, _together(x)).expand(*x.shape[:-1], 1)
    return (x.square().mean(-1, keepdim=True) + epsilon(norm)).sqrt()


def epsilon(norm: Norm) -> float:
    """What a norm adds to the variance before it divides by its root."""
    names = ("variance_epsilon", "eps")
    # OLMo's has none of its own: it hands torch's default on.
    return next((getattr(norm, name) for name in names if hasattr(norm, name)), 1e-5)


def is_centring(norm: Norm, x: Float[Tensor, "... d"]) -> bool:
    """Whether a norm subtracts the mean of states such as x: then equal numbers leave nothing."""
    if isinstance(norm, nn.Identity | Factor):
        return False
    beta = shift(norm)
    found = norm(x.new_full(x.shape[-1:], 2.0**14))
    left = found if beta is None else found - beta
    return bool(left.abs().max() < 1e-3 * gain(norm, x).abs().max())


def standardised(norm: Norm, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """States before the gain and the shift of a norm, but for their lengths.

    A norm that does not subtract the mean changes lengths alone, which no cosine sees.
    """
    if not is_centring(norm, x):
        return x
    return functional.layer_norm(x, x.shape[-1:], eps=epsilon(norm))
