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

from . import cosines
from .cosines import directions, in_order, largest, pair_slices, refuse_non_finite, rounding, slices

STATES_AT_ONCE = {"cpu": 2048, "cuda": 16_384}  # a GPU has to be asked rarely
# Most bytes of a tile of scores, and least rows in it: on a CPU it is looked at while in its cache,
# and is larger for more threads, which wait for each other at every step.
TILE_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}
ROWS_AT_ONCE = 1024
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
    if valid is None:
        valid = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return closest_in(states, Matrix(rows, valid, offset), own, k=k)


def closest_in(
    states: Float32[Tensor, "n d"], matrix: Matrix, own: Int64[Tensor, " n"], *, k: int = 0
) -> Closest:
    """The same in rows that are looked at again and again.

    Raises
    ------
    TokentrailsError: if a state has a NaN or an infinity.
    """
    refuse_non_finite("state", states)
    most = min(k, int(matrix.valid.sum()))
    parts = [
        _closest(states[part], own[part], matrix, most)
        for part in slices(len(states), states_at_once(states.device))
    ]
    if not parts:
        none = torch.empty(0, dtype=torch.int64, device=states.device)
        parts = [Closest(none.double(), none, none[:, None], none[:, None].double())]
    return Closest(*map(torch.cat, zip(*parts, strict=True)))


def states_at_once(device: torch.device) -> int:
    """Most states that are ranked together."""
    return STATES_AT_ONCE.get(device.type, STATES_AT_ONCE["cpu"])


class Matrix:
    """The rows to compare with, an offset added, those that take part, and their lengths.

    Raises
    ------
    TokentrailsError: if a row has a NaN or an infinity.
    """

    def __init__(self, rows: Tensor, valid: Tensor, offset: Tensor | None = None) -> None:
        refuse_non_finite("row", rows)
        self.rows, self.offset = rows, offset
        self.inverse = torch.empty(len(rows), 1, device=rows.device)
        for part in slices(len(rows), cosines.BLOCK_BYTES // (4 * rows.shape[1])):
            lengths = torch.linalg.vector_norm(self.moved(part), dim=1, keepdim=True)
            self.inverse[part] = torch.where(lengths > 0, 1 / lengths, 0)
        self.valid = valid & (self.inverse[:, 0] > 0)

    def unit(self, part: slice) -> Float32[Tensor, "part d"]:
        """Rows with length 1; those that do not take part may be anything finite."""
        return self.moved(part) * self.inverse[part]

    def exact(self, index: Int64[Tensor, " p"]) -> Float64[Tensor, "p d"]:
        picked = self.rows.index_select(0, index).double()
        return picked if self.offset is None else picked + self.offset

    def moved(self, part: slice) -> Float32[Tensor, "part d"]:
        """Rows with the offset, as long as they are."""
        return self.rows[part] if self.offset is None else self.rows[part] + self.offset


def _closest(states: Tensor, own: Tensor, matrix: Matrix, k: int) -> Closest:
    numbers = torch.arange(len(states), device=states.device)
    cosine = _cosines(states, matrix, numbers, own)
    threshold, margin = torch.nan_to_num(cosine, nan=2.0), rounding(states.shape[1])
    keep = k + SPARE if k else 0
    counts, pairs, best = count_closer(directions(states), matrix, threshold, margin, keep)
    # Pairs that are too near to tell are decided in float64.
    state, row = pairs.T
    closer = _cosines(states, matrix, state, row) > cosine[state] + TIE
    rank = counts + torch.bincount(state[closer], minlength=len(states))
    rank = torch.where(cosine.isnan() | ~matrix.valid[own], -1, rank)
    return Closest(
        torch.where(rank < 0, torch.nan, cosine), rank, *_nearest(states, matrix, best, k)
    )


def count_closer(
    states: Float32[Tensor, "n d"],
    matrix: Matrix,
    own: Float[Tensor, " n"],
    eps: float,
    keep: int = 0,
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, "c 2"], Best]:
    """How many rows are surely closer to each state, and the pairs that are too near to tell.

    Parameters
    ----------
    states: of length 1.
    own: the cosine of each state with its own row.
    eps: cosines that differ by less are too near.
    keep: how many of the largest scores are kept.

    Returns
    -------
    Counts of rows with a score over own + eps, (state, row) of the scores within eps of own, and
    the largest scores.
    """
    n, device = len(states), states.device
    above, below = (own + eps).float()[:, None], (own - eps).float()[:, None]
    counts = torch.zeros(n, dtype=torch.int64, device=device)
    pairs = [torch.empty(0, 2, dtype=torch.int64, device=device)]
    best = Best(n, keep, device)
    n_states, n_rows = _tile(n, states.shape[1], device)
    # Flags are floats, 0 and 1: torch compares and adds them faster than bools. On a GPU half the
    # bytes are half the time.
    flag = torch.float32 if device.type == "cpu" else torch.float16
    rooms = [torch.empty(n_states * n_rows, dtype=t, device=device) for t in (torch.float32, flag)]
    # A row or the scores of a row are scaled, whichever are fewer numbers.
    few = n < states.shape[1]
    for part in slices(len(matrix.rows), n_rows):
        rows = matrix.moved(part) if few else matrix.unit(part)
        excluded = (~matrix.valid[part]).nonzero()[:, 0]
        for batch in slices(n, n_states):
            shape = batch.stop - batch.start, len(rows)
            scores, flags = (room[: shape[0] * shape[1]].view(shape) for room in rooms)
            torch.mm(states[batch], rows.T, out=scores)
            if few:
                scores.mul_(matrix.inverse[part].T)
            if len(excluded):
                scores[:, excluded] = -2  # less than any cosine
            closer = torch.gt(scores, above[batch], out=flags).sum(dim=1, dtype=torch.float32)
            counts[batch] += closer.long()
            at_least = torch.ge(scores, below[batch], out=flags).sum(dim=1, dtype=torch.float32)
            # Few states have a score near their own in a tile.
            close = (at_least > closer).nonzero()[:, 0]
            picked, numbers = scores.index_select(0, close), close + batch.start
            near = (picked >= below[numbers]) & (picked <= above[numbers])
            state, row = near.nonzero(as_tuple=True)
            pairs.append(torch.stack([numbers[state], row + part.start], dim=1))
            if keep:
                best.take(scores, batch.start, part.start)
    return counts, torch.cat(pairs), best


