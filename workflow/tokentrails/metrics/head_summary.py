"""What each head does, as shares of the cases in which it does it.

A reader who knows no head begins at the largest numbers of this table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from ..files.tables import describe
from ..vocabulary.nearest import Nearest
from ..vocabulary.spaces import Spaces
from .columns.frame import run_columns

MEASURES = {
    "self_pattern": "share of the tokens whose query-side pattern is nearest to the token's own "
    "word: of all tokens whose word can be listed",
    "repetition": "share of neighbouring tokens whose messages are nearest to the same word: "
    "of all neighbours in a text",
    "past_identity": "share of the tokens whose message is nearest to the token's own word: of all "
    "tokens whose word can be listed",
    "same_first_letter": "share of the tokens for whose message more than half of the listed "
    "words begin with the first letter of the token: of all tokens that begin with a letter",
    "first_position": "mean attention weight on position 0: of all tokens behind it",
}
SUMMARY = {
    "layer": "index of the block",
    "head": "index of the head in its block",
    "n": "number of tokens, over all texts",
    **{
        name: f"{meaning}; messages as listed in the space embedding, words compared without case "
        "and the spaces around them; null: there are none"
        for name, meaning in MEASURES.items()
    },
    "score": "the largest of these shares but first_position, which is large in most heads",
}


@dataclass(frozen=True)
class Words:
    """What vocabulary entries are as words, without case and the spaces around them, as numbers.

    Attributes
    ----------
    word: of each entry; equal ones are the same word.
    letter: the first letter of each entry; -1 for one that does not begin with a letter.
    listed: whether each word is that of an entry that may be listed.
    """

    word: Int[np.ndarray, " v"]
    letter: Int[np.ndarray, " v"]
    listed: Bool[np.ndarray, " words"]

    @classmethod
    def of(cls, spaces: Spaces) -> Words:
        """Of a model's vocabulary."""
        texts = [text.strip().casefold() for text in spaces.surfaces]
        numbers: dict[str, int] = {}
        word = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
        letter = [ord(text[0]) if text[:1].isalpha() else -1 for text in texts]
        return cls(
            word,
            np.array(letter),
            np.isin(np.arange(len(numbers)), word[spaces.entries.cpu().numpy()]),
        )


class HeadSummary:
    """Adds up what heads do over layers and texts.

    Parameters
    ----------
    heads: which ones are looked at.
    provenance: gives the key columns too.
    """

    def __init__(self, words: Words, heads: Sequence[int], provenance: Mapping[str, str]) -> None:
        self.words, self.heads, self.provenance = words, list(heads), provenance
        self._n: dict[int, int] = {}
        self._hits: dict[tuple[int, str], Float[np.ndarray, " heads"]] = {}
        self._cases: dict[tuple[int, str], int] = {}

    def add(
        self,
        layer: int,
        token_ids: Sequence[int],
        patterns: Nearest | None,
        messages: Nearest | None,
        attention: Float[np.ndarray, "heads t t"],
    ) -> None:
        """Count a text.

        Parameters
        ----------
        patterns: what the query-side patterns are nearest to, of all tokens head by head.
        messages: what the messages are, in the space embedding; both are None in a layer whose
            heads are not listed in words.
        attention: weights of queries (rows) on keys.
        """
        self._n[layer] = self._n.get(layer, 0) + len(token_ids)
        counts = {
            "first_position": (
                attention[:, 1:, 0].sum(axis=1, dtype=np.float64),
                len(token_ids) - 1,
            )
        }
        if patterns is not None and messages is not None:
            counts |= self._counts(token_ids, patterns, messages)
        for name, (hits, cases) in counts.items():
            self._hits[layer, name] = self._hits.get((layer, name), 0) + hits
            self._cases[layer, name] = self._cases.get((layer, name), 0) + cases

    def _counts(
        self, token_ids: Sequence[int], patterns: Nearest, messages: Nearest
    ) -> dict[str, tuple[np.ndarray, int]]:
        """For each measure of lists, how often each head does it, and how often it could."""
        words, t = self.words, len(token_ids)
        own, letter = words.word[token_ids], words.letter[token_ids]
        comparable, lettered = words.listed[own], letter >= 0
        pattern, message = self._first(patterns, t), self._first(messages, t)
        letters = words.letter[messages.entries].reshape(len(self.heads), t, -1)
        same_letter = 2 * (letters == letter[:, None]).sum(axis=2) > letters.shape[2]
        again = (message[:, 1:] == message[:, :-1]) & (message[:, 1:] >= 0)
        return {
            "self_pattern": ((pattern == own).sum(axis=1), comparable.sum()),
            "repetition": (again.sum(axis=1), t - 1),
            "past_identity": ((message == own).sum(axis=1), comparable.sum()),
            "same_first_letter": (
                (same_letter & lettered & (message >= 0)).sum(axis=1),
                lettered.sum(),
            ),
        }

    def _first(self, near: Nearest, t: int) -> Int[np.ndarray, "heads t"]:
        """The word that each vector is nearest to; -1 for a vector without a direction."""
        lost = np.isnan(near.cosines[:, 0])
        word = np.where(lost, -1, self.words.word[near.entries[:, 0]])
        return word.reshape(len(self.heads), t)

    def _shares(self, name: str) -> Float[np.ndarray, " rows"]:
        """A measure of all heads, layer by layer; NaN where there are no cases."""
        layers = sorted(self._n)
        none = np.zeros(len(self.heads))
        hits = np.array([self._hits.get((layer, name), none) for layer in layers])
        cases = np.array([self._cases.get((layer, name), 0) for layer in layers])[:, None]
        return np.where(cases > 0, hits / np.maximum(cases, 1), np.nan).ravel()

    def table(self) -> pa.Table:
        """The table `head_summary`."""
        layers = sorted(self._n)
        shares = {name: self._shares(name) for name in MEASURES}
        scored = [values for name, values in shares.items() if name != "first_position"]
        shares["score"] = np.fmax.reduce(scored)
        n, each = len(layers) * len(self.heads), len(self.heads)
        columns = run_columns(self.provenance, n) | {
            "layer": pa.array(np.repeat(layers, each), pa.int32()),
            "head": pa.array(np.tile(self.heads, len(layers)), pa.int32()),
            "n": pa.array(np.repeat([self._n[layer] for layer in layers], each), pa.int32()),
            **{
                name: pa.array(values, pa.float32(), from_pandas=True)
                for name, values in shares.items()
            },
        }
        title = "head_summary: which heads do what, over all texts"
        units = dict.fromkeys((*MEASURES, "score"), "share, 0 to 1")
        return describe(pa.table(columns), title, self.provenance, SUMMARY, units)
