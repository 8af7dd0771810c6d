"""Intervals of words and contexts that are resampled together, and what a loop would take."""

import time
from collections.abc import Callable, Iterator

import numpy as np
from harness import Measured

from tokentrails.statistics.bootstrap import Bootstrap, Crossing, means

WORDS, CONTEXTS, LAYERS = 60, 12, 31
DRAWS, FEW = 10_000, 100


def resampled(values: np.ndarray, crossing: Crossing) -> None:
    """The mean of every layer over resampled words and contexts, with its interval."""
    bootstrap = Bootstrap(DRAWS, 0.95, 0)
    bootstrap.interval(bootstrap.resample_crossed(means(values), crossing, (1,)), CONTEXTS)


def plain_loop(values: np.ndarray) -> None:
    """The same means, a sample at a time."""
    rng = np.random.default_rng(0)
    cells = values.reshape(LAYERS, WORDS, CONTEXTS)
    for _ in range(FEW):
        words, contexts = (rng.integers(n, size=n) for n in (WORDS, CONTEXTS))
        cells[:, words][:, :, contexts].mean(axis=(1, 2))


def seconds(work: Callable[..., None], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def results() -> Iterator[Measured]:
    word, context = (unit.ravel() for unit in np.indices((WORDS, CONTEXTS)))
    values = np.random.default_rng(0).uniform(-1, 1, size=(LAYERS, len(word)))
    crossing = Crossing([(word,), (context,)])
    resampled(values, crossing)  # warms up
    ours = seconds(resampled, values, crossing)
    yield Measured(
        "10,000 samples of words and contexts, 60 × 12 at 31 layers", ours, "s", at_most=10
    )
    loop = seconds(plain_loop, values) / FEW * DRAWS
    yield Measured(
        "samples of words and contexts, against a loop over samples", loop / ours, "times as fast"
    )
