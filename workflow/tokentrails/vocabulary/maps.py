"""Linear maps from states to rows of the embedding: fitted on some types of tokens, used on others.

A state with a low cosine to its own row has turned; whether its token is lost is another question,
which a map answers that is fitted to others (Voita et al. 2019; Brunner et al. 2020). Sums are of
float64. Each type counts once, however often it occurs: its tokens share one unit of weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from .cosines import slices

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-14, 5))
"""Strengths of ridge that are tried, as shares of the mean variance of a dimension."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Rows:
    """The rows that mapped states are looked up among, as the types see them that are fitted.

    Attributes
    ----------
    mean, deviation: of the rows of these types, each type once.
    """

    rows: Float32[Tensor, "v d"]
    mean: Float64[Tensor, " d"]
    deviation: Float64[Tensor, " d"]

    @classmethod
    def of(cls, rows: Float32[Tensor, "v d"], types: Int64[Tensor, " types"]) -> Rows:
        own = rows[types].double()
        return cls(rows, own.mean(dim=0), _positive(own.std(dim=0, correction=0)))

    def centred(self, numbers: Int64[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """Some rows without the mean."""
        return self.rows[numbers].double() - self.mean

    @cached_property
    def standardised(self) -> Float32[Tensor, "v d"]:
        """All rows as z-scores."""
        return (self.rows - self.mean.float()) / self.deviation.float()


class Fit:
    """What maps are fitted from at one place: the states of the tokens of some types.

    Parameters
    ----------
    states: of the tokens, on the device that is to compute.
    types: which type each token is of, counted from 0; every type has a token.
    inner: the types that choose the strength of ridge, which is first fitted on the others.
    """

    def __init__(
        self,
        states: Float32[Tensor, "n d"],
        types: Int64[Tensor, " n"],
        inner: Bool[Tensor, " types"],
    ) -> None:
        self._inner = inner
        weights = 1.0 / types.bincount(minlength=len(inner)).double()
        self.mean = _sums(states, types, weights, len(inner)).mean(dim=0)
        # Of each type the mean state: that is all that its target meets.
        self._states = _sums(states, types, weights, len(inner), self.mean)
        self._squares = [
            _squares(states[part], weights[types[part]], self.mean)
            for part in (~inner[types], inner[types])
        ]
        self.deviation = _positive((sum(self._squares).diagonal() / len(inner)).sqrt())

    def orthogonal(self, targets: Float64[Tensor, "types d"]) -> Float64[Tensor, "d d"]:
        """The W of W'W = I with the least |X W - Y|, of centred states X.

        Orthogonal Procrustes (Schönemann 1966): UV' of the singular value decomposition of X'Y.

        Parameters
        ----------
        targets: the row of each type, centred.
        """
        left, _, right = torch.linalg.svd(self._states.T @ targets, full_matrices=False)
        return left @ right

    def ridge(self, targets: Float64[Tensor, "types d"]) -> Float64[Tensor, "d d"]:
        """The W with the least |X W - Y|² + strength |W|², of centred states X.

        The strength is that of `STRENGTHS` with the least squared error on the inner types, fitted
        on the others. With X'X = QΛQ' all strengths share one decomposition, and their errors
        follow from sums alone: that of W is tr(W'X'XW) - 2 tr(W'X'Y) + |Y|², of the inner types.
        """
        outer, inner = self._squares
        products = [self._states[part].T @ targets[part] for part in (~self._inner, self._inner)]
        values, basis = self._decomposition
        inside = basis.T @ products[0]
        squares = (basis.T @ inner @ basis) * (inside @ inside.T)
        crossed = (inside * (basis.T @ products[1])).sum(dim=1)
        scale = outer.diagonal().mean()
        shrunk = 1 / (values + scale * self._strengths[:, None])
        errors = ((shrunk @ squares) * shrunk).sum(dim=1) - 2 * shrunk @ crossed
        strength = self._strengths[errors.argmin()]
        both = outer + inner
        both.diagonal().add_(strength * both.diagonal().mean())
        return torch.cholesky_solve(sum(products), torch.linalg.cholesky(both))

    @cached_property
    def _decomposition(self) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"]]:
        """Of the squares of the types that are not inner."""
        values, basis = torch.linalg.eigh(self._squares[0])
        return values.clamp(min=0), basis

    @property
    def _strengths(self) -> Float64[Tensor, " strengths"]:
        return torch.tensor(STRENGTHS, dtype=torch.float64, device=self.mean.device)


def _sums(
    states: Tensor, types: Tensor, weights: Tensor, n: int, shift: Tensor | None = None
) -> Float64[Tensor, "types d"]:
    """The weighted sum of each type's states."""
    sums = torch.zeros(n, states.shape[1], dtype=torch.float64, device=states.device)
    for part in slices(len(states), _ROWS_AT_ONCE):
        own = types[part]
        here = states[part].double()
        if shift is not None:
            here -= shift
        sums.index_add_(0, own, here.mul_(weights[own, None]))
    return sums


def _squares(states: Tensor, weights: Tensor, mean: Tensor) -> Float64[Tensor, "d d"]:
    """The weighted sum of xx', of states without their mean."""
    sums = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=states.device)
    for part in slices(len(states), _ROWS_AT_ONCE):
        here = (states[part].double() - mean).mul_(weights[part, None].sqrt())
        sums.addmm_(here.T, here)
    return sums


def _positive(deviation: Tensor) -> Tensor:
    """1 where nothing varies."""
    return torch.where(deviation > 0, deviation, 1.0)
