"""Student's t, without scipy: what the middle of its distribution reaches to."""

from __future__ import annotations

import math
from statistics import NormalDist


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| < t) = confidence, at so many degrees of freedom, by bisection."""
    low, high = 0.0, 1.0
    while _middle(high, freedom) < confidence:
        high *= 2
    while (between := (low + high) / 2) not in (low, high):
        if _middle(between, freedom) < confidence:
            low = between
        else:
            high = between
    return high


def expanded_tail(confidence: float, units: int) -> float:
    """How much of the draws' distribution to leave out at each end, for means of few units.

    A percentile interval is that of a normal distribution whose variance is (n - 1) / n of what it
    should be. Percentiles further out make up for both: Φ(-√(n / (n - 1)) t), where t is Student's
    at n - 1 degrees of freedom (Hesterberg 2015, "What teachers should know about the bootstrap",
    section 3.5).

    Parameters
    ----------
    units: n, at least 2, that are drawn anew.
    """
    reach = math.sqrt(units / (units - 1)) * t_quantile(confidence, units - 1)
    return NormalDist().cdf(-reach)


def _middle(t: float, freedom: int) -> float:
    """P(|T| < t): the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    if freedom == 1:
        return 2 * angle / math.pi
    term = total = cosine if odd else 1.0
    for k in range(1 + odd, freedom - 2, 2):
        term *= cosine**2 * k / (k + 1)
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
