"""Student's t, and what it makes of percentile intervals over few units."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist


@cache
def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| < t) = confidence, at so many degrees of freedom."""
    from scipy.special import stdtrit  # here, since the import takes longer than most callers

    return float(stdtrit(freedom, (1 + confidence) / 2))


def expanded_tail(confidence: float, units: int) -> float:
    """The share of the resamples to leave out at each end, for means of few units.

    A percentile interval is that of a normal distribution whose variance is (n - 1) / n of what it
    should be. Percentiles further out make up for both: Φ(-√(n / (n - 1)) t), where t is Student's
    at n - 1 degrees of freedom (Hesterberg 2015, "What teachers should know about the bootstrap",
    section 3.5).

    Parameters
    ----------
    units: n, at least 2, that are resampled.
    """
    reach = math.sqrt(units / (units - 1)) * t_quantile(confidence, units - 1)
    return NormalDist().cdf(-reach)


def p_of_tail(share: float, units: int) -> float:
    """One-sided p where so large a share of the resamples lies on the wrong side of a threshold.

    The inverse of `expanded_tail`: below α exactly where the interval of confidence 1 - 2α lies on
    the right side as a whole.

    Parameters
    ----------
    share: between 0 and 1, both excluded.
    units: n, at least 2, that were resampled.
    """
    from scipy.special import stdtr

    reach = NormalDist().inv_cdf(share) * math.sqrt((units - 1) / units)
    return float(stdtr(units - 1, reach))
