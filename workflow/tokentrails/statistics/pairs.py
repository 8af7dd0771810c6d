"""Sums over all pairs of vectors at once, exactly, without going through the pairs.

The sum of a_i . b_j over all pairs is the product of two sums of vectors. Pairs that do not count,
those of one text and those of one token, are sums of the same kind and are taken away.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int


class Pairs:
    """The pairs of tokens that stand in different texts and have different ids.

    Parameters
    ----------
    text, token: the number of every token's text, and the token's id.
    """

    def __init__(self, text: Int[np.ndarray, " n"], token: Int[np.ndarray, " n"]) -> None:
        self.texts, text = np.unique(text, return_inverse=True)
        _, token = np.unique(token, return_inverse=True)
        # A group is one token in one text, however often it comes there.
        self._order = np.lexsort((token, text))
        key = np.stack([text, token])[:, self._order]
        self._starts = np.flatnonzero(np.r_[True, (key[:, 1:] != key[:, :-1]).any(axis=0)])
        self._text, self._token = key[:, self._starts]
        self._text_starts = np.flatnonzero(np.r_[True, np.diff(self._text) > 0])
        self._by_token = np.argsort(self._token, kind="stable")
        cuts = np.flatnonzero(np.diff(self._token[self._by_token])) + 1
        self._token_starts = np.r_[0, cuts]
        self._shared = [groups for groups in np.split(self._by_token, cuts) if len(groups) > 1]
        self.n_tokens = len(text)
        sizes = np.diff(np.r_[self._starts, len(text)]).astype(np.float64)[:, None]
        self.counts: Float64[np.ndarray, "texts texts"] = self.gram(sizes, sizes)

    def grouped(self, rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "groups d"]:
        """The sums that the others are made of: those of each token within each text."""
        return np.add.reduceat(rows[self._order], self._starts, dtype=np.float64)

    def gram(
        self, a: Float64[np.ndarray, "groups d"], b: Float64[np.ndarray, "groups d"]
    ) -> Float64[np.ndarray, "texts texts"]:
        """Sum of a_i . b_j over the pairs, i of one text (row) and j of another (column).

        Its diagonal is 0. `counts` says how many pairs each sum is of.

        Parameters
        ----------
        a, b: as `grouped` gives them.
        """
        gram = np.add.reduceat(a, self._text_starts) @ np.add.reduceat(b, self._text_starts).T
        for groups in self._shared:
            texts = self._text[groups]
            gram[texts[:, None], texts] -= a[groups] @ b[groups].T
        np.fill_diagonal(gram, 0.0)
        return gram

    def by_dimension(self, a: Float64[np.ndarray, "groups d"]) -> Float64[np.ndarray, " d"]:
        """Sum of a_ik a_jk over the same pairs, for every dimension k; `a` as for `gram`."""
        texts = np.add.reduceat(a, self._text_starts)
        tokens = np.add.reduceat(a[self._by_token], self._token_starts)
        same_text, same_token, both = (np.square(s).sum(axis=0) for s in (texts, tokens, a))
        return np.asarray(np.square(texts.sum(axis=0)) - same_text - same_token + both)


def mean_of_different_words(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"], word: Int[np.ndarray, " n"]
) -> float:
    """Mean of a_i . b_j over all i and j of different words; NaN if there are none."""
    order = np.argsort(word, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(word[order]) > 0])
    sum_a, sum_b = (np.add.reduceat(rows[order], starts, dtype=np.float64) for rows in (a, b))
    sizes = np.diff(np.r_[starts, len(word)]).astype(np.float64)
    n = len(word) ** 2 - np.square(sizes).sum()
    total = sum_a.sum(axis=0) @ sum_b.sum(axis=0) - np.vdot(sum_a, sum_b)
    return float(total / n) if n > 0 else float("nan")
