"""Ranks: where each token's state stands in the vocabulary, layer by layer.

Dense Paths and Sparse Trails: the cosine of a token's state with its own embedding, how many
vocabulary rows are strictly closer (0 = none), and which rows are closest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float32, Float64, Int

from ..files.states import Layer
from ..files.tables import describe
from ..statistics.baseline import EMBEDDING, Baseline
from ..statistics.similarity import z_scores
from ..texts.entries import surface
from ..vocabulary.cosines import known_rows
from ..vocabulary.ranks import Matrix, closest_in, states_at_once
from .columns.frame import metric_table, sorted_parts, target_keys
from .identity import own_token_ids

MEANINGS = {
    "word": "the whole word, as written, that the token is part of; empty for special tokens",
    "word_class": "function (closed classes: determiners, pronouns, prepositions, conjunctions, "
    "auxiliaries, particles), content (all other alphabetic words), punctuation, other (numbers "
    "and signs); null: a special token, or a word of no known class",
    "positional": "whether the embedding of the token's own position was added to every row",
    "cosine": "cosine of the state with the token's own row; null: one of them has no direction",
    "rank": "how many vocabulary rows are strictly closer to the state than the token's own row; "
    "rows beyond the tokenizer's entries take part in nothing",
    "nearest": "the vocabulary entries whose rows are closest, the closest first",
    "nearest_cosine": "their cosines",
    "rank_standardised": "the same with every dimension of the state as a z-score over the tokens "
    "of the baseline at the same place, and of the rows over the rows of these tokens, without "
    "position embeddings; null: no baseline",
    "cosine_as_published": "cosine by the formula of the study: value and output weights without "
    "transposing and without biases, and position 0's embedding added to every row; null unless "
    "asked for",
    "rank_as_published": "rank by the same formula",
    "neighbour_cosine": "cosine of the token's own row with the closest one of another entry, "
    "other than itself in another case or with or without a space in front: how dense the "
    "vocabulary is there; null: its row has no direction",
    "neighbour_standardised": "the same of rows as z-scores over the rows of the baseline's tokens",
}

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Vocabulary:
    """The embedding rows that tokens are ranked among.

    Attributes
    ----------
    entries: the tokenizer's entry of each row; None for a row that it does not use.
    rows: the input embedding matrix, on the device that is to compute.
    """

    entries: Sequence[str | None]
    rows: Float32[torch.Tensor, "v d"]

    @cached_property
    def valid(self) -> Bool[torch.Tensor, " v"]:
        return known_rows(self.entries, self.rows.device)

    @cached_property
    def _matrix(self) -> Matrix:
        return Matrix(self.rows, self.valid)

    def rank(
        self,
        states: Float32[np.ndarray, "n d"],
        own: Int[np.ndarray, " n"],
        k: int = 0,
        offsets: Float32[np.ndarray, "n d"] | None = None,
    ) -> Ranked:
        """Rank each state's own row, and find the k closest entries.

        Parameters
        ----------
        offsets: what is added to every row before it is compared with each state; states with the
            same offset are computed together.
        """
        if offsets is None or len(states) == 0:
            return self._rank(states, own, k, None)
        different, which = np.unique(offsets, axis=0, return_inverse=True)
        parts = [
            self._rank(states[which == i], own[which == i], k, offset)
            for i, offset in enumerate(different)
        ]
        back = np.argsort(np.argsort(which, kind="stable"), kind="stable")
        return Ranked(*(np.concatenate(column)[back] for column in zip(*parts, strict=True)))

    def _rank(
        self, states: np.ndarray, own: np.ndarray, k: int, offset: np.ndarray | None
    ) -> Ranked:
        device, matrix = self.rows.device, self._matrix
        if offset is not None:
            matrix = Matrix(self.rows, self.valid, torch.tensor(offset, device=device))
        found = closest_in(
            torch.tensor(states, device=device),
            matrix,
            torch.tensor(own, dtype=torch.int64, device=device),
            k=k,
        )
        return Ranked(*(column.cpu().numpy() for column in found))

    @cached_property
    def _words(self) -> Int[np.ndarray, " v"]:
        """A number for each word, in whatever case and with or without a space in front."""
        known = ("" if entry is None else surface(entry) for entry in self.entries)
        return np.unique([text.strip().casefold() for text in known], return_inverse=True)[1]

    def neighbour_cosines(self, own: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Of each row of `own` with the closest one of another word; NaN without any."""
        different, which = np.unique(own, return_inverse=True)
        word, valid = self._words[different], self.valid.cpu().numpy()
        alike = np.bincount(self._words[valid], minlength=len(self.entries))[word]
        ids = torch.from_numpy(different).to(self.rows.device)
        # Behind all of its own word there is another one.
        k = min(1 + int(alike.max(initial=0)), int(valid.sum()))
        found = self._rank(self.rows[ids].cpu().numpy(), different, k, None)
        others = self._words[found.nearest] != word[:, None]
        first = others.argmax(axis=1, keepdims=True)
        closest = np.take_along_axis(found.nearest_cosine, first, axis=1)[:, 0]
        return np.where(others.any(axis=1), closest, np.nan)[which]

    def standardised(self, baseline: Baseline) -> Vocabulary | None:
        """The same entries with rows as z-scores over those of the baseline; None without one."""
        if EMBEDDING not in baseline.moments:
            return None
        # In parts: what is computed in float64 on the way is several times as large.
        rows = torch.empty_like(self.rows)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            scores = z_scores(self.rows[part].cpu().numpy(), baseline.moments[EMBEDDING])
            rows[part] = torch.from_numpy(scores)
        return Vocabulary(self.entries, rows)


