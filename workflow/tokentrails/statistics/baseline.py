"""Similarity beyond chance: what is left without that of random pairs.

In most models any two states point in much the same direction (Ethayarajh 2019), and a few
dimensions dominate the cosine (Timkey and van Schijndel 2021). `chance` is how alike random pairs
are for the first, `moments` are the common direction itself, and the spread of every dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float

from ..files.states import Place
from .similarity import Moments

Kind = Literal["states", "embedding"]
"""Pairs of two tokens' states, or of a token's state and another token's embedding."""

EMBEDDING: Place = ("embedding", 0)
"""Where the moments of the embedding rows lie in the table of dimensions."""


@dataclass(frozen=True)
class Baseline:
    """The similarity of random pairs, and the spread of every dimension, at each place.

    At a place without one, such as any of `Baseline()`, similarities are NaN.

    Attributes
    ----------
    chance: mean cosine of random pairs, by kind and place.
    moments: mean and standard deviation of every dimension, by place.
    """

    chance: Mapping[tuple[str, Place], float] = field(default_factory=dict)
    moments: Mapping[Place, Moments] = field(default_factory=dict)

    @classmethod
    def from_tables(cls, table: pa.Table, dimensions: pa.Table) -> Baseline:
        """Read the tables `baseline` and `baseline_dimensions`."""
        frame = pl.DataFrame(pl.from_arrow(table)).select("kind", "site", "layer", "cosine")
        spread = pl.DataFrame(pl.from_arrow(dimensions)).sort("site", "layer", "dimension")
        return cls(
            {(kind, (site, layer)): cosine for kind, site, layer, cosine in frame.iter_rows()},
            {
                (str(site), int(str(layer))): (
                    here["mean"].to_numpy(),
                    here["deviation"].to_numpy(),
                )
                for (site, layer), here in spread.group_by("site", "layer")
            },
        )

    def chance_at(self, kind: Kind, place: Place) -> str | None:
        """What similarities of this kind are compared with at a place; None for nothing."""
        return "texts" if (kind, place) in self.chance else None

    def chance_of(self, kind: Kind, place: Place) -> float:
        """Mean cosine of random pairs of this kind at a place; NaN where there is none."""
        return self.chance.get((kind, place), float("nan"))


NO_BASELINE = Baseline()
"""That of a run without a baseline."""


def moments(rows: Float[np.ndarray, "n d"]) -> Moments:
    """Mean and standard deviation of every dimension; 0 for one that is the same in all rows."""
    first = rows[:1].astype(np.float64)
    from_first = rows - first  # so that rounding makes no spread where there is none
    return first[0] + from_first.mean(axis=0), from_first.std(axis=0)
