"""What the stream still says of the token itself, and already says of the next one.

Through the final norm and the unembedding, as if the model ended at each layer (the "logit lens" of
nostalgebraist 2020; of encoders through the masked-token head): rank and log-probability of the
token and of the next one, entropy, and the Kullback-Leibler divergence from there to the model's
own distribution (Belrose et al. 2023); the same behind each lens. Beside that the ranks by cosine
among the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl
import pyarrow as pa
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..files.states import places
from ..network.architectures import Architecture
from ..network.checkpoint import checkpoint_name
from ..network.lens import AffineLens
from ..network.parts import Parts
from ..network.stream import StreamReader
from ..texts.whole import WholeText, whole_texts
from ..vocabulary.cosines import known_rows, slices
from ..vocabulary.ranks import closest
from .columns.frame import run_table
from .columns.whole_texts import each_text, refuse_stream
from .own_token_by_layer import NATS, SPACE_MEANINGS

LOGITS_BYTES = 64 << 20
"""Most bytes of the logits of one layer that are there at a time."""

HEADLESS = "the weights have no head, so there is the embedding space alone"
_KEYS = ("label", "position", "layer", "space")
_RANKS = ("own_rank", "next_rank")

MEANINGS = {
    "word_class": "function, content, punctuation or other, of the word that the token is part of; "
    "null: a special token",
    **SPACE_MEANINGS,
    "own_rank": "how many of the tokenizer's entries are strictly ahead of the token itself",
    "own_logprob": "log-probability of the token itself; null: embedding, as cosines are no logits",
    "next_rank": "the same as own_rank of the text's next token; null: its last one",
    "next_logprob": "the same as own_logprob of the next token",
    "entropy": "entropy of the distribution over the entries; null: embedding",
    "kl": "Kullback-Leibler divergence of this distribution from the model's own output, sum of "
    "p log(p / q) with the output p; null: embedding",
}
UNITS = dict.fromkeys(_RANKS, "vocabulary rows") | dict.fromkeys(NATS, "nats")

Numbers = dict[str, Tensor]
"""By column: a number for each layer and token; NaN, or -1 of ranks, where there is none."""


@dataclass(frozen=True, eq=False)
class Readout:
    """Reads a model's stream as a distribution over its vocabulary.

    Attributes
    ----------
    model: without unembedding; `parts` are its own.
    entries: the tokenizer's entry of each row; None for a row that it does not use.
    lenses: further spaces, by their names.
    """

    model: nn.Module
    architecture: Architecture
    parts: Parts
    entries: Sequence[str | None]
    lenses: Mapping[str, AffineLens] = field(default_factory=dict)

    def stream(self, text: WholeText) -> Float32[Tensor, "layers+1 t d"]:
        """The stream of a text before each block and after the last, on the model's device."""
        ids = torch.tensor([text.token_ids], device=self.parts.embedding.device)
        resid = places(["resid"], len(self.parts.blocks))
        with StreamReader(self.model, self.architecture, resid) as reader:
            return reader(ids, torch.arange(ids.shape[1], device=ids.device))

    def streams(
        self, texts: Sequence[WholeText], provenance: Mapping[str, str]
    ) -> Float32[Tensor, "layers+1 n d"]:
        """The same of several texts, one behind the other.

        Raises
        ------
        TokentrailsError: if a state is not finite.
        """
        streams = [self.stream(text) for text in texts]
        for text, stream in zip(texts, streams, strict=True):
            refuse_stream(stream.cpu().numpy(), text, provenance)
        return torch.cat(streams, dim=1)

    @property
    def at_once(self) -> int:
        """How many tokens are read out together."""
        return max(1, LOGITS_BYTES // (4 * len(self.entries)))

    @cached_property
    def _known(self) -> Bool[Tensor, " v"]:
        return known_rows(self.entries, self.parts.embedding.device)

    def spaces(
        self, states: Float32[Tensor, "layers n d"], own: list[int], following: list[int | None]
    ) -> dict[str, Numbers]:
        """What the states say in each space.

        Parameters
        ----------
        own, following: each token and the next one, as rows of the vocabulary.
        """
        tokens = torch.tensor([own, [-1 if i is None else i for i in following]])
        ids = tokens.to(states.device)
        found = {"embedding": self._embedding(states, ids)}
        if self.parts.unembedding is not None:
            for name, lens in {"unembedding": None, **self.lenses}.items():
                parts = (
                    self._unembedding(states[:, part], ids[:, part], lens)
                    for part in slices(states.shape[1], self.at_once)
                )
                found[name] = _side_by_side(parts)
        for numbers in found.values():
            nothing = {"next_rank": -1, "next_logprob": torch.nan}
            for name, value in nothing.items():
                numbers[name] = numbers[name].masked_fill(ids[1] < 0, value)
        return found

    def _embedding(
        self, states: Float32[Tensor, "layers n d"], ids: Int64[Tensor, "2 n"]
    ) -> Numbers:
        layers = len(states)
        numbers: Numbers = {
            name: closest(
                states.flatten(0, 1),
                self.parts.embedding,
                ids[which].clamp(min=0).repeat(layers),
                valid=self._known,
            ).rank.view(layers, -1)
            for which, name in enumerate(_RANKS)
        }
        nothing = torch.full_like(numbers["own_rank"], torch.nan, dtype=torch.float32)
        return numbers | dict.fromkeys(NATS, nothing)

    def _unembedding(
        self,
        states: Float32[Tensor, "layers n d"],
        ids: Int64[Tensor, "2 n"],
        lens: AffineLens | None,
    ) -> Numbers:
        # Before the large tensors: what is kept among them would keep their room from being used
        # again.
        numbers: Numbers = {name: states.new_empty(states.shape[:2]) for name in UNITS}
        output = self.logprobs(states[-1])
        p = output.exp()
        certainty = _sums(p, output)
        for layer, at_layer in enumerate(states):
            logprobs = self.logprobs(at_layer if lens is None else lens(at_layer, layer))
            numbers["entropy"][layer] = -_sums(logprobs.exp(), logprobs)
            numbers["kl"][layer] = (certainty - _sums(p, logprobs)).clamp(min=0)
            for which, name in enumerate(("own", "next")):
                mine = logprobs.gather(1, self._column(ids[which])[:, None])
                # As floats, which torch compares and adds faster than bools.
                ahead = torch.gt(logprobs, mine, out=torch.empty_like(logprobs))
                numbers[f"{name}_rank"][layer] = ahead.sum(dim=1)
                numbers[f"{name}_logprob"][layer] = mine[:, 0]
        return numbers | {name: numbers[name].long() for name in _RANKS}

    def logprobs(self, states: Float32[Tensor, "n d"]) -> Float32[Tensor, "n known"]:
        """Log-probabilities of the tokenizer's entries."""
        logits = self.parts.logits(states)
        assert logits is not None
        return (logits if self._known.all() else logits[:, self._known]).log_softmax(dim=1)

    def logprob(
        self, states: Float32[Tensor, "n d"], ids: Int64[Tensor, " n"]
    ) -> Float32[Tensor, " n"]:
        """Log-probability of a token in each state; there must be an unembedding."""
        columns = self._column(ids)[:, None]
        found = [torch.empty(0, device=states.device)]  # a text of one token has no next one
        for part in slices(len(states), self.at_once):
            found.append(self.logprobs(states[part]).gather(1, columns[part])[:, 0])
        return torch.cat(found)

    def _column(self, ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Where tokens stand among the entries that are known."""
        return (self._known.cumsum(0) - 1)[ids.clamp(min=0)]


def _sums(a: Float32[Tensor, "n v"], b: Float32[Tensor, "n v"]) -> Float32[Tensor, " n"]:
    return torch.einsum("nv,nv->n", a, b)


def _side_by_side(parts: Iterable[Numbers]) -> Numbers:
    every = list(parts)
    return {name: torch.cat([part[name] for part in every], dim=1) for name in every[0]}


def refuse_headless(readout: Readout, provenance: Mapping[str, str]) -> None:
    """Raise where a lens has no head behind it."""
    if readout.parts.unembedding is None:
        raise TokentrailsError(
            "the weights have no head, which would read the stream behind a lens",
            where=checkpoint_name(provenance),
            hint="remove the lenses of this model, or give weights with their head.",
        )


@torch.inference_mode()
def own_token(tokens: pa.Table, readout: Readout, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `own_token`: a row for each token, layer and space.

    Parameters
    ----------
    tokens: the tokens table of whole texts.
    provenance: gives the key columns too.

    Raises
    ------
    TokentrailsError: if a state is not finite, or a lens has no head behind it.
    """
    if readout.lenses:
        refuse_headless(readout, provenance)
    parts = []
    for group in groups(each_text(whole_texts(tokens), provenance), readout.at_once):
        states = readout.streams(group, provenance)
        own = [token for text in group for token in text.token_ids]
        following = [token for text in group for token in (*text.token_ids[1:], None)]
        keys = pl.DataFrame(
            [(text.label, *token) for text in group for token in enumerate(text.tokens)],
            {"label": pl.String, "position": pl.Int32, "token": pl.String},
            orient="row",
        )
        spaces = readout.spaces(states, own, following)
        parts += [
            keys.with_columns(
                pl.lit(layer, pl.Int32).alias("layer"),
                pl.lit(space).alias("space"),
                *(_column(name, numbers[name][layer]) for name in UNITS),
            )
            for space, numbers in spaces.items()
            for layer in range(len(states))
        ]
    words = pl.DataFrame(pl.from_arrow(tokens.select(["label", "first", "word_class"])))
    classes = words.select("label", "word_class", position=pl.col("first").cast(pl.Int32))
    frame = pl.concat(parts).join(classes, on=["label", "position"], how="left")
    columns = ("label", "position", "token", "word_class", "layer", "space")
    order = ("own_rank", "own_logprob", "next_rank", "next_logprob", "entropy", "kl")
    headless = {} if readout.parts.unembedding is not None else {"spaces": HEADLESS}
    frame = frame.select(*columns, *order).sort(*_KEYS)
    title = "own_token: what the stream says of the token itself and of the next one"
    return run_table(frame, title, dict(provenance) | headless, MEANINGS, UNITS)


def groups(texts: Iterable[WholeText], most: int) -> Iterator[list[WholeText]]:
    """Texts of at least so many tokens together, but for the last ones."""
    group: list[WholeText] = []
    for text in texts:
        group.append(text)
        if sum(len(each.token_ids) for each in group) >= most:
            yield group
            group = []
    if group:
        yield group


def _column(name: str, values: Tensor) -> pl.Series:
    if name in _RANKS:
        ranks = pl.Series(name, values.cpu().numpy()).cast(pl.Int32)
        return ranks.set(ranks < 0, None)
    return pl.Series(name, values.cpu().numpy()).cast(pl.Float32)
