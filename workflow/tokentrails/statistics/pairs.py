"""Sums over all pairs of vectors at once, exactly, without going through the pairs.

The sum of a_i . b_j over all pairs is the product of two sums of vectors. Pairs that do not count,
those of one text and those of one token, are sums of the same kind and are taken away; those of
both were taken away twice.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int
from scipy.sparse import csr_array

from .ratio import ratio


class Pairs:
    """The pairs of tokens that differ both in their text and in the token.

    Parameters
    ----------
    text, token: numbers of every token's text, and of the token itself.
    kind: a number too; sums are apart by the kinds of the two.

    Attributes
    ----------
    kinds, kind: the numbers there are, in order, and which of them each token's is.
    counts: how many pairs each sum is of.
    """

    def __init__(
        self, text: Int[np.ndarray, " n"], token: Int[np.ndarray, " n"], kind: Int[np.ndarray, " n"]
    ) -> None:
        self.kinds, self.kind = np.unique(kind, return_inverse=True)
        _, both = np.unique(np.stack([text, token]), axis=1, return_inverse=True)
        keys = (np.zeros_like(text), text, token, both.reshape(-1))
        self._shared = [_Shared(key, self.kind) for key in keys]
        ones = np.ones((len(text), 1))
        self.counts: Float64[np.ndarray, "kinds kinds"] = self.sums(ones, ones)

    def sums(
        self, left: Float64[np.ndarray, "n d"], right: Float64[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, "kinds kinds"]:
        """Sum of left_i . right_j over the pairs, i of one kind (row) and j of another (column)."""
        return _different(*(shared.sums(left, right) for shared in self._shared))

    def mean(self, left: Float64[np.ndarray, "n d"], right: Float64[np.ndarray, "n d"]) -> float:
        """Mean of left_i . right_j over all of the pairs; NaN if there are none."""
        return float(ratio(self.sums(left, right).sum(), self.counts.sum()))

    def by_dimension(self, rows: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " d"]:
        """Sum of rows_ik rows_jk over the same pairs, for every dimension k."""
        return _different(*(shared.by_dimension(rows) for shared in self._shared))


def _different(
    every: np.ndarray, same_text: np.ndarray, same_token: np.ndarray, both: np.ndarray
) -> np.ndarray:
    return every - same_text - same_token + both


class _Shared:
    """Pairs of tokens with the same key, a token and itself among them."""

    def __init__(self, key: Int[np.ndarray, " n"], kind: Int[np.ndarray, " n"]) -> None:
        (keys, self._kind), cell = np.unique(np.stack([key, kind]), axis=1, return_inverse=True)
        ones = np.ones(len(key)), (cell.reshape(-1), np.arange(len(key)))
        self._cells = csr_array(ones, shape=(len(keys), len(key)))
        self._n = int(kind.max(initial=-1)) + 1
        self._starts = np.flatnonzero(np.diff(keys, prepend=-1))
        by_key = np.split(np.arange(len(keys)), self._starts[1:])
        self._alone = np.repeat([len(cells) == 1 for cells in by_key], [len(c) for c in by_key])
        self._together = [cells for cells in by_key if len(cells) > 1]

    def sums(
        self, left: Float64[np.ndarray, "n d"], right: Float64[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, "kinds kinds"]:
        """Sum of left_i . right_j over them, by the kinds of i and of j."""
        a = self._cells @ left
        b = a if right is left else self._cells @ right
        own = np.where(self._alone, np.einsum("cd,cd->c", a, b), 0)
        total = np.diag(np.bincount(self._kind, own, self._n))
        for cells in self._together:
            kinds = self._kind[cells]
            total[kinds[:, None], kinds] += a[cells] @ b[cells].T
        return total

    def by_dimension(self, rows: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " d"]:
        """Sum of rows_ik rows_jk over them, for every dimension k."""
        return np.square(np.add.reduceat(self._cells @ rows, self._starts)).sum(axis=0)
