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

from ..bootstrap import Bootstrap
from ..similarity import row_cosine
from ..tables import describe
from .frame import metric_table
from .groups import MEANINGS as OF_GROUPS
from .groups import Curves, across_checkpoints, single
from .siblings import Siblings

MEANINGS = {
    "reference": "the checkpoint that the others are compared with",
    "step": "training step of the checkpoint, by its name; null: the name has none",
    "position": "position in the text of the token whose state is compared, from 0",
    "rank": "line of the word in the word list, from 1",
    "cosine": "cosine of the word's state at the checkpoint with its state at the reference",
}
OF_SLOPES = {
    "per_doubling": "change of the mean since the checkpoint before, for each doubling of 1 + step",
    "per_doubling_low": "lower end of its interval",
    "per_doubling_high": "upper end of its interval",
    "per_step": "change of the mean since the checkpoint before, for each step",
}


def convergence_cosines(
    siblings: Siblings,
) -> Float32[np.ndarray, "checkpoints places n"]:
    """Cosine of every occurrence's state at every checkpoint with its state at the reference.

    Every state is read once.
    """
    by_place = []
    for place in siblings.places:
        reference, checkpoints = siblings.states(place)
        by_place.append([row_cosine(hidden, reference) for hidden in checkpoints])
    return np.asarray(by_place).swapaxes(0, 1)


def convergence(
    cosines: Float32[np.ndarray, "checkpoints places n"],
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
    cosines: as `convergence_cosines` gives them.
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
    for checkpoint, of_places in zip(steps, cosines, strict=True):
        run = {**provenance, "checkpoint": checkpoint}
        step = pa.array([steps[checkpoint]] * n, pa.int64())
        parts = [
            metric_table(run, keys.append_column("step", step), *place, cosine)
            for place, cosine in zip(siblings.places, of_places, strict=True)
        ]
        order = [(key, "ascending") for key in ("label", "site", "layer")]
        yield describe(
            pa.concat_tables(parts).sort_by(order),
            title="convergence: how near a word's state is to its state at the reference",
            provenance=provenance,
            meanings=MEANINGS,
            units={"cosine": "cosine, -1 to 1", "adjusted": "cosine", "step": "training steps"},
        )


def convergence_by_group(
    cosines: Float32[np.ndarray, "checkpoints places n"],
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
    cosines: as `convergence_cosines` gives them.
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
        curves = Curves(cosines[:, :, chosen], siblings.places, bootstrap, (group or 0,))
        frame = curves.frame(list(steps), few)
        frame = pl.concat([frame, slopes(curves, steps)], how="horizontal")
        frames.append(frame.with_columns(n_tokens=pl.lit(group, pl.Int32)))
    table = across_checkpoints(
        pl.concat(frames), steps, keys=("n_tokens", "site", "layer"), provenance=provenance
    ).with_columns(reference=pl.lit(siblings.reference))
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="convergence of words by their number of tokens",
        provenance=provenance,
        meanings={**MEANINGS, **OF_GROUPS, **OF_SLOPES},
        units={
            **dict.fromkeys(("mean", "ci_low", "ci_high"), "cosine, -1 to 1"),
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
    for (before, first), (at, last) in pairwise(numbered):
        doublings = np.log2((1 + last) / (1 + first))
        change = curves.mean[at] - curves.mean[before]
        filled["per_step"][at] = change / (last - first)
        filled["per_doubling"][at] = change / doublings
        low, high = curves.bootstrap.interval(
            (curves.draws[:, at] - curves.draws[:, before]) / doublings
        )
        filled["per_doubling_low"][at], filled["per_doubling_high"][at] = low, high
    return pl.DataFrame({name: single(values) for name, values in filled.items()})
