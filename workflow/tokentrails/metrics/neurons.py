"""Neurons in words: what they look for, and what they add.

Patterns and Messages, part 6. A neuron's input vector (in models with gates its gate's too) is
compared with the vocabulary as its MLP would see it, its output vector with the embedding and the
unembedding: of the weights alone, once per checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from torch import Tensor

from ..files.tables import describe
from ..network.checkpoint import checkpoint_name
from ..network.parts import Block
from ..progress import progress_bar
from ..vocabulary.nearest import Space, nearest
from ..vocabulary.spaces import Spaces
from .columns import word_columns as words
from .columns.frame import run_columns
from .columns.word_columns import word_columns

MEANINGS = words.MEANINGS | {
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP",
    "role": "which vector of the neuron: in (its column of the matrix into the MLP), gate (its "
    "column of the gates' matrix, in models with gates), out (its row of the matrix out of the "
    "MLP)",
}


def neurons(
    spaces: Spaces,
    *,
    layers: Sequence[int],
    top: int,
    high_bias: float,
    provenance: Mapping[str, str],
    only: Sequence[int] | None = None,
) -> Iterator[pa.Table]:
    """The parts of the table `neurons`, one of each block that is looked at.

    Parameters
    ----------
    layers: which ones are looked at.
    top: how many words are listed.
    high_bias: lists with a bias above this are marked.
    provenance: gives the key columns too.
    only: which neurons of each block; by default all.
    """
    names = pa.array(spaces.names, pa.string())
    blocks = {layer: spaces.parts.blocks[layer] for layer in layers}
    total = sum(len(block.mlp.W_out) for block in blocks.values())
    with progress_bar(total, checkpoint_name(provenance), " neurons") as bar:
        for layer, block in blocks.items():
            chosen = range(len(block.mlp.W_out)) if only is None else only
            n, roles, compared, lists = len(chosen), [], [], []
            for role, space, vectors in _roles(block, layer, spaces):
                roles.append(role)
                compared.append(space.name)
                lists.append(nearest(vectors if only is None else vectors[chosen], space, top))
            bar.update(n)
            keys = run_columns(provenance, n * len(lists), ("model", "checkpoint")) | {
                "layer": pa.array(np.full(n * len(lists), layer), pa.int32()),
                "neuron": pa.array(np.repeat(chosen, len(lists)), pa.int32()),
                "role": pa.array(roles * n, pa.string()),
                "space": pa.array(compared * n, pa.string()),
            }
            table = pa.table(keys | word_columns(lists, names, high_bias))
            title = "neurons: input and output vectors of each neuron as lists of words"
            yield describe(table, title, provenance, MEANINGS, words.UNITS)


def operations(spaces: Spaces, layers: Sequence[int]) -> float:
    """Floating-point operations of the products with the vocabulary that the table needs."""
    return sum(
        2.0 * vectors.numel() * len(space.rows)
        for layer in layers
        for _, space, vectors in _roles(spaces.parts.blocks[layer], layer, spaces)
    )


def _roles(
    block: Block, layer: int, spaces: Spaces
) -> Iterator[tuple[str, Space, Float[Tensor, "n d"]]]:
    """The vectors of a block's neurons and what they are compared with, in the table's order."""
    mlp, reads = block.mlp, spaces.mlp_input(layer)
    if mlp.W_gate is not None:
        yield "gate", reads, mlp.W_gate.mT
    yield "in", reads, mlp.W_in.mT
    outputs = block.neuron_outputs
    for space in (spaces.embedding, spaces.unembedding):
        if space is not None:
            yield "out", space, outputs
