"""Student's t, by itself and as what it makes of percentile intervals over few units."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Float64

from .permutation import TIE


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


def t_interval(
    values: Float[np.ndarray, units * curves], confidence: float
) -> tuple[Float64[np.ndarray, " *curves"], Float64[np.ndarray, " *curves"]]:
    """Lower and upper end of the interval of a mean over units.

    NaN where a unit has no value, or all have the same, which says nothing about others. For so few
    units that samples of them are no distribution, such as trainings of one model.

    Parameters
    ----------
    values: of two units or more.
    """
    units = len(values)
    error = values.std(axis=0, ddof=1, dtype=np.float64) / math.sqrt(units)
    error = np.where(np.ptp(values, axis=0) <= TIE, np.nan, error)
    mean, reach = values.mean(axis=0, dtype=np.float64), t_quantile(confidence, units - 1) * error
    return mean - reach, mean + reach


def p_of_mean(values: Float[np.ndarray, " units"]) -> float:
    """One-sided p of a mean above 0, by Student's t over two units or more; 1 of equal values."""
    from scipy.special import stdtr

    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return float(stdtr(len(values) - 1, -mean / error)) if error else 1.0
