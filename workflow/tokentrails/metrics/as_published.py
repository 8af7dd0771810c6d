"""What Dense Paths and Sparse Trails took for `resid_mid`, reported next to the right value.

The study (https://github.com/danavery/attention-encodings) rebuilds a RoBERTa block's attention
from its weights. It multiplies by the value and output weights as they are stored, (out, in), so
by their transposes, and drops both biases. All else is the model's own: the states it starts from,
the attention weights, the sum with the block's input. Its vocabulary is E with the embedding of
position 0 added to every row: the index is built once, for position 0, and its switch for positions
is on by default. Rank 0 means that no other entry is closer, as here.

Needs no torch: the block's input states and the weights file are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from ..errors import TokentrailsError
from ..files.states import Layer
from ..network.checkpoint import Checkpoint


@dataclass(frozen=True)
class Linear:
    """A projection as the file stores it: x weightᵀ + bias."""

    weight: Float32[np.ndarray, "out in"]
    bias: Float32[np.ndarray, " out"]

    def __call__(self, x: Float32[np.ndarray, "n in"]) -> Float32[np.ndarray, "n out"]:
        return x @ self.weight.T + self.bias

    def as_published(self, x: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
        """The study's product, which only a square weight allows."""
        return x @ self.weight


@dataclass(frozen=True)
class AttentionWeights:
    """The attention of one block, without its norm.

    Attributes
    ----------
    query, key, value, output: the projections that hold W_Q, W_K, W_V and W_O.
    n_heads: how many heads share the d dimensions.
    """

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    n_heads: int


def attention_weights(checkpoint: Checkpoint, layer: int) -> AttentionWeights:
    """Read the attention weights of a block.

    Raises
    ------
    TokentrailsError: for an architecture that the published formula is not made for.
    """
    architecture, weights = checkpoint.architecture, checkpoint.weights
    _refuse_option("as_published", checkpoint)

    def linear(module: str) -> Linear:
        path = f"{architecture.blocks}.{layer}.{module}"
        return Linear(*(weights.tensor(weights.find(path, part)) for part in ("weight", "bias")))

    modules = architecture.attention
    return AttentionWeights(
        query=linear(modules.query),
        key=linear(modules.key),
        value=linear(modules.value),
        output=linear(modules.output),
        n_heads=architecture.heads(checkpoint.config),
    )


def published_resid_mid(
    x: Float32[np.ndarray, "n_tokens d"], block: AttentionWeights, *, corrected: bool = False
) -> Float32[np.ndarray, "n_tokens d"]:
    """The study's `resid_mid` of a post-norm encoder: attention without its biases, plus input.

    A = softmax(q kᵀ / √d_head) with the model's own queries and keys; then x + [A_h (x V)_h]_h O,
    where V and O are the value and output weights as stored, (out, in), not transposed.

    Parameters
    ----------
    x: the block's input (`resid`) at every token of one text, in order, special tokens included.
    block: its weights.
    corrected: transpose both weights and add their biases, which gives the model's own `resid_mid`.
    """
    value = block.value(x) if corrected else block.value.as_published(x)
    attention = _attention(_by_head(block.query(x), block), _by_head(block.key(x), block))
    mixed = attention @ _by_head(value, block)
    joined = mixed.swapaxes(0, 1).reshape(x.shape)
    return x + (block.output(joined) if corrected else block.output.as_published(joined))


class Layers(Protocol):
    """What gives states at a place, such as a `StatesReader`."""

    def layer(self, site: str, layer: int) -> Layer: ...


def published_states(
    states: Layers, labels: Sequence[str], checkpoint: Checkpoint
) -> Callable[[int], Float32[np.ndarray, "n d"]]:
    """A function that gives `published_resid_mid` of a block for every token of every text.

    Parameters
    ----------
    states: of whole texts, with `resid`.
    labels: the text of each row of the states; the rows of a text lie together, in its order.

    Raises
    ------
    TokentrailsError: for an architecture that the published formula is not made for.
    """
    attention_weights(checkpoint, 0)  # refuses other models at once
    changes = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]

    def in_block(layer: int) -> Float32[np.ndarray, "n d"]:
        block = attention_weights(checkpoint, layer)
        texts = np.split(states.layer("resid", layer).hidden, changes)
        return np.concatenate([published_resid_mid(x, block) for x in texts])

    return in_block


def position_rows(checkpoint: Checkpoint, positions: Sequence[int]) -> Float32[np.ndarray, "n d"]:
    """What the model adds to the token embeddings at positions of a text.

    Position 0 is the text's first token, a special one where the tokenizer adds such. Its row is 0
    in GPT-2, BERT and DistilBERT, 2 in OPT and padding_idx + 1 (2) in RoBERTa, whose table begins
    with rows that no token has. The published study adds the same row: its class counts from
    an offset of 2, and asks for position 0.

    Raises
    ------
    TokentrailsError: for models without learned positions.
    """
    architecture, weights = checkpoint.architecture, checkpoint.weights
    _refuse_option("positional", checkpoint)
    assert architecture.position_embedding is not None
    rows = np.asarray(positions, np.int64) + architecture.position_offset(checkpoint.config)
    return weights.rows(weights.find(architecture.position_embedding), rows)


def _refuse_option(name: str, checkpoint: Checkpoint) -> None:
    if reason := checkpoint.architecture.lacks.get(name):
        raise TokentrailsError(
            f"{name}: true cannot be had of {checkpoint.architecture.model_type!r}: {reason}",
            where=f"ranks.{name}",
            hint="leave the option out, or name other models for the experiment.",
        )


def _by_head(
    x: Float32[np.ndarray, "n d"], block: AttentionWeights
) -> Float32[np.ndarray, "heads n d_head"]:
    return x.reshape(len(x), block.n_heads, -1).swapaxes(0, 1)


def _attention(
    query: Float32[np.ndarray, "heads n d_head"], key: Float32[np.ndarray, "heads n d_head"]
) -> Float32[np.ndarray, "heads n n"]:
    """Weights over all positions: softmax of q k / √d_head."""
    score = query @ key.swapaxes(1, 2) / np.sqrt(np.float32(query.shape[2]))
    weight = np.exp(score - score.max(axis=2, keepdims=True))
    return weight / weight.sum(axis=2, keepdims=True)
