"""Two groups compared within cells, whose members have alike what is not to be compared."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from .bootstrap import Statistic
from .ratio import ratio


def shared_cells(
    first: Bool[np.ndarray, " members"], cell: Int[np.ndarray, " members"]
) -> Bool[np.ndarray, " members"]:
    """Which members are in a cell that holds both groups; a cell below 0 is none."""
    both = np.intersect1d(cell[first], cell[~first])
    return np.isin(cell, both[both >= 0])


def matched_difference(
    values: Float[np.ndarray, "curves members"],
    first: Bool[np.ndarray, " members"],
    cell: Int[np.ndarray, " members"],
) -> Statistic:
    """Mean of the first group minus that of the other, with the same weight in every cell.

    Where a cell holds a members of the first group and b of the other, each group weighs
    a b / (a + b) there: of all weights those of the least variance, and the difference is the
    coefficient of the group in a regression on group and cell. Exact matching on coarsened values
    (Iacus, King & Porro 2012, "Causal inference without balance checking: coarsened exact
    matching", Political Analysis 20) with overlap weights (Li, Morgan & Zaslavsky 2018). In one
    cell it is the plain difference of two means.

    Parameters
    ----------
    values: of each member; a NaN takes no part.
    first: whether it is of the first group.
    cell: its cell, of any number; cells with one group alone count for nothing.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    sizes = (known[:1] if known.all() else known).astype(np.float64)
    cells = [
        [np.flatnonzero((cell == each) & group) for group in (first, ~first)]
        for each in np.unique(cell[shared_cells(first, cell)])
    ]

    def statistic(counts: np.ndarray) -> np.ndarray:
        total = np.zeros((len(counts), len(values)))
        weight = np.zeros((len(counts), len(sizes)))
        for groups in cells:
            drawn = [counts[:, members] for members in groups]
            a, b = (n @ sizes[:, m].T for n, m in zip(drawn, groups, strict=True))
            of_a, of_b = (n @ filled[:, m].T for n, m in zip(drawn, groups, strict=True))
            both = np.maximum(a + b, 1)  # where nothing is drawn, all is 0
            total += (of_a * b - of_b * a) / both
            weight += a * b / both
        return ratio(total, np.broadcast_to(weight, total.shape))

    return statistic
