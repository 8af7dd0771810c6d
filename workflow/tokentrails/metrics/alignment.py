"""Convergence that a rotation of the basis does not hide: CKA and Procrustes beside the cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from ..alignment import debiased_cka, procrustes
from ..similarity import row_cosine
from ..tables import describe
from .convergence import MEANINGS as OF_CONVERGENCE
from .groups import MEANINGS as OF_GROUPS
from .groups import across_checkpoints
from .siblings import Siblings

MEANINGS = {
    "cosine": "mean cosine of the words' states at the checkpoint with those at the reference",
    "cka": "debiased linear centred kernel alignment of the same states; null: under 4 words, or "
    "states that do not vary",
    "procrustes": "similarity of the same states after the best rotation; null: they do not vary",
    "procrustes_shuffled": "the same with the words matched at random, which is what so few words "
    "in so many dimensions give by themselves",
}


def alignment(
    siblings: Siblings,
    steps: Mapping[str, int | None],
    n_tokens: Sequence[int],
    *,
    groups: Sequence[int],
    few: int,
    seed: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `alignment`: every checkpoint beside the reference, by layer and group of words.

    Parameters
    ----------
    siblings: the states.
    steps: by the name of the checkpoint, in the order of the siblings.
    n_tokens: of every occurrence.
    groups: the token counts to show, whether there are such words or not.
    few: groups of fewer words are marked.
    seed: of the random matching.
    provenance: of the run.
    """
    counts = np.asarray(n_tokens)
    words: dict[int | None, np.ndarray] = {g: np.flatnonzero(counts == g) for g in groups}
    words[None] = np.flatnonzero(np.isin(counts, groups))
    random = {
        group: np.random.default_rng([seed, group or 0]).permutation(len(some))
        for group, some in words.items()
    }
    rows = []
    for site, layer in siblings.places:
        reference, checkpoints = siblings.states((site, layer))
        for checkpoint, hidden in zip(steps, checkpoints, strict=True):
            cosine = row_cosine(hidden, reference)
            for group, some in words.items():
                key = {"checkpoint": checkpoint, "n_tokens": group, "site": site, "layer": layer}
                measures = _compare(hidden[some], reference[some], cosine[some], random[group])
                rows.append({**key, "n": len(some), "few": len(some) < few, **measures})
    frame = pl.DataFrame(rows, schema=_SCHEMA).with_columns(
        pl.col(pl.Float32).fill_nan(None), reference=pl.lit(siblings.reference)
    )
    table = across_checkpoints(
        frame, steps, keys=("n_tokens", "site", "layer"), provenance=provenance
    )
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="alignment of states at a checkpoint with those at the reference",
        provenance=provenance,
        meanings={**OF_CONVERGENCE, **OF_GROUPS, **MEANINGS},
        units=dict.fromkeys(MEANINGS, "similarity, at most 1"),
    )


_SCHEMA = {
    "checkpoint": pl.String,
    "n_tokens": pl.Int32,
    "site": pl.String,
    "layer": pl.Int32,
    "n": pl.Int32,
    "few": pl.Boolean,
    "cosine": pl.Float32,
    "cka": pl.Float32,
    "procrustes": pl.Float32,
    "procrustes_shuffled": pl.Float32,
}


def _compare(
    hidden: np.ndarray, reference: np.ndarray, cosine: np.ndarray, random: np.ndarray
) -> dict[str, float | None]:
    if len(hidden) == 0:
        return dict.fromkeys(MEANINGS)
    return {
        "cosine": float(cosine.mean(dtype=np.float64)),
        "cka": debiased_cka(hidden, reference),
        "procrustes": procrustes(hidden, reference),
        "procrustes_shuffled": procrustes(hidden, reference[random]),
    }
