"""Where states stand among the rows of a matrix, by cosine: how many rows are closer, and which.

The vocabulary is never sorted and scores are never kept: a rank is a count over blocks of rows.
Scores are float32 products of unit vectors. Where one is so near to that of a state's own row that
rounding could decide, the pair is decided in float64, so that ranks depend neither on the hardware
nor on the size of the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from ..errors import TokentrailsError

STATES_AT_ONCE = 2048
# Most bytes of one block: of scores, and of rows.
BLOCK_BYTES = 16 << 20
# Most bytes of the float64 copies of pairs: on a CPU they stay in its cache.
PAIR_BYTES = {"cpu": 2 << 20}
# Rows in a group of which only the largest score is looked at first.
GROUP = 32
# Further rows whose exact cosine is looked at, in case rounding has changed their order.
SPARE = 8
# Cosines that differ by less are equal: what float64 leaves of a row and of twice the same row.
TIE = 1e-12


@dataclass(frozen=True)
class Closest:
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
    states: on the device that is to compute.
    rows: the matrix, on the same device.
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
    matrix = _Matrix(rows, valid, offset)
    most = min(k, int(matrix.valid.sum()))
    parts = []
    for start in range(0, len(states), STATES_AT_ONCE):
        some = slice(start, start + STATES_AT_ONCE)
        parts.append(_closest(states[some], own[some], matrix, most))
    if not parts:
        none = torch.empty(0, dtype=torch.int64, device=states.device)
        parts = [Closest(none.double(), none, none[:, None], none[:, None].double())]
    names = ("cosine", "rank", "nearest", "nearest_cosine")
    return Closest(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def refuse_non_finite(name: str, values: Tensor) -> None:
    """Raise for vectors, called by a name, with a NaN or an infinity."""
    # A sum is finite exactly when all is, unless it overflows; only then look closer.
    if not values.sum().isfinite() and not values.isfinite().all():
        raise TokentrailsError(
            f"a {name} has values that are not finite",
            where="the cosines with the vocabulary",
            hint="run the model in float32 (extract.dtype), or check its weights.",
        )


class _Matrix:
    """The rows to compare with, an offset added, those that take part, and their lengths."""

    def __init__(self, rows: Tensor, valid: Tensor, offset: Tensor | None) -> None:
        self.rows, self.offset = rows, offset
        self.inverse = torch.empty(len(rows), 1, device=rows.device)
        for part in slices(len(rows), 4 * rows.shape[1]):
            lengths = torch.linalg.vector_norm(self._moved(part), dim=1, keepdim=True)
            self.inverse[part] = torch.where(lengths > 0, 1 / lengths, 0)
        self.valid = valid & (self.inverse[:, 0] > 0)

    def unit(self, part: slice) -> Float32[Tensor, "some d"]:
        """Some rows with length 1; rows that do not take part may be anything finite."""
        return self._moved(part) * self.inverse[part]

    def exact(self, index: Int64[Tensor, " p"]) -> Float64[Tensor, "p d"]:
        picked = self.rows[index].double()
        return picked if self.offset is None else picked + self.offset

    def _moved(self, part: slice) -> Tensor:
        return self.rows[part] if self.offset is None else self.rows[part] + self.offset


def _closest(states: Tensor, own: Tensor, matrix: _Matrix, k: int) -> Closest:
    numbers = torch.arange(len(states), device=states.device)
    cosine = _cosines(states, matrix, numbers, own)
    unit = directions(states)
    threshold = torch.nan_to_num(cosine, nan=2.0)
    margin = rounding(states.shape[1])
    tops: list[tuple[Tensor, Tensor]] = []
    counts, pairs = _count(unit, matrix, threshold, margin, k + SPARE if k else 0, tops)
    rank = counts + _decide(states, matrix, pairs, cosine)
    rank = torch.where(cosine.isnan() | ~matrix.valid[own], -1, rank)
    nearest, nearest_cosine = _nearest(states, matrix, tops, k)
    cosine = torch.where(rank < 0, torch.nan, cosine)
    return Closest(cosine, rank, nearest, nearest_cosine)


def directions(vectors: Float32[Tensor, "*n d"]) -> Float32[Tensor, "*n d"]:
    """Vectors of length 1; of zeros if they have no direction."""
    # First to a largest entry of 1: the squares of large numbers would be too large for float32.
    largest_is_1 = torch.nn.functional.normalize(vectors, p=math.inf, dim=-1)
    return torch.nn.functional.normalize(largest_is_1, dim=-1)


def rounding(width: int) -> float:
    """How far a float32 product of unit vectors may be from the true cosine.

    8 sqrt(d) u, plus 4 u for the vectors' own rounding, with u = 2^-24: a bound that holds for all
    but a share of 1e-11 of the products (Higham and Mary 2019, "A new approach to probabilistic
    rounding error analysis", theorem 2.4).
    """
    return (8 * math.sqrt(width) + 4) * 2.0**-24


def count_closer_blocked(
    states: Float32[Tensor, "n d"],
    rows: Float32[Tensor, "v d"],
    own: Float[Tensor, " n"],
    eps: float,
    valid: Bool[Tensor, " v"],
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, "c 2"]]:
    """How many rows are surely closer to each state, and the pairs that are too near to tell.

    Parameters
    ----------
    states, rows: of length 1.
    own: the cosine of each state with its own row.
    eps: cosines that differ by less are too near.
    valid: which rows take part.

    Returns
    -------
    Counts of rows with a score over own + eps, and (state, row) of the scores within eps of own.
    """
    return _count(states, _Matrix(rows, valid, None), own, eps, 0, [])


def _count(
    unit: Tensor,
    matrix: _Matrix,
    own: Tensor,
    eps: float,
    keep: int,
    tops: list[tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """`count_closer_blocked`, which also puts each block's `keep` largest scores into `tops`."""
    n, device = len(unit), unit.device
    above, below = (own + eps).float()[:, None], (own - eps).float()[:, None]
    counts = torch.zeros(n, dtype=torch.int64, device=device)
    pairs = [torch.empty(0, 2, dtype=torch.int64, device=device)]
    width = _block_width(n, unit.shape[1])
    buffer, flags = torch.empty(2, n, width, device=device)
    for part in _slices_of(len(matrix.rows), width):
        scores = _scores(unit, matrix, part, buffer)
        if keep:
            values, columns = largest(scores, keep)
            tops.append((values, columns + part.start))
        # Flags are floats, 0 and 1: torch compares and adds them several times faster than bools.
        closer = torch.gt(scores, above, out=flags)
        counts += closer.sum(dim=1).long()
        near = scores.ge_(below).sub_(closer)
        pairs.append(_true_places(near) + torch.tensor([0, part.start], device=device))
    return counts, torch.cat(pairs)


def _scores(unit: Tensor, matrix: _Matrix, part: slice, buffer: Tensor) -> Tensor:
    """Scores of some rows; -2, less than any cosine, for what is no row or takes no part."""
    rows, valid = matrix.unit(part), matrix.valid[part]
    if len(rows) < buffer.shape[1]:
        missing = buffer.shape[1] - len(rows)
        rows = torch.nn.functional.pad(rows, (0, 0, 0, missing))
        valid = torch.nn.functional.pad(valid, (0, missing))
    torch.mm(unit, rows.T, out=buffer)
    if not valid.all():
        buffer[:, ~valid] = -2
    return buffer


def _block_width(n: int, d: int) -> int:
    """Rows in a block: a multiple of `GROUP`, at least one, with scores and rows in their room."""
    fitting = BLOCK_BYTES // (4 * max(n, d, 1))
    return max(1, fitting // GROUP) * GROUP


def _slices_of(total: int, width: int) -> Iterator[slice]:
    for start in range(0, total, width):
        yield slice(start, min(start + width, total))


def slices(total: int, bytes_each: int, room: int = BLOCK_BYTES) -> Iterator[slice]:
    """Parts of `total` things, of so many bytes each, that fit into some room."""
    return _slices_of(total, max(1, room // bytes_each))


def _true_places(flags: Float32[Tensor, "n w"]) -> Int64[Tensor, "c 2"]:
    """Row and column of the flags that are 1, of which there are few: first the groups with any."""
    groups = flags.view(len(flags), -1, GROUP)
    row, group = groups.amax(dim=2).nonzero(as_tuple=True)
    which, column = groups[row, group].nonzero(as_tuple=True)
    return torch.stack([row[which], group[which] * GROUP + column], dim=1)


def largest(
    scores: Float32[Tensor, "n w"], keep: int
) -> tuple[Float32[Tensor, "n k"], Int64[Tensor, "n k"]]:
    """The largest scores of each row, and their columns. Their number is a multiple of `GROUP`.

    They lie in the groups with the largest maxima, so that most scores are looked at only once.
    """
    groups = scores.view(len(scores), -1, GROUP)
    best = groups.amax(dim=2).topk(min(keep, groups.shape[1]), dim=1).indices
    inside = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)
    values, at = inside.topk(min(keep, inside.shape[1]), dim=1)
    return values, best.gather(1, at // GROUP) * GROUP + at % GROUP


def _decide(states: Tensor, matrix: _Matrix, pairs: Tensor, cosine: Tensor) -> Int64[Tensor, " n"]:
    """How many of the pairs that were too near to tell are closer than the own row, in float64."""
    state, row = pairs.T
    closer = _cosines(states, matrix, state, row) > cosine[state] + TIE
    return torch.bincount(state[closer], minlength=len(states))


def _nearest(
    states: Tensor, matrix: _Matrix, tops: list[tuple[Tensor, Tensor]], k: int
) -> tuple[Tensor, Tensor]:
    """The k closest rows of each state and their cosines, in order."""
    n, device = len(states), states.device
    if not tops:
        empty = torch.empty(n, 0, device=device)
        return empty.long(), empty.double()
    values = torch.cat([values for values, _ in tops], dim=1)
    rows = torch.cat([rows for _, rows in tops], dim=1)
    at = values.topk(min(k + SPARE, values.shape[1]), dim=1).indices
    rows, values = rows.gather(1, at), values.gather(1, at)
    numbers = torch.arange(n, device=device).repeat_interleave(rows.shape[1])
    taking_part = values.flatten() > -2
    cosine = torch.full((rows.numel(),), -2.0, dtype=torch.float64, device=device)
    cosine[taking_part] = _cosines(
        states, matrix, numbers[taking_part], rows.flatten()[taking_part]
    )
    return in_order(rows, cosine.view_as(rows), k)


def in_order(
    rows: Int64[Tensor, "n c"], cosine: Float64[Tensor, "n c"], k: int
) -> tuple[Int64[Tensor, "n k"], Float64[Tensor, "n k"]]:
    """The k closest of some rows and their cosines, the closest first; equal ones by number."""
    # By number first: sorting by cosine is stable, so that equal ones stay in this order.
    rows, order = rows.sort(dim=1)
    cosine = cosine.gather(1, order)
    order = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
    return rows.gather(1, order), cosine.gather(1, order)


def _cosines(
    states: Tensor, matrix: _Matrix, state: Int64[Tensor, " p"], row: Int64[Tensor, " p"]
) -> Float64[Tensor, " p"]:
    """Cosines of pairs in float64; NaN where one of them has no direction."""
    result = torch.empty(len(state), dtype=torch.float64, device=states.device)
    room = PAIR_BYTES.get(states.device.type, BLOCK_BYTES)
    for some in slices(len(state), 8 * states.shape[1], room):
        x, e = states[state[some]].double(), matrix.exact(row[some])
        norms = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(e, dim=1)
        # Summed by row, so that equal rows give equal sums whatever lies around them.
        cosine = (x * e).sum(dim=1) / norms
        result[some] = torch.where(norms > 0, cosine.clamp(-1, 1), torch.nan)
    return result
