"""Neurons in words: what they look for, and what they add.

Patterns and Messages, part 6. A neuron's input vector (in models with gates its gate's too) is
compared with the vocabulary as its MLP would see it, its output vector with the embedding and the
unembedding: of the weights alone, once per checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..files.tables import describe
from ..network.parts import Block, Parts
from ..progress import no_bar
from ..vocabulary.spaces import Space, Spaces, nearest
from .columns import word_columns as words
from .columns.word_columns import run_columns, word_columns

OF_NEURONS = words.MEANINGS | {
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP",
    "role": "which vector of the neuron: in (its column of the matrix into the MLP), gate (its "
    "column of the gates' matrix, in models with gates), out (its row of the matrix out of the "
    "MLP)",
}


def neurons(
    parts: Parts,
    spaces: Spaces,
    names: Sequence[str | None],
    *,
    top: int,
    high_bias: float,
    provenance: Mapping[str, str],
    progress: Callable[[int], tqdm] = no_bar,
) -> Iterator[pa.Table]:
    """The parts of the table `neurons`, one of each block.

    Parameters
    ----------
    parts: of the model.
    spaces: of its vocabulary.
    names: the vocabulary entry of each row; None for a padded row.
    top: how many words are listed.
    high_bias: lists with a bias above this are marked.
    provenance: gives the key columns too.
    progress: makes a progress bar for a number of neurons.
    """
    column = pa.array(names, pa.string())
    with progress(sum(len(block.mlp.W_out) for block in parts.blocks)) as bar:
        for layer, block in enumerate(parts.blocks):
            lists, said = [], []
            for role, space, vectors in _roles(block, layer, spaces):
                lists.append(nearest(vectors, space, top))
                said.append((role, space.name))
            n = len(block.mlp.W_out)
            bar.update(n)
            keys = run_columns(provenance, n * len(said), ("model", "checkpoint")) | {
                "layer": pa.array(np.full(n * len(said), layer), pa.int32()),
                "neuron": pa.array(np.repeat(np.arange(n), len(said)), pa.int32()),
                "role": pa.array([role for role, _ in said] * n, pa.string()),
                "space": pa.array([space for _, space in said] * n, pa.string()),
            }
            yield describe(
                pa.table(keys | word_columns(lists, column, high_bias)),
                title="neurons: input and output vectors of each neuron as lists of words",
                provenance=provenance,
                meanings=OF_NEURONS,
                units=words.UNITS,
            )


def _roles(
    block: Block, layer: int, spaces: Spaces
) -> Iterator[tuple[str, Space, Float[Tensor, "n d"]]]:
    """The vectors of a block's neurons and what they are compared with, in the table's order."""
    mlp, reads = block.mlp, spaces.mlp_input(layer)
    if mlp.W_gate is not None:
        yield "gate", reads, mlp.W_gate.mT
    yield "in", reads, mlp.W_in.mT
    yield "out", spaces.embedding, mlp.W_out
    if spaces.unembedding is not None:
        yield "out", spaces.unembedding, mlp.W_out
