"""Identity: how much of its own embedding a token still is.

Token Identity Drift: identity(l) = cos(x_l, E[token]).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int

from ..files.states import Layer
from ..files.tables import describe
from ..statistics.baseline import NO_BASELINE, Baseline
from ..statistics.forms import UNITS
from ..statistics.similarity import unit
from .columns.frame import metric_table, own_token, sorted_parts, target_keys
from .columns.similarities import embedding_similarities, matched_pairs

MEANINGS = {
    "cosine": "cosine of the state with the token's own row of the input embedding matrix",
    "adjusted": "the cosine minus chance, the mean cosine of states with embedding rows of other "
    "tokens at the same place; null: no baseline",
    "centred": "the cosine of the state minus the mean state of the baseline's tokens at the same "
    "place with the embedding row minus the mean of their rows; null: no baseline",
    "standardised": "the same cosine with every dimension of the state as a z-score over the "
    "tokens of the baseline at the same place, and of the embedding row over their rows; null: no "
    "baseline",
}


def own_token_ids(tokens: pa.Table, pooling: str) -> Int[np.ndarray, " n"]:
    """The vocabulary index whose embedding each target is compared with."""
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
    layers: the states, one place at a time, with the rows of `tokens`.
    embedding: each target's own row of the embedding matrix.
    groups: names of the experiment's own columns.
    provenance: of the states; gives the key columns too.
    """
    names = ("label", "position", "word", "token", "text", "n_tokens", *groups)
    keys = target_keys(tokens, pooling, names)
    parts, matched, directions = [], matched_pairs(tokens, pooling), unit(embedding)
    for states in layers:
        values = embedding_similarities(states, embedding, directions, baseline, matched)
        chance = baseline.chance_at("embedding", states.place)
        parts.append(metric_table(provenance, keys, *states.place, values, chance=chance))
    table = sorted_parts(parts, "label", "site", "layer", "position")
    title = "identity: how much of its own embedding a token's state still is"
    return describe(table, title, provenance, MEANINGS, UNITS)
