"""Where states stand among the rows of a matrix, by cosine: how many rows are closer, and which.

The vocabulary is never sorted and scores are never kept: a rank is a count over blocks of rows.
Scores are float32 products of unit vectors. Where one is so near to that of a state's own row that
rounding could decide, the pair is decided in float64, so that ranks depend neither on the hardware
nor on the size of the blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn import functional

from . import cosines
from .cosines import (
    GROUP,
    directions,
    in_order,
    largest,
    pair_slices,
    refuse_non_finite,
    rounding,
    slices,
)

STATES_AT_ONCE = 2048
# Further rows whose exact cosine is looked at, in case rounding has changed their order.
SPARE = 8
# Cosines that differ by less are equal: what float64 leaves of a row and of twice the same row.
TIE = 1e-12


class Closest(NamedTuple):
    """Where each state stands. A state or own row without a direction has NaN, -1 and no rows.

    Attributes
    ----------
    cosine: with the state's own row.
    rank: how many rows are strictly closer than the own row.
    nearest: the rows that are closest, the closest first; equal ones by number. Of more than
        `SPARE` equal rows at the end of the list, any may be in it.
    nearest_cosine: theirs.
    """

    cosine: Float64[Tensor, " n"]
    rank: Int64[Tensor, " n"]
    nearest: Int64[Tensor, "n k"]
    nearest_cosine: Float64[Tensor, "n k"]


def closest(
    states: Float32[Tensor, "n d"],
    rows: Float32[Tensor, "v d"],
    own: Int64[Tensor, " n"],
    *,
    k: int = 0,
    valid: Bool[Tensor, " v"] | None = None,
    offset: Float32[Tensor, " d"] | None = None,
) -> Closest:
    """Rank each state's own row among all rows, and find the k closest ones.

    Parameters
    ----------
    states: on the device that is to compute, as is all else.
    own: the row number of each state.
    k: how many of the closest rows are wanted; less if there are fewer rows.
    valid: which rows take part; by default all. Rows of zeros never do.
    offset: is added to every row, such as the embedding of a position.

    Raises
    ------
    TokentrailsError: if a state or a row has a NaN or an infinity.
    """
    refuse_non_finite("state", states)
    refuse_non_finite("row", rows)
    if valid is None:
        valid = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    matrix = Matrix(rows, valid, offset)
    most = min(k, int(matrix.valid.sum()))
    parts = [
        _closest(states[part], own[part], matrix, most)
        for part in slices(len(states), STATES_AT_ONCE)
    ]
    if not parts:
        none = torch.empty(0, dtype=torch.int64, device=states.device)
        parts = [Closest(none.double(), none, none[:, None], none[:, None].double())]
    return Closest(*map(torch.cat, zip(*parts, strict=True)))


class Matrix:
    """The rows to compare with, an offset added, those that take part, and their lengths."""

    def __init__(self, rows: Tensor, valid: Tensor, offset: Tensor | None = None) -> None:
        self.rows, self.offset = rows, offset
        self.inverse = torch.empty(len(rows), 1, device=rows.device)
        for part in slices(len(rows), cosines.BLOCK_BYTES // (4 * rows.shape[1])):
            lengths = torch.linalg.vector_norm(self._moved(part), dim=1, keepdim=True)
            self.inverse[part] = torch.where(lengths > 0, 1 / lengths, 0)
        self.valid = valid & (self.inverse[:, 0] > 0)

    def unit(self, part: slice) -> Float32[Tensor, "part d"]:
        """Rows with length 1; those that do not take part may be anything finite."""
        return self._moved(part) * self.inverse[part]

    def exact(self, index: Int64[Tensor, " p"]) -> Float64[Tensor, "p d"]:
        picked = self.rows[index].double()
        return picked if self.offset is None else picked + self.offset

    def _moved(self, part: slice) -> Tensor:
        return self.rows[part] if self.offset is None else self.rows[part] + self.offset


def _closest(states: Tensor, own: Tensor, matrix: Matrix, k: int) -> Closest:
    numbers = torch.arange(len(states), device=states.device)
    cosine = _cosines(states, matrix, numbers, own)
    threshold, margin = torch.nan_to_num(cosine, nan=2.0), rounding(states.shape[1])
    keep = k + SPARE if k else 0
    counts, pairs, tops = count_closer(directions(states), matrix, threshold, margin, keep)
    # Pairs that are too near to tell are decided in float64.
    state, row = pairs.T
    closer = _cosines(states, matrix, state, row) > cosine[state] + TIE
    rank = counts + torch.bincount(state[closer], minlength=len(states))
    rank = torch.where(cosine.isnan() | ~matrix.valid[own], -1, rank)
    return Closest(
        torch.where(rank < 0, torch.nan, cosine), rank, *_nearest(states, matrix, tops, k)
    )


def count_closer(
    states: Float32[Tensor, "n d"],
    matrix: Matrix,
    own: Float[Tensor, " n"],
    eps: float,
    keep: int = 0,
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, "c 2"], list[tuple[Tensor, Tensor]]]:
    """How many rows are surely closer to each state, and the pairs that are too near to tell.

    Parameters
    ----------
    states: of length 1.
    own: the cosine of each state with its own row.
    eps: cosines that differ by less are too near.
    keep: how many of the largest scores of each block are kept.

    Returns
    -------
    Counts of rows with a score over own + eps, (state, row) of the scores within eps of own, and
    of each block the largest scores and their rows.
    """
    n, device = len(states), states.device
    above, below = (own + eps).float()[:, None], (own - eps).float()[:, None]
    counts = torch.zeros(n, dtype=torch.int64, device=device)
    pairs = [torch.empty(0, 2, dtype=torch.int64, device=device)]
    tops = []
    # A multiple of `GROUP`, with scores and rows in their room.
    width = max(1, cosines.BLOCK_BYTES // (4 * max(n, states.shape[1], 1)) // GROUP) * GROUP
    buffer, flags = torch.empty(2, n, width, device=device)
    for part in slices(len(matrix.rows), width):
        scores = _scores(states, matrix, part, buffer)
        if keep:
            values, columns = largest(scores, keep)
            tops.append((values, columns + part.start))
        # Flags are floats, 0 and 1: torch compares and adds them several times faster than bools.
        closer = torch.gt(scores, above, out=flags)
        counts += closer.sum(dim=1).long()
        near = scores.ge_(below).sub_(closer)
        pairs.append(_true_places(near) + torch.tensor([0, part.start], device=device))
    return counts, torch.cat(pairs), tops


def _scores(unit: Tensor, matrix: Matrix, part: slice, buffer: Tensor) -> Tensor:
    """Scores of a block; -2, less than any cosine, for what is no row or takes no part."""
    missing = buffer.shape[1] - (part.stop - part.start)
    rows = functional.pad(matrix.unit(part), (0, 0, 0, missing))
    valid = functional.pad(matrix.valid[part], (0, missing))
    torch.mm(unit, rows.T, out=buffer)
    if not valid.all():
        buffer[:, ~valid] = -2
    return buffer


def _true_places(flags: Float32[Tensor, "n w"]) -> Int64[Tensor, "c 2"]:
    """Row and column of the flags that are 1, of which there are few: first the groups with any."""
    groups = flags.view(len(flags), -1, GROUP)
    row, group = groups.amax(dim=2).nonzero(as_tuple=True)
    which, column = groups[row, group].nonzero(as_tuple=True)
    return torch.stack([row[which], group[which] * GROUP + column], dim=1)


def _nearest(
    states: Tensor, matrix: Matrix, tops: list[tuple[Tensor, Tensor]], k: int
) -> tuple[Tensor, Tensor]:
    """The k closest rows of each state and their cosines, in order."""
    n, device = len(states), states.device
    if not tops:
        empty = torch.empty(n, 0, device=device)
        return empty.long(), empty.double()
    values, rows = (torch.cat(column, dim=1) for column in zip(*tops, strict=True))
    best = values.topk(min(k + SPARE, values.shape[1]), dim=1).indices
    rows, values = rows.gather(1, best), values.gather(1, best)
    numbers = torch.arange(n, device=device).repeat_interleave(rows.shape[1])
    valid = values.flatten() > -2
    cosine = torch.full((rows.numel(),), -2.0, dtype=torch.float64, device=device)
    cosine[valid] = _cosines(states, matrix, numbers[valid], rows.flatten()[valid])
    return in_order(rows, cosine.view_as(rows), k)


def _cosines(
    states: Tensor, matrix: Matrix, state: Int64[Tensor, " p"], row: Int64[Tensor, " p"]
) -> Float64[Tensor, " p"]:
    """Cosines of pairs in float64; NaN where one of them has no direction."""
    result = torch.empty(len(state), dtype=torch.float64, device=states.device)
    for part in pair_slices(len(state), states.shape[1], states.device):
        x, e = states[state[part]].double(), matrix.exact(row[part])
        norms = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(e, dim=1)
        # Summed by row, so that equal rows give equal sums whatever lies around them.
        cosine = (x * e).sum(dim=1) / norms
        result[part] = torch.where(norms > 0, cosine.clamp(-1, 1), torch.nan)
    return result
