"""The kernel of ranks against a slow double-precision count, in Triton's interpreter.

The interpreter must be on before triton is imported, by anything: so all runs are in a process of
their own, which gets and gives NumPy arrays.
"""

import importlib.util
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from kernel_ptx import compiled

from tokentrails import rank_kernel
from tokentrails.rank_kernel import FLOAT32, HALF, INTERPRETED, Tiles, available, count_closer

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed; it has wheels for Linux only",
)


def count(states, rows, own, eps, valid, dtype="float32", tiles=INTERPRETED):
    """`count_closer` on NumPy arrays; runs in the other process."""
    rank_kernel.INTERPRETED = tiles
    vectors = [torch.from_numpy(side).to(getattr(torch, dtype)) for side in (states, rows)]
    own = torch.from_numpy(own.astype(np.float32))
    counts, candidates = count_closer(*vectors, own, eps, torch.from_numpy(valid))
    return counts.numpy(), candidates.numpy()


def tuned_count(*arguments):
    """`count` where two tile sizes are tried three times each before the result counts."""
    from triton.runtime.autotuner import Autotuner

    calls = []

    def bench(call, quantiles):
        calls.extend(call() for _ in range(3))
        return [1.0 / len(calls)] * 3  # the second is the faster one

    Autotuner.do_bench = property(lambda self: bench)
    tiles = (Tiles(16, 32, 16, 3, 4, 1), Tiles(32, 16, 32, 1, 4, 1))
    return *count(*arguments, tiles=tiles), len(calls)


