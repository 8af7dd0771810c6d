"""Convergence: how near a word's state is, during training, to what it becomes.

Token Representation Evolution: convergence(word, l, step) = cos(x_l at the step, x_l at the
reference checkpoint).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float32

from ..files.siblings import Siblings
from ..files.tables import describe
from ..statistics.baseline import moments
from ..statistics.bootstrap import Crossing
from ..statistics.forms import FORMS, UNITS
from ..statistics.pairs import Pairs
from ..statistics.settings import Statistics
from ..statistics.similarity import unit
from .columns.frame import constant, describe_frame, metric_table, sorted_parts, target_keys
from .columns.groups import (
    GROUP_MEANINGS,
    GROUP_UNITS,
    Curves,
    Words,
    across_checkpoints,
    group_frame,
    single,
    word_units,
)
from .columns.similarities import Side, matched_pairs, similarities

MEANINGS = {
    "reference": "the checkpoint that the others are compared with",
    "step": "training step of the checkpoint, by its name; null: the name has none",
    "position": "position in the text of the token whose state is compared, from 0",
    "rank": "line of the word in the word list, from 1",
    "cosine": "cosine of the word's state at the checkpoint with its state at the reference",
    "chance": "what adjusted, scaled, centred and standardised are beyond: matched, all of the "
    "experiment's words, whatever their class and position; the column matched is beyond those of "
    "the word's own class and band of positions",
    "adjusted": "the cosine minus chance, the mean cosine of a word's state at the checkpoint with "
    "another word's at the reference, over all pairs of the experiment's words; null: it has one",
    "scaled": "adjusted / (1 - chance): 0 as of different words, 1 in equal directions; null: one "
    "word, or different words have 1",
    "centred": "the cosine of the states minus the mean state of the experiment's words, each at "
    "its own checkpoint; null: the states do not vary",
    "standardised": "the same cosine with every dimension of a state as a z-score over the "
    "experiment's words at its own checkpoint; null: the states do not vary",
}
LEAST_DOUBLINGS = 0.25  # between the ends of a slope: over less, noise is all that is seen
SLOPE_MEANINGS = {
    "per_doubling": "change of the mean, for each doubling of 1 + step, since the last checkpoint "
    f"at least {LEAST_DOUBLINGS:g} doublings before, or the first one",
    "per_doubling_low": "lower end of its interval",
    "per_doubling_high": "upper end of its interval",
    "per_step": "change of the mean since the checkpoint before, for each step",
}


def convergence_similarities(
    siblings: Siblings, tokens: pa.Table, pooling: str
) -> Float32[np.ndarray, "forms checkpoints places n"]:
    """Every occurrence's state at every checkpoint with its state at the reference.

    The baseline is made of the very same states: of pairs of different words. Every state is read
    once.
    """
    _, word = np.unique(tokens["word"].to_pylist(), return_inverse=True)
    different = Pairs(word, word, np.zeros_like(word))
    by_place, matched, same = [], matched_pairs(tokens, pooling), (np.arange(len(word)),) * 2
    for place in siblings.places:
        reference, checkpoints = siblings.states(place)
        directions, at_reference = unit(reference), Side(reference, moments(reference))
        cells = different.cells(directions)
        by_checkpoint = []
        for hidden in checkpoints:
            now = unit(hidden)
            chance = different.mean(different.cells(now), cells)
            own_kind = matched.of_states(now, directions, same)
            found = similarities(Side(hidden, moments(hidden)), at_reference, chance, own_kind)
            by_checkpoint.append([found[form] for form in FORMS])
        by_place.append(by_checkpoint)
    return np.asarray(by_place, dtype=np.float32).transpose(2, 1, 0, 3)


def convergence(
    values: Float32[np.ndarray, "forms checkpoints places n"],
    siblings: Siblings,
    steps: Mapping[str, int | None],
    tokens: pa.Table,
    *,
    pooling: str,
    groups: Sequence[str],
    provenance: Mapping[str, str],
) -> Iterator[pa.Table]:
    """The table `convergence`, a part per checkpoint.

    Parameters
    ----------
    values: as `convergence_similarities` gives them.
    steps: by the name of the checkpoint, in the order of the siblings.
    groups: names of the experiment's own columns.
    """
    keys = target_keys(tokens, pooling, ("label", "word", "n_tokens", "position", *groups))
    n = len(keys)
    keys = keys.append_column("reference", constant(siblings.reference, n))
    for checkpoint, by_place in zip(steps, values.transpose(1, 2, 0, 3), strict=True):
        run = {**provenance, "checkpoint": checkpoint}
        step = pa.array([steps[checkpoint]] * n, pa.int64())
        parts = [
            metric_table(
                run,
                keys.append_column("step", step),
                *place,
                dict(zip(FORMS, forms, strict=True)),
                chance="matched",
            )
            for place, forms in zip(siblings.places, by_place, strict=True)
        ]
        table = sorted_parts(parts, "label", "site", "layer")
        title = "convergence: how near a word's state is to its state at the reference"
        yield describe(table, title, provenance, MEANINGS, {**UNITS, "step": "training steps"})


def convergence_by_group(
    values: Float32[np.ndarray, "forms checkpoints places n"],
    siblings: Siblings,
    steps: Mapping[str, int | None],
    tokens: pa.Table,
    *,
    pooling: str,
    groups: Sequence[int],
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `convergence_by_group`: means over words of 1, 2, … tokens, and over all.

    Each word is the mean over its occurrences.

    Parameters
    ----------
    values: as `convergence_similarities` gives them.
    steps: by the name of the checkpoint, in the order of the siblings.
    groups: the token counts to show, whether there are such words or not.
    """
    counts, resampled = tokens["n_tokens"].to_numpy(), word_units(tokens, pooling)
    _, word = np.unique(tokens["word"].to_pylist(), return_inverse=True)
    frames = []
    for group in [*groups, None]:
        chosen = np.isin(counts, groups) if group is None else counts == group
        weights = 1 / np.bincount(word[chosen], minlength=1)[word[chosen]]
        crossing = Crossing([[np.unique(resampled[chosen], return_inverse=True)[1]]])
        words = Words(siblings.places, statistics.bootstrap, (group or 0,), weights, crossing)
        frame, cosine = group_frame(words, values[..., chosen], list(steps), statistics)
        frame = frame.hstack(slopes(cosine, steps))
        frames.append(frame.with_columns(n_tokens=pl.lit(group, pl.Int32)))
    table = across_checkpoints(
        pl.concat(frames), steps, keys=("n_tokens", "site", "layer"), provenance=provenance
    ).with_columns(reference=pl.lit(siblings.reference))
    title = "convergence of words by their number of tokens"
    units = {
        **GROUP_UNITS,
        **dict.fromkeys(SLOPE_MEANINGS, "cosine per doubling"),
        "per_step": "cosine per step",
    }
    meanings = {**MEANINGS, **GROUP_MEANINGS, **SLOPE_MEANINGS}
    return describe_frame(table, title, provenance, meanings, units)


