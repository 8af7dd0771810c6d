"""Identity: how much of its own embedding a token still is.

Token Identity Drift: identity(l) = cos(x_l, E[token]).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from ..files.states import Layer
from ..files.tables import describe
from ..statistics.baseline import NO_BASELINE, Baseline
from .columns.frame import metric_table, own_token
from .columns.similarities import UNITS, to_embedding

MEANINGS = {
    "cosine": "cosine of the state with the token's own row of the input embedding matrix",
    "adjusted": "the cosine minus the mean cosine of states with embedding rows of other tokens "
    "at the same place; null: no baseline",
    "standardised": "the same cosine with every dimension of the state as a z-score over the "
    "tokens of the baseline at the same place, and of the embedding row over their rows; null: no "
    "baseline",
}


def own_token_ids(tokens: pa.Table, pooling: str) -> np.ndarray:
    """The vocabulary index whose embedding each target is compared with, shape (n,)."""
    return own_token(tokens, "token_ids", pooling).to_numpy(zero_copy_only=False)


def identity(
    layers: Iterable[Layer],
    tokens: pa.Table,
    embedding: Float32[np.ndarray, "n d"],
    *,
    baseline: Baseline = NO_BASELINE,
    pooling: str,
    groups: list[str],
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `identity`.

    Parameters
    ----------
    layers: the states, one place at a time.
    tokens: the tokens table, whose rows are those of the states.
    embedding: each target's own row of the embedding matrix, in the order of `tokens`.
    baseline: of the same checkpoint; none by default.
    pooling: which token stands for a target of several.
    groups: names of the experiment's own columns.
    provenance: of the states; gives the key columns too.
    """
    parts = []
    position = tokens["first" if pooling == "first" else "last"]
    keys = pa.table({"label": tokens["label"], "position": position, "word": tokens["word"]})
    keys = keys.append_column("token", own_token(tokens, "tokens", pooling))
    for name in ["text", "n_tokens", *groups]:
        keys = keys.append_column(name, tokens[name])
    for at in layers:
        values = to_embedding(at, embedding, baseline)
        parts.append(metric_table(provenance, keys, at.site, at.layer, values))
    order = [(key, "ascending") for key in ("label", "site", "layer", "position")]
    table = pa.concat_tables(parts).sort_by(order)
    return describe(
        table,
        title="identity: how much of its own embedding a token's state still is",
        provenance=provenance,
        meanings=MEANINGS,
        units=UNITS,
    )
