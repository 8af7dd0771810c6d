"""Convergence that a rotation of the basis does not hide: CKA and Procrustes beside the cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from ..files.siblings import Siblings
from ..files.tables import describe
from ..statistics.alignment import compact, debiased_cka, procrustes
from ..statistics.jackknife import MOST_PARTS, Jackknife, means
from ..statistics.similarity import row_cosine
from .columns.groups import MEANINGS as OF_GROUPS
from .columns.groups import across_checkpoints
from .convergence import MEANINGS as OF_CONVERGENCE

MEANINGS = {
    "cosine": "mean cosine of the words' states at the checkpoint with those at the reference",
    "cka": "debiased linear centred kernel alignment of the same states; null: under 4 words, or "
    "states that do not vary",
    "procrustes": "similarity of the same states after the best rotation; null: they do not vary",
    "procrustes_shuffled": "the same with the words matched at random, which is what so few words "
    "in so many dimensions give by themselves",
}
OF_INTERVALS = {
    f"{measure}_ci_{end}": f"{end}er end of its interval; null: too few words"
    for measure in MEANINGS
    for end in ("low", "high")
}
METHOD = (
    f"delete-a-group jackknife over words, in at most {MOST_PARTS} groups, with Student's t; for "
    "so many words as there are: Procrustes similarity is higher for fewer"
)


def alignment(
    siblings: Siblings,
    steps: Mapping[str, int | None],
    n_tokens: Sequence[int],
    *,
    groups: Sequence[int],
    few: int,
    confidence: float,
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
    confidence: of the intervals.
    seed: of the random matching, and of the split for the intervals.
    provenance: of the run.
    """
    counts = np.asarray(n_tokens)
    words: dict[int | None, np.ndarray] = {g: np.flatnonzero(counts == g) for g in groups}
    words[None] = np.flatnonzero(np.isin(counts, groups))
    split = {
        group: Jackknife.of(len(some), [seed, group or 0], confidence)
        for group, some in words.items()
    }
    rows = []
    for site, layer in siblings.places:
        reference, checkpoints = siblings.states((site, layer))
        targets = {group: compact(reference[some]) for group, some in words.items() if len(some)}
        for checkpoint, hidden in zip(steps, checkpoints, strict=True):
            cosine = row_cosine(hidden, reference)
            for group, some in words.items():
                key = {"checkpoint": checkpoint, "n_tokens": group, "site": site, "layer": layer}
                row: dict[str, object] = {**key, "n": len(some), "few": len(some) < few}
                if len(some):
                    row |= _compare(hidden[some], targets[group], cosine[some], split[group])
                rows.append(row)
    frame = pl.DataFrame(rows, schema=_SCHEMA).with_columns(
        pl.col(pl.Float32).fill_nan(None), reference=pl.lit(siblings.reference)
    )
    table = across_checkpoints(
        frame, steps, keys=("n_tokens", "site", "layer"), provenance=provenance
    )
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="alignment of states at a checkpoint with those at the reference",
        provenance={**provenance, "intervals": METHOD},
        meanings={**OF_CONVERGENCE, **OF_GROUPS, **MEANINGS, **OF_INTERVALS},
        units=dict.fromkeys((*MEANINGS, *OF_INTERVALS), "similarity, at most 1"),
    )


_SCHEMA = {
    "checkpoint": pl.String,
    "n_tokens": pl.Int32,
    "site": pl.String,
    "layer": pl.Int32,
    "n": pl.Int32,
    "few": pl.Boolean,
    **{
        f"{measure}{end}": pl.Float32 for measure in MEANINGS for end in ("", "_ci_low", "_ci_high")
    },
}


def _compare(
    hidden: np.ndarray, target: np.ndarray, cosine: np.ndarray, split: Jackknife
) -> dict[str, float]:
    """The measures of a group of words, and the ends of their intervals; `target` is compact."""
    own, parts = compact(hidden), split.parts
    found = {
        "cosine": means(cosine, parts),
        "cka": debiased_cka(own, target, parts),
        "procrustes": procrustes(own, target, parts),
        "procrustes_shuffled": procrustes(own, target[split.others], parts),
    }
    row: dict[str, float] = {}
    for measure, (value, *without) in found.items():
        low, high = split.interval(value, without)
        row |= {measure: value, f"{measure}_ci_low": low, f"{measure}_ci_high": high}
    return row
