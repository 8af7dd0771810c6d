"""What heads and MLPs do to identity by layer: means over the table `attribution_cosine`."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ..statistics.settings import Statistics
from .columns.frame import run_table, word_rows
from .columns.means import MEANINGS as MEAN_MEANINGS
from .columns.means import mean_curves

PART_MEANINGS = {
    "layer": "index of the block",
    "part": "what changes the stream: head, attention_bias (the bias of the attention's output), "
    "mlp; attention_norm and mlp_norm (what the norm of the sum after each changes; in post-norm "
    "encoders only). Norms of a branch's output (Gemma 2) are in the parts of that branch",
    "head": "index of the head in its block; null: the part is no head",
}
MEANINGS = {
    **MEAN_MEANINGS,
    **PART_MEANINGS,
    "part": f"{PART_MEANINGS['part']}; heads: the sum of all heads; total: of all parts, which is "
    "the change of identity",
    "mean": "of the contributions to identity, over the tokens of words and punctuation, without "
    "those at position 0",
    "n": "how many tokens",
}


def attribution_by_layer(
    table: pa.Table, tokens: pa.Table, statistics: Statistics, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `attribution_by_layer`: mean contributions of each part, with intervals over texts.

    Parameters
    ----------
    table: `attribution_cosine`.
    tokens: of the same texts, which tells special tokens from words.
    """
    parts = word_rows(pl.DataFrame(pl.from_arrow(table)), tokens).select(
        "label", "position", "layer", "part", "head", pl.col("contribution").cast(pl.Float64)
    )
    keys = ["label", "position", "layer"]
    sums = [
        rows.group_by(keys, maintain_order=True).agg(
            pl.lit(name).alias("part"),
            pl.lit(None, pl.Int32).alias("head"),
            # A path through 0 has no parts, and so no sum.
            pl.when(pl.col("contribution").is_not_null().all()).then(pl.col("contribution").sum()),
        )
        for name, rows in (("heads", parts.filter(part="head")), ("total", parts))
    ]
    curves = mean_curves(
        pl.concat([parts, *sums]).with_columns(site=pl.lit("resid")),
        by=["part", "head"],
        values=["contribution"],
        statistics=statistics,
    )
    found = curves.select(
        "layer", "part", "head", pl.exclude("measure", "site", "layer", "part", "head")
    )
    frame = found.sort("layer", "part", "head")
    title = "attribution_by_layer: what heads and MLPs do to identity, means over tokens"
    units = dict.fromkeys(("mean", "ci_low", "ci_high"), "cosine")
    return run_table(frame, title, dict(provenance) | statistics.provenance, MEANINGS, units)
