"""Geometry: the shape that the states of all tokens have at each place.

Lengths and the largest activations (Sun et al. 2024), how evenly variance is spread over directions
(see `statistics.spectrum`), how straight the path of a text is (Hosseini and Fedorenko 2023; Skean
et al. 2025), and how much the layer before has of it. Everything with the first token of each text
and without: there attention rests, and one state of a great length decides the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Float64, Int

from ..files.states import Layer
from ..statistics.alignment import cka, kernel, kernel_hsic
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS
from ..statistics.ratio import ratio
from ..statistics.settings import Statistics
from ..statistics.spectrum import (
    SLOPE_RANGE,
    effective_rank,
    isoscore,
    participation_ratio,
    slope,
    spectra,
)
from .columns.frame import run_table, target_keys

CKA_STATES = 512
"""Most states that CKA is of, evenly spaced: its estimator is unbiased, however few there are."""

STATES_AT_ONCE = 256
"""How many states that are looked at together: a block of them stays in a processor's cache."""

MEANS = ("length", "curvature", "cosine")
"""The means over tokens, which have intervals."""

MEANINGS = {
    "with_first": "whether the first tokens of texts, at position 0, take part",
    "n": "how many states",
    "n_texts": "how many texts they come from",
    "few": "whether these are fewer than statistics.few: too few to lean on",
    "length": "mean Euclidean length of the states",
    "largest": "largest absolute value in any dimension of any state",
    "largest_dimension": "its dimension, from 0",
    "largest_token": "vocabulary entry of the token that has it",
    "largest_position": "position of that token in its text",
    "effective_rank": "exp of the entropy of the covariance's eigenvalues as shares (Roy and "
    "Vetterli 2007); 1 to the number of dimensions, and less than n",
    "participation_ratio": "(sum of the eigenvalues)^2 / sum of their squares; 1 to the number of "
    "dimensions d, and less than n",
    "isoscore": "IsoScore* (Rudman and Eickhoff 2024) of the sample's own covariance, that is "
    "without shrinkage, as IsoScore of 2022: (participation_ratio - 1) / (d - 1)",
    "slope": "slope of log eigenvalue over log index, the largest eigenvalue first, by least "
    "squares with weights 1 / index; of the indices {} to {}, but none beyond half of the smaller "
    "of n - 1 and d; null: fewer than 10 indices".format(*SLOPE_RANGE),
    "curvature": "mean angle between the steps from one token of a text to the next, over all "
    "pairs of successive steps; 0: a straight path; null: no three tokens in a row",
    "cosine": "mean cosine of the states with the same tokens' states one layer before, at the "
    "same site; null: there is none",
    "cka": "debiased linear centred kernel alignment of the same two sets of states, of at most "
    f"{CKA_STATES} of all, evenly spaced; null: there is none, or states do not vary",
} | {
    f"{name}_ci_{end}": f"{end}er end of the interval of {name}: bootstrap over texts, with "
    f"percentiles expanded by Student's t; null: under {FEWEST_UNITS} texts{EQUALITY}"
    for name in MEANS
    for end in ("low", "high")
}
UNITS = {
    **dict.fromkeys(("length", "length_ci_low", "length_ci_high", "largest"), "model units"),
    **dict.fromkeys(("effective_rank", "participation_ratio"), "dimensions"),
    **dict.fromkeys(("curvature", "curvature_ci_low", "curvature_ci_high"), "degrees, 0 to 180"),
    **dict.fromkeys(("cosine", "cosine_ci_low", "cosine_ci_high"), "cosine, -1 to 1"),
    **{"isoscore": "0 to 1", "cka": "similarity, at most 1"},
}
_SCHEMA: dict[str, Any] = {
    **{"site": pl.String, "layer": pl.Int32, "with_first": pl.Boolean},
    **{"n": pl.Int32, "n_texts": pl.Int32, "few": pl.Boolean},
    **dict.fromkeys(("length", "length_ci_low", "length_ci_high", "largest"), pl.Float32),
    **{"largest_dimension": pl.Int32, "largest_token": pl.String, "largest_position": pl.Int32},
    **dict.fromkeys(("effective_rank", "participation_ratio", "isoscore", "slope"), pl.Float32),
    **{f"{n}{end}": pl.Float32 for n in MEANS[1:] for end in ("", "_ci_low", "_ci_high")},
    "cka": pl.Float32,
}


