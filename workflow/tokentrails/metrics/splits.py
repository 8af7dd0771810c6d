"""Splits: whether the last token of a word that is cut up comes to be the whole word.

Kaplan, Oren, Reif & Schwartz (2025, "From tokens to words: on the inner lexicon of LLMs", section
4). The state of the last token is compared with that of the whole word in the same context, and
with the whole word's row of the input embedding matrix: how many rows are closer. What another
word's split has in the same place is not of the word. What is beyond that at layer 0 is of its
letters, before the model has put anything together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from ..files.states import Layer
from ..statistics.baseline import Baseline
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS
from ..statistics.forms import FORMS, SOUND, UNITS
from ..statistics.settings import Statistics
from ..statistics.similarity import z_scores
from .columns.frame import own_token, run_table
from .columns.means import MEANINGS as MEAN_MEANINGS
from .columns.means import mean_curves
from .columns.similarities import matched_pairs, pair_similarities
from .ranks import Vocabulary

OVER = "bootstrap over words, with percentiles expanded by Student's t; null: under "
OVER += f"{FEWEST_UNITS} words{EQUALITY}"
MEANINGS = {
    "word": "the whole word",
    "variant": "whole: the word in one token; split: in several entries of the vocabulary with the "
    "same letters; typo: with two letters swapped, one doubled or one left out; other: another "
    "word's split in its place",
    "tokens": "how many tokens the variant is in",
    "last_token": "the last of them, whose state it is",
    "cosine": "cosine of the state with that of the whole word in the same context",
    "rank": "how many vocabulary rows are strictly closer to the state than the whole word's",
    "rank_standardised": "the same with every dimension of states and rows as a z-score over the "
    "tokens of the baseline; null: no baseline",
    "nearest": "the vocabulary entry whose row is closest",
}
LAYER_MEANINGS = {
    **MEAN_MEANINGS,
    "variant": f"{MEANINGS['variant']}; split - other: the difference of these two, of one word "
    "and number of tokens; at layer 0 that of the letters alone",
    "pieces": "the number of tokens of splits; null: all of the variant",
    "measure": f"{', '.join(SOUND)}: with the state of the whole word; log_rank and "
    "log_rank_standardised: log10(1 + rank) of the whole word's row; closest: share of rank 0",
    "n": "how many texts with the variant",
    "n_texts": "how many words they are of",
    "few": "whether these words are fewer than statistics.few: too few to lean on",
    "ci_low": f"lower end of the mean's interval: {OVER}",
}
BEYOND = "split - other"


def splits(
    layers: Iterable[Layer],
    tokens: pa.Table,
    vocabulary: Vocabulary,
    *,
    baseline: Baseline,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `splits`: a row per text and place.

    Parameters
    ----------
    layers: the states, one place at a time, with the rows of `tokens`.
    vocabulary: the input embedding matrix.
    baseline: gives chance, and what states and rows are standardised by.
    provenance: of the states; gives the key columns too.
    """
    base = tokens["base"].to_numpy()
    every = np.arange(len(base))
    whole = own_token(tokens, "token_ids", "last").to_numpy(zero_copy_only=False)[base]
    keys = pl.DataFrame(
        {
            **{name: tokens[name].to_pylist() for name in ("label", "word", "variant")},
            "tokens": tokens["n_tokens"].to_numpy(),
            "last_token": own_token(tokens, "tokens", "last").to_pylist(),
        }
    )
    entries, z_vocabulary = np.array(vocabulary.entries, object), vocabulary.standardised(baseline)
    matched, parts = matched_pairs(tokens, "last"), []
    for states in layers:
        values = pair_similarities(states, every, base, baseline, matched)
        near = vocabulary.rank(states.hidden, whole, 1)
        z_rank = np.full(len(base), -1)
        if z_vocabulary is not None and states.place in baseline.moments:
            z = z_scores(states.hidden, baseline.moments[states.place])
            z_rank = z_vocabulary.rank(z, whole).rank
        ranks = {"rank": near.rank, "rank_standardised": z_rank}
        nearest = entries[near.nearest[:, 0]]
        nearest[near.rank < 0] = None
        parts.append(
            keys.with_columns(
                *(pl.Series(n, v, pl.Float32).fill_nan(None) for n, v in values.items()),
                *(pl.Series(n, v, pl.Int32).replace(-1, None) for n, v in ranks.items()),
                nearest=pl.Series(nearest.tolist(), dtype=pl.String),
                site=pl.lit(states.site),
                layer=pl.lit(states.layer, pl.Int32),
                chance=pl.lit(baseline.chance_at("states", states.place), pl.String),
            )
        )
    names = [*keys.columns, "site", "layer", *FORMS, "chance", "rank", "rank_standardised"]
    units = UNITS | dict.fromkeys(("rank", "rank_standardised"), "vocabulary rows")
    title = "splits: the last token of words cut up against the whole word"
    found = pl.concat(parts).sort("label", "site", "layer").select(*names, "nearest")
    return run_table(found, title, provenance, MEANINGS, units)


def splits_by_layer(
    table: pa.Table, statistics: Statistics, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `splits_by_layer`: means over texts by variant, and by number of pieces.

    Words are resampled, with all their texts.

    Parameters
    ----------
    table: `splits`.
    """
    values = [*SOUND, "log_rank", "log_rank_standardised", "closest"]
    frame = pl.DataFrame(pl.from_arrow(table)).select(
        *("label", "word", "variant", "site", "layer"),
        pl.when(pl.col("variant") != "whole").then(pl.col(SOUND)),
        position=pl.lit(0),
        log_rank=(1 + pl.col("rank")).log10().cast(pl.Float32),
        log_rank_standardised=(1 + pl.col("rank_standardised")).log10().cast(pl.Float32),
        closest=(pl.col("rank") == 0).cast(pl.Float32),
        pieces=pl.when(pl.col("variant").is_in(["split", "other"])).then(pl.col("tokens")),
    )
    at = ["site", "layer"]
    split, other = (
        frame.filter(variant=name).with_columns(pl.col("label").str.replace(f"~{name}", "~"))
        for name in ("split", "other")
    )
    beyond = split.join(other, on=["label", *at], suffix="_other").select(
        *frame.columns[:2],
        pl.lit(BEYOND).alias("variant"),
        *at,
        *(pl.col(name) - pl.col(f"{name}_other") for name in values),
        "position",
        "pieces",
    )
    every = pl.concat([frame, beyond.select(frame.columns)])
    kinds = [(["variant"], every), (["variant", "pieces"], every.drop_nulls("pieces"))]
    curves = [
        mean_curves(rows, by=by, values=values, statistics=statistics, unit="word")
        for by, rows in kinds
    ]
    curves[0] = curves[0].with_columns(pieces=pl.lit(None, pl.Int32))
    found = pl.concat(curves, how="diagonal")
    keys = ("measure", "variant", "pieces", "site", "layer")
    found = found.select(*keys, pl.exclude(*keys)).sort(*keys)
    unit = "that of the measure: cosine, log10 of 1 + rank, a share"
    units = dict.fromkeys(("mean", "ci_low", "ci_high"), unit)
    title, about = "splits: means by layer and variant", {**provenance, **statistics.provenance}
    return run_table(found, title, about, LAYER_MEANINGS, units)