def _tile(n: int, d: int, device: torch.device) -> tuple[int, int]:
    """How many states and rows have their scores computed together."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    tile = TILE_BYTES.get(device.type, cosines.BLOCK_BYTES)
    scores = threads * tile // 4
    n_states = min(n, max(1, scores // ROWS_AT_ONCE))
    return n_states, max(1, min(scores // n_states, max(tile, cosines.BLOCK_BYTES) // (4 * d)))


class Best:
    """The largest scores of each state so far, the largest first, and their rows; -2 for none."""

    def __init__(self, n: int, keep: int, device: torch.device) -> None:
        self.scores = torch.full((n, keep), -2.0, device=device)
        self.rows = torch.zeros(n, keep, dtype=torch.int64, device=device)

    def take(self, scores: Float32[Tensor, "s r"], first_state: int, first_row: int) -> None:
        """Look at a tile of scores, in which most states have none that is large enough."""
        keep = self.scores.shape[1]
        least = self.scores[first_state : first_state + len(scores), -1]
        states = (scores.amax(dim=1) > least).nonzero()[:, 0]
        values, rows = largest(scores.index_select(0, states), keep)
        states += first_state
        values = torch.cat([self.scores[states], values], dim=1)
        rows = torch.cat([self.rows[states], rows + first_row], dim=1)
        self.scores[states], places = values.topk(keep, dim=1)
        self.rows[states] = rows.gather(1, places)


def _nearest(states: Tensor, matrix: Matrix, best: Best, k: int) -> tuple[Tensor, Tensor]:
    """The k closest rows of each state and their cosines, in order."""
    state, place = (best.scores > -2).nonzero(as_tuple=True)
    cosine = torch.full_like(best.scores, -2, dtype=torch.float64)
    cosine[state, place] = _cosines(states, matrix, state, best.rows[state, place])
    return in_order(best.rows, cosine, k)


def _cosines(
    states: Tensor, matrix: Matrix, state: Int64[Tensor, " p"], row: Int64[Tensor, " p"]
) -> Float64[Tensor, " p"]:
    """Cosines of pairs in float64; NaN where one of them has no direction."""
    dots, lengths = torch.empty(2, len(state), dtype=torch.float64, device=states.device)
    for part in pair_slices(len(state), states.shape[1], states.device):
        e = matrix.exact(row[part])
        torch.linalg.vector_norm(e, dim=1, out=lengths[part])
        # Summed by row, so that equal rows give equal sums whatever lies around them.
        x = states.index_select(0, state[part]).double()
        torch.sum(e.mul_(x), dim=1, out=dots[part])
    norms = torch.linalg.vector_norm(states, dim=1, dtype=torch.float64)[state] * lengths
    return torch.where(norms > 0, (dots / norms).clamp(-1, 1), torch.nan)
