"""Where states stand among the rows of a matrix, by cosine: how many rows are closer, and which.

The vocabulary is never sorted and scores are never kept: a rank is a count over blocks of rows.
Scores are float32 products of unit vectors. Where one is so near to that of a state's own row that
rounding could decide, the pair is decided in float64, so that ranks depend neither on the hardware
nor on the size of the blocks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from . import cosines
from .cosines import SHORT, directions, in_order, pair_slices, refuse_non_finite, rounding, slices

STATES_AT_ONCE = {"cpu": 2048, "cuda": 16_384}  # a GPU has to be asked rarely
# Most bytes of a tile of scores, and least rows in it: on a CPU it is looked at while in its cache,
# and is larger for more threads, which wait for each other at every step.
TILE_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}
ROWS_AT_ONCE = 1024
# Further rows whose exact cosine is looked at, in case rounding has changed their order; so many
# times as many again, and at most, for a state with more rows that rounding may have changed.
SPARE, MORE, MOST_SPARE = 8, 8, 512
# Leads of a state that are looked at together, for one that is in doubt.
GROUP = 128
# Columns of which only the largest lead is looked at first.
SPREAD = 32
# Most places for leads that are sorted into the lists together.
PLACES = 1 << 23
# Devices to which a longer product costs less than a further look at its scores.
GPUS = ("cuda",)
# Cosines that differ by less are equal: what float64 leaves of a row and of twice the same row.
TIE = 1e-12


class Closest(NamedTuple):
    """Where each state stands. A state or own row without a direction has NaN, -1 and no rows.

    Attributes
    ----------
    cosine: with the state's own row.
    rank: how many rows are strictly closer than the own row.
    nearest: the rows that are closest, the closest first; equal ones by number. Of more than
        `MOST_SPARE` rows at the end of the list that float32 cannot tell apart, any may be in it.
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
        lists = none.view(0, 1).expand(0, most)
        parts = [Closest(none.double(), none, lists, lists.double())]
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
        self.rows, self.offset = rows, offset
        self._scale: Tensor | None = None
        lengths = torch.empty(len(rows), 1, device=rows.device)
        for part in slices(len(rows), cosines.BLOCK_BYTES // (4 * rows.shape[1])):
            torch.linalg.vector_norm(self.moved(part), dim=1, keepdim=True, out=lengths[part])
        extreme = (~((lengths > SHORT) & (lengths < 1 / SHORT))).nonzero()[:, 0]
        if self.moved(extreme).any():
            largest = torch.linalg.vector_norm(self.moved(extreme), math.inf, dim=1, keepdim=True)
            tiny = torch.finfo(torch.float32).tiny
            self._scale = torch.ones_like(lengths).index_copy_(0, extreme, 1 / largest.clamp(tiny))
            lengths[extreme] = torch.linalg.vector_norm(self.moved(extreme), dim=1, keepdim=True)
        self.inverse = torch.where(lengths == 0, 0, 1 / lengths)
        refuse_non_finite("row", self.inverse)
        self.valid = valid & (self.inverse[:, 0] > 0)

    def extended(self, part: slice) -> Float32[Tensor, "part d+2"]:
        """Rows with length 1, a 1, and minus infinity for those that take no part, else 0."""
        tail = torch.ones(part.stop - part.start, 2, device=self.rows.device)
        tail[:, 1] = torch.where(self.valid[part], 0, -torch.inf)
        return torch.cat([self.moved(part) * self.inverse[part], tail], dim=1)

    def exact(self, index: Int64[Tensor, " p"]) -> Float64[Tensor, "p d"]:
        picked = self.rows.index_select(0, index).double()
        return picked if self.offset is None else picked + self.offset

    def moved(self, part: slice | Int64[Tensor, " part"]) -> Float32[Tensor, "part d"]:
        """Rows with the offset, as long as they are unless that is extreme."""
        rows = self.rows[part] if self.offset is None else self.rows[part] + self.offset
        return rows if self._scale is None else rows * self._scale[part]


def _closest(states: Tensor, own: Tensor, matrix: Matrix, k: int, spare: int = SPARE) -> Closest:
    numbers = torch.arange(len(states), device=states.device)
    cosine = _cosines(states, matrix, numbers, own)
    threshold, margin = torch.nan_to_num(cosine, nan=2.0), rounding(states.shape[1])
    keep = k + spare if k else 0
    counts, pairs, best = count_closer(directions(states), matrix, threshold, margin, keep)
    # Pairs that are too near to tell are decided in float64, each state's own row among them.
    state, row = pairs.T
    closer = _cosines(states, matrix, state, row) > cosine[state] + TIE
    rank = counts + torch.bincount(state[closer], minlength=len(states))
    rank = torch.where(cosine.isnan() | ~matrix.valid[own], -1, rank)
    found = Closest(
        torch.where(rank < 0, torch.nan, cosine), rank, *_nearest(states, matrix, best, k)
    )
    if k and spare < MOST_SPARE:
        # A row that is not kept may be closer than one of the list where both leads are in doubt.
        unsure = (best.leads[:, k - 1] - best.leads[:, -1] <= 2) & states.any(dim=1)
        if unsure.any():
            again = _closest(states[unsure], own[unsure], matrix, k, MORE * spare)
            found.nearest[unsure], found.nearest_cosine[unsure] = again[2:]
    return found


def count_closer(
    states: Float32[Tensor, "n d"],
    matrix: Matrix,
    cosine: Float[Tensor, " n"],
    eps: float,
    keep: int = 0,
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, "c 2"], Best]:
    """How many rows are surely closer to each state than a cosine, and the pairs too near to tell.

    Parameters
    ----------
    states: of length 1.
    cosine: of each state, such as that with its own row.
    eps: the rounding error of a score.
    keep: how many of the largest scores are kept.

    Returns
    -------
    Counts of rows whose score is larger than the cosine beyond doubt, (state, row) of the scores
    that are in doubt, and the largest scores.
    """
    n, device = len(states), states.device
    on_gpu = device.type in GPUS
    # By how much a score leads over the cosine, in units of the doubt. The slack is for the further
    # roundings and for what `are_doubtful` misses; within a product the cosine is rounded like a
    # score.
    doubt = 1.05 * eps * (1 + on_gpu * cosine.abs())
    head, shift = states / doubt.float()[:, None], (-cosine / doubt).float()[:, None]
    if on_gpu:
        head = torch.cat([head, shift, torch.ones_like(shift)], dim=1)
    counts = torch.zeros(n, dtype=torch.float64, device=device)
    pairs = [torch.empty(0, 2, dtype=torch.int64, device=device)]
    best = Best(n, keep, device)
    n_states, n_rows = _tile(n, states.shape[1], device)
    room = torch.empty(n_states * n_rows, device=device)
    for part in slices(len(matrix.rows), n_rows):
        rows = matrix.extended(part) if on_gpu else matrix.moved(part)
        absent = (~matrix.valid[part]).nonzero()[:, 0]
        for batch in slices(n, n_states):
            leads = room[: (batch.stop - batch.start) * len(rows)].view(-1, len(rows))
            torch.mm(head[batch], rows.T, out=leads)
            if not on_gpu:
                torch.addcmul(shift[batch], leads, matrix.inverse[part].T, out=leads)
                leads.index_fill_(1, absent, -torch.inf)
            if keep:
                best.take(leads, batch.start, part.start)
            counted, state, row = tally(leads, on_gpu)
            counts[batch] += counted
            pairs.append(torch.stack([state + batch.start, row + part.start], dim=1))
    best.sort()
    return counts.long(), torch.cat(pairs), best


