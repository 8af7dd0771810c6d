"""The axis of ranks: logarithmic, and it holds rank 0.

A rank stands at log10(1 + rank), its *place*.
"""

import math
from collections.abc import Sequence

import altair as alt

_RANKS = (0, 1, *(10**power for power in range(1, 8)))
_DECADES = [10.0**power for power in range(-7, 8)]
_FACTORS = (
    _DECADES,
    [step * decade for decade in _DECADES for step in (1, 2, 5)],
    [*(tenths / 10 for tenths in range(5, 13)), 1.5, 2.0],
)

# What ticks say, in Vega's words: the rank at a place (0, 10, 1k), and the factor between two
# places, given their difference (×0.1, ×1, ×2).
RANK_LABEL = "format(pow(10, datum.value) - 1, '.1~s')"
_FACTOR_LABEL = "'×' + format(pow(10, datum.value), '.2~r')"


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
    for factors in _FACTORS:
        ticks = _between(low, high, [round(math.log10(factor), 6) for factor in factors])
        if len(ticks) >= 3:
            break
    return _axis(ticks, _FACTOR_LABEL)


def _axis(ticks: list[float], label: str) -> alt.Axis:
    # Without their number Vega leaves some out; the extent lines up panels above one another.
    return alt.Axis(
        values=ticks, tickCount=len(ticks), labelExpr=label, labelOverlap=False, minExtent=40
    )


def _between(low: float, high: float, ticks: Sequence[float]) -> list[float]:
    return [tick for tick in ticks if low <= tick <= high]
