"""What each head does, as shares of the cases in which it does it.

A reader who knows no head begins at the largest numbers of this table.
"""

from __future__ import annotations

from collections import Counter
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
CASES = {
    "self_pattern": "n_listed",
    "repetition": "n_neighbours",
    "past_identity": "n_listed",
    "same_first_letter": "n_lettered",
    "first_position": "n_neighbours",
}
"""The column that says of how many each measure is a share."""
SUMMARY = {
    "layer": "index of the block",
    "head": "index of the head in its block",
    "n": "number of tokens, over all texts",
    "n_listed": "how many of them have a word that can be listed: what self_pattern and "
    "past_identity are shares of",
    "n_neighbours": "how many of them are behind position 0, each with a neighbour in front: what "
    "repetition and first_position are shares of",
    "n_lettered": "how many of them begin with a letter: what same_first_letter is a share of",
    **{
        name: f"{meaning}; messages as listed in the space embedding, words compared without case "
        "and the spaces around them; null: there are none, or the block is not listed"
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
        self._hits: dict[tuple[int, str], Float[np.ndarray, " heads"]] = {}
        self._counts: dict[int, Counter[str]] = {}

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
        words, t = self.words, len(token_ids)
        own, letter = words.word[token_ids], words.letter[token_ids]
        self._counts.setdefault(layer, Counter()).update(
            n=t,
            n_listed=int(words.listed[own].sum()),
            n_neighbours=t - 1,
            n_lettered=int((letter >= 0).sum()),
        )
        hits = {"first_position": attention[:, 1:, 0].sum(axis=1, dtype=np.float64)}
        if patterns is not None and messages is not None:
            hits |= self._of_lists(own, letter, patterns, messages)
        for name, found in hits.items():
            self._hits[layer, name] = self._hits.get((layer, name), 0) + found

    def _of_lists(
        self,
        own: Int[np.ndarray, " t"],
        letter: Int[np.ndarray, " t"],
        patterns: Nearest,
        messages: Nearest,
    ) -> dict[str, Int[np.ndarray, " heads"]]:
        """How often each head does what lists show, of tokens with these words and letters."""
        words, t = self.words, len(own)
        pattern, message = self._first(patterns, t), self._first(messages, t)
        letters = words.letter[messages.entries].reshape(len(self.heads), t, -1)
        same_letter = 2 * (letters == letter[:, None]).sum(axis=2) > letters.shape[2]
        again = (message[:, 1:] == message[:, :-1]) & (message[:, 1:] >= 0)
        return {
            "self_pattern": (pattern == own).sum(axis=1),
            "repetition": again.sum(axis=1),
            "past_identity": (message == own).sum(axis=1),
            "same_first_letter": (same_letter & (letter >= 0) & (message >= 0)).sum(axis=1),
        }

    def _first(self, near: Nearest, t: int) -> Int[np.ndarray, "heads t"]:
        """The word that each vector is nearest to; -1 for a vector without a direction."""
        lost = np.isnan(near.cosines[:, 0])
        word = np.where(lost, -1, self.words.word[near.entries[:, 0]])
        return word.reshape(len(self.heads), t)

    def _shares(self, name: str) -> Float[np.ndarray, " rows"]:
        """A measure of all heads, layer by layer; NaN where there are no cases."""
        none = np.full(len(self.heads), np.nan)
        layers = sorted(self._counts)
        hits = np.array([self._hits.get((layer, name), none) for layer in layers])
        cases = np.array([self._counts[layer][CASES[name]] for layer in layers])[:, None]
        return np.where(cases > 0, hits / np.maximum(cases, 1), np.nan).ravel()

    def table(self) -> pa.Table:
        """The table `head_summary`."""
        layers = sorted(self._counts)
        shares = {name: self._shares(name) for name in MEASURES}
        scored = [values for name, values in shares.items() if name != "first_position"]
        shares["score"] = np.fmax.reduce(scored)
        n, each = len(layers) * len(self.heads), len(self.heads)
        columns = run_columns(self.provenance, n) | {
            "layer": pa.array(np.repeat(layers, each), pa.int32()),
            "head": pa.array(np.tile(self.heads, len(layers)), pa.int32()),
            **{
                name: pa.array(
                    np.repeat([self._counts[layer][name] for layer in layers], each), pa.int32()
                )
                for name in ("n", *dict.fromkeys(CASES.values()))
            },
            **{
                name: pa.array(values, pa.float32(), from_pandas=True)
                for name, values in shares.items()
            },
        }
        title = "head_summary: which heads do what, over all texts"
        units = dict.fromkeys((*MEASURES, "score"), "share, 0 to 1")
        return describe(pa.table(columns), title, self.provenance, SUMMARY, units)
