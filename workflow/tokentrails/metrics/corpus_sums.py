"""Sums over the tokens of a running text while the model runs, so that no state is stored.

A text of any size is cut into batches, and these are shared out among jobs. What is summed up does
not depend on how: sums of floating-point numbers are of one piece each, so that they are added up
in the order of the pieces; those of types are of whole numbers; and those of the states' products
are kept with what rounding takes from them (Knuth 1969), far below the last digit of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Float64, Int, Int64
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..files.states import Place, refuse_non_finite
from ..network.architectures import Architecture
from ..network.batches import Text
from ..network.extract import batch_states, is_out_of_memory
from ..network.stream import StreamReader
from ..progress import progress_bar
from ..statistics.fixed_point import to_fixed
from ..texts.word_groups import BAND_NAMES, CLASSES
from .own_token import Readout
from .own_token_by_layer import MEASURES as READ_OUT

GROUPS = (len(CLASSES) + 1) * (len(BAND_NAMES) + 1)
"""Classes of words and none, each with its bands of frequency behind that of no band."""

MEASURES = ("identity", "length", "neighbour")
"""Cosine with the token's own embedding, length of the state, cosine with the layer before."""

SUMS = pa.schema(
    {
        "occurrence": pa.int32(),
        "document": pa.int32(),
        "measure": pa.dictionary(pa.int8(), pa.string()),
        "space": pa.dictionary(pa.int8(), pa.string()),
        "site": pa.dictionary(pa.int8(), pa.string()),
        "layer": pa.int16(),
        "word_class": pa.dictionary(pa.int8(), pa.string()),
        "frequency_band": pa.dictionary(pa.int8(), pa.string()),
        "n": pa.int32(),
        "sum": pa.float64(),
    }
)

TYPE_SUMS = pa.schema(
    {
        **{"token_id": pa.int32(), "token": pa.string(), "n": pa.int64(), "site": pa.string()},
        **{"layer": pa.int32(), "n_known": pa.int64(), "fixed": pa.int64()},
    }
)
PRODUCTS = pa.schema(
    {
        **{"layer": pa.int32(), "n": pa.int64(), "largest": pa.float64()},
        **{"largest_occurrence": pa.int32(), "largest_position": pa.int32()},
        **{"largest_dimension": pa.int32(), "largest_token": pa.string()},
        **{f"{n}_{part}": pa.binary() for n in ("total", "scatter") for part in ("high", "low")},
    }
)


class Piece(NamedTuple):
    """A piece of the text.

    Attributes
    ----------
    group: of each token, by class and band; -1 for one that takes no part: the first of the piece,
        special tokens, spaces, and what the tokenizer does not know.
    """

    occurrence: int
    document: int
    label: str
    token_ids: list[int]
    group: Int[np.ndarray, " t"]


def piece_batches(lengths: Sequence[int], token_budget: int) -> list[range]:
    """Pieces that run together, one behind the other in the text.

    Parameters
    ----------
    lengths: tokens of each piece.
    token_budget: most tokens in a batch, padding included; a longer piece runs alone.
    """
    found, begin, longest = [], 0, 0
    for index, length in enumerate(lengths):
        longest = max(longest, length)
        if index > begin and (index - begin + 1) * longest > token_budget:
            found.append(range(begin, index))
            begin, longest = index, length
    return [*found, range(begin, len(lengths))] if len(lengths) else []


