"""Logarithmic axes: of ranks, which hold rank 0, of factors, and of lengths and the like.

A rank stands at log10(1 + rank), its *place*.
"""

import math
from collections.abc import Iterable, Sequence

import altair as alt

_RANKS = (0, 1, *(10**power for power in range(1, 8)))
_DECADES = [10.0**power for power in range(-7, 8)]
_FACTORS = (
    _DECADES,
    [step * decade for decade in _DECADES for step in (1, 2, 5)],
    [*(tenths / 10 for tenths in range(5, 13)), 1.5, 2.0],
)
_NUMBERS = [
    [step * decade for decade in _DECADES for step in steps]
    for steps in (
        *((1, 3), (1, 2, 5), range(1, 10)),
        *([tenths / 10 for tenths in range(10, 100, step)] for step in (5, 2, 1)),
    )
]

# What ticks say, in Vega's words: the rank at a place (0, 10, 1k), and the factor between two
# places, given their difference (×0.1, ×1, ×2).
RANK_LABEL = "format(pow(10, datum.value) - 1, '.1~s')"
_FACTOR_LABEL = "'×' + format(pow(10, datum.value), '.2~r')"

NUMBER_LABEL = "format(pow(10, datum.value), datum.value < 3 ? '.2~r' : '.2~s')"
"""The number whose logarithm is at a place: 0.3, 100, 3k."""


def place(rank: float) -> float:
    """Where a rank stands."""
    return round(math.log10(1 + rank), 6)


def rank_ticks(low: float, high: float) -> list[float]:
    """The places of 0, 1, 10, 100, … from `low` to `high`, which are places too."""
    return _between(low, high, [place(rank) for rank in _RANKS])


def next_tick(place: float) -> float:
    """The first place of a tick, beyond that of 0, from a place on."""
    return next(tick for tick in rank_ticks(1e-6, 8) if tick >= place)


def rank_axis(low: float, high: float) -> alt.Axis:
    """The axis of a column of places."""
    return _axis(rank_ticks(low, high), RANK_LABEL)


def factor_axis(low: float, high: float) -> alt.Axis:
    """The axis of a column of differences of places, with at least three ticks if it can be."""
    return _axis(_enough(low, high, _FACTORS), _FACTOR_LABEL)


def number_ticks(low: float, high: float) -> list[float]:
    """The logarithms of round numbers: at least two, between numbers that are a quarter apart."""
    return _enough(low, high, _NUMBERS)


def number_axis(low: float, high: float) -> alt.Axis:
    """The axis of a column of logarithms to base 10."""
    return _axis(number_ticks(low, high), NUMBER_LABEL)


def _axis(ticks: list[float], label: str) -> alt.Axis:
    # Without their number Vega leaves some out; the extent lines up panels above one another.
    return alt.Axis(
        values=ticks, tickCount=len(ticks), labelExpr=label, labelOverlap=False, minExtent=40
    )


def _enough(low: float, high: float, choices: Iterable[Sequence[float]]) -> list[float]:
    """The ticks of the first choice that has three of them between two places."""
    for numbers in choices:
        ticks = _between(low, high, [round(math.log10(number), 6) for number in numbers])
        if len(ticks) >= 3:
            break
    return ticks


def _between(low: float, high: float, ticks: Sequence[float]) -> list[float]:
    return [tick for tick in ticks if low <= tick <= high]
