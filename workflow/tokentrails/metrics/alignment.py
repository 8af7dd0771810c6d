"""Convergence that a rotation of the basis does not hide: CKA and Procrustes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from ..files.siblings import Siblings
from ..statistics.alignment import compact, debiased_cka, procrustes
from ..statistics.bootstrap import EQUALITY
from ..statistics.jackknife import MOST_PARTS, Jackknife, means
from ..statistics.settings import Statistics
from ..statistics.similarity import row_cosine
from .columns.frame import describe_frame
from .columns.groups import GROUP_MEANINGS, across_checkpoints, word_units
from .convergence import MEANINGS as CONVERGENCE_MEANINGS

MEANINGS = {
    "cosine": "mean cosine of the words' states at the checkpoint with those at the reference",
    "cka": "debiased linear centred kernel alignment of the same states; null: under 4 words, or "
    "states that do not vary",
    "procrustes": "similarity of the same states, centred, after the best rotation; null: they do "
    "not vary",
    "procrustes_shuffled": "the same with the words matched at random, which is what so few words "
    "in so many dimensions give by themselves",
}
INTERVAL_MEANINGS = {
    f"{measure}_ci_{end}": f"{end}er end of its interval; null: too few words{EQUALITY}"
    for measure in MEANINGS
    for end in ("low", "high")
}
METHOD = (
    f"delete-a-group jackknife over words, in at most {MOST_PARTS} groups, those with the same own "
    "token in one, with Student's t; for so many words as there are: Procrustes similarity is "
    "higher for fewer"
)


def alignment(
    siblings: Siblings,
    steps: Mapping[str, int | None],
    tokens: pa.Table,
    *,
    pooling: str,
    groups: Sequence[int],
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `alignment`: every checkpoint against the reference, by layer and group of words.

    Parameters
    ----------
    steps: by the name of the checkpoint, in the order of the siblings.
    groups: the token counts to show, whether there are such words or not.
    statistics: its seed decides the random matching, and the split for the intervals.
    """
    counts, units = tokens["n_tokens"].to_numpy(), word_units(tokens, pooling)
    words: dict[int | None, np.ndarray] = {g: np.flatnonzero(counts == g) for g in groups}
    words[None] = np.flatnonzero(np.isin(counts, groups))
    seed, confidence = statistics.bootstrap.seed, statistics.bootstrap.confidence
    split = {
        group: Jackknife.split(units[members], [seed, group or 0], confidence)
        for group, members in words.items()
    }
    rows = []
    for site, layer in siblings.places:
        reference, checkpoints = siblings.states((site, layer))
        targets = {group: compact(reference[m]) for group, m in words.items() if len(m)}
        for checkpoint, hidden in zip(steps, checkpoints, strict=True):
            cosine = row_cosine(hidden, reference)
            for group, members in words.items():
                key = {"checkpoint": checkpoint, "n_tokens": group, "site": site, "layer": layer}
                n = len(members)
                row: dict[str, object] = {**key, "n": n, "few": n < statistics.few}
                if n:
                    row |= _compare(hidden[members], targets[group], cosine[members], split[group])
                rows.append(row)
    frame = pl.DataFrame(rows, _SCHEMA).with_columns(reference=pl.lit(siblings.reference))
    return describe_frame(
        across_checkpoints(frame, steps, keys=("n_tokens", "site", "layer"), provenance=provenance),
        title="alignment of states at a checkpoint with those at the reference",
        provenance={**provenance, "intervals": METHOD},
        meanings={**CONVERGENCE_MEANINGS, **GROUP_MEANINGS, **MEANINGS, **INTERVAL_MEANINGS},
        units=dict.fromkeys((*MEANINGS, *INTERVAL_MEANINGS), "similarity, at most 1"),
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