@contextmanager
def process(**environment):
    """Calls functions in one other process, started with these environment variables or without."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            yield lambda function, *args, **more: pool.submit(function, *args, **more).result()


@pytest.fixture(scope="module")
def run():
    with process(TRITON_INTERPRET="1") as call:
        yield call


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def problem(n, v, d, seed=0):
    """States that lean towards rows of their own, which may be the same row."""
    random = np.random.default_rng(seed)
    rows = unit(random.standard_normal((v, d)))
    own = random.integers(v, size=n)
    states = unit(random.standard_normal((n, d)) + random.uniform(0, 3, (n, 1)) * rows[own])
    return states, rows, own


def scores_of(states, rows):
    """Every score in float64, each summed in the same order."""
    return (states[:, None].astype(np.float64) * rows[None].astype(np.float64)).sum(axis=2)


def check(run, states, rows, own, valid=None, eps=None, **options):
    """Counts and decided candidates are the exact ranks, and the candidates are the near pairs.

    Rounding errors are taken to be below half of eps.
    """
    n, v = len(states), len(rows)
    valid = np.ones(v, dtype=bool) if valid is None else valid
    eps = 8 * states.shape[1] ** 0.5 * 2**-24 if eps is None else eps
    scores = scores_of(states, rows)
    own_scores = scores[np.arange(n), own]
    counts, candidates = run(count, states, rows, own_scores, eps, valid, **options)
    assert counts.dtype == candidates.dtype == np.int64
    assert counts.shape == (n,) and candidates.shape[1:] == (2,)

    listed = np.zeros((n, v), dtype=int)
    np.add.at(listed, tuple(candidates.T), 1)
    distance = np.abs(scores - own_scores[:, None])
    assert listed.max(initial=0) <= 1
    assert (listed[:, valid] == 1)[distance[:, valid] < eps / 2].all()
    assert not listed[:, ~valid].any() and not listed[distance > 1.5 * eps].any()

    closer = (scores > own_scores[:, None]) & valid
    decided = np.bincount(candidates[:, 0][closer[tuple(candidates.T)]], minlength=n)
    assert (counts + decided).tolist() == closer.sum(axis=1).tolist()
    return counts, candidates


EDGES = [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]


@needs_triton
@pytest.mark.parametrize("size", EDGES)
def test_any_number_of_states_rows_and_components(run, size):
    check(run, *problem(size, 40, 17))
    check(run, *problem(20, size, 17))
    check(run, *problem(20, 40, size))


@needs_triton
@pytest.mark.parametrize(("n", "v", "d"), [(1, 1, 1), (3, 70, 1), (70, 100, 100), (600, 70, 4)])
def test_several_tiles_and_bands(run, n, v, d):
    """600 states are more than a band of the tile order."""
    assert n < 600 or n > 2 * rank_kernel.BAND * INTERPRETED[0].n
    check(run, *problem(n, v, d))


@needs_triton
def test_no_states(run):
    counts, candidates = check(run, *problem(0, 5, 3))
    assert len(counts) == len(candidates) == 0


@needs_triton
def test_rows_that_do_not_count_may_hold_anything(run):
    """Zero rows would be closer than an own row that points away."""
    states, rows, own = problem(40, 90, 20)
    states = -states
    clean = check(run, states, rows, own)
    valid = np.ones(len(rows) + 12, dtype=bool)
    valid[[3, *range(33, 39), *range(97, 102)]] = False
    filled = np.zeros((len(valid), 20), dtype=np.float32)
    filled[valid] = rows
    filled[34], filled[35], filled[36] = np.inf, np.nan, 3 * states[0]
    eps = 8 * 20**0.5 * 2**-24
    own_scores = scores_of(states, rows)[np.arange(40), own]
    counts, candidates = run(count, states, filled, own_scores, eps, valid)
    assert clean[0].max() > 60
    assert counts.tolist() == clean[0].tolist()
    places = np.flatnonzero(valid)
    assert candidates.tolist() == [[state, places[row]] for state, row in clean[1]]


@needs_triton
def test_ties_and_near_ties_are_listed(run):
    """Copies of a row, copies of another length, and rows one rounding away."""
    states, rows, own = problem(30, 50, 33)
    random = np.random.default_rng(1)
    lengths = np.exp(random.normal(size=(50, 1))).astype(np.float32)
    scaled = unit(rows * lengths)
    nudged = np.nextafter(rows, random.choice([-2, 2], size=rows.shape).astype(np.float32))
    _, candidates = check(run, states, np.concatenate([rows, rows, scaled, nudged]), own)
    mine = {(state, own[state] + 50 * copy) for state in range(30) for copy in range(4)}
    assert mine <= {tuple(pair) for pair in candidates}


@needs_triton
@pytest.mark.parametrize("sign", [1, -1])
def test_rows_around_the_bound(run, sign):
    """In two dimensions, so that a score is set to an ulp: inside, and surely outside."""
    eps = 1e-4
    wanted = 0.3 + eps * np.array([0, -3, -2, -1.1, -0.9, -0.5, 0.5, 0.9, 1.1, 2, 3])
    rows = np.stack([sign * wanted, np.sqrt(1 - wanted**2)], axis=1).astype(np.float32)
    states = np.array([[1, 0]] * 3, dtype=np.float32)
    counts, candidates = check(run, states, rows, np.zeros(3, dtype=int), eps=eps)
    assert counts.tolist() == [3] * 3
    assert candidates.tolist() == [[s, r] for s in range(3) for r in (0, 4, 5, 6, 7)]


@needs_triton
def test_a_score_at_the_bound_is_listed(run):
    """With numbers that float32 holds exactly."""
    scores = np.array([0.5, 0.75, 0.25, 0.75 + 2**-23, 0.25 - 2**-23], dtype=np.float32)
    states, own_scores = np.ones((2, 1), dtype=np.float32), np.full(2, 0.5)
    valid = np.ones(len(scores), dtype=bool)
    counts, candidates = run(count, states, scores[:, None], own_scores, 0.25, valid)
    assert candidates.tolist() == [[state, row] for state in (0, 1) for row in (0, 1, 2)]
    assert counts.tolist() == [1, 1]


@needs_triton
def test_room_for_candidates_grows(run):
    """All rows are one and the same: every pair is listed, in order."""
    n, v = 5, 75
    assert v > rank_kernel.CANDIDATES_PER_STATE
    rows = unit(np.ones((v, 6)))
    counts, candidates = check(run, problem(n, 1, 6)[0], rows, np.zeros(n, dtype=int))
    assert not counts.any()
    assert candidates.tolist() == [[state, row] for state in range(n) for row in range(v)]


@needs_triton
def test_half_precision_is_exact_for_the_rounded_vectors(run):
    """float16 only: the interpreter takes the bits of bfloat16 for integers."""
    states, rows, own = problem(35, 70, 40)
    rounded = [side.astype(np.float16).astype(np.float32) for side in (states, rows)]
    check(run, *rounded, own, dtype="float16")


@needs_triton
def test_choosing_a_tile_size_leaves_no_trace(run):
    states, rows, own = problem(40, 70, 20)
    own_scores = scores_of(states, rows)[np.arange(40), own]
    arguments = (states, rows, own_scores, 1e-5, np.ones(70, dtype=bool))
    counts, candidates = run(count, *arguments)
    tuned_counts, tuned_candidates, calls = run(tuned_count, *arguments)
    assert calls == 6
    assert tuned_counts.tolist() == counts.tolist()
    assert tuned_candidates.tolist() == candidates.tolist()


@needs_triton
def test_it_compiles_for_a_gpu(tmp_path):
    """The interpreter accepts what the compiler does not. Which units multiply is seen here, too.

    Shared memory of a block: at most 99 KB on consumer GPUs (8.6), 227 KB on an H100 (9.0).
    """
    with process(TRITON_INTERPRET=None, TRITON_CACHE_DIR=str(tmp_path)) as call:
        ptx, shared = call(compiled, "fp32", FLOAT32[0]._asdict(), rank_kernel.BAND, 86)
        assert "fma.rn.f32" in ptx and "mma.sync" not in ptx and "tf32" not in ptx
        assert shared <= 99 * 1024
        ptx, shared = call(compiled, "bf16", HALF[0]._asdict(), rank_kernel.BAND, 90)
        assert "wgmma.mma_async" in ptx and shared <= 227 * 1024


@pytest.mark.parametrize("choices", [FLOAT32, HALF, INTERPRETED])
def test_tile_sizes_share_one_padding(choices):
    """Each divides the largest, to which the columns are padded."""
    for sizes in zip(*((tiles.n, tiles.v, tiles.d) for tiles in choices), strict=True):
        assert all(max(sizes) % size == 0 for size in sizes)


def test_where_it_is_available(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert not available(cpu)
    for capability, enough in [((7, 5), False), ((8, 0), True), ((9, 0), True)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert available(cuda) == enough
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert available(cpu)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not available(cpu) and not available(cuda)