def shard_of(batches: Sequence[range], number: int, shards: int) -> Sequence[range]:
    """The batches of one of several jobs, counted from 1."""
    ends = [len(batches) * each // shards for each in (number - 1, number)]
    return batches[slice(*ends)]


class Pieces:
    """The pieces of a tokens table; only those that are asked for are read.

    Parameters
    ----------
    check: raises for rows that cannot be used; it sees those that are read.
    """

    def __init__(
        self, file: pq.ParquetFile, check: Callable[[pa.Table], None] = lambda _: None
    ) -> None:
        self._file, self._check = file, check
        sizes = (file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
        self._starts = np.cumsum([0, *sizes])
        self._group, self._read = -1, pa.table({})
        self.lengths: list[int] = file.read(["n_tokens"])["n_tokens"].to_pylist()

    def __getitem__(self, rows: range) -> list[Piece]:
        return [self._piece(row) for row in rows]

    def _piece(self, row: int) -> Piece:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group:
            columns = ["occurrence", "document", "label", "token_ids", "tokens", *_ABOUT]
            self._group, self._read = group, self._file.read_row_group(group, columns)
            self._check(self._read)
        about = {
            name: self._read[name][row - self._starts[group]] for name in self._read.column_names
        }
        classes, bands = (
            pc.index_in(about[name].values, pa.array(names)).to_numpy(zero_copy_only=False)
            for name, names in _ABOUT.items()
        )
        classes = np.nan_to_num(classes.astype(float), nan=len(CLASSES))
        code = (classes * (len(BAND_NAMES) + 1) + np.nan_to_num(bands + 1)).astype(np.int64)
        of_words = [about[name].values.is_valid().to_numpy(zero_copy_only=False) for name in _ABOUT]
        code[~np.logical_or(*of_words)] = -1
        code[0] = -1
        keys = ("occurrence", "document", "label", "token_ids")
        return Piece(**{name: about[name].as_py() for name in keys}, group=code)


_ABOUT = {"word_class": CLASSES, "frequency_band": BAND_NAMES}


@dataclass(eq=False)
class Running:
    """A model as it runs on the batches of one text.

    Attributes
    ----------
    places: where the stream is read.
    embedding: E, on the device.
    readout: what reads the stream as a distribution; None without that.
    read_out: how many tokens of a piece are read out.
    seed: chooses them.
    """

    model: nn.Module
    architecture: Architecture
    places: Sequence[Place]
    embedding: Float32[Tensor, "v d"]
    readout: Readout | None
    read_out: int
    seed: int
    name: str

    @torch.inference_mode()
    def states(self, pieces: Sequence[Piece]) -> Float32[Tensor, "places n d"]:
        """The states of all tokens, those of a piece together.

        Raises
        ------
        TokentrailsError: for a state that is not finite, and where memory runs out.
        """
        texts = [
            Text(tuple(p.token_ids), tuple((i, (i,)) for i in range(len(p.token_ids))))
            for p in pieces
        ]
        try:
            with StreamReader(self.model, self.architecture, self.places) as reader:
                _, states = batch_states(reader, texts, causal=self.architecture.causal)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TokentrailsError(
                f"{sum(len(p.token_ids) for p in pieces):,} tokens do not fit in memory together",
                where=self.name,
                hint="lower extract.token_budget.",
            ) from error
        if not states.sum(dtype=torch.float64).isfinite():
            labels = [p.label for p in pieces for _ in p.token_ids]
            rows, hidden = np.arange(len(labels)), states.cpu().numpy()
            refuse_non_finite(hidden, rows, self.places, labels, self.name)
        return states

    def read(
        self, states: Float32[Tensor, "places n d"], pieces: Sequence[Piece]
    ) -> tuple[Int[np.ndarray, " r"], dict[tuple[str, str], Float64[np.ndarray, "layers r"]]]:
        """Rows that are read out, and by measure and space what they give at each layer."""
        if self.readout is None:
            return np.empty(0, dtype=int), {}
        chosen, own, following = [], [], []
        start = 0
        for piece in pieces:
            ids = piece.token_ids
            known = np.flatnonzero(piece.group[:-1] >= 0)  # the last token has no next one
            rng = np.random.default_rng((self.seed, piece.occurrence))
            drawn = rng.choice(known, min(self.read_out, len(known)), replace=False)
            for position in sorted(drawn.tolist()):
                chosen.append(start + position)
                own.append(ids[position])
                following.append(ids[position + 1])
            start += len(ids)
        if not chosen:
            return np.empty(0, dtype=int), {}
        resid = [i for i, (site, _) in enumerate(self.places) if site == "resid"]
        rows = torch.tensor(chosen, device=states.device)
        spaces = self.readout.spaces(states[resid][:, rows], own, following)
        found: dict[tuple[str, str], np.ndarray] = {}
        for space, numbers in spaces.items():
            values = {k: v.double().cpu().numpy() for k, v in numbers.items()}
            for kind in ("own", "next"):
                rank = values.pop(f"{kind}_rank")
                rank[rank < 0] = np.nan  # of a state or row without a direction
                values[f"{kind}_log_rank"] = np.log10(1 + rank)
                values[f"{kind}_first"] = np.where(np.isnan(rank), np.nan, rank == 0)
            found |= {(name, space): values[name] for name in READ_OUT}
        return np.array(chosen), found


@dataclass(eq=False)
class Products:
    """Sums of the states behind the first of each piece, and of their products, at `resid`.

    Attributes
    ----------
    centre: what is taken from states first, so that a large common part drowns nothing.
    n: how many states.
    total, scatter: sums, and what rounding took from them.
    largest: by layer the largest value, its occurrence, position, dimension and token.
    """

    centre: Float32[Tensor, "layers d"]
    n: int = 0
    total: list[Float64[np.ndarray, "layers d"]] = field(init=False)
    scatter: list[Float64[np.ndarray, "layers d d"]] = field(init=False)
    largest: list[tuple[float, int, int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        layers, d = self.centre.shape
        self.total = [np.zeros((layers, d)) for _ in range(2)]
        self.scatter = [np.zeros((layers, d, d)) for _ in range(2)]
        self.largest = [(-1.0, -1, -1, -1, -1)] * layers

    def add(self, states: Float32[Tensor, "layers n d"], pieces: Sequence[Piece]) -> None:
        tokens = [
            (piece.occurrence, position, token)
            for piece in pieces
            for position, token in enumerate(piece.token_ids)
        ]
        later = np.flatnonzero([position > 0 for _, position, _ in tokens])
        if not len(later):
            return
        rows = torch.from_numpy(later).to(states.device)
        self.n += len(later)
        for layer, centre in enumerate(self.centre):
            here = states[layer, rows]
            peaks, at = here.abs().max(dim=1)
            if (value := float(peaks.max())) > self.largest[layer][0]:
                row = int((peaks == value).nonzero()[0])  # of equal ones the first
                occurrence, position, token = tokens[later[row]]
                self.largest[layer] = value, occurrence, position, int(at[row]), token
            here = here - centre
            _add(self.total, layer, here.sum(dim=0, dtype=torch.float64).cpu().numpy())
            _add(self.scatter, layer, (here.T @ here).double().cpu().numpy())


def _add(sums: list[np.ndarray], layer: int, more: np.ndarray) -> None:
    """Add to a sum, and what rounding takes from that to the second one (Knuth's two-sum)."""
    old = sums[0][layer]
    new = old + more
    part = new - old
    sums[1][layer] += (old - (new - part)) + (more - part)
    sums[0][layer] = new


class CorpusSums:
    """Adds up what a model does with the batches of one shard.

    Attributes
    ----------
    type_n: by token id, how many tokens take part.
    type_known, type_sum: of these at each place, how many have an identity, and the sum of it, as
        whole numbers. Without a direction of the state or of the embedding there is none.
    """

    def __init__(self, running: Running, first: Sequence[Piece]) -> None:
        self._running = running
        self._lengths = running.embedding.norm(dim=1, dtype=torch.float64)
        self._resid = [i for i, (site, _) in enumerate(running.places) if site == "resid"]
        rows = len(running.embedding)
        self.type_n = np.zeros(rows, dtype=np.int64)
        self.type_known, self.type_sum = np.zeros((2, len(running.places), rows), dtype=np.int64)
        # Of all shards the same: the mean of the text's first batch.
        self.products = Products(running.states(first)[self._resid].mean(dim=1))

    @torch.inference_mode()
    def add(self, pieces: Sequence[Piece]) -> pa.Table:
        """The sums of each piece, by measure, place and group; all else is added up here."""
        states = self._running.states(pieces)
        self.products.add(states[self._resid], pieces)
        group = np.concatenate([piece.group for piece in pieces])
        which = np.repeat(np.arange(len(pieces)), [len(piece.group) for piece in pieces])
        ids = torch.tensor([i for p in pieces for i in p.token_ids], device=states.device)
        values, known = self._values(states, ids), group >= 0
        slots = (which * GROUPS + group)[known]
        self._add_types(ids.cpu().numpy()[known], values["identity"][:, known])
        parts = [
            _rows(pieces, slots, name, None, self._running.places, value[:, known])
            for name, value in values.items()
        ]
        chosen, read = self._running.read(states, pieces)
        # By class alone: groups of a few tokens each would be many.
        bands = len(BAND_NAMES) + 1
        by_class = which[chosen] * GROUPS + group[chosen] // bands * bands
        resid = [self._running.places[i] for i in self._resid]
        parts += [
            _rows(pieces, by_class, name, space, resid, value)
            for (name, space), value in read.items()
        ]
        return pa.concat_tables(parts)

    def _values(
        self, states: Float32[Tensor, "places n d"], ids: Int64[Tensor, " n"]
    ) -> dict[str, Float64[np.ndarray, "places n"]]:
        """The measures of every token at every place; NaN where there is none."""
        places = self._running.places
        found = {name: np.full(states.shape[:2], np.nan) for name in MEASURES}
        own, own_length = self._running.embedding[ids], self._lengths[ids]
        lengths = [_dots(here, here).sqrt() for here in states]
        for index, here in enumerate(states):
            found["length"][index] = lengths[index].cpu().numpy()
            cosine = _dots(here, own) / (lengths[index] * own_length)
            found["identity"][index] = cosine.clamp(-1, 1).cpu().numpy()
        for index, ((site, layer), (next_site, next_layer)) in enumerate(pairwise(places), 1):
            if (site, layer + 1) == (next_site, next_layer):
                dots = _dots(states[index], states[index - 1])
                cosine = dots / (lengths[index] * lengths[index - 1])
                found["neighbour"][index] = cosine.clamp(-1, 1).cpu().numpy()
        return found

    def _add_types(
        self, ids: Int[np.ndarray, " n"], identity: Float64[np.ndarray, "places n"]
    ) -> None:
        np.add.at(self.type_n, ids, 1)
        known = (~np.isnan(identity)).astype(np.int64)
        for kept, values in ((self.type_known, known), (self.type_sum, to_fixed(identity))):
            for sums, here in zip(kept, values, strict=True):
                np.add.at(sums, ids, here)

    def types(self, entries: Sequence[str | None]) -> pa.Table:
        """Of each type that is there its tokens and the sum of their identity, by place."""
        ids = np.flatnonzero(self.type_n)
        places = self._running.places
        columns = {
            "token_id": np.tile(ids, len(places)).astype(np.int32),
            "token": [entries[i] for i in ids.tolist()] * len(places),
            "n": np.tile(self.type_n[ids], len(places)),
            "site": np.repeat([site for site, _ in places], len(ids)),
            "layer": np.repeat(np.array([layer for _, layer in places], np.int32), len(ids)),
            "n_known": self.type_known[:, ids].ravel(),
            "fixed": self.type_sum[:, ids].ravel(),
        }
        return pa.table(columns, TYPE_SUMS)

    def geometry(self, entries: Sequence[str | None]) -> Iterator[pa.Table]:
        """For each layer of `resid` the sums of states and of products, and the largest."""
        products = self.products
        for layer, (value, occurrence, position, dimension, token) in enumerate(products.largest):
            row: dict[str, Any] = {"layer": layer, "n": products.n, "largest": value}
            row |= {"largest_occurrence": occurrence, "largest_position": position}
            row |= {"largest_dimension": dimension, "largest_token": entries[token]}
            for name in ("total", "scatter"):
                sums = getattr(products, name)
                row |= {f"{name}_{part}": sums[i][layer].tobytes() for i, part in enumerate(_PARTS)}
            yield pa.Table.from_pylist([row], PRODUCTS)


_PARTS = ("high", "low")


def _dots(a: Float32[Tensor, "n d"], b: Float32[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    return (a * b).sum(dim=1, dtype=torch.float64)


def _rows(
    pieces: Sequence[Piece],
    slots: Int[np.ndarray, " n"],
    measure: str,
    space: str | None,
    places: Sequence[Place],
    values: Float64[np.ndarray, "places n"],
) -> pa.Table:
    """The sums of a measure, a row for each piece, group and place with any token."""
    size = len(pieces) * GROUPS
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("slot", "place", "n", "sum")}
    for index, here in enumerate(values):
        finite = np.isfinite(here)
        if not finite.any():
            continue
        n = np.bincount(slots[finite], minlength=size)
        there = np.flatnonzero(n)
        parts["slot"].append(there)
        parts["place"].append(np.full(len(there), index))
        parts["n"].append(n[there])
        parts["sum"].append(np.bincount(slots[finite], here[finite], size)[there])
    slot, place, number, total = (
        np.concatenate(part or [np.empty(0, dtype=int)]) for part in parts.values()
    )
    piece, group = np.divmod(slot, GROUPS)
    word_class, band = np.divmod(group, len(BAND_NAMES) + 1)
    sites = list(dict.fromkeys(site for site, _ in places))
    about = np.array([(sites.index(site), layer) for site, layer in places])[place].reshape(-1, 2)
    columns: dict[str, Any] = {
        "occurrence": np.array([each.occurrence for each in pieces])[piece],
        "document": np.array([each.document for each in pieces])[piece],
        "measure": _named(np.zeros(len(slot)), [measure]),
        "space": _named(np.full(len(slot), 0 if space else -1), [space or ""]),
        "site": _named(about[:, 0], sites),
        "layer": about[:, 1],
        "word_class": _named(np.where(word_class < len(CLASSES), word_class, -1), CLASSES),
        "frequency_band": _named(band - 1, BAND_NAMES),
        "n": number,
        "sum": total.astype(np.float64),
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, SUMS.field(name).type)
        for name, column in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=SUMS)


def _named(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    """A column of names by their numbers; null for -1."""
    index = pa.array(codes.astype(np.int8), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string()))


def summed(
    sums: CorpusSums, pieces: Pieces, batches: Sequence[range], label: str
) -> Iterator[pa.Table]:
    """The sums of each batch, with a progress bar that counts tokens."""
    yield SUMS.empty_table()  # all that there is of a shard without a batch
    total = sum(pieces.lengths[row] for batch in batches for row in batch)
    with progress_bar(total, label) as bar:
        for batch in batches:
            yield sums.add(pieces[batch])
            bar.update(sum(pieces.lengths[row] for row in batch))
