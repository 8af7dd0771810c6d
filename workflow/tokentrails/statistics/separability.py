"""How well the similarities of its texts separate the two senses of a word.

Texts stand in the order of the senses: the n_a of the first, then the n_b of the second. A sample
of texts is given by how often each is in it. A pair is then there as often as the product of its
two texts' counts; a text and its own copy are no pair, since their similarity is always 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from .ratio import ratio

ROWS_AT_ONCE = 4096
"""Pairs within a sense, times curves, whose comparisons are held at a time."""

Counts = Float64[np.ndarray, "samples texts"]
Curves = Float64[np.ndarray, "samples curves"]


@dataclass(frozen=True)
class Pairs:
    """All pairs of the texts of one word with two senses.

    Attributes
    ----------
    n_a, n_b: texts of each sense.
    """

    n_a: int
    n_b: int

    @cached_property
    def texts(self) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """The two texts of every pair."""
        first, second = np.triu_indices(self.n_a + self.n_b, 1)
        return first, second

    @cached_property
    def kinds(self) -> tuple[Bool[np.ndarray, " pairs"], ...]:
        """Which pairs are within the first sense, within the second, and between the two."""
        first, second = self.texts
        return second < self.n_a, first >= self.n_a, (first < self.n_a) & (second >= self.n_a)

    @property
    def all(self) -> Counts:
        """The sample that has every text once."""
        return np.ones((1, self.n_a + self.n_b))

    def weights(self, counts: Counts) -> Float64[np.ndarray, "samples pairs"]:
        """How often every pair is in each sample."""
        first, second = self.texts
        return counts[:, first] * counts[:, second]

    def within_between(
        self, cosine: Float32[np.ndarray, "curves pairs"], counts: Counts
    ) -> tuple[Curves, Curves]:
        """Mean similarity within senses and between them, of every sample.

        Within: the mean of the two senses' own means, so that a sense of more texts weighs no more.
        NaN where a sense has no pair of different texts.
        """
        weights = self.weights(counts)
        in_a, in_b, across = (_mean(weights[:, kind], cosine[:, kind]) for kind in self.kinds)
        return (in_a + in_b) / 2, across

    def gaps(
        self, cosine: Float32[np.ndarray, "curves pairs"], first: Bool[np.ndarray, "samples texts"]
    ) -> Curves:
        """Within minus between where `first` says which n_a texts count as the first sense's."""
        one, two = (first[:, texts] for texts in self.texts)
        share_a, share_b = (0.5 / max(n * (n - 1) / 2, 1) for n in (self.n_a, self.n_b))
        weights = np.where(one & two, share_a, share_b)
        weights[one ^ two] = -1 / (self.n_a * self.n_b)
        return weights @ cosine.T.astype(np.float64)

    def auc(self, cosine: Float32[np.ndarray, "curves pairs"], counts: Counts) -> Curves:
        """The probability that a pair within a sense is more alike than one between; ties half.

        This is the area under the ROC curve (Mann and Whitney 1947). As for means, the two senses
        weigh the same. Every pair within is compared with every pair between once; samples are then
        sums of whole numbers, which float32 holds exactly (up to 64 texts of a sense).
        """
        exact = np.float32 if max(self.n_a, self.n_b) <= 64 else np.float64
        weights = self.weights(counts).astype(exact)
        own = [np.ascontiguousarray(weights[:, kind].T) for kind in self.kinds]
        between, size = own[2], own[2].sum(axis=0)
        auc = np.zeros((len(counts), len(cosine)))
        for kind, within in zip(self.kinds[:2], own[:2], strict=True):
            step = max(ROWS_AT_ONCE // len(within), 1)
            for start in range(0, len(cosine), step):
                block = cosine[start : start + step]
                same, across = block[:, kind, None], block[:, None, self.kinds[2]]
                wins = np.add(
                    same > across, same >= across, dtype=exact
                )  # 2 for a win, 1 for a tie
                won = (wins.reshape(-1, len(between)) @ between).reshape(*wins.shape[:2], -1)
                total = np.einsum("cwr,wr->rc", won, within).astype(np.float64)
                auc[:, start : start + step] += ratio(total, (within.sum(axis=0) * size)[:, None])
        auc[:, np.isnan(cosine).any(axis=1)] = np.nan
        return auc / 4  # two senses, and wins counted double


def _mean(weights: np.ndarray, values: np.ndarray) -> Curves:
    return ratio(weights @ values.T.astype(np.float64), weights.sum(axis=1, keepdims=True))
