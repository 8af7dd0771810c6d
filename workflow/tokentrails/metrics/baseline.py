"""Baseline: how alike the states of any two tokens are, and which dimensions make them so.

Ethayarajh (2019) takes the mean cosine of random words as the measure of anisotropy; here it is the
mean over all pairs of a set of texts. Timkey and van Schijndel (2021): a dimension's share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int

from ..errors import TokentrailsError
from ..files.states import Layer, Place
from ..files.tables import describe
from ..statistics.baseline import EMBEDDING, Kind, Moments, moments_of
from ..statistics.bootstrap import Bootstrap
from ..statistics.pairs import Pairs
from ..statistics.similarity import unit

LEAST_PAIRS = 1000
_STREAM = (0,)  # one for all places: their intervals are of the same texts

MEANINGS = {
    "kind": "states: two tokens' states; embedding: a token's state and another token's row of "
    "the input embedding matrix",
    "cosine": "mean cosine over all pairs of tokens of different texts and with different ids; "
    "left out are the first token of a text, special tokens and spaces alone",
    "ci_low": "lower end of its interval: percentile bootstrap over texts; null: too few texts",
    "ci_high": "upper end of it",
    "n_pairs": "how many pairs",
    "n_tokens": "how many tokens they are made of",
    "n_texts": "of how many texts",
}
OF_DIMENSIONS = {
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
    def of(cls, tokens: pa.Table, file: str) -> Sample:
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
        of_texts = tokens["token_ids"].to_pylist()
        ids = np.array([ids[at] for ids, at in zip(of_texts, position, strict=True)])[rows]
        _, text = np.unique(tokens["label"].to_pylist(), return_inverse=True)
        n_pairs = 0
        if len(ids):
            pairs = Pairs(text[rows], ids)
            n_pairs = _number(pairs, "states")
        if n_pairs < LEAST_PAIRS:
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
    """What random pairs are like at one place: see `MEANINGS` and `OF_DIMENSIONS`."""

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
    sample: the tokens to take.
    embedding: the row of the embedding matrix of each token of the sample.
    bootstrap: how intervals are made: texts are drawn anew.
    """
    pairs = sample.pairs
    of_embedding = pairs.grouped(unit(embedding))
    for at in layers:
        states = at.hidden[sample.rows]
        of_states = pairs.grouped(unit(states))
        grams: dict[Kind, np.ndarray] = {
            "states": pairs.gram(of_states, of_states),
            "embedding": pairs.gram(of_states, of_embedding),
        }
        sums = pairs.by_dimension(of_states)
        total = sums.sum()
        yield Chance(
            (at.site, at.layer),
            {kind: _interval(gram, pairs.counts, bootstrap) for kind, gram in grams.items()},
            moments_of(states),
            np.divide(sums, total, out=np.full_like(sums, np.nan), where=total != 0),
        )


def _interval(
    sums: np.ndarray, counts: np.ndarray, bootstrap: Bootstrap
) -> tuple[float, float, float]:
    """Mean of the pairs and its interval, from sums by text and text (cluster bootstrap).

    A text that is drawn twice makes no pair with itself: the diagonal is 0.
    """

    def mean(drawn: np.ndarray) -> np.ndarray:
        total, n = (((drawn @ m) * drawn).sum(axis=1) for m in (sums, counts))
        return np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)[:, None]

    low, high = bootstrap.interval(bootstrap.redraw(mean, len(sums), _STREAM)[:, 0])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def baseline(found: Iterable[Chance], sample: Sample, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `baseline`: a row per place and kind.

    Parameters
    ----------
    found: as `chances` gives it.
    sample: that it was made of.
    provenance: of the states; gives the key columns too.
    """
    rows = [
        {
            "site": chance.place[0],
            "layer": chance.place[1],
            "kind": kind,
            **dict(zip(("cosine", "ci_low", "ci_high"), cosine, strict=True)),
            "n_pairs": _number(sample.pairs, kind),
            "n_tokens": sample.pairs.n_tokens,
            "n_texts": len(sample.pairs.texts),
        }
        for chance in found
        for kind, cosine in chance.cosine.items()
    ]
    types = {"site": pa.string(), "layer": pa.int32(), "kind": pa.string()}
    types |= dict.fromkeys(("cosine", "ci_low", "ci_high"), pa.float32())
    types |= {"n_pairs": pa.int64(), "n_tokens": pa.int32(), "n_texts": pa.int32()}
    values = {
        name: pa.array([row[name] for row in rows], kind, from_pandas=True)
        for name, kind in types.items()
    }
    return describe(
        pa.table(_run(provenance, len(rows)) | values).sort_by(
            [(key, "ascending") for key in ("site", "layer", "kind")]
        ),
        title="baseline: how alike random pairs are",
        provenance=provenance,
        meanings=MEANINGS,
        units=dict.fromkeys(("cosine", "ci_low", "ci_high"), "cosine, -1 to 1"),
    )


def baseline_dimensions(
    found: Iterable[Chance],
    embedding: Float32[np.ndarray, "n d"],
    *,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `baseline_dimensions`: a row per place and dimension.

    Parameters
    ----------
    found: as `chances` gives it.
    embedding: the row of the embedding matrix of each token of the sample.
    provenance: of the states; gives the key columns too.
    """
    nothing = np.full(embedding.shape[1], np.nan)
    of_places = [(EMBEDDING, moments_of(embedding), nothing)]
    of_places += [(chance.place, chance.moments, chance.share) for chance in found]
    parts = []
    for (site, layer), (mean, deviation), share in sorted(of_places, key=lambda part: part[0]):
        n = len(mean)
        columns = _run(provenance, n) | {
            "site": pa.array([site] * n, pa.string()),
            "layer": pa.array(np.full(n, layer), pa.int32()),
            "dimension": pa.array(np.arange(n), pa.int32()),
        }
        for name, values in {"mean": mean, "deviation": deviation, "share": share}.items():
            columns[name] = pa.array(values.astype(np.float32), from_pandas=True)
        parts.append(pa.table(columns))
    return describe(
        pa.concat_tables(parts),
        title="baseline: mean, deviation and share of every dimension",
        provenance=provenance,
        meanings=OF_DIMENSIONS,
        units={"mean": "model units", "deviation": "model units", "share": "share of the cosine"},
    )


def _number(pairs: Pairs, kind: Kind) -> int:
    """How many pairs: of two states each counts once, of state and embedding row both ways."""
    return int(pairs.counts.sum()) // (2 if kind == "states" else 1)


def _run(provenance: Mapping[str, str], n: int) -> dict[str, pa.Array]:
    run = ("model", "checkpoint", "experiment")
    return {name: pa.array([provenance[name]] * n, pa.string()) for name in run}
