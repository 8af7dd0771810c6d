"""Products of thin factors, which need not be multiplied out to be compared with other vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Factored:
    """Vectors of heads, as products: those of head h are left[h] @ right[matrix[h]].

    Attributes
    ----------
    left: a vector for each head and token.
    right: the matrices, of which several heads may share one.
    matrix: the number of each head's matrix.
    """

    left: Float[Tensor, "heads t d_head"]
    right: Float[Tensor, "matrices d_head d"]
    matrix: tuple[int, ...]

    def product(self) -> Float[Tensor, "heads t d"]:
        pairs = zip(self.left, self.matrix, strict=True)
        return torch.stack([left @ self.right[number] for left, number in pairs])

    def take(self, heads: Sequence[int]) -> Factored:
        """The vectors of these heads alone."""
        matrix = tuple(self.matrix[head] for head in heads)
        return replace(self, left=self.left[list(heads)], matrix=matrix)

    def multiplying_out_is_cheaper(self, rows: int) -> bool:
        """Whether the products of the vectors with so many rows cost less than those of the thin
        factors: of each row with all matrices, and of the results with all of `left`.
        """
        heads, t, d_head = self.left.shape
        d = self.right.shape[2]
        matrices = len(set(self.matrix))
        direct = heads * t * d * (rows + d_head)
        return direct <= rows * matrices * d * d_head + rows * heads * t * d_head
