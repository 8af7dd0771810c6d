"""Baseline: how alike the states of any two tokens are, and which dimensions make them so.

Ethayarajh (2019) takes the mean cosine of random words as the measure of anisotropy; here it is the
mean over all pairs of a set of texts. Timkey and van Schijndel (2021): a dimension's share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int

from ..errors import TokentrailsError
from ..files.states import Layer, Place
from ..statistics.baseline import EMBEDDING, Kind, moments
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS, Bootstrap
from ..statistics.pairs import Cells, Pairs
from ..statistics.ratio import ratio
from ..statistics.similarity import Moments, unit
from .columns.frame import run_table

LEAST_PAIRS = 1000
_STREAM = (0,)  # one for all places: their intervals are of the same texts

MEANINGS = {
    "kind": "states: two tokens' states; embedding: a token's state and another token's row of "
    "the input embedding matrix",
    "cosine": "mean cosine over all pairs of tokens of different texts and with different ids; "
    "left out are the first token of a text, special tokens and spaces alone",
    "ci_low": "lower end of its interval: percentile bootstrap over texts; null: under "
    f"{FEWEST_UNITS} texts{EQUALITY}",
    "ci_high": "upper end of it",
    "n_pairs": "how many pairs",
    "n_tokens": "how many tokens they are made of",
    "n_texts": "of how many texts",
}
DIMENSION_MEANINGS = {
    "site": "as in other tables; embedding: the tokens' rows of the input embedding matrix",
    "dimension": "index in the state, from 0",
    "mean": "mean over the sample's tokens",
    "deviation": "standard deviation over them",
    "share": "part of the mean cosine of two states that this dimension makes; signed, 1 in sum; "
    "null: embedding rows",
}


@dataclass(frozen=True)
class Sample:
    """The tokens that pairs are made of.

    Attributes
    ----------
    rows: which rows of the tokens table, and of the states, are in it.
    token_ids: of these tokens.
    pairs: the pairs that they make.
    """

    rows: Bool[np.ndarray, " all"]
    token_ids: Int[np.ndarray, " n"]
    pairs: Pairs

    @classmethod
    def from_tokens(cls, tokens: pa.Table, file: str) -> Sample:
        """The tokens of whole texts, without each text's first and those that are part of no word.

        A word is a run of letters, digits or marks here: left out are special tokens, and spaces.

        Parameters
        ----------
        tokens: the tokens table of whole texts.
        file: of the texts, for messages.

        Raises
        ------
        TokentrailsError: if they make too few pairs.
        """
        position = tokens["first"].to_numpy()
        is_word = np.array([bool(word) for word in tokens["word"].to_pylist()], dtype=bool)
        rows = (position > 0) & is_word
        texts = zip(tokens["token_ids"].to_pylist(), position, strict=True)
        ids = np.array([ids[first] for ids, first in texts], dtype=int)[rows]
        _, text = np.unique(tokens["label"].to_pylist(), return_inverse=True)
        pairs = Pairs(text[rows], ids, text[rows])
        if (n_pairs := _number(pairs, "states")) < LEAST_PAIRS:
            raise TokentrailsError(
                f"the texts of the baseline make {n_pairs} pairs of different tokens of different "
                f"texts; at least {LEAST_PAIRS} are needed for a mean that can be leant on",
                where=file,
                hint="add texts, some dozens of sentences with many different words, none longer "
                "than the model takes (results/tokens/MODEL/baseline.skipped.csv lists those that "
                "are); or switch the baseline off with 'baseline: {enabled: false}'.",
            )
        return cls(rows, ids, pairs)


@dataclass(frozen=True)
class Chance:
    """Random pairs at one place: see `MEANINGS` and `DIMENSION_MEANINGS`."""

    place: Place
    cosine: dict[Kind, tuple[float, float, float]]
    moments: Moments
    share: Float64[np.ndarray, " d"]


def chances(
    layers: Iterable[Layer],
    sample: Sample,
    embedding: Float32[np.ndarray, "n d"],
    bootstrap: Bootstrap,
) -> Iterator[Chance]:
    """The similarity of random pairs at every place; one place is in memory at a time.

    Parameters
    ----------
    layers: the states of all tokens, one place at a time.
    embedding: the row of the embedding matrix of each token of the sample.
    """
    pairs, rows = sample.pairs, sample.pairs.cells(unit(embedding))
    for layer in layers:
        states = layer.hidden[sample.rows]
        directions = pairs.cells(unit(states))
        others: dict[Kind, Cells] = {"states": directions, "embedding": rows}
        sums = pairs.by_dimension(directions)
        total = sums.sum()
        yield Chance(
            layer.place,
            {
                kind: mean_interval(pairs.sums(directions, other), pairs.counts, bootstrap)
                for kind, other in others.items()
            },
            moments(states),
            np.divide(sums, total, out=np.full_like(sums, np.nan), where=total != 0),
        )


def mean_interval(
    sums: np.ndarray, counts: np.ndarray, bootstrap: Bootstrap
) -> tuple[float, float, float]:
    """Mean of the pairs and its interval, from sums by text and text (cluster bootstrap).

    A text that is drawn twice makes no pair with itself: the diagonal is 0.
    """

    def mean(drawn: np.ndarray) -> np.ndarray:
        total, n = (((drawn @ m) * drawn).sum(axis=1) for m in (sums, counts))
        return ratio(total, n)[:, None]

    draws = bootstrap.resample(mean, len(sums), _STREAM)[:, 0]
    low, high = bootstrap.interval(draws, len(sums), expanded=False)
    return float(sums.sum() / counts.sum()), float(low), float(high)


def baseline(found: Iterable[Chance], sample: Sample, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `baseline`: a row per place and kind."""
    rows = [
        {
            "site": chance.place[0],
            "layer": chance.place[1],
            "kind": kind,
            **dict(zip(("cosine", "ci_low", "ci_high"), cosine, strict=True)),
            "n_pairs": _number(sample.pairs, kind),
            "n_tokens": len(sample.token_ids),
            "n_texts": len(sample.pairs.kinds),
        }
        for chance in found
        for kind, cosine in chance.cosine.items()
    ]
    types = {"site": pl.String, "layer": pl.Int32, "kind": pl.String}
    types |= dict.fromkeys(("cosine", "ci_low", "ci_high"), pl.Float32)
    types |= {"n_pairs": pl.Int64, "n_tokens": pl.Int32, "n_texts": pl.Int32}
    frame = pl.DataFrame(rows, types).sort("site", "layer", "kind")
    units = dict.fromkeys(("cosine", "ci_low", "ci_high"), "cosine, -1 to 1")
    return run_table(frame, "baseline: how alike random pairs are", provenance, MEANINGS, units)


