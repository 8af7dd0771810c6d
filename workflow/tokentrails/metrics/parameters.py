"""How large a checkpoint is: its parameters, counted from the header of the weights file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyarrow as pa

from ..files.tables import describe
from ..network.architectures import Architecture
from ..network.computed import computed
from ..network.weights import Weights

MEANINGS = {
    "n_parameters": "parameters of the blocks and norms: all of the weights file but embeddings "
    "and unembedding",
    "n_embedding": "parameters of token and position embeddings, and of the unembedding where it "
    "is a matrix of its own",
    "d_model": "width of the residual stream",
}


def parameters(
    weights: Weights,
    architecture: Architecture,
    *,
    depth: int,
    d_model: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `parameters`, one row.

    Parameters
    ----------
    weights: only the header is read.
    architecture: says where the embeddings are. Any other matrix of the shape of the token
        embedding, and a vector with an entry for each of its rows, is of the unembedding.
    """
    embedding = weights.shape(weights.find(architecture.embedding))
    positions = architecture.position_embedding
    around = own = 0
    for name, entry in weights.entries.items():
        is_number = entry.dtype.startswith(("F", "BF"))  # and no number of a position
        if not is_number or computed(name, architecture):
            continue
        is_position = positions is not None and name.endswith(f"{positions}.weight")
        if is_position or entry.shape in (embedding, embedding[:1]):
            around += math.prod(entry.shape)
        else:
            own += math.prod(entry.shape)
    row: dict[str, object] = {name: provenance[name] for name in ("model", "checkpoint")}
    row |= {"n_parameters": own, "n_embedding": around, "depth": depth, "d_model": d_model}
    types = dict.fromkeys(("model", "checkpoint"), pa.string())
    types |= dict.fromkeys(("n_parameters", "n_embedding"), pa.int64())
    types |= dict.fromkeys(("depth", "d_model"), pa.int32())
    table = pa.Table.from_pylist([row], schema=pa.schema(types))
    return describe(table, "size of the checkpoint", provenance, MEANINGS)
