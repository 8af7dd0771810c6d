"""Times of works that compete on one machine."""

import time
from collections.abc import Callable


def fastest(*works: Callable[[], object], times: int = 3) -> list[float]:
    """The shortest time of each work in seconds, taken in turns so that all meet the same noise."""
    shortest = [float("inf")] * len(works)
    for turn in range(times + 1):
        for index, work in enumerate(works):
            start = time.perf_counter()
            work()
            if turn:  # the first turn warms up
                shortest[index] = min(shortest[index], time.perf_counter() - start)
    return shortest
