"""What a benchmark gives: a number with its unit, and what is required of it."""

from typing import NamedTuple


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