class Ranked(NamedTuple):
    """`Closest` as arrays."""

    cosine: Float64[np.ndarray, " n"]
    rank: Int[np.ndarray, " n"]
    nearest: Int[np.ndarray, "n k"]
    nearest_cosine: Float64[np.ndarray, "n k"]


@dataclass(frozen=True)
class Published:
    """What the study compares.

    Attributes
    ----------
    states: of every token after the attention of a block, by the study's formula.
    offset: what it adds to every row.
    """

    states: Callable[[int], Float32[np.ndarray, "n d"]]
    offset: Float32[np.ndarray, " d"]


def ranks(
    layers: Iterable[Layer],
    tokens: pa.Table,
    vocabulary: Vocabulary,
    *,
    nearest: int,
    baseline: Baseline,
    offsets: Float32[np.ndarray, "n d"] | None,
    published: Published | None,
    pooling: str,
    groups: Sequence[str],
    provenance: Mapping[str, str],
    neighbours: bool = True,
) -> pa.Table:
    """The table `ranks`.

    Parameters
    ----------
    layers: the states, one place at a time; their rows are those of `tokens`, which have classes.
    nearest: how many of the closest entries are given.
    baseline: gives the moments that states and rows are standardised by.
    offsets: with `positional`, the embedding of each target's own position.
    published: if its columns are asked for; they are null at other sites than resid_mid.
    pooling: which token stands for a target of several.
    groups: names of the experiment's own columns.
    provenance: of the states; gives the key columns too.
    neighbours: whether the columns of neighbours are computed; they are null otherwise.
    """
    own = own_token_ids(tokens, pooling)
    names = ("label", "position", "token", "word", "word_class", "text", "n_tokens", *groups)
    keys = target_keys(tokens, pooling, names)
    entries = np.array(vocabulary.entries, dtype=object)
    z_vocabulary = vocabulary.standardised(baseline)
    near, z_near = (
        each.neighbour_cosines(own)
        if neighbours and each is not None
        else np.full(len(own), np.nan)
        for each in (vocabulary, z_vocabulary)
    )
    parts = []
    for place, found in _ranked(layers, vocabulary, own, nearest, offsets):
        n, lost = len(own), np.linalg.norm(place.hidden, np.inf, axis=1) == 0
        as_published = [pa.nulls(n, pa.float32()), pa.nulls(n, pa.int32())]
        if published is not None and place.site == "resid_mid":
            shift = np.broadcast_to(published.offset, place.hidden.shape)
            theirs = vocabulary.rank(published.states(place.layer), own, 0, shift)
            cosine = pa.array(theirs.cosine, pa.float32(), from_pandas=True)
            as_published = [cosine, _whole(theirs.rank)]
        z_rank = np.full(n, -1)
        if z_vocabulary is not None and place.place in baseline.moments:
            z = z_scores(place.hidden, baseline.moments[place.place])
            z_rank = z_vocabulary.rank(z, own).rank
        part = metric_table(provenance, keys, *place.place, {"cosine": found.cosine})
        further = {
            "rank": _whole(found.rank),
            "nearest": _lists(entries[found.nearest], pa.string(), lost),
            "nearest_cosine": _lists(found.nearest_cosine, pa.float32(), lost),
            "rank_standardised": _whole(z_rank),
            "positional": pa.array([offsets is not None] * n),
            "cosine_as_published": as_published[0],
            "rank_as_published": as_published[1],
            "neighbour_cosine": pa.array(near, pa.float32(), from_pandas=True),
            "neighbour_standardised": pa.array(z_near, pa.float32(), from_pandas=True),
        }
        for name, column in further.items():
            part = part.append_column(name, column)
        parts.append(part)
    return describe(
        sorted_parts(parts, "label", "site", "layer", "position"),
        title="ranks: where each token's state stands in the vocabulary",
        provenance=provenance,
        meanings=MEANINGS,
        units={name: "cosine, -1 to 1" for name in MEANINGS if "cosine" in name}
        | {"neighbour_standardised": "cosine, -1 to 1"}
        | dict.fromkeys(("rank", "rank_standardised", "rank_as_published"), "vocabulary rows"),
    )


def _ranked(
    layers: Iterable[Layer],
    vocabulary: Vocabulary,
    own: Int[np.ndarray, " n"],
    k: int,
    offsets: Float32[np.ndarray, "n d"] | None,
) -> Iterator[tuple[Layer, Ranked]]:
    """Each place with its ranks; of few states several at once, which reads the rows once."""
    n, source = len(own), iter(layers)
    at_once = max(1, states_at_once(vocabulary.rows.device) // max(1, n))
    while places := list(islice(source, at_once)):
        m = len(places)
        states = places[0].hidden if m == 1 else np.concatenate([place.hidden for place in places])
        shifts = None if offsets is None else np.tile(offsets, (m, 1))
        found = vocabulary.rank(states, np.tile(own, m), k, shifts)
        for i, place in enumerate(places):
            yield place, Ranked(*(column[i * n : (i + 1) * n] for column in found))


def _whole(rank: np.ndarray) -> pa.Array:
    """Ranks, null where there is none."""
    return pa.array(rank, pa.int32(), mask=rank < 0)


def _lists(values: np.ndarray, kind: pa.DataType, lost: np.ndarray) -> pa.Array:
    """A list for each row, null where the state has no direction."""
    return pa.array(values.tolist(), pa.list_(kind), mask=lost)
