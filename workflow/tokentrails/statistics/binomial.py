"""Shares of units that say yes or no, exact for any number of them (Clopper and Pearson 1934)."""

from __future__ import annotations


def p_of_share(yes: int, units: int, threshold: float) -> float:
    """One-sided p of a share above a threshold: how often one at it gives so many yes, or more."""
    from scipy.stats import binomtest  # here, since the import takes longer than most callers

    at = min(max(threshold, 0.0), 1.0)
    return float(binomtest(yes, units, at, alternative="greater").pvalue)


def share_interval(yes: int, units: int, confidence: float) -> tuple[float, float]:
    """Lower and upper end of the interval of a share."""
    from scipy.stats import binomtest

    low, high = binomtest(yes, units).proportion_ci(confidence, method="exact")
    return float(low), float(high)