def slopes(curves: Curves, steps: Mapping[str, int | None]) -> pl.DataFrame:
    """The columns of `SLOPE_MEANINGS`, in the order of `group_frame`.

    A checkpoint whose name has no step has no slope, and is passed over by the next one.
    """
    shape = curves.mean.shape
    filled = {name: np.full(shape, np.nan) for name in SLOPE_MEANINGS}
    numbered = [(i, step) for i, step in enumerate(steps.values()) if step is not None]
    doublings = {i: np.log2(1 + step) for i, step in numbered}
    for (before, first), (now, last) in pairwise(numbered):
        filled["per_step"][now] = (curves.mean[now] - curves.mean[before]) / (last - first)
        earlier = [i for i, step in numbered if step < last]
        far = [i for i in earlier if doublings[now] - doublings[i] >= LEAST_DOUBLINGS]
        since = far[-1] if far else earlier[0]
        wide = doublings[now] - doublings[since]
        filled["per_doubling"][now] = (curves.mean[now] - curves.mean[since]) / wide
        change = curves.draws[:, now] - curves.draws[:, since]
        low, high = curves.interval(change / wide)
        filled["per_doubling_low"][now], filled["per_doubling_high"][now] = low, high
    return pl.DataFrame({name: single(values) for name, values in filled.items()})
