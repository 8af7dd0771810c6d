"""What all benchmarks share: measured numbers, times of works that compete, memory, processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """One number, measured.

    Parameters
    ----------
    what: what was measured, and against what, in words.
    value: a ratio of times within one run, or an amount.
    unit: how to read it: "times as fast", "of its speed", "of its time", "slope", "MB", "s".
    at_least, at_most: what is required, if anything is.
    """

    what: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None


class Skipped(Exception):
    """This machine lacks what the benchmark is about."""


def fastest(*works: Callable[[], object], times: int = 3, seconds: float = 60) -> list[float]:
    """The shortest time of each work in seconds, taken in turns so that all meet the same noise.

    There are at least so many turns, and more within so many seconds: a ratio of two short works
    would else be one of noise.
    """
    shortest = [float("inf")] * len(works)
    begun, turn = time.perf_counter(), 0
    while turn <= times or time.perf_counter() - begun < seconds:
        for index, work in enumerate(works):
            start = time.perf_counter()
            work()
            if turn:  # the first turn warms up
                shortest[index] = min(shortest[index], time.perf_counter() - start)
        turn += 1
    print("  " + ", ".join(f"{seconds:.2f} s" for seconds in shortest), file=sys.stderr)
    return shortest


def own_process(file: str, *arguments: object) -> Any:
    """What a benchmark prints as JSON when it runs by itself, with a memory of its own.

    It has numpy's threads as jobs have them: one.
    """
    command = [sys.executable, file, *map(str, arguments)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> float:
    """Most memory in MB that this process has had.

    Not as `getrusage` has it, which counts what a parent had when it started this one.
    """
    return _status("VmHWM")


def memory() -> float:
    """Memory in MB that this process has."""
    return _status("VmRSS")


def extra_memory(work: Callable[[], object]) -> float:
    """Most memory in MB that this process takes while it works, beyond what it had before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = memory()
    work()
    return _status("VmHWM") - before


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(key))
    return int(line.split()[1]) / 1024
