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
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS, Crossing, codes
from ..statistics.forms import FORMS, UNITS
from ..statistics.settings import Statistics
from .columns.frame import describe_frame, own_token, run_table
from .columns.groups import GROUP_MEANINGS, GROUP_UNITS, Words, across_checkpoints, group_frame
from .columns.similarities import matched_pairs, pair_similarities

MEANINGS = {
    "word": "the word of the base",
    "variant": "P1: the same word in other contexts; P2: other words with the same last token in "
    "the same context",
    "last_token": "the last token of the word, which P2 end in too",
    "base_context": "context of the base, where all words share contexts",
    "context": "context of the variant, where all words share contexts",
    "cosine": "mean cosine of the variant's states with that of the base",
    "n": "how many pairs of a base and a variant",
    "step": "training step of the checkpoint, by its name; null: the name has none",
}
VARIANTS = ("P1", "P2")

_MEMBER = ["site", "layer", "word", "base_context", "context"]
"""The order of the values of a group: by place, then by word and contexts."""

_OVER = "bootstrap over last tokens of words, and over contexts where all words share them, with "
_OVER += f"percentiles expanded by Student's t; null: under {FEWEST_UNITS} of either{EQUALITY}"
_WORD = ["word", "n_tokens", "last_token", "variant"]
_KEYS = {
    "perturbation": _WORD,
    "perturbation_contexts": [*_WORD, "base_context", "context"],
}


def perturbation(
    layers: Iterable[Layer],
    tokens: pa.Table,
    *,
    baseline: Baseline = NO_BASELINE,
    provenance: Mapping[str, str],
) -> dict[str, pa.Table]:
    """The tables `perturbation` and `perturbation_contexts`, by name.

    The first has a row per word, variant and place; the second one per pair of contexts too, where
    all words share contexts: what is resampled, both words and contexts, is there. Several bases of
    one word, its own sentences, are each other's P1.

    Parameters
    ----------
    layers: the states, one place at a time, with the rows of `tokens`.
    provenance: of the states; gives the key columns too.
    """
    texts = pl.DataFrame(pl.from_arrow(tokens)).with_row_index("row")
    texts = texts.with_columns(last_token=pl.Series(values=own_token(tokens, "tokens", "last")))
    bases = texts.filter(pl.col("variant") == "base")
    context = pl.col("context") if "context" in texts.columns else pl.lit(None, pl.Int32)
    bases = bases.select(
        *("n_tokens", "word", "last_token"),
        base="occurrence",
        base_row="row",
        base_context=context,
    )
    pairs = texts.filter(pl.col("variant").is_in(VARIANTS))
    pairs = pairs.select("row", "variant", "base", context=context)
    pairs = pairs.join(bases, on="base", maintain_order="left")
    others = bases.select("word", row="base_row", variant=pl.lit("P1"), context="base_context")
    twins = bases.join(others, on="word", maintain_order="left_right")
    pairs = pl.concat(
        [pairs, twins.filter(pl.col("base_row") < pl.col("row")).select(pairs.columns)]
    )
    rows, base_rows = (pairs[name].to_numpy() for name in ("row", "base_row"))
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in _KEYS}
    matched = matched_pairs(tokens, "last")
    for states in layers:
        values = pair_similarities(states, rows, base_rows, baseline, matched)
        here = pairs.with_columns(pl.Series(n, v).fill_nan(None) for n, v in values.items())
        for name, keys in _KEYS.items():
            parts[name].append(
                here.group_by(keys, maintain_order=True)
                .agg(
                    pl.col(FORMS).cast(pl.Float64).mean().cast(pl.Float32),
                    n=pl.len().cast(pl.Int32),
                )
                .with_columns(
                    site=pl.lit(states.site),
                    layer=pl.lit(states.layer, pl.Int32),
                    chance=pl.lit(baseline.chance_at("states", states.place), pl.String),
                )
            )
    return {
        name: run_table(
            pl.concat(parts[name])
            .sort(*keys, "site", "layer")
            .select(*keys, "site", "layer", *FORMS, "chance", "n"),
            "perturbation: a word's state against that in other contexts, and of other words",
            provenance,
            MEANINGS,
            UNITS,
        )
        for name, keys in _KEYS.items()
    }


def perturbation_by_group(
    tables: Mapping[str, pl.DataFrame],
    steps: Mapping[str, int | None],
    *,
    groups: Sequence[int],
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `perturbation_by_group`: means over words of 1, 2, … tokens at every checkpoint.

    Words that end in the same token share their P2, and are resampled together; contexts that all
    words share are resampled, too.

    Parameters
    ----------
    tables: the table `perturbation_contexts` of every checkpoint, in the order of training.
    steps: by the name of the checkpoint, in the same order.
    groups: the token counts to show, whether there are such words or not; empty: those there are.
    """
    first = next(iter(tables.values()))
    groups = groups or sorted(first["n_tokens"].unique())
    places = tuple(first.select("site", "layer").unique().sort("site", "layer").iter_rows())
    at_first = dict(zip(("site", "layer"), places[0], strict=True))
    frames = []
    for number, variant in enumerate(VARIANTS, start=1):
        for group in groups:
            here = (pl.col("variant") == variant) & (pl.col("n_tokens") == group)
            chosen = [table.filter(here).sort(_MEMBER) for table in tables.values()]
            members = chosen[0].filter(*(pl.col(k) == v for k, v in at_first.items()))
            crossing = _crossing(members)
            weights = members.select(pl.col("n") / pl.col("n").sum().over("word"))["n"].to_numpy()
            words = Words(places, statistics.bootstrap, (number, group), weights, crossing)
            values = [[_by_place(table, form, places) for table in chosen] for form in FORMS]
            frame, _ = group_frame(words, np.array(values), list(steps), statistics)
            frames.append(
                frame.with_columns(variant=pl.lit(variant), n_tokens=pl.lit(group, pl.Int32))
            )
    keys = ("variant", "n_tokens", "site", "layer")
    return describe_frame(
        across_checkpoints(pl.concat(frames), steps, keys=keys, provenance=provenance),
        title="perturbation of words by their number of tokens",
        provenance=provenance,
        meanings={
            **MEANINGS,
            **GROUP_MEANINGS,
            "n_tokens": "words of so many tokens",
            "ci_low": f"lower end of the mean's interval: {_OVER}",
        },
        units=GROUP_UNITS,
    )


def _by_place(
    table: pl.DataFrame, form: str, places: Sequence[Place]
) -> Float32[np.ndarray, "places members"]:
    """A group's members in one form; what has no value is NaN."""
    values = table[form].fill_null(float("nan"))
    return values.to_numpy().reshape(len(places), -1)


def _crossing(members: pl.DataFrame) -> Crossing:
    """What is resampled: last tokens, and contexts where there are such; P1 has two of these."""
    contexts = pl.concat([members["base_context"], members["context"]])
    factors: list[Sequence[np.ndarray]] = [[codes(members["last_token"])]]
    if contexts.null_count() == 0:
        first, second = np.split(codes(contexts), 2)
        factors.append([first] if (first == second).all() else [first, second])
    return Crossing(factors)
