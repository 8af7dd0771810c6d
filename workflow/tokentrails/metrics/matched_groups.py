"""Function against content words, several tokens against one: at the same frequency and position.

Function words are frequent and stand early, words of several tokens are rare and end late; what two
such groups differ in may be that alone. Here they are compared within cells: the same band of
frequency and the same band of positions. Bands double, as those of `statistics.matched`: a place in
the list of words twice as far down is half the frequency (Zipf). Each comparison holds the other
property equal: classes are compared among words of one token, numbers of tokens among content
words. A word counts at its last token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64

from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS, Crossing, codes
from ..statistics.forms import SOUND
from ..statistics.matching import matched_difference, shared_cells
from ..statistics.settings import Statistics
from ..texts.word_classes import places, plain
from ..texts.word_list import WordList
from .columns.frame import run_table
from .columns.means import groups

NOTHING, BOTH = "nothing", "frequency and position"


class Comparison(NamedTuple):
    """Two groups of words, each a value of `by`, among the words that have a value of `equal`."""

    name: str
    group: str
    other: str
    by: str
    equal: tuple[str, str]


COMPARISONS = (
    Comparison("word_class", "function", "content", "word_class", ("tokens", "one token")),
    Comparison("n_tokens", "several tokens", "one token", "tokens", ("word_class", "content")),
)

_VALUES: dict[str, dict[str, pl.Expr]] = {
    "identity": {form: pl.col(form) for form in SOUND},
    "ranks": {
        "log_rank": (1 + pl.col("rank")).log10(),
        "log_rank_standardised": (1 + pl.col("rank_standardised")).log10(),
        "own_closest": pl.col("rank") == 0,
    },
    "own_token": {
        "own_log_rank": (1 + pl.col("own_rank")).log10(),
        "own_logprob": pl.col("own_logprob"),
    },
}
"""What is compared, by the table that it comes from."""

MEANINGS = {
    "comparison": "what the groups differ in: word_class, among words of one token; n_tokens, "
    "among content words",
    "group": "the group whose mean comes first",
    "other": "the group whose mean is subtracted",
    "matched_on": f"{NOTHING}: the plain difference of the means; {BOTH}: within cells of words of "
    "the same band of frequency and of positions, in which both groups have the same weight",
    "measure": f"{', '.join(SOUND)}: the columns of identity; log_rank and log_rank_standardised: "
    "log10(1 + rank) of ranks, and own_closest: the share of rank 0; own_log_rank: log10(1 + "
    "own_rank) and own_logprob, of own_token",
    "space": "embedding: among the rows of the input embedding matrix; others: by logit",
    "difference": "mean of the group minus that of the other; null: no cell holds both",
    "ci_low": "lower end of its interval: bootstrap over words (those of several tokens by their "
    "last one) crossed with texts, with percentiles expanded by Student's t; null: under "
    f"{FEWEST_UNITS} units{EQUALITY}",
    "ci_high": "upper end of it",
    "units": "how many different words (last tokens), or texts, the group has with the fewest: "
    f"under {FEWEST_UNITS} it is not testable",
    "few": "whether units is below statistics.few: too few to lean on",
    "n": "how many words of the group are compared, each at its last token, none at position 0",
    "n_other": "the same of the other",
    "n_left_out": "how many words of the group are in no cell that holds both, or not in the list "
    "of words",
    "n_other_left_out": "the same of the other",
    "cells": "how many cells hold both groups",
}
UNIT = "that of the measure: cosine, log10 of 1 + rank, a share, or nats"
_INTEGERS = ("units", "n", "n_other", "n_left_out", "n_other_left_out", "cells")


def matched_groups(
    tables: Mapping[str, pa.Table],
    tokens: pa.Table,
    words: WordList,
    statistics: Statistics,
    *,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `matched_groups`.

    Parameters
    ----------
    tables: identity, ranks and own_token, those that there are, of whole texts.
    tokens: the tokens table, with classes.
    words: the most frequent words first.
    """
    found = _words(tokens, words)
    rows = [
        row
        for name, table in tables.items()
        for here, matrix, about in _measured(name, table, found)
        for comparison in COMPARISONS
        for row in _rows(comparison, here, matrix, about, statistics)
    ]
    keys = ("comparison", "matched_on", "measure", "space", "site", "layer")
    types: dict[str, Any] = {
        **dict.fromkeys(("comparison", "group", "other", "matched_on"), pl.String),
        **{"measure": pl.String, "space": pl.String, "site": pl.String, "layer": pl.Int32},
        **dict.fromkeys(("difference", "ci_low", "ci_high"), pl.Float32),
        **dict.fromkeys(_INTEGERS, pl.Int32),
        "few": pl.Boolean,
    }
    units = dict.fromkeys(("difference", "ci_low", "ci_high"), UNIT)
    title = "groups of words at the same frequency and position"
    provenance = {**provenance, **statistics.provenance, "word_list_sha256": words.sha256}
    return run_table(pl.DataFrame(rows, types).sort(*keys), title, provenance, MEANINGS, units)