def baseline_dimensions(
    found: Iterable[Chance],
    embedding: Float32[np.ndarray, "n d"],
    *,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `baseline_dimensions`: a row per place and dimension.

    Parameters
    ----------
    embedding: the row of the embedding matrix of each token of the sample.
    """
    places = [(EMBEDDING, moments(embedding), np.full(embedding.shape[1], np.nan))]
    places += [(chance.place, chance.moments, chance.share) for chance in found]
    frame = pl.concat(
        pl.DataFrame({"mean": mean, "deviation": deviation, "share": share})
        .cast(pl.Float32)
        .select(
            pl.lit(site).alias("site"),
            pl.lit(layer, pl.Int32).alias("layer"),
            pl.int_range(pl.len(), dtype=pl.Int32).alias("dimension"),
            pl.all(),
        )
        for (site, layer), (mean, deviation), share in sorted(places, key=lambda part: part[0])
    )
    title = "baseline: mean, deviation and share of every dimension"
    units = {"mean": "model units", "deviation": "model units", "share": "share of the cosine"}
    return run_table(frame, title, provenance, DIMENSION_MEANINGS, units)


def _number(pairs: Pairs, kind: Kind) -> int:
    """How many pairs: of two states each counts once, of state and embedding row both ways."""
    return int(pairs.counts.sum()) // (2 if kind == "states" else 1)
