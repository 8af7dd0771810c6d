"""Means over groups of words, by checkpoint and layer, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float, Float64, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...files.states import Place
from ...statistics.bootstrap import (
    EQUALITY,
    FEWEST_UNITS,
    Bootstrap,
    Crossing,
    known_mean,
    means,
)
from ...statistics.forms import FORMS, RESAMPLED, UNITS
from ...statistics.settings import Statistics
from .frame import own_token
from .similarities import beyond_chance

INTERVAL = "_low", "_high"
GROUP_MEANINGS = {
    "n_tokens": "words of so many tokens; null: all words together",
    "layer": "as for single words; null: the mean over all layers of the site",
    "n": "how many words",
    "few": "whether there are fewer words than statistics.few: too few to lean on",
    "mean": "mean over the words",
    "ci_low": "lower end of the mean's interval: bootstrap over words, those with the same own "
    "token drawn together, with percentiles expanded by Student's t; null: "
    f"under {FEWEST_UNITS} of these units{EQUALITY}",
    "ci_high": "upper end of it",
    **{
        f"{form}{end}": meaning
        for form in FORMS[1:]
        for end, meaning in (
            ("", "the same mean of the column of that name for single words"),
            ("_low", "lower end of its interval, of the words alone: a baseline counts as known"),
            ("_high", "upper end of it"),
        )
    },
}
GROUP_UNITS = dict.fromkeys(("mean", "ci_low", "ci_high"), UNITS["cosine"]) | {
    f"{form}{end}": UNITS[form] for form in FORMS[1:] for end in ("", *INTERVAL)
}


def word_units(tokens: pa.Table, pooling: str) -> Int[np.ndarray, " n"]:
    """Which occurrences stand for one unit, numbered from 0 as they come.

    Those of one word do, and those of words whose own token is the same: they share what a model
    makes of it, which is all of the state at layer 0 where positions are rotary.
    """
    own = own_token(tokens, "tokens", pooling)
    word, token = (
        column.dictionary_encode().indices.to_numpy()
        for column in (tokens["word"].combine_chunks(), own)
    )
    n = 1 + max(word.max(initial=-1), token.max(initial=-1))
    together = coo_array((np.ones(len(word)), (word, n + token)), shape=(2 * n, 2 * n))
    return connected_components(together, directed=False)[1][word]


@dataclass(frozen=True)
class Curves:
    """Means over a group of words in one form, at every checkpoint: a curve per place and site.

    Attributes
    ----------
    mean: at the places, then of each site over its layers; NaN where no word has a value.
    draws: the same over resampled words; NaN under `FEWEST_UNITS` units of any kind.
    units: how many of the kind with the fewest.
    """

    mean: Float64[np.ndarray, "checkpoints rows"]
    draws: Float64[np.ndarray, "draws checkpoints rows"]
    bootstrap: Bootstrap
    units: int

    def columns(self, mean: str, low: str, high: str) -> dict[str, pl.Series]:
        """Mean and ends of its interval by these names, by checkpoint and curve."""
        values = (self.mean, *self.interval(self.draws))
        return dict(zip((mean, low, high), map(single, values), strict=True))

    def interval(
        self, draws: Float64[np.ndarray, " draws *curves"]
    ) -> tuple[Float64[np.ndarray, " *curves"], Float64[np.ndarray, " *curves"]]:
        """Lower and upper end of what is made of the draws."""
        return self.bootstrap.interval(draws, self.units, expanded=True)


@dataclass(frozen=True)
class Words:
    """A group of words, and what is resampled for the intervals of their means.

    Attributes
    ----------
    stream: identifies the resamples.
    weights: of the members; those of one word make 1.
    crossing: what of the members is resampled.
    """

    places: Sequence[Place]
    bootstrap: Bootstrap
    stream: tuple[int, ...]
    weights: Float[np.ndarray, " members"]
    crossing: Crossing

    @property
    def n(self) -> int:
        """How many words."""
        return round(self.weights.sum())

    @property
    def units(self) -> int:
        """How many units are resampled, of the factor with the fewest."""
        return min(self.crossing.sizes)

    @property
    def sites(self) -> list[str]:
        return list(dict.fromkeys(site for site, _ in self.places))

    def mean(
        self, values: Float[np.ndarray, "checkpoints places members"]
    ) -> Float64[np.ndarray, "checkpoints places"]:
        return known_mean(_curves(values), self.weights).reshape(values.shape[:2])

    def curves(self, values: Float[np.ndarray, "checkpoints places members"]) -> Curves:
        """The means of a value of each member, NaN where it has none."""
        curves = _curves(values)
        statistic = means(curves, self.weights)
        if self.units < FEWEST_UNITS:
            draws = np.full((1, len(curves)), np.nan)
        else:
            draws = self.bootstrap.resample_crossed(statistic, self.crossing, self.stream)
        return self.with_layers(self.mean(values), draws.reshape(-1, *values.shape[:2]))

    def with_layers(
        self,
        mean: Float64[np.ndarray, "checkpoints places"],
        draws: Float64[np.ndarray, "draws checkpoints places"],
    ) -> Curves:
        """From means at the places."""
        at = np.array([site for site, _ in self.places])
        mean, draws = (
            np.concatenate([v, *(v[..., at == s].mean(-1, keepdims=True) for s in self.sites)], -1)
            for v in (mean, draws)
        )
        return Curves(mean, draws, self.bootstrap, self.units)


def group_frame(
    words: Words,
    values: Float[np.ndarray, "forms checkpoints places members"],
    checkpoints: Sequence[str],
    statistics: Statistics,
) -> tuple[pl.DataFrame, Curves]:
    """The means of a group: checkpoint, site, layer, the columns of `GROUP_MEANINGS`; the cosine's.

    Words are resampled for each of `RESAMPLED` alone.

    Parameters
    ----------
    values: of each member in every one of `FORMS`.
    """
    by_form = dict(zip(FORMS, values, strict=True))
    cosine = words.curves(by_form["cosine"])
    columns = cosine.columns("mean", "ci_low", "ci_high")
    chance = words.mean(by_form["cosine"] - by_form["adjusted"])
    at_places = (v[..., : len(words.places)] for v in (cosine.mean, cosine.draws))
    beyond = zip(*(beyond_chance(v, chance) for v in at_places), strict=True)
    for form, (mean, draws) in zip(("adjusted", "scaled"), beyond, strict=True):
        curves = words.with_layers(mean, draws)
        columns |= curves.columns(form, *(form + end for end in INTERVAL))
    for form in RESAMPLED[1:]:
        curves = words.curves(by_form[form])
        columns |= curves.columns(form, *(form + end for end in INTERVAL))
    rows = [*words.places, *((site, None) for site in words.sites)] * len(checkpoints)
    frame = pl.DataFrame(
        {
            "checkpoint": np.repeat(checkpoints, len(rows) // len(checkpoints)),
            "site": [site for site, _ in rows],
            "layer": pl.Series([layer for _, layer in rows], dtype=pl.Int32),
            "n": pl.Series([words.n] * len(rows), dtype=pl.Int32),
            "few": [words.n < statistics.few] * len(rows),
            **columns,
        }
    )
    return frame, cosine


def _curves(values: Float[np.ndarray, "a b members"]) -> Float[np.ndarray, "curves members"]:
    return values.reshape(values.shape[0] * values.shape[1], values.shape[2])


def across_checkpoints(
    frame: pl.DataFrame,
    steps: Mapping[str, int | None],
    *,
    keys: Sequence[str],
    provenance: Mapping[str, str],
) -> pl.DataFrame:
    """`frame` with model, experiment and step, sorted by checkpoint in training order, and `keys`.

    Parameters
    ----------
    steps: by the name of the checkpoint, in the order of training.
    """
    order = {name: index for index, name in enumerate(steps)}
    ordered = frame.sort(
        pl.col("checkpoint").replace_strict(order, return_dtype=pl.Int32), *keys, nulls_last=True
    )
    return ordered.select(
        pl.lit(provenance["model"]).alias("model"),
        "checkpoint",
        pl.lit(provenance["experiment"]).alias("experiment"),
        pl.col("checkpoint").replace_strict(steps, return_dtype=pl.Int64).alias("step"),
        *keys,
        pl.exclude("checkpoint", *keys),
    )


def single(values: np.ndarray) -> pl.Series:
    """Float32 and null for NaN, as tables hold measures."""
    flat = pa.array(values.reshape(-1).astype(np.float32), from_pandas=True)  # NaN becomes null
    return pl.Series(values=flat)
