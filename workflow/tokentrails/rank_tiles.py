"""The Triton kernel of `rank_kernel`: one tile of scores after another, and none of them written.

Only this file needs triton, and only `rank_kernel.count_closer` imports it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["n", "v", "capacity"])
def count_tiles(
    states: tl.tensor,
    rows: tl.tensor,
    own: tl.tensor,
    counts: tl.tensor,
    candidates: tl.tensor,
    found: tl.tensor,
    n: tl.tensor,
    n_stride: tl.tensor,
    v: tl.tensor,
    v_stride: tl.tensor,
    depth: tl.tensor,
    eps: tl.tensor,
    capacity: tl.tensor,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
    BAND: tl.constexpr,
) -> None:
    """One tile of states against GROUP tiles of rows; the grid is 1-D, state tiles x groups.

    Parameters
    ----------
    states, rows: pointers to (depth, n_stride) and (depth, v_stride): one vector a column, padded
        to whole tiles, with zeros below the last component and NaN in rows that do not count.
    own: pointer to n_stride scores of the states' own rows; NaN beyond n.
    counts: pointer to n zeros; how many rows are surely closer is added.
    candidates: pointer to `capacity` free places for state * v + row.
    found: pointer to a zero; how many candidates there are is added, kept or not.
    n, v, depth: states, rows, components with padding (a multiple of BLOCK_D).
    eps: bound of a score's rounding error.
    """
    # A band of state tiles meets all rows before the next band does, and its programs that run at
    # one time share few tiles of rows: what they read stays in the L2 cache.
    groups = tl.cdiv(tl.cdiv(v, BLOCK_V), GROUP)
    band = tl.program_id(0) // (BAND * groups) * BAND
    height = tl.minimum(tl.cdiv(n, BLOCK_N) - band, BAND)
    place = tl.program_id(0) % (BAND * groups)
    state = (band + place % height) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = place // height * GROUP

    own_score = tl.load(own + state)
    lower = (own_score - eps)[:, None]
    upper = (own_score + eps)[:, None]
    part = tl.arange(0, BLOCK_D)
    closer = tl.zeros((BLOCK_N,), tl.int32)
    for tile in range(first, tl.minimum(first + GROUP, tl.cdiv(v, BLOCK_V))):
        row = tile * BLOCK_V + tl.arange(0, BLOCK_V)
        left = states + part[None, :] * n_stride + state[:, None]
        right = rows + part[:, None] * v_stride + row[None, :]
        score = tl.zeros((BLOCK_N, BLOCK_V), tl.float32)
        for _ in range(0, depth, BLOCK_D):
            score = tl.dot(tl.load(left), tl.load(right), score, input_precision="ieee")
            left += BLOCK_D * n_stride
            right += BLOCK_D * v_stride

        # NaN is neither above nor below anything. Sums of floats, since the comparison gives one
        # in a single instruction; no tile has so many rows that they would be rounded.
        above = tl.sum((score > upper).to(tl.float32), axis=1).to(tl.int32)
        near = tl.sum((score >= lower).to(tl.float32), axis=1).to(tl.int32) - above
        closer += above

        # A turn takes one candidate of each state, the first row after the last one taken. Most
        # tiles need none or one.
        at = tl.full((BLOCK_N,), -1, tl.int32)
        for turn in range(tl.max(near, axis=0)):
            later = (score >= lower) & (score <= upper) & (row[None, :] > at[:, None])
            at = tl.min(tl.where(later, row[None, :], 2147483647), axis=1)
            more = turn < near
            counter = found + tl.zeros((BLOCK_N,), tl.int32)
            slot = tl.atomic_add(counter, 1, mask=more, sem="relaxed")
            pair = state.to(tl.int64) * v + at
            tl.store(candidates + slot, pair, mask=more & (slot < capacity))
    tl.atomic_add(counts + state, closer.to(tl.int64), mask=state < n, sem="relaxed")
