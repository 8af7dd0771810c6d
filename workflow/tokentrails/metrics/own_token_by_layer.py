"""The token itself and the next one by layer: means over the table `own_token`."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS
from ..statistics.settings import Statistics
from .columns.frame import run_table
from .columns.means import MEANINGS as MEAN_MEANINGS
from .columns.means import mean_curves

NATS = ("own_logprob", "next_logprob", "entropy", "kl")

SPACE_MEANINGS = {
    "layer": "blocks passed by the stream",
    "space": "embedding: among the rows of the input embedding matrix, by cosine; unembedding: by "
    "logit, after the final norm and the unembedding (of encoders: the masked-token head; missing "
    "where the weights have none); any other: the same behind the lens of this name",
}
MEASURES = {
    "own_log_rank": "log10(1 + own_rank)",
    "own_first": "share of the tokens with own_rank 0",
    "next_log_rank": "log10(1 + next_rank)",
    "next_first": "share of the tokens with next_rank 0",
    **{name: name for name in NATS},
}
MEANINGS = {
    **MEAN_MEANINGS,
    **SPACE_MEANINGS,
    "measure": "what the mean is of: "
    + ", ".join(k if k == v else f"{k} ({v})" for k, v in MEASURES.items()),
    "word_class": "class of the words that the tokens are part of; null: all of them",
    "mean": "over the tokens of words, numbers, punctuation and signs, without those at position 0",
    "ci_low": "lower end of the mean's interval: bootstrap over texts crossed with types, the "
    "different tokens, with percentiles expanded by Student's t; null: under "
    f"{FEWEST_UNITS} of either{EQUALITY}",
    "n": "how many tokens",
    "n_types": "how many different ones they are",
    "few": "whether the texts or the types are fewer than statistics.few: too few to lean on",
}


def own_token_by_layer(
    table: pa.Table, tokens: pa.Table, statistics: Statistics, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `own_token_by_layer`: means over the tokens of words, all and by class.

    Parameters
    ----------
    table: `own_token`.
    tokens: the tokens table; says which tokens are of words.
    """
    words = pl.DataFrame(pl.from_arrow(tokens.select(["label", "first", "word"])))
    words = words.filter(pl.col("first") > 0, pl.col("word") != "")
    frame = pl.DataFrame(pl.from_arrow(table)).join(
        words.with_columns(pl.col("first").cast(pl.Int32)),
        left_on=["label", "position"],
        right_on=["label", "first"],
        how="semi",
        maintain_order="left",
    )
    values = frame.select(
        *("label", "position", "token", "layer", "space", "word_class", *NATS),
        *(
            measure.cast(pl.Float32).alias(f"{name}_{kind}")
            for name in ("own", "next")
            for kind, measure in {
                "log_rank": (1 + pl.col(f"{name}_rank")).log10(),
                "first": pl.col(f"{name}_rank") == 0,
            }.items()
        ),
        site=pl.lit("resid"),
    )
    curves = [
        mean_curves(
            rows,
            by=["space", *by],
            values=list(MEASURES),
            statistics=statistics,
            crossed="token",
        )
        for rows, by in ((values, []), (values.drop_nulls("word_class"), ["word_class"]))
    ]
    curves[0] = curves[0].with_columns(word_class=pl.lit(None, pl.String))
    found = pl.concat(curves, how="diagonal").drop("site")
    keys = ("measure", "space", "word_class", "layer")
    frame = found.select(*keys, pl.exclude(*keys)).sort(*keys)
    title = "own_token: means by layer and class of words"
    units = dict.fromkeys(("mean", "ci_low", "ci_high"), "that of the measure; log10, or nats")
    return run_table(frame, title, dict(provenance) | statistics.provenance, MEANINGS, units)
