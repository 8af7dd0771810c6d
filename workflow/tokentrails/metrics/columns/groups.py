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
from ...statistics.bootstrap import Bootstrap

MEANINGS = {
    "n_tokens": "words of so many tokens; null: all words together",
    "layer": "as for single words; null: the mean over all layers of the site",
    "n": "how many words",
    "few": "whether there are fewer words than statistics.few: too few to lean on",
    "mean": "mean over the words",
    "ci_low": "lower end of the mean's interval: percentile bootstrap over words; null: one word",
    "ci_high": "upper end of it",
}
OF_MEASURES = {
    "adjusted": "the same mean of the column of that name for single words; null: no baseline",
    "adjusted_low": "lower end of its interval, of the words alone: the baseline counts as known",
    "adjusted_high": "upper end of it",
    "standardised": "the same mean of the column of that name for single words; null: no baseline",
    "standardised_low": "lower end of its interval",
    "standardised_high": "upper end of it",
}


@dataclass(frozen=True)
class Curves:
    """One measure of a group of words, at every checkpoint and place.

    Attributes
    ----------
    values: of each word; NaN where it has none.
    places: the second axis of `values`.
    bootstrap, stream: how words are drawn again.
    """

    values: Float[np.ndarray, "checkpoints places words"]
    places: tuple[Place, ...]
    bootstrap: Bootstrap
    stream: tuple[int, ...]

    @property
    def n(self) -> int:
        return self.values.shape[2]

    @cached_property
    def rows(self) -> list[tuple[str, int | None]]:
        """Site and layer of every curve: the places, then each site's mean over its layers."""
        return [*self.places, *((site, None) for site in self._sites)]

    @cached_property
    def mean(self) -> Float64[np.ndarray, "checkpoints rows"]:
        """NaN where no word has a value."""
        known = (~np.isnan(self.values)).sum(axis=2)
        total = np.nansum(self.values, axis=2, dtype=np.float64)
        mean = np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)
        return self._with_means(mean)

    @cached_property
    def draws(self) -> Float64[np.ndarray, "draws checkpoints rows"]:
        """The same mean, over words drawn again and again; NaN for less than two words."""
        checkpoints, places, words = self.values.shape
        if words < 2:
            return np.full((1, checkpoints, len(self.rows)), np.nan)
        flat = self.bootstrap.means(self.values.reshape(-1, words), self.stream)
        return self._with_means(flat.reshape(-1, checkpoints, places))

    @property
    def _sites(self) -> list[str]:
        return list(dict.fromkeys(site for site, _ in self.places))

    def _with_means(self, of_places: np.ndarray) -> np.ndarray:
        sites = np.array([site for site, _ in self.places])
        means = [of_places[..., sites == s].mean(axis=-1, keepdims=True) for s in self._sites]
        return np.concatenate([of_places, *means], axis=-1)

    def frame(self, checkpoints: Sequence[str], few: int) -> pl.DataFrame:
        """Checkpoint, site, layer, n, few, mean and its interval, by checkpoint and curve."""
        return pl.DataFrame(
            {
                "checkpoint": np.repeat(list(checkpoints), len(self.rows)).tolist(),
                "site": [site for site, _ in self.rows] * len(checkpoints),
                "layer": pl.Series([at for _, at in self.rows] * len(checkpoints), dtype=pl.Int32),
                "n": pl.Series([self.n] * self.mean.size, dtype=pl.Int32),
                "few": [self.n < few] * self.mean.size,
                **self.columns("mean", "ci_low", "ci_high"),
            }
        )

    def columns(self, mean: str, low: str, high: str) -> dict[str, pl.Series]:
        """Mean and ends of its interval by these names, in the order of `frame`."""
        ends = self.bootstrap.interval(self.draws)
        values = zip((mean, low, high), (self.mean, *ends), strict=True)
        return {name: single(each) for name, each in values}


def measure_columns(curves: Mapping[str, Curves]) -> pl.DataFrame:
    """The columns of `OF_MEASURES`, in the order of `Curves.frame`.

    Parameters
    ----------
    curves: by measure, all of the same words.
    """
    columns: dict[str, pl.Series] = {}
    for name in ("adjusted", "standardised"):
        columns |= curves[name].columns(name, f"{name}_low", f"{name}_high")
    return pl.DataFrame(columns)


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
    frame: with the column checkpoint, and `keys`.
    steps: by the name of the checkpoint, in the order of training.
    provenance: of the run.
    """
    order = {name: index for index, name in enumerate(steps)}
    ordered = frame.sort(
        pl.col("checkpoint").replace_strict(order, return_dtype=pl.Int32), *keys, nulls_last=True
    )
    rest = [name for name in frame.columns if name not in ("checkpoint", *keys)]
    return ordered.select(
        model=pl.lit(provenance["model"]),
        checkpoint="checkpoint",
        experiment=pl.lit(provenance["experiment"]),
        step=pl.col("checkpoint").replace_strict(steps, return_dtype=pl.Int64),
        **{name: pl.col(name) for name in [*keys, *rest]},
    )


def single(values: np.ndarray) -> pl.Series:
    """Float32 and null for NaN, as tables hold measures."""
    flat = pa.array(values.reshape(-1).astype(np.float32), from_pandas=True)  # NaN becomes null
    return pl.Series(values=flat)
