"""Chance matched to what is compared: pairs of an experiment's own occurrences.

What any two states have in common depends on the words they are of and on where these stand, so
that the baseline's sentences may say too much or too little for an experiment. Here an occurrence
is compared with others of its kind: other tokens in other texts, of its class of words and in its
band of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from .pairs import Pairs
from .ratio import ratio

LEAST_PAIRS = 100
"""Of fewer pairs no mean is taken: chance is that of a coarser kind, and NaN at last."""


@dataclass(frozen=True)
class Kinds:
    """Kinds of occurrences, from the finest to the coarsest: the number of each one's kind.

    Attributes
    ----------
    of_states: class and band of positions; class and whether it stands at the first position; that
        alone.
    of_rows: the class, twice; one for all. An embedding row has no position.
    """

    of_states: Sequence[Int[np.ndarray, " n"]]
    of_rows: Sequence[Int[np.ndarray, " n"]]

    @classmethod
    def of(cls, classes: Sequence[str | None], positions: Int[np.ndarray, " n"]) -> Kinds:
        """Bands double: 0, 1, 2 to 3, 4 to 7, …, since what a position does wears off so."""
        _, own_class = np.unique([name or "" for name in classes], return_inverse=True)
        bands = np.frexp(positions)[1]  # 0 for 0, and the number of binary digits for others
        later, width = np.minimum(bands, 1), bands.max(initial=0) + 1
        return cls(
            (own_class * width + bands, own_class * 2 + later, later),
            (own_class, own_class, np.zeros_like(own_class)),
        )


class Matched:
    """The pairs of occurrences that differ in their text and in their token.

    Parameters
    ----------
    text, token: numbers of every occurrence's text, and of its token.
    """

    def __init__(
        self, text: Int[np.ndarray, " n"], token: Int[np.ndarray, " n"], kinds: Kinds
    ) -> None:
        self.kinds = kinds
        self._pairs = Pairs(text, token, kinds.of_states[0])

    def of_states(
        self,
        left: Float64[np.ndarray, "n d"],
        right: Float64[np.ndarray, "n d"],
        pairs: tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]],
    ) -> Float64[np.ndarray, " p"]:
        """Chance of each pair: the mean over pairs of one of the first's kind, one of the second's.

        Parameters
        ----------
        left, right: of every occurrence the direction of the state that it takes part with as the
            first of a pair, and as the second; of length 1.
        pairs: occurrences that are compared with each other.
        """
        return self._chance(left, right, [(kind, kind) for kind in self.kinds.of_states], pairs)

    def of_embeddings(
        self, states: Float64[np.ndarray, "n d"], embedding: Float64[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, " n"]:
        """Chance of each state with its embedding row: the mean over states of its kind and rows.

        Parameters
        ----------
        states, embedding: directions, of length 1.
        """
        every = np.arange(len(states))
        levels = list(zip(self.kinds.of_states, self.kinds.of_rows, strict=True))
        return self._chance(states, embedding, levels, (every, every))

    def _chance(
        self,
        left: np.ndarray,
        right: np.ndarray,
        levels: Sequence[tuple[np.ndarray, np.ndarray]],
        pairs: tuple[np.ndarray, np.ndarray],
    ) -> Float64[np.ndarray, " p"]:
        cells = self._pairs.cells(left)
        sums = self._pairs.sums(cells, cells if right is left else self._pairs.cells(right))
        chance = np.full(len(pairs[0]), np.nan)
        for level in levels:
            one, other = (self._members(kind) for kind in level)
            total, n = (one @ values @ other.T for values in (sums, self._pairs.counts))
            mean = np.where(n >= LEAST_PAIRS, ratio(total, n), np.nan)
            found = mean[level[0][pairs[0]], level[1][pairs[1]]]
            chance = np.where(np.isnan(chance), found, chance)
        return chance

    def _members(self, kind: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "kinds finest"]:
        """Which of the finest kinds each one of a coarser kind is made of."""
        members = np.zeros((kind.max(initial=0) + 1, len(self._pairs.kinds)))
        members[kind, self._pairs.kind] = 1
        return members