def _words(tokens: pa.Table, words: WordList) -> pl.DataFrame:
    """Every word at its last token: label, position, word, word_class, tokens and cell."""
    line = places(words)
    columns = ["label", "first", "word", "word_class", "word_part", "token_ids"]
    frame = pl.DataFrame(pl.from_arrow(tokens.select(columns))).sort("label", "first")
    goes_on = (pl.col("word_part").shift(-1).over("label") == "later").fill_null(value=False)
    last = frame.filter(~goes_on, pl.col("word_part").is_not_null(), pl.col("first") > 0)
    whole = pl.col("word_part") == "whole"
    place = np.array([line.get(plain(word), 0) for word in last["word"]], dtype=np.int64)
    frequency, position = (np.frexp(n)[1] for n in (place, last["first"].to_numpy()))
    width = int(position.max(initial=0)) + 1
    return last.select(
        "label",
        pl.col("first").alias("position"),
        pl.Series("word", [plain(word) for word in last["word"]], pl.String),
        "word_class",
        tokens=pl.when(whole).then(pl.lit("one token")).otherwise(pl.lit("several tokens")),
        # Words that end in the same token have the same embedding, and nearly the same state.
        unit=pl.when(whole)
        .then(pl.Series([plain(word) for word in last["word"]], dtype=pl.String))
        .otherwise(pl.format("ends in {}", pl.col("token_ids").list.get(pl.col("first")))),
        cell=pl.Series(np.where(place > 0, frequency * width + position, -1), dtype=pl.Int64),
    )


def _measured(
    name: str, table: pa.Table, words: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Float64[np.ndarray, "places words"], dict[str, Any]]]:
    """The words that have a measure, its values, and what the measure and its places are."""
    frame = pl.DataFrame(pl.from_arrow(table))
    added = {} if "site" in frame.columns else {"site": pl.lit("resid")}
    added |= {} if "space" in frame.columns else {"space": pl.lit("embedding")}
    values = frame.with_columns(**added).select(
        *("label", "position", "site", "layer", "space"),
        **{measure: value.cast(pl.Float64) for measure, value in _VALUES[name].items()},
    )
    indexed = words.select("label", "position").with_row_index("word")
    here = values.join(indexed, on=["label", "position"])
    for measure in groups(here, list(_VALUES[name]), ["space"], ["word"]):
        index = [member[0] for member in measure.members]
        about = {"measure": measure.value, **measure.key, "places": measure.places}
        yield words[index], measure.values, about


def _rows(
    comparison: Comparison,
    words: pl.DataFrame,
    values: Float64[np.ndarray, "places words"],
    about: Mapping[str, Any],
    statistics: Statistics,
) -> Iterator[dict[str, Any]]:
    """A row for every place, compared as they are and within cells."""
    column, equal = comparison.equal
    kept = (words[column] == equal) & words[comparison.by].is_in(comparison[1:3])
    kept = kept.fill_null(value=False)
    words, values = words.filter(kept), values[:, kept.to_numpy()]
    first = (words[comparison.by] == comparison.group).to_numpy()
    cell = words["cell"].to_numpy()
    shared = shared_cells(first, cell)
    every = np.ones(len(words), dtype=bool)
    for matched_on, members, cells in (
        (NOTHING, every, np.zeros_like(cell)),
        (BOTH, shared, cell),
    ):
        n = [int((members & group).sum()) for group in (first, ~first)]
        left = [int((~members & group).sum()) for group in (first, ~first)]
        units = _fewest(words, [members & group for group in (first, ~first)])
        statistic = matched_difference(values[:, members], first[members], cells[members])
        value = statistic(np.ones((1, sum(n))))[0]
        ends = np.full((2, len(values)), np.nan)
        if units >= FEWEST_UNITS:
            crossing = Crossing.recurring(*(codes(words[u].filter(members)) for u in _RESAMPLED))
            draws = statistics.bootstrap.resample_crossed(statistic, crossing, ())
            ends = np.stack(statistics.bootstrap.interval(draws, units))
        counts = units, *n, *left, len(np.unique(cells[members]))
        for place, *numbers in zip(about["places"], value, *ends, strict=True):
            yield {
                "comparison": comparison.name,
                "group": comparison.group,
                "other": comparison.other,
                "matched_on": matched_on,
                "measure": about["measure"],
                "space": about["space"],
                **dict(zip(("site", "layer"), place, strict=True)),
                **dict(zip(("difference", "ci_low", "ci_high"), numbers, strict=True)),
                **dict(zip(_INTEGERS, counts, strict=True)),
                "few": units < statistics.few,
            }


_RESAMPLED = ("label", "unit")


def _fewest(words: pl.DataFrame, groups: Iterable[np.ndarray]) -> int:
    return min(words[unit].filter(group).n_unique() for group in groups for unit in _RESAMPLED)
