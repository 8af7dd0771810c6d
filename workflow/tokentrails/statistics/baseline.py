"""What chance gives: the similarity of random pairs, taken away from similarities of interest.

In most models any two states point in much the same direction (Ethayarajh 2019), and a few
dimensions dominate the cosine (Timkey and van Schijndel 2021). `adjusted` takes away the first,
`standardised` both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float, Float64

from ..files.states import Place

Kind = Literal["states", "embedding"]
"""Which pairs: states of two tokens, or a token's state and another token's embedding."""

EMBEDDING: Place = ("embedding", 0)
"""Where the moments of the embedding rows lie in the table of dimensions."""


Moments = tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]
"""Mean and standard deviation of every dimension."""


@dataclass(frozen=True)
class Baseline:
    """The similarity of random pairs, and the spread of every dimension, at each place.

    A place that is not there has none: what is asked of it is NaN. `Baseline()` has no place.

    Attributes
    ----------
    chance: mean cosine of random pairs, by kind and place.
    moments: mean and standard deviation of every dimension, by place.
    """

    chance: Mapping[tuple[str, Place], float] = field(default_factory=dict)
    moments: Mapping[Place, Moments] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table, dimensions: pa.Table) -> Baseline:
        """What the tables `baseline` and `baseline_dimensions` say."""
        frame = pl.DataFrame(pl.from_arrow(table)).select("kind", "site", "layer", "cosine")
        spread = pl.DataFrame(pl.from_arrow(dimensions)).sort("site", "layer", "dimension")
        moments = {}
        for place, here in spread.group_by("site", "layer", maintain_order=True):
            mean, deviation = (here[name].to_numpy() for name in ("mean", "deviation"))
            moments[(str(place[0]), int(str(place[1])))] = mean, deviation
        return cls(
            {(kind, (site, layer)): cosine for kind, site, layer, cosine in frame.iter_rows()},
            moments,
        )

    def adjusted(
        self, kind: Kind, place: Place, cosine: Float[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        """`cosine` minus that of random pairs of this kind at the same place."""
        return cosine.astype(np.float64) - self.chance.get((kind, place), np.nan)

    def standardise(
        self, place: Place, rows: Float[np.ndarray, "n d"]
    ) -> Float64[np.ndarray, "n d"]:
        """Every dimension as a z-score over the baseline's sample at a place.

        A dimension that never varies says nothing: it becomes 0.
        """
        if place not in self.moments:
            return np.full(rows.shape, np.nan)
        return z_scores(rows, self.moments[place])


NO_BASELINE = Baseline()
"""What a run without a baseline has: every answer is NaN."""


def moments_of(rows: Float[np.ndarray, "n d"]) -> Moments:
    """Mean and standard deviation of every dimension; 0 for one that is the same in all rows."""
    first = rows[:1].astype(np.float64)
    from_first = rows - first  # so that rounding makes no spread where there is none
    return first[0] + from_first.mean(axis=0), from_first.std(axis=0)


def z_scores(rows: Float[np.ndarray, "n d"], moments: Moments) -> Float64[np.ndarray, "n d"]:
    """Every dimension in standard deviations from its mean; 0 for one without a deviation."""
    mean, deviation = moments
    varies = deviation > 0
    return np.where(varies, (rows - mean) / np.where(varies, deviation, 1.0), 0.0)
