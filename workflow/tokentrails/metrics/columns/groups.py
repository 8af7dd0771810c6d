"""Means over groups of words, by checkpoint and layer, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float, Float64

from ...files.states import Place
from ...statistics.bootstrap import Bootstrap, Crossing, known_mean, means
from ...statistics.settings import Statistics

GROUP_MEANINGS = {
    "n_tokens": "words of so many tokens; null: all words together",
    "layer": "as for single words; null: the mean over all layers of the site",
    "n": "how many words",
    "few": "whether there are fewer words than statistics.few: too few to lean on",
    "mean": "mean over the words",
    "ci_low": "lower end of the mean's interval: percentile bootstrap over words; null: one word",
    "ci_high": "upper end of it",
    "adjusted": "the same mean of the column of that name for single words; null: no baseline",
    "adjusted_low": "lower end of its interval, of the words alone: the baseline counts as known",
    "adjusted_high": "upper end of it",
    "standardised": "the same mean of the column of that name for single words; null: no baseline",
    "standardised_low": "lower end of its interval",
    "standardised_high": "upper end of it",
}
COSINES = [name for name in GROUP_MEANINGS if name not in ("n_tokens", "layer", "n", "few")]


@dataclass(frozen=True)
class Curves:
    """One measure of a group of words, at every checkpoint and place.

    Attributes
    ----------
    values: of each word, or of members with a crossing; NaN where there is none.
    places: the second axis of `values`.
    stream: identifies the resamples.
    crossing: what is resampled, where it is not the words alone.
    weights: of the members; those of one word make 1.
    """

    values: Float[np.ndarray, "checkpoints places members"]
    places: tuple[Place, ...]
    bootstrap: Bootstrap
    stream: tuple[int, ...]
    crossing: Crossing | None = None
    weights: Float[np.ndarray, " members"] | None = None

    @property
    def n(self) -> int:
        """How many words."""
        return self.values.shape[2] if self.weights is None else round(self.weights.sum())

    @cached_property
    def rows(self) -> list[tuple[str, int | None]]:
        """Site and layer of every curve: the places, then each site's mean over its layers."""
        return [*self.places, *((site, None) for site in self._sites)]

    @cached_property
    def mean(self) -> Float64[np.ndarray, "checkpoints rows"]:
        """NaN where no word has a value."""
        checkpoints, places, members = self.values.shape
        flat = known_mean(self.values.reshape(checkpoints * places, members), self.weights)
        return self._with_means(flat.reshape(checkpoints, places))

    @cached_property
    def draws(self) -> Float64[np.ndarray, "draws checkpoints rows"]:
        """The same mean over resampled words; NaN for less than two units of any kind."""
        checkpoints, places, members = self.values.shape
        if self._units < 2:
            return np.full((1, checkpoints, len(self.rows)), np.nan)
        values = self.values.reshape(-1, members)
        if self.crossing is None:
            flat = self.bootstrap.means(values, self.stream)
        else:
            statistic = means(values, self.weights)
            flat = self.bootstrap.resample_crossed(statistic, self.crossing, self.stream)
        return self._with_means(flat.reshape(-1, checkpoints, places))

    @property
    def _units(self) -> int:
        """How many units are resampled, of the factor with the fewest."""
        return self.n if self.crossing is None else min(self.crossing.sizes, default=0)

    @property
    def _sites(self) -> list[str]:
        return list(dict.fromkeys(site for site, _ in self.places))

    def _with_means(self, values: np.ndarray) -> np.ndarray:
        sites = np.array([site for site, _ in self.places])
        means = [values[..., sites == s].mean(axis=-1, keepdims=True) for s in self._sites]
        return np.concatenate([values, *means], axis=-1)

    def columns(self, mean: str, low: str, high: str) -> dict[str, pl.Series]:
        """Mean and ends of its interval by these names, by checkpoint and curve."""
        units = None if self.crossing is None or self._units < 2 else self._units
        values = (self.mean, *self.bootstrap.interval(self.draws, units))
        return dict(zip((mean, low, high), map(single, values), strict=True))


def group_frame(
    curves: Mapping[str, Curves], checkpoints: Sequence[str], statistics: Statistics
) -> pl.DataFrame:
    """The means of a group: checkpoint, site, layer, and the columns of `GROUP_MEANINGS`.

    Parameters
    ----------
    curves: of cosine, adjusted and standardised, all of the same words.
    """
    cosine = curves["cosine"]
    rows, n = cosine.rows * len(checkpoints), cosine.n
    columns = cosine.columns("mean", "ci_low", "ci_high")
    for name in ("adjusted", "standardised"):
        columns |= curves[name].columns(name, f"{name}_low", f"{name}_high")
    return pl.DataFrame(
        {
            "checkpoint": [name for name in checkpoints for _ in cosine.rows],
            "site": [site for site, _ in rows],
            "layer": pl.Series([layer for _, layer in rows], dtype=pl.Int32),
            "n": pl.Series([n] * len(rows), dtype=pl.Int32),
            "few": [n < statistics.few] * len(rows),
            **columns,
        }
    )


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
