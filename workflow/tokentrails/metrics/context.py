"""Context similarity: how alike one token is in two texts.

Token Identity Drift: context(l) = cos(x_l in text A, x_l in text B), over all pairs of texts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa

from ..files.states import Layer
from ..files.tables import describe
from ..statistics.baseline import NO_BASELINE, Baseline
from ..statistics.forms import UNITS
from .columns.frame import metric_table, own_token, sorted_parts
from .columns.similarities import matched_pairs, pair_similarities

MEANINGS = {
    "label_a": "label of the text that comes first in the experiment file",
    "label_b": "label of the other text",
    "sense_a": "sense of the first text, if the experiment names senses",
    "sense_b": "sense of the other text",
    "relation": "between: the senses differ; within: they are the same; null: a sense is not named",
    "cosine": "cosine of the token's states in the two texts",
}


def same_token_pairs(tokens: pa.Table) -> list[tuple[int, int]]:
    """Rows of every two targets with the very same token ids, in the order of the table.

    A word that is cut differently, or written with a capital, is another token and makes no pair.
    Where texts have a `pair`, those of one are compared and no others.
    """
    rows: dict[tuple[object, ...], list[int]] = {}
    names = ("token_ids", "first", "last", "pair")
    columns = [tokens[name].to_pylist() for name in names if name in tokens.column_names]
    for row, (ids, first, last, *pair) in enumerate(zip(*columns, strict=True)):
        key = row if pair == [None] else tuple(pair)
        rows.setdefault((key, *ids[first : last + 1]), []).append(row)
    return sorted(pair for group in rows.values() for pair in combinations(group, 2))


def context(
    layers: Iterable[Layer],
    tokens: pa.Table,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    baseline: Baseline = NO_BASELINE,
    pooling: str,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `context`: one row per pair and place. It is empty when no token comes twice.

    Parameters
    ----------
    layers: the states, one place at a time, with the rows of `tokens`.
    pairs: rows of `tokens` that are compared; by default those of the same token.
    provenance: of the states; gives the key columns too.
    """
    compared = same_token_pairs(tokens) if pairs is None else pairs
    if "pair" in tokens.column_names:
        logging.info("%d pairs of the very same tokens are compared", len(compared))
    a, b = np.asarray(compared, dtype=np.int64).reshape(-1, 2).T
    senses = tokens["sense"].cast(pa.string())
    keys = pa.table(
        {
            "word": tokens["word"].take(a),
            "token": own_token(tokens, "tokens", pooling).take(pa.array(a)),
            "label_a": tokens["label"].take(a),
            "label_b": tokens["label"].take(b),
            "sense_a": senses.take(pa.array(a)),
            "sense_b": senses.take(pa.array(b)),
        }
    )
    keys = keys.append_column("relation", _relation(keys))
    parts, matched = [], matched_pairs(tokens, pooling)
    for states in layers:
        values = pair_similarities(states, a, b, baseline, matched)
        chance = baseline.chance_at("states", states.place)
        parts.append(metric_table(provenance, keys, *states.place, values, chance=chance))
    table = sorted_parts(parts, "label_a", "label_b", "site", "layer")
    title = "context similarity: how alike one token is in two texts"
    return describe(table, title, provenance, MEANINGS, UNITS)


def _relation(keys: pa.Table) -> pa.Array:
    values = []
    for a, b in zip(keys["sense_a"].to_pylist(), keys["sense_b"].to_pylist(), strict=True):
        values.append(None if a is None or b is None else "within" if a == b else "between")
    return pa.array(values, pa.string())
