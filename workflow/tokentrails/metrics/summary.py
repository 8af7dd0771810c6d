"""Each curve in four numbers.

Token Identity Drift: half-life, final similarity and context-dominance layer. The study gives -1
where a layer is never reached; here it is null.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ..statistics.forms import FORMS
from .columns.frame import describe_frame

MEANINGS = {
    "half_life_layer": "first layer of resid where identity is below the threshold; null: never",
    **{
        f"half_life_{form}": f"the same of {form} identity; null: never, or no baseline"
        for form in FORMS[1:]
    },
    "final_similarity": "identity after the last block, before the final norm",
    "final_norm_similarity": "identity after the final norm (the last value of the published "
    "study); null where the model has no final norm, or it was not read",
    "context_dominance_layer": "first layer of resid where context similarity is below identity; "
    "null: never, or no other text has the token",
    "context_pairs": "pairs of texts that context similarity is the mean of; 0: none has the token",
    "half_life_threshold": "the cosine that identity falls below at the half-life",
}


def summary(
    identity: pa.Table,
    context: pa.Table | None,
    *,
    threshold: float,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `summary`, one row per label, measured on `resid`.

    A text's context similarity is the mean over its pairs with texts of another sense, or over all
    its pairs if it has none of these.

    Parameters
    ----------
    context: None if it was not asked for.
    threshold: of the half-life, a cosine.
    provenance: of the identity table.
    """
    curves = pl.DataFrame(pl.from_arrow(identity))
    stream = curves.filter(pl.col("site") == "resid")
    depth = stream["layer"].max()
    half_life = stream.group_by("label").agg(
        pl.col("layer").filter(pl.col(column) < threshold).min().alias(name)
        for column in FORMS
        for name in ["half_life_layer" if column == "cosine" else f"half_life_{column}"]
    )
    final = stream.filter(pl.col("layer") == depth).select("label", final_similarity="cosine")
    normed = curves.filter(pl.col("site") == "final_norm")
    normed = normed.select("label", final_norm_similarity="cosine")
    keys = [c for c in curves.columns if c not in ("site", "layer", "chance", *FORMS)]
    table = (
        curves.select(keys)
        .unique("label", keep="first")
        .with_columns(
            depth=pl.lit(depth, pl.Int32), half_life_threshold=pl.lit(threshold, pl.Float64)
        )
        .join(half_life, on="label", how="left")
        .join(final, on="label", how="left")
        .join(normed, on="label", how="left")
        .join(_dominance(stream, context), on="label", how="left")
        .with_columns(pl.col("context_pairs").fill_null(0))
        .sort("label")
    )
    title = "half-life, final similarity and context-dominance layer of each target"
    units = {
        name: "cosine" if name.endswith("similarity") else "layer"
        for name in MEANINGS
        if name not in ("half_life_threshold", "context_pairs")
    }
    return describe_frame(table, title, provenance, MEANINGS, units)


def _dominance(stream: pl.DataFrame, context: pa.Table | None) -> pl.DataFrame:
    """Per label, the first layer at which its mean context similarity is below its identity.

    And how many pairs that is the mean of.
    """
    if context is None:
        integers = dict.fromkeys(("context_dominance_layer", "context_pairs"), pl.Int32)
        return pl.DataFrame(schema={"label": pl.String, **integers})
    pairs = pl.DataFrame(pl.from_arrow(context)).filter(pl.col("site") == "resid")
    sides = pl.concat(
        pairs.select("layer", "cosine", "relation", label=side) for side in ("label_a", "label_b")
    )
    between = (pl.col("relation") == "between").fill_null(False)
    sides = sides.filter(between | ~between.any().over("label"))
    mean = sides.group_by("label", "layer").agg(
        context=pl.col("cosine").sort().mean(),  # sorted: the mean must not depend on row order
        n=pl.len().cast(pl.Int32),
    )
    both = stream.join(mean, on=["label", "layer"])
    dominated = pl.col("layer").filter(pl.col("context") < pl.col("cosine"))
    return both.group_by("label").agg(
        context_dominance_layer=dominated.min(), context_pairs=pl.col("n").max()
    )
