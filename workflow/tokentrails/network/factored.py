"""Products of thin factors, which need not be multiplied out to be compared with other vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Factored:
    """The vectors of some heads, as products: those of head h are left[h] @ right[of[h]].

    Attributes
    ----------
    left: a vector for each head and token.
    right: the matrices, of which several heads may share one.
    of: the number of each head's matrix.
    """

    left: Float[Tensor, "heads t d_head"]
    right: Float[Tensor, "matrices d_head d"]
    of: tuple[int, ...]

    def product(self) -> Float[Tensor, "heads t d"]:
        pairs = zip(self.left, self.of, strict=True)
        return torch.stack([left @ self.right[matrix] for left, matrix in pairs])

    def take(self, heads: Sequence[int]) -> Factored:
        """The same of some heads."""
        return replace(self, left=self.left[list(heads)], of=tuple(self.of[h] for h in heads))

    def multiplying_out_is_cheaper(self, rows: int) -> bool:
        """Whether the products of the vectors with so many rows cost less than those of the thin
        factors: of each row with all matrices, and of the results with all of `left`.
        """
        heads, t, d_head = self.left.shape
        d = self.right.shape[2]
        matrices = len(set(self.of))
        direct = heads * t * d * (rows + d_head)
        return direct <= rows * matrices * d * d_head + rows * heads * t * d_head
