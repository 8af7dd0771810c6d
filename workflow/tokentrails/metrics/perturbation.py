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
from ..files.tables import describe
from ..statistics.baseline import NO_BASELINE, Baseline
from ..statistics.bootstrap import Bootstrap
from .columns.groups import MEANINGS as OF_GROUPS
from .columns.groups import OF_MEASURES, Curves, across_checkpoints, measure_columns
from .columns.similarities import MEASURES, UNITS, of_pairs

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
    layers: the states, one place at a time.
    tokens: the tokens table, whose rows are those of the states.
    baseline: of the same checkpoint; none by default.
    provenance: of the states; gives the key columns too.
    """
    texts = pl.DataFrame(pl.from_arrow(tokens)).with_row_index("row")
    bases = texts.filter(pl.col("variant") == "base")
    bases = bases.select("n_tokens", "word", base="occurrence", base_row="row")
    pairs = texts.filter(pl.col("variant").is_in(VARIANTS)).select("row", "variant", "base")
    pairs = pairs.join(bases, on="base", maintain_order="left")
    rows, base_rows = (pairs[name].to_numpy() for name in ("row", "base_row"))
    parts = []
    for at in layers:
        values = of_pairs(at, rows, base_rows, baseline)._asdict()
        parts.append(
            pairs.with_columns(pl.Series(n, v).fill_nan(None) for n, v in values.items())
            .group_by("word", "n_tokens", "variant", maintain_order=True)
            .agg(
                pl.col(MEASURES).cast(pl.Float64).mean().cast(pl.Float32),
                n=pl.len().cast(pl.Int32),
            )
            .with_columns(site=pl.lit(at.site), layer=pl.lit(at.layer, pl.Int32))
        )
    keys = ["word", "n_tokens", "variant", "site", "layer"]
    run = {name: pl.lit(provenance[name]) for name in ("model", "checkpoint", "experiment")}
    values = {name: pl.col(name) for name in [*keys, *MEASURES, "n"]}
    table = pl.concat(parts).sort(keys).select(**run, **values)
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="perturbation: a word's state beside that in other contexts, and of other words",
        provenance=provenance,
        meanings=MEANINGS,
        units=UNITS,
    )


def perturbation_by_group(
    tables: Mapping[str, pl.DataFrame],
    steps: Mapping[str, int | None],
    *,
    groups: Sequence[int],
    bootstrap: Bootstrap,
    few: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `perturbation_by_group`: means over words of 1, 2, … tokens at every checkpoint.

    Parameters
    ----------
    tables: the table `perturbation` of every checkpoint, in the order of training.
    steps: by the name of the checkpoint, in the same order.
    groups: the token counts to show, whether there are such words or not.
    bootstrap: how the intervals are made.
    few: groups of fewer words are marked.
    provenance: of the run.
    """
    first = next(iter(tables.values()))
    places = tuple(first.select("site", "layer").unique().sort("site", "layer").iter_rows())
    frames = []
    for number, variant in enumerate(VARIANTS, start=1):
        for group in groups:
            here = (pl.col("variant") == variant) & (pl.col("n_tokens") == group)
            of_group = [table.filter(here) for table in tables.values()]
            curves = {
                measure: Curves(
                    np.stack([_by_place(table, measure, places) for table in of_group]),
                    places,
                    bootstrap,
                    (number, group),
                )
                for measure in MEASURES
            }
            frame = curves["cosine"].frame(list(steps), few)
            frames.append(
                pl.concat([frame, measure_columns(curves)], how="horizontal").with_columns(
                    variant=pl.lit(variant), n_tokens=pl.lit(group, pl.Int32)
                )
            )
    keys = ("variant", "n_tokens", "site", "layer")
    table = across_checkpoints(pl.concat(frames), steps, keys=keys, provenance=provenance)
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="perturbation of words by their number of tokens",
        provenance=provenance,
        meanings={**MEANINGS, **OF_GROUPS, **OF_MEASURES, "n_tokens": "words of so many tokens"},
        units=dict.fromkeys(("mean", "ci_low", "ci_high", *OF_MEASURES), "cosine, -1 to 1"),
    )


def _by_place(
    table: pl.DataFrame, measure: str, places: Sequence[Place]
) -> Float32[np.ndarray, "places words"]:
    """One measure of a group's words; a word without a value has NaN."""
    values = table.sort("site", "layer", "word")[measure].fill_null(float("nan"))
    return values.to_numpy().reshape(len(places), -1)