@dataclass(frozen=True)
class Tokens:
    """The tokens whose states a table of geometry is of, in the order of the states.

    Attributes
    ----------
    text: which text each belongs to, counted from 0.
    """

    text: Int[np.ndarray, " n"]
    position: Int[np.ndarray, " n"]
    token: list[str]

    @classmethod
    def from_table(cls, tokens: pa.Table, pooling: str) -> Tokens:
        keys = target_keys(tokens, pooling, ("label", "position", "token"))
        _, text = np.unique(keys["label"].to_pylist(), return_inverse=True)
        return cls(text, keys["position"].to_numpy(), keys["token"].to_pylist())

    def rows(self, *, with_first: bool) -> Bool[np.ndarray, " n"]:
        return np.full(len(self.text), fill_value=True) if with_first else self.position > 0

    def angles(self, hidden: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
        """Between the steps to the next token and from there on, in degrees; NaN where none is.

        It stands at the first of the three tokens, so that what is without the first tokens of
        texts is without the steps from there.
        """
        found = np.full(len(hidden), np.nan)
        if len(hidden) > 2:
            cosine = _by_block(_cosines_of_steps, hidden, shared=2)
            next_one = (np.diff(self.text) == 0) & (np.diff(self.position) == 1)
            known = next_one[:-1] & next_one[1:]
            found[:-2][known] = np.degrees(np.arccos(np.clip(cosine[known], -1, 1)))
        return found

    def sums(
        self, values: Float64[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, " texts"], Float64[np.ndarray, " texts"]]:
        """Of every text the sum of its values, and how many there are; a NaN takes no part."""
        known, texts = rows & ~np.isnan(values), self.text.max(initial=-1) + 1
        text = self.text[known]
        return np.bincount(text, values[known], texts), np.bincount(text, minlength=texts) * 1.0


def geometry(
    layers: Iterable[Layer],
    tokens: Tokens,
    *,
    statistics: Statistics,
    provenance: Mapping[str, str],
    threads: int = 1,
) -> pa.Table:
    """The table `geometry`: a row per place with all tokens, and one without first ones.

    Parameters
    ----------
    layers: the states, sorted by site and layer; two places for each thread are in memory at a
        time.
    provenance: of the states; gives the key columns too.
    threads: how many places are looked at side by side.
    """
    rows: list[dict[str, Any]] = []
    sums: list[dict[str, tuple[np.ndarray, np.ndarray]]] = []
    subsets = {f: kept for f in (False, True) if (kept := tokens.rows(with_first=f)).any()}
    before: _Place | None = None
    for here in _places(layers, tokens, threads):
        follows = before is not None and before.key == (here.key[0], here.key[1] - 1)
        values = here.values(before if follows else None)
        aligned = here.aligned(before) if follows and before else {}
        for with_first, kept in subsets.items():
            n, texts = int(kept.sum()), len(np.unique(tokens.text[kept]))
            row = dict(zip(("site", "layer"), here.key, strict=True)) | {"with_first": with_first}
            row |= {"n": n, "n_texts": texts, "few": texts < statistics.few}
            row |= _largest(here.hidden, here.peaks, kept, tokens)
            row |= _shape(here.spectrum[with_first], n, here.hidden.shape[1])
            rows.append(row | {"cka": aligned.get(with_first)})
            sums.append({name: tokens.sums(values[name], kept) for name in MEANS})
        before = here
    for with_first in subsets:
        these = [i for i, row in enumerate(rows) if row["with_first"] == with_first]
        for name in MEANS:
            columns = _interval([sums[i][name] for i in these], statistics)
            for i, numbers in zip(these, zip(*columns, strict=True), strict=True):
                keys = (name, f"{name}_ci_low", f"{name}_ci_high")
                rows[i] |= dict(zip(keys, map(float, numbers), strict=True))
    frame = pl.DataFrame(rows, _SCHEMA).sort("site", "layer", "with_first")
    title = "geometry: the shape of the states, with and without the first tokens of texts"
    return run_table(frame, title, dict(provenance) | statistics.provenance, MEANINGS, UNITS)


@dataclass(frozen=True)
class _Place:
    """What is needed of the states at one place, here and one layer later.

    Attributes
    ----------
    spectrum: by whether first tokens take part.
    kernel: of the states that CKA is of.
    kept: which of these take part, 1 or 0: all, and those without first tokens.
    own: HSIC of either with themselves.
    peaks: largest absolute value of each state.
    """

    key: tuple[str, int]
    hidden: Float32[np.ndarray, "n d"]
    spectrum: dict[bool, Float64[np.ndarray, " k"]]
    kernel: Float64[np.ndarray, "s s"]
    kept: Float64[np.ndarray, "2 s"]
    own: Float64[np.ndarray, " 2"]
    lengths: Float64[np.ndarray, " n"]
    peaks: Float32[np.ndarray, " n"]
    angles: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, layer: Layer, tokens: Tokens) -> _Place:
        hidden, later, n = layer.hidden, tokens.position > 0, len(tokens.text)
        chosen = np.linspace(0, n - 1, min(n, CKA_STATES)).round().astype(int)
        centred = hidden[chosen].astype(np.float64)
        centred -= centred.mean(axis=0)
        products = kernel(centred)
        kept = np.stack([np.ones(len(chosen)), later[chosen]])
        return cls(
            layer.place,
            hidden,
            dict(zip((True, False), spectra(hidden, later), strict=True)),
            products,
            kept,
            kernel_hsic(products, products, kept),
            lengths_of(hidden),
            _by_block(lambda states: np.abs(states).max(axis=1), hidden),
            tokens.angles(hidden),
        )

    def aligned(self, before: _Place) -> dict[bool, float]:
        """CKA with the layer before, of all tokens and without the first ones."""
        together = kernel_hsic(self.kernel, before.kernel, self.kept)
        return dict(zip((True, False), cka(together, self.own, before.own).tolist(), strict=True))

    def values(self, before: _Place | None) -> dict[str, Float64[np.ndarray, " n"]]:
        """What means are of, by name; NaN where there is none."""
        cosine = np.full(len(self.hidden), np.nan)
        if before is not None:
            dots = _dots(self.hidden, before.hidden)
            cosine = np.clip(ratio(dots, self.lengths * before.lengths), -1, 1)
        return {"length": self.lengths, "curvature": self.angles, "cosine": cosine}


