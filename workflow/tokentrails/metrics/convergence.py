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
from ..statistics.baseline import moments_of, z_scores
from ..statistics.bootstrap import Bootstrap
from ..statistics.pairs import mean_of_different
from ..statistics.similarity import row_cosine, unit
from .columns.frame import metric_table
from .columns.groups import MEANINGS as OF_GROUPS
from .columns.groups import OF_MEASURES, Curves, across_checkpoints, measure_columns, single
from .columns.similarities import MEASURES, UNITS, Similarities

MEANINGS = {
    "reference": "the checkpoint that the others are compared with",
    "step": "training step of the checkpoint, by its name; null: the name has none",
    "position": "position in the text of the token whose state is compared, from 0",
    "rank": "line of the word in the word list, from 1",
    "cosine": "cosine of the word's state at the checkpoint with its state at the reference",
    "adjusted": "the cosine minus the mean cosine of a word's state at the checkpoint with another "
    "word's at the reference, over all pairs of the experiment's words; null: it has one word",
    "standardised": "the same cosine with every dimension of a state as a z-score over the "
    "experiment's words at its own checkpoint; null: the states do not vary",
}
LEAST_DOUBLINGS = 0.25  # between the ends of a slope: over less, noise is all that is seen
OF_SLOPES = {
    "per_doubling": "change of the mean, for each doubling of 1 + step, since the last checkpoint "
    f"at least {LEAST_DOUBLINGS:g} doublings before, or the first one",
    "per_doubling_low": "lower end of its interval",
    "per_doubling_high": "upper end of its interval",
    "per_step": "change of the mean since the checkpoint before, for each step",
}


def convergence_similarities(
    siblings: Siblings, words: Sequence[str]
) -> dict[str, Float32[np.ndarray, "checkpoints places n"]]:
    """Every occurrence's state at every checkpoint beside its state at the reference, by measure.

    The baseline is made of the very same states: words beside other words at the reference. Every
    state is read once.

    Parameters
    ----------
    words: of every occurrence.
    """
    _, word = np.unique(np.asarray(words, dtype=object), return_inverse=True)
    by_place = []
    for place in siblings.places:
        reference, checkpoints = siblings.states(place)
        directions = unit(reference)
        standard = z_scores(reference, moments_of(reference))
        of_checkpoints = []
        for hidden in checkpoints:
            cosine = row_cosine(hidden, reference)
            chance = mean_of_different(unit(hidden), directions, word)
            standardised = row_cosine(z_scores(hidden, moments_of(hidden)), standard)
            of_checkpoints.append([cosine, cosine - chance, standardised])
        by_place.append(of_checkpoints)
    values = np.asarray(by_place, dtype=np.float32).transpose(2, 1, 0, 3)
    return dict(zip(MEASURES, values, strict=True))


def convergence(
    similarities: Mapping[str, Float32[np.ndarray, "checkpoints places n"]],
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
    similarities: as `convergence_similarities` gives them.
    steps: by the name of the checkpoint, in the order of the siblings.
    tokens: the tokens table, whose rows are those of the states.
    pooling: which token stands for a target of several.
    groups: names of the experiment's own columns.
    provenance: of the run.
    """
    position = tokens["first" if pooling == "first" else "last"]
    keys = tokens.select(["label", "word", "n_tokens"]).append_column("position", position)
    for name in groups:
        keys = keys.append_column(name, tokens[name])
    n = len(keys)
    keys = keys.append_column("reference", pa.array([siblings.reference] * n, pa.string()))
    values = np.stack([similarities[measure] for measure in MEASURES], axis=2)
    for checkpoint, of_places in zip(steps, values, strict=True):
        run = {**provenance, "checkpoint": checkpoint}
        step = pa.array([steps[checkpoint]] * n, pa.int64())
        parts = [
            metric_table(run, keys.append_column("step", step), *place, Similarities(*measures))
            for place, measures in zip(siblings.places, of_places, strict=True)
        ]
        order = [(key, "ascending") for key in ("label", "site", "layer")]
        yield describe(
            pa.concat_tables(parts).sort_by(order),
            title="convergence: how near a word's state is to its state at the reference",
            provenance=provenance,
            meanings=MEANINGS,
            units={**UNITS, "step": "training steps"},
        )


def convergence_by_group(
    similarities: Mapping[str, Float32[np.ndarray, "checkpoints places n"]],
    siblings: Siblings,
    steps: Mapping[str, int | None],
    n_tokens: Sequence[int],
    *,
    groups: Sequence[int],
    bootstrap: Bootstrap,
    few: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `convergence_by_group`: means over words of 1, 2, … tokens, and over all.

    Parameters
    ----------
    similarities: as `convergence_similarities` gives them.
    steps: by the name of the checkpoint, in the order of the siblings.
    n_tokens: of every occurrence.
    groups: the token counts to show, whether there are such words or not.
    bootstrap: how the intervals are made.
    few: groups of fewer words are marked.
    provenance: of the run.
    """
    counts = np.asarray(n_tokens)
    frames = []
    for group in [*groups, None]:
        chosen = np.isin(counts, groups) if group is None else counts == group
        curves = {
            measure: Curves(values[:, :, chosen], siblings.places, bootstrap, (group or 0,))
            for measure, values in similarities.items()
        }
        columns = (
            curves["cosine"].frame(list(steps), few),
            measure_columns(curves),
            slopes(curves["cosine"], steps),
        )
        frame = pl.concat(columns, how="horizontal")
        frames.append(frame.with_columns(n_tokens=pl.lit(group, pl.Int32)))
    table = across_checkpoints(
        pl.concat(frames), steps, keys=("n_tokens", "site", "layer"), provenance=provenance
    ).with_columns(reference=pl.lit(siblings.reference))
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="convergence of words by their number of tokens",
        provenance=provenance,
        meanings={**MEANINGS, **OF_GROUPS, **OF_MEASURES, **OF_SLOPES},
        units={
            **dict.fromkeys(("mean", "ci_low", "ci_high", *OF_MEASURES), "cosine, -1 to 1"),
            **dict.fromkeys(
                ("per_doubling", "per_doubling_low", "per_doubling_high"), "cosine per doubling"
            ),
            "per_step": "cosine per step",
        },
    )


def slopes(curves: Curves, steps: Mapping[str, int | None]) -> pl.DataFrame:
    """The columns of `OF_SLOPES`, in the order of `Curves.frame`.

    A checkpoint whose name has no step has no slope, and is passed over by the next one.
    """
    shape = curves.mean.shape
    filled = {name: np.full(shape, np.nan) for name in OF_SLOPES}
    numbered = [(i, step) for i, step in enumerate(steps.values()) if step is not None]
    doublings = {i: np.log2(1 + step) for i, step in numbered}
    for (before, first), (at, last) in pairwise(numbered):
        filled["per_step"][at] = (curves.mean[at] - curves.mean[before]) / (last - first)
        earlier = [i for i, step in numbered if step < last]
        far = [i for i in earlier if doublings[at] - doublings[i] >= LEAST_DOUBLINGS]
        since = far[-1] if far else earlier[0]
        wide = doublings[at] - doublings[since]
        filled["per_doubling"][at] = (curves.mean[at] - curves.mean[since]) / wide
        low, high = curves.bootstrap.interval((curves.draws[:, at] - curves.draws[:, since]) / wide)
        filled["per_doubling_low"][at], filled["per_doubling_high"][at] = low, high
    return pl.DataFrame({name: single(values) for name, values in filled.items()})
