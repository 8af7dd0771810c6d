"""The cosine along the straight path from one state to another."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

_NO_COSINE = 1e-9
"""States at an angle with a cosine of less than this above -1 are opposite: the path leads through
0, and what is near it is lost to rounding."""

_SHORT = 0.03  # below, a series: the terms of the closed form cancel
_SERIES = [2 * k / (2 * k + 1) for k in range(1, 6)]


def mean_gradient(
    e: Float64[Tensor, "*n d"], before: Float64[Tensor, "*n d"], after: Float64[Tensor, "*n d"]
) -> Float64[Tensor, "*n d"]:
    """The mean over the path y = (1 - t) before + t after, 0 <= t <= 1, of ∇ cos(y, e).

    Its product with any part of `after - before` is what that part adds to the cosine on this path
    (integrated gradients, Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365; as a value of
    games Aumann and Shapley's): the parts add up to the change, and their order plays no role.

    With ∇ cos(y, e) = e / |y| - (e · y) y / |y|³, all integrals are elementary. With a and b the
    lengths at the ends, c their distance, s = c / (a + b) and q = a b + before · after:
    ∫ 1 / |y| = 2 artanh(s) / c, ∫ (1 - t) / |y|³ = 1 / (a q), ∫ t / |y|³ = 1 / (b q), and
    ∫ t (1 - t) / |y|³ = ((a + b) / q - ∫ 1 / |y|) / c².

    Parameters
    ----------
    e: of length 1.

    Returns
    -------
    NaN where the path leads through 0, or e is NaN.
    """
    a, b = (torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (before, after))
    length = a + b
    q = a * b + (before * after).sum(dim=-1, keepdim=True)
    q = q.where(q > _NO_COSINE * a * b, torch.nan)
    s = torch.linalg.vector_norm(after - before, dim=-1, keepdim=True) / length
    ratio = torch.where(s > 0, torch.atanh(s) / s, 1.0)
    inverse = 2 / length * ratio
    series = sum(factor * s ** (2 * k) for k, factor in enumerate(_SERIES))
    closed = (length.square() / (2 * q) - ratio) / s.square()
    both = 2 / length**3 * torch.where(s < _SHORT, series, closed)  # of t (1 - t)
    first, last = 1 / (a * q) - both, 1 / (b * q) - both  # of (1 - t)² and t²
    along, after_along = ((e * x).sum(dim=-1, keepdim=True) for x in (before, after))
    return (
        inverse * e
        - (first * along + both * after_along) * before
        - (both * along + last * after_along) * after
    )
