"""Sums over all pairs of vectors at once, exactly, without going through the pairs.

The sum of a_i . b_j over all pairs is the product of two sums of vectors. Pairs that do not count,
those of one text and those of one token, are sums of the same kind and are taken away; those of
both were taken away twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int
from scipy.sparse import csr_array

from .ratio import ratio

Cells = tuple[Float64[np.ndarray, "cells d"], ...]
"""Sums of vectors with the same text, token, or both, and of one kind."""


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
        ones = self.cells(np.ones((len(text), 1)))
        self.counts: Float64[np.ndarray, "kinds kinds"] = self.sums(ones, ones)

    def cells(self, vectors: Float64[np.ndarray, "n d"]) -> Cells:
        """Their sums, made once for all that is asked of their pairs."""
        return tuple(shared.cells(vectors) for shared in self._shared)

    def sums(self, left: Cells, right: Cells) -> Float64[np.ndarray, "kinds kinds"]:
        """Sum of left_i . right_j over the pairs, i of one kind (row) and j of another (column)."""
        parts = zip(self._shared, left, right, strict=True)
        return _different(*(shared.sums(*sides) for shared, *sides in parts))

    def mean(self, left: Cells, right: Cells) -> float:
        """Mean of left_i . right_j over all of the pairs; NaN if there are none."""
        return float(ratio(self.sums(left, right).sum(), self.counts.sum()))

    def by_dimension(self, rows: Cells) -> Float64[np.ndarray, " d"]:
        """Sum of rows_ik rows_jk over the same pairs, for every dimension k."""
        parts = zip(self._shared, rows, strict=True)
        return _different(*(shared.by_dimension(cells) for shared, cells in parts))


def _different(
    every: np.ndarray, same_text: np.ndarray, same_token: np.ndarray, both: np.ndarray
) -> np.ndarray:
    return every - same_text - same_token + both


class _Shared:
    """Pairs of tokens with the same key, a token and itself among them."""

    def __init__(self, key: Int[np.ndarray, " n"], kind: Int[np.ndarray, " n"]) -> None:
        (keys, self._kind), cell = np.unique(np.stack([key, kind]), axis=1, return_inverse=True)
        self.cells = _sums(cell.reshape(-1))
        self._keys = _sums(np.unique(keys, return_inverse=True)[1])
        self._n = int(kind.max(initial=-1)) + 1
        by_key = np.split(np.arange(len(keys)), np.flatnonzero(np.diff(keys)) + 1)
        self._alone = np.repeat([len(cells) == 1 for cells in by_key], [len(c) for c in by_key])
        self._together = [cells for cells in by_key if len(cells) > 1]

    def sums(
        self, a: Float64[np.ndarray, "cells d"], b: Float64[np.ndarray, "cells d"]
    ) -> Float64[np.ndarray, "kinds kinds"]:
        """Sum of left_i . right_j over them, by the kinds of i and of j."""
        own = np.where(self._alone, np.einsum("cd,cd->c", a, b), 0)
        total = np.diag(np.bincount(self._kind, own, self._n))
        for cells in self._together:
            kinds = self._kind[cells]
            total[kinds[:, None], kinds] += a[cells] @ b[cells].T
        return total

    def by_dimension(self, a: Float64[np.ndarray, "cells d"]) -> Float64[np.ndarray, " d"]:
        """Sum of rows_ik rows_jk over them, for every dimension k."""
        return np.square(self._keys(a)).sum(axis=0)


def _sums(group: Int[np.ndarray, " n"]) -> Callable[[np.ndarray], np.ndarray]:
    """Adds up the vectors of each group."""
    n = len(group)
    matrix = csr_array((np.ones(n), (group, np.arange(n))), shape=(group.max(initial=-1) + 1, n))
    return lambda vectors: matrix @ vectors
