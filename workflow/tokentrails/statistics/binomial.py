"""Shares of units that say yes or no, exact for any number of them (Clopper and Pearson 1934)."""

from __future__ import annotations


def p_of_share(yes: int, units: int, threshold: float) -> float:
    """One-sided p of a share above a threshold: how often one at it gives so many yes, or more.

    Any share is above a threshold under 0, and none above one over 1.
    """
    if not 0 <= threshold <= 1:
        return float(threshold > 1)
    from scipy.stats import binomtest  # here, since the import takes longer than most callers

    return float(binomtest(yes, units, threshold, alternative="greater").pvalue)


def share_interval(yes: int, units: int, confidence: float) -> tuple[float, float]:
    """Lower and upper end of the interval of a share."""
    from scipy.stats import binomtest

    low, high = binomtest(yes, units).proportion_ci(confidence, method="exact")
    return float(low), float(high)