def _places(layers: Iterable[Layer], tokens: Tokens, threads: int) -> Iterator[_Place]:
    """What is needed at each place, in their order, worked out by some threads."""
    waiting: deque[Future[_Place]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for layer in layers:
            waiting.append(pool.submit(_Place.of, layer, tokens))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _by_block(
    measure: Callable[[Float32[np.ndarray, "m d"]], np.ndarray],
    states: Float32[np.ndarray, "n d"],
    shared: int = 0,
) -> Float[np.ndarray, " n-shared"]:
    """A measure of each state and the so many after it, some states at a time."""
    starts = range(0, len(states) - shared, STATES_AT_ONCE)
    return np.concatenate([measure(states[i : i + STATES_AT_ONCE + shared]) for i in starts])


def _cosines_of_steps(states: Float32[np.ndarray, "m d"]) -> Float64[np.ndarray, " m-2"]:
    """Of the step to the next state with the one from there on."""
    steps = np.diff(states, axis=0)
    lengths = lengths_of(steps)
    return ratio(_dots(steps[:-1], steps[1:]), lengths[:-1] * lengths[1:])


def _dots(
    a: Float32[np.ndarray, "n d"], b: Float32[np.ndarray, "n d"]
) -> Float64[np.ndarray, " n"]:
    return np.einsum("nd,nd->n", a, b).astype(np.float64)


def lengths_of(states: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Euclidean lengths, in model units."""
    return np.sqrt(_dots(states, states))


def _largest(
    hidden: Float32[np.ndarray, "n d"],
    peaks: Float32[np.ndarray, " n"],
    rows: Bool[np.ndarray, " n"],
    tokens: Tokens,
) -> dict[str, Any]:
    row = int(np.where(rows, peaks, -1).argmax())
    return {
        "largest": float(peaks[row]),
        "largest_dimension": int(np.abs(hidden[row]).argmax()),
        "largest_token": tokens.token[row],
        "largest_position": int(tokens.position[row]),
    }


def _shape(eigenvalues: Float64[np.ndarray, " k"], n: int, d: int) -> dict[str, float]:
    return {
        "effective_rank": effective_rank(eigenvalues),
        "participation_ratio": participation_ratio(eigenvalues),
        "isoscore": isoscore(eigenvalues, d),
        "slope": slope(eigenvalues, n),
    }


def _interval(
    sums: list[tuple[Float[np.ndarray, " texts"], Float[np.ndarray, " texts"]]],
    statistics: Statistics,
) -> tuple[Float64[np.ndarray, " places"], ...]:
    """The mean over tokens at every place, and the ends of its interval over texts."""
    totals, sizes = (np.array(each) for each in zip(*sums, strict=True))
    texts = np.flatnonzero(sizes.any(axis=0))  # those with any token that counts
    return statistics.bootstrap.ratios(totals[:, texts], sizes[:, texts])
