"""Perturbation: how much a word's state owes to its context, and to its earlier tokens.

Token Representation Evolution: the base is a word in its context. P1 is the same word in other
contexts. P2 is the same context with another word that ends in the same token. Each is the mean
cosine of such states with the base's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float32

from ..files.states import Layer, Place
from ..statistics.baseline import NO_BASELINE, Baseline
from ..statistics.settings import Statistics
from .columns.frame import describe_frame, with_run
from .columns.groups import COSINES, GROUP_MEANINGS, Curves, across_checkpoints, group_frame
from .columns.similarities import MEASURES, UNITS, pair_similarities

MEANINGS = {
    "word": "the word of the base",
    "variant": "P1: the same word in other contexts; P2: another word with the same last token "
    "and as many tokens, in the same context",
    "cosine": "mean cosine of the variant's states with that of the base",
    "n": "how many texts of the variant",
    "step": "training step of the checkpoint, by its name; null: the name has none",
}
VARIANTS = ("P1", "P2")


def perturbation(
    layers: Iterable[Layer],
    tokens: pa.Table,
    *,
    baseline: Baseline = NO_BASELINE,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `perturbation`, a row per word, variant and place.

    Parameters
    ----------
    layers: the states, one place at a time, with the rows of `tokens`.
    provenance: of the states; gives the key columns too.
    """
    texts = pl.DataFrame(pl.from_arrow(tokens)).with_row_index("row")
    bases = texts.filter(pl.col("variant") == "base")
    bases = bases.select("n_tokens", "word", base="occurrence", base_row="row")
    pairs = texts.filter(pl.col("variant").is_in(VARIANTS)).select("row", "variant", "base")
    pairs = pairs.join(bases, on="base", maintain_order="left")
    rows, base_rows = (pairs[name].to_numpy() for name in ("row", "base_row"))
    parts = []
    for states in layers:
        values = pair_similarities(states, rows, base_rows, baseline)._asdict()
        parts.append(
            pairs.with_columns(pl.Series(n, v).fill_nan(None) for n, v in values.items())
            .group_by("word", "n_tokens", "variant", maintain_order=True)
            .agg(
                pl.col(MEASURES).cast(pl.Float64).mean().cast(pl.Float32),
                n=pl.len().cast(pl.Int32),
            )
            .with_columns(site=pl.lit(states.site), layer=pl.lit(states.layer, pl.Int32))
        )
    keys = ["word", "n_tokens", "variant", "site", "layer"]
    table = pl.concat(parts).sort(keys).select(*keys, *MEASURES, "n")
    return describe_frame(
        with_run(table, provenance),
        title="perturbation: a word's state against that in other contexts, and of other words",
        provenance=provenance,
        meanings=MEANINGS,
        units=UNITS,
    )


def perturbation_by_group(
    tables: Mapping[str, pl.DataFrame],
    steps: Mapping[str, int | None],
    *,
    groups: Sequence[int],
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `perturbation_by_group`: means over words of 1, 2, … tokens at every checkpoint.

    Parameters
    ----------
    tables: the table `perturbation` of every checkpoint, in the order of training.
    steps: by the name of the checkpoint, in the same order.
    groups: the token counts to show, whether there are such words or not.
    """
    first = next(iter(tables.values()))
    places = tuple(first.select("site", "layer").unique().sort("site", "layer").iter_rows())
    frames = []
    for number, variant in enumerate(VARIANTS, start=1):
        for group in groups:
            here = (pl.col("variant") == variant) & (pl.col("n_tokens") == group)
            chosen = [table.filter(here) for table in tables.values()]
            curves = {
                measure: Curves(
                    np.stack([_by_place(table, measure, places) for table in chosen]),
                    places,
                    statistics.bootstrap,
                    (number, group),
                )
                for measure in MEASURES
            }
            frames.append(
                group_frame(curves, list(steps), statistics).with_columns(
                    variant=pl.lit(variant), n_tokens=pl.lit(group, pl.Int32)
                )
            )
    keys = ("variant", "n_tokens", "site", "layer")
    return describe_frame(
        across_checkpoints(pl.concat(frames), steps, keys=keys, provenance=provenance),
        title="perturbation of words by their number of tokens",
        provenance=provenance,
        meanings={**MEANINGS, **GROUP_MEANINGS, "n_tokens": "words of so many tokens"},
        units=dict.fromkeys(COSINES, "cosine, -1 to 1"),
    )


def _by_place(
    table: pl.DataFrame, measure: str, places: Sequence[Place]
) -> Float32[np.ndarray, "places words"]:
    """One measure of a group's words; a word without a value has NaN."""
    values = table.sort("site", "layer", "word")[measure].fill_null(float("nan"))
    return values.to_numpy().reshape(len(places), -1)
