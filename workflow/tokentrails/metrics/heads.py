"""Heads in words: what each one looks for, what it is found by, and what it passes on.

Patterns and Messages, part 6. With x̂ = LN_l(x), a token's query-side pattern x̂ W_Q W_Kᵀ / √d_head
is what it looks for, its key-side pattern what it offers, and its message x̂ W_V W_O what it passes
to those that attend to it; biases are in all of them. In rotary models the patterns are those at
offset 0, of a token that attends to its own position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from ..files.tables import describe
from ..network.parts import Block
from ..network.trace import Trace
from ..texts.whole import WholeText
from ..vocabulary.nearest import Nearest, nearest
from ..vocabulary.spaces import Spaces
from .columns import word_columns as words
from .columns.frame import constant, run_columns
from .columns.whole_texts import traces
from .columns.word_columns import word_columns
from .head_summary import HeadSummary, Words

ATTENTION = {
    "layer": "index of the block",
    "head": "index of the head in its block",
    "query": "position of the token that attends, from 0",
    "key": "position of the token that it attends to",
    "query_token": "vocabulary entry at the query",
    "key_token": "vocabulary entry at the key",
    "weight": "the model's own attention weight; the weights of a query add up to 1. Pairs that "
    "the mask of the model leaves out have no row",
}
HEADS = words.MEANINGS | {
    "layer": "index of the block",
    "head": "index of the head in its block",
    "token": "vocabulary entry at this position",
    "kind": "pattern (a vector x whose product with a token's normed state is the attention logit, "
    "but for offset_logit) or message (what the token adds to the stream of one that attends to it "
    "alone)",
    "side": "of patterns: query (what the token looks for) or key (what it is found by); in "
    "rotary models at offset 0, as if query and key stood at the same position",
    "offset_logit": "what the bias of the other side adds to every logit of the pattern; null: a "
    "message",
}


class Lists(NamedTuple):
    """A list of words for each head and token of a block, head by head."""

    kind: str
    side: str | None
    near: Nearest
    space: str
    offset_logit: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class HeadTables:
    """Makes the tables of heads, one text and block after the other.

    Parameters
    ----------
    layers, heads: which ones are looked at.
    listed: the layers whose heads are listed in words.
    top: how many words are listed.
    high_bias: lists with a bias above this are marked.
    provenance: gives the key columns too.
    words: of the vocabulary; by default made when they are needed.
    """

    spaces: Spaces
    layers: Sequence[int]
    heads: Sequence[int]
    listed: Collection[int]
    top: int
    high_bias: float
    provenance: Mapping[str, str]
    words: Words | None = None

    @cached_property
    def summary(self) -> HeadSummary:
        """Of all texts that there were tables of."""
        words = self.words or Words.of(self.spaces)
        return HeadSummary(words, self.heads, self.provenance)

    @cached_property
    def _names(self) -> pa.Array:
        return pa.array(self.spaces.names, pa.string())

    def tables(
        self, texts: Sequence[WholeText], run: Callable[[list[int]], Trace]
    ) -> Iterator[tuple[pa.Table, pa.Table | None]]:
        """The next parts of the tables `attention` and `heads`, of one block on one text.

        Of a block that is not listed `heads` has none.

        Parameters
        ----------
        run: traces a text's token ids.

        Raises
        ------
        TokentrailsError: if a state is not finite.
        """
        for text, traced in traces(texts, run, self.provenance):
            for layer in self.layers:
                block = self.spaces.parts.blocks[layer]
                weights = traced.attention[layer][list(self.heads)].numpy()
                lists = []
                if layer in self.listed:
                    lists = self._lists(block, layer, traced.resid[layer])
                pattern = next((x.near for x in lists if x.side == "query"), None)
                message = lists[0].near if lists else None
                self.summary.add(layer, text.token_ids, pattern, message, weights)
                visible = block.heads.visible(len(text.token_ids)).cpu().numpy()
                yield (
                    self._attention(layer, weights, visible, text),
                    self._heads(layer, lists, text) if lists else None,
                )

    @torch.no_grad()
    def _lists(self, block: Block, layer: int, resid: Float[Tensor, "t d"]) -> list[Lists]:
        """Every list of a block, in the order of the table."""
        heads, chosen = block.heads, list(self.heads)
        x_hat = block.attention_norm(resid.to(heads.W_O.device))
        messages = block.messages(x_hat).take(chosen)
        lists = [
            Lists("message", None, nearest(messages, space, self.top), space.name)
            for space in (self.spaces.embedding, self.spaces.unembedding)
            if space is not None
        ]
        space = self.spaces.attention_input(layer)
        for side in ("key", "query"):
            patterns, bias = heads.patterns(x_hat, side)
            near = nearest(patterns.take(chosen), space, self.top)
            offset = bias[chosen].flatten().cpu().numpy()
            lists.append(Lists("pattern", side, near, space.name, offset))
        return lists

    def _attention(
        self, layer: int, weights: np.ndarray, visible: np.ndarray, text: WholeText
    ) -> pa.Table:
        query, key = visible.nonzero()
        n, tokens = len(self.heads) * len(query), pa.array(text.tokens, pa.string())
        positions = {
            name: pa.array(np.tile(numbers, len(self.heads)), pa.int32())
            for name, numbers in (("query", query), ("key", key))
        }
        columns = self._keys(layer, text, n, len(query)) | positions
        columns |= {f"{name}_token": tokens.take(numbers) for name, numbers in positions.items()}
        columns["weight"] = pa.array(weights[:, visible].ravel(), pa.float32())
        title = "attention: the weights of each head"
        units = {"weight": "share, 0 to 1"}
        return describe(pa.table(columns), title, self.provenance, ATTENTION, units)

    def _heads(self, layer: int, lists: Sequence[Lists], text: WholeText) -> pa.Table:
        t, each = len(text.tokens), len(lists)
        vectors = len(self.heads) * t
        position = pa.array(np.tile(np.repeat(np.arange(t), each), len(self.heads)), pa.int32())
        missing = np.full(vectors, np.nan)
        offsets = [missing if x.offset_logit is None else x.offset_logit for x in lists]
        columns = self._keys(layer, text, vectors * each, t * each) | {
            "position": position,
            "token": pa.array(text.tokens, pa.string()).take(position),
            **{
                name: pa.array([getattr(x, name) for x in lists] * vectors, pa.string())
                for name in ("kind", "side", "space")
            },
            **word_columns([x.near for x in lists], self._names, self.high_bias),
            "offset_logit": pa.array(
                np.stack(offsets, axis=1).ravel(), pa.float32(), from_pandas=True
            ),
        }
        title = "heads: patterns and messages of each head as lists of words"
        units = words.UNITS | {"offset_logit": "logits"}
        return describe(pa.table(columns), title, self.provenance, HEADS, units)

    def _keys(self, layer: int, text: WholeText, n: int, rows_each: int) -> dict[str, pa.Array]:
        """Run, label, layer and head of n rows; each head has so many, all below each other."""
        return run_columns(self.provenance, n) | {
            "label": constant(text.label, n),
            "layer": pa.array(np.full(n, layer), pa.int32()),
            "head": pa.array(np.repeat(self.heads, rows_each), pa.int32()),
        }