def tally(
    leads: Float32[Tensor, "s r"], on_gpu: bool
) -> tuple[Float64[Tensor, " s"], Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """How many leads of each state are 1 or more; states and columns of those between -1 and 1.

    The leads are cut to -1 and 1 on a CPU: sums of them and of their squares are faster than flags.
    """
    n, width = leads.shape
    if on_gpu:
        counted = count_positive(leads).double()
    else:
        counted = (leads.clamp_(-1, 1).sum(dim=1).double() + width) / 2
    groups = leads.view(n, -1, GROUP) if width % GROUP == 0 else leads[:, None]
    state, group = are_doubtful(groups, on_gpu).nonzero(as_tuple=True)
    picked = groups[state, group]
    index, column = (picked.abs() < 1).nonzero(as_tuple=True)
    lead, state, group = picked[index, column], state[index], group[index]
    # What they were counted as.
    share = (lead > 0).double() if on_gpu else (lead.double() + 1) / 2
    counted.index_add_(0, state, -share)
    return counted.round_(), state, group * groups.shape[2] + column


def are_doubtful(groups: Float32[Tensor, "s g w"], on_gpu: bool) -> Bool[Tensor, "s g"]:
    """Which groups have a lead between -1 and 1; on a CPU, what matters to the rounded count."""
    if on_gpu:
        return torch.linalg.vector_norm(groups, ord=-torch.inf, dim=2) < 1
    # The squares of -1 and 1 alone add up to the width, exactly. What a group may lack unseen is
    # counted as a 40,000th of a row less: thousands of groups lose no row together.
    lengths = torch.linalg.vector_norm(groups, dim=2)
    return lengths < math.sqrt(groups.shape[2] - 1e-4)


def count_positive(values: Float32[Tensor, "s r"]) -> Int64[Tensor, " s"]:
    """How many values of each row are over 0, fast on a GPU."""
    # Eight flags of a byte are added as one number: no byte gets over 255 of 128 of them.
    step = 8 * 128
    whole = values.shape[1] // step * step
    flags = (values[:, :whole] > 0).view(len(values), whole // step, step).view(torch.int64)
    counted = flags.sum(dim=2).view(torch.uint8).sum(dim=1)
    return counted + (values[:, whole:] > 0).sum(dim=1)


def _tile(n: int, d: int, device: torch.device) -> tuple[int, int]:
    """How many states and rows have their scores computed together."""
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    tile = TILE_BYTES.get(device.type, cosines.BLOCK_BYTES)
    scores = threads * tile // 4
    n_states = min(n, max(1, scores // ROWS_AT_ONCE))
    n_rows = min(scores // n_states, max(tile, cosines.BLOCK_BYTES) // (4 * d))
    return n_states, max(1, n_rows if n_rows < GROUP else n_rows // GROUP * GROUP)


class Best:
    """The largest leads of each state and their rows; -inf where there is none.

    Those that are large enough wait until they are many, and are then sorted into the list.
    """

    def __init__(self, n: int, keep: int, device: torch.device) -> None:
        self.leads = torch.full((n, keep), -torch.inf, device=device)
        self.rows = torch.zeros(n, keep, dtype=torch.int64, device=device)
        self._least = torch.full((n,), -torch.inf, device=device)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def take(self, leads: Float32[Tensor, "s r"], first_state: int, first_row: int) -> None:
        """Look at a tile of leads, of which most groups have none that is large enough."""
        n, keep = self.leads.shape
        # Columns far from each other, which lie in line for the largest of many groups at once.
        columns = leads.view(len(leads), SPREAD if leads.shape[1] % SPREAD == 0 else 1, -1)
        maxima = columns.amax(dim=1)
        least = self._least[first_state : first_state + len(leads)]
        if first_row == 0 and maxima.shape[1] >= keep:
            least = maxima.topk(keep, dim=1).values[:, -1]  # so many leads are no smaller
        state, group = (maxima >= least[:, None]).nonzero(as_tuple=True)
        picked = columns[state, :, group]
        index, place = (picked >= least[state, None]).nonzero(as_tuple=True)
        rows = first_row + place * maxima.shape[1] + group[index]
        self._waiting.append((first_state + state[index], rows, picked[index, place]))
        if sum(len(rows) for _, rows, _ in self._waiting) > n * keep:
            self.sort()

    def sort(self) -> None:
        """Bring what waits into the list, the largest first."""
        if not self._waiting:
            return
        state, rows, leads = (torch.cat(column) for column in zip(*self._waiting, strict=True))
        self._waiting = []
        n, keep = self.leads.shape
        order = state.argsort(stable=True)
        state, rows, leads = state[order], rows[order], leads[order]
        counts = torch.bincount(state, minlength=n)
        ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        column = torch.arange(len(state), device=state.device) - ends[state]
        width = max(1, int(counts.max()))
        # One state may have as many as all others together.
        for part in slices(n, PLACES // width):
            first, last = int(ends[part.start]), int(ends[part.stop])
            at = state[first:last] - part.start, column[first:last]
            room = leads.new_full((part.stop - part.start, width), -torch.inf)
            room[at] = leads[first:last]
            numbers = rows.new_zeros(room.shape)
            numbers[at] = rows[first:last]
            both = torch.cat([self.leads[part], room], dim=1)
            self.leads[part], index = both.topk(keep, dim=1)
            self.rows[part] = torch.cat([self.rows[part], numbers], dim=1).gather(1, index)
        self._least = self.leads[:, -1]


def _nearest(states: Tensor, matrix: Matrix, best: Best, k: int) -> tuple[Tensor, Tensor]:
    """The k closest rows of each state and their cosines, in order."""
    state, place = (best.leads > -torch.inf).nonzero(as_tuple=True)
    cosine = torch.full_like(best.leads, -2, dtype=torch.float64)
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
