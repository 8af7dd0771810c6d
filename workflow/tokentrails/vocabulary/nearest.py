"""Which rows of the vocabulary vectors are nearest to, by cosine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64
from torch import Tensor
from torch.nn import functional

from ..network.factored import Factored
from .cosines import directions, in_order, pair_slices, refuse_non_finite, slices

# Most bytes of the scores of one block of vectors, which has at least so many vectors.
SCORES_BYTES = 32 << 20
VECTORS_AT_ONCE = 64
# Most bytes of the rows as the heads of one block see them, d_head wide.
THIN_BYTES = 128 << 20
# Further entries whose exact cosine is looked at, in case rounding has changed their order.
SPARE = 4
# Most bytes of a tile of scores that are looked at again, for each of two threads or more: on a CPU
# they are still in its cache. On a GPU all are one tile.
TILE_BYTES = {"cpu": 256 << 10}
# Rows in a group of which only the largest score is looked at first: as many as fill the registers
# of a processor while it looks for it.
GROUP = 64


@dataclass(frozen=True, eq=False)
class Space:
    """Vocabulary rows to compare vectors with: gain * rows + shift, one for each entry.

    Attributes
    ----------
    name: as in the column `space`.
    entries: the number in the vocabulary of each entry that may be listed.
    rows: in their order, and zeros up to a multiple of `GROUP`.
    gain, shift: the weight and the bias of the norm that the rows go through.
    lengths: of gain * rows + shift.
    z: the vocabulary bias of each entry.
    """

    name: str
    entries: Int64[Tensor, " v"]
    rows: Float32[Tensor, "w d"]
    gain: Float32[Tensor, " d"]
    shift: Float32[Tensor, " d"]
    lengths: Float64[Tensor, " v"]
    z: Float32[Tensor, " v"]

    @cached_property
    def inverse(self) -> Float32[Tensor, " w"]:
        """1 / length of each row, 0 for what is no row."""
        inverse = torch.where(self.lengths > 0, 1 / self.lengths, 0).float()
        return functional.pad(inverse, (0, len(self.rows) - len(inverse)))


@dataclass(frozen=True)
class Nearest:
    """The entries that each vector is nearest to; one without a direction has NaN as cosines.

    Attributes
    ----------
    entries: their numbers in the vocabulary, the nearest first; equal ones by number. Of more than
        `SPARE` entries at the end of the list that float32 cannot tell apart, any may be in it.
    cosines: theirs.
    bias: mean |z| of each list.
    norms: lengths of the vectors.
    """

    entries: Int[np.ndarray, "n k"]
    cosines: Float64[np.ndarray, "n k"]
    bias: Float32[np.ndarray, " n"]
    norms: Float64[np.ndarray, " n"]


def nearest(vectors: Float32[Tensor, "n d"] | Factored, space: Space, k: int) -> Nearest:
    """The k entries of a space that vectors are nearest to, by cosine.

    Scores are float32, of one block of vectors at a time. What is listed has its cosine in float64,
    of the vectors multiplied out, so that both ways of scoring give the same.

    Parameters
    ----------
    vectors: on the space's device; those of factors head by head.
    k: less are listed if there are fewer entries.

    Raises
    ------
    TokentrailsError: if a vector has a NaN or an infinity.
    """
    whole = vectors.product().flatten(0, 1) if isinstance(vectors, Factored) else vectors
    refuse_non_finite("vector", whole)
    norms = torch.linalg.vector_norm(whole, dim=1, dtype=torch.float64)
    keep = min(k + SPARE, len(space.entries))
    if isinstance(vectors, Factored) and not vectors.multiplying_out_is_cheaper(len(space.rows)):
        near = _by_thin_factors(vectors, norms, space, keep)
    else:
        near = _directly(whole, space, keep)
    near, cosines = in_order(near, _cosines(whole, norms, space, near), min(k, keep))
    found = space.entries[near], cosines, space.z[near].abs().mean(dim=1), norms
    return Nearest(*(column.cpu().numpy() for column in found))


def _directly(vectors: Tensor, space: Space, keep: int) -> Int64[Tensor, "n k"]:
    """The rows with the largest scores: products of d dimensions."""
    unit = directions(vectors)
    offset = (unit @ space.shift)[:, None] if space.shift.any() else None

    def finish(scores: Tensor, part: slice, tile: slice) -> None:
        if offset is not None:
            scores.add_(offset[part])
        scores.mul_(space.inverse[tile])

    room = _room(len(unit), space)
    return _largest_of(unit * space.gain, space.rows, space, keep, room, finish)


def _by_thin_factors(
    vectors: Factored, norms: Tensor, space: Space, keep: int
) -> Int64[Tensor, "n k"]:
    """The same by products of d_head dimensions: of left with right @ row."""
    heads, t, d_head = vectors.left.shape
    lengths = norms.view(heads, t, 1)
    left = torch.where(lengths > 0, vectors.left / lengths, 0).float()
    near = torch.empty(heads, t, keep, dtype=torch.int64, device=left.device)
    matrices = sorted(set(vectors.matrix))
    room = _room(t * max(map(vectors.matrix.count, matrices)), space)
    for part in slices(len(matrices), THIN_BYTES // (4 * len(space.rows) * d_head)):
        right = vectors.right[matrices[part]].flatten(0, 1)
        thin = torch.addmm(right @ space.shift, space.rows, (right * space.gain).T)
        thin = thin.mul_(space.inverse[:, None]).unflatten(1, (-1, d_head))
        for index, matrix in enumerate(matrices[part]):
            group = [head for head in range(heads) if vectors.matrix[head] == matrix]
            found = _largest_of(left[group].flatten(0, 1), thin[:, index], space, keep, room)
            near[group] = found.view(len(group), t, keep)
    return near.flatten(0, 1)


def _room(n: int, space: Space) -> Float32[Tensor, "m w"]:
    """For the scores of some of n vectors at a time: fresh memory costs as much as the scores."""
    at_once = max(VECTORS_AT_ONCE, SCORES_BYTES // (4 * len(space.rows)))
    return space.rows.new_empty(min(at_once, n), len(space.rows))


def _largest_of(
    vectors: Tensor,
    rows: Tensor,
    space: Space,
    keep: int,
    room: Tensor,
    finish: Callable[[Tensor, slice, slice], object] | None = None,
) -> Int64[Tensor, "n k"]:
    """The rows with the largest products with each vector, after `finish` has changed them."""
    threads = max(2, torch.get_num_threads())
    tiled = TILE_BYTES.get(rows.device.type) if finish else None
    near = torch.empty(len(vectors), keep, dtype=torch.int64, device=rows.device)
    for part in slices(len(vectors), len(room)):
        scores = room[: part.stop - part.start]
        maxima = scores.new_empty(len(scores), len(rows) // GROUP)
        each = threads * tiled // (4 * GROUP * len(scores)) if tiled else maxima.shape[1]
        for groups in slices(maxima.shape[1], each):
            tile = slice(groups.start * GROUP, groups.stop * GROUP)
            some = torch.mm(vectors[part], rows[tile].T, out=scores[:, tile])
            if finish:
                finish(some, part, tile)
            some[:, max(0, len(space.entries) - tile.start) :] = -torch.inf
            torch.amax(some.unflatten(1, (-1, GROUP)), dim=2, out=maxima[:, groups])
        near[part] = largest(scores, maxima, keep)
    return near


def largest(
    scores: Float32[Tensor, "n w"], maxima: Float32[Tensor, "n g"], keep: int
) -> Int64[Tensor, "n k"]:
    """The columns with the largest scores of each row: in the groups with the largest `maxima`."""
    groups = scores.unflatten(1, (-1, GROUP))
    n, each = maxima.shape
    best = maxima.topk(min(keep, each), dim=1).indices
    inside = torch.arange(GROUP, device=scores.device)
    columns = (best[:, :, None] * GROUP + inside).flatten(1)
    first = torch.arange(0, n * each, each, device=scores.device)[:, None]
    candidates = groups.flatten(0, 1).index_select(0, (first + best).flatten()).view(n, -1)
    return columns.gather(1, candidates.topk(keep, dim=1).indices)


def _cosines(
    vectors: Tensor, norms: Tensor, space: Space, near: Int64[Tensor, "n c"]
) -> Float64[Tensor, "n c"]:
    """Cosines of vectors with several rows each, in float64; NaN for one without a direction."""
    dots = torch.empty(near.shape, dtype=torch.float64, device=near.device)
    shift = space.shift.double() if space.shift.any() else None
    for part in pair_slices(len(near), near.shape[1] * vectors.shape[1], near.device):
        x, numbers = vectors[part].double(), near[part]
        # Several times as fast as space.rows[numbers].
        rows = space.rows.index_select(0, numbers.flatten()).view(*numbers.shape, -1)
        torch.sum(rows.double().mul_((x * space.gain)[:, None]), dim=2, out=dots[part])
        if shift is not None:
            dots[part] += (x @ shift)[:, None]
    lengths = norms[:, None] * space.lengths[near]
    return torch.where(lengths > 0, (dots / lengths).clamp(-1, 1), torch.nan)
