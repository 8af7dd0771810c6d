"""How the variance of states is spread over directions: the eigenvalues of their covariance.

All measures are those of the sample's own covariance, so that n states give at most n - 1: compare
them at one number of states.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64

from .alignment import compact
from .ratio import ratio

SLOPE_RANGE = 11, 100
"""First and last index of the eigenvalues that the slope is of, counted from 1."""

FEWEST_INDICES = 10
"""A slope of fewer eigenvalues says nothing."""


def spectra(
    states: Float[np.ndarray, "n d"], later: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Eigenvalues of the covariance of all states, and of the later ones alone, the largest first.

    Both from one product of the later ones, which are most; k = min(n, d). The product is made in
    the states' own precision: what it rounds is small beside the lengths of its two columns, so a
    few large dimensions do not drown the others. First tokens, which may be many times longer, are
    added in float64. NaN of fewer than two states.

    Parameters
    ----------
    later: which ones are left without the first tokens of texts.
    """
    if len(states) < states.shape[1]:
        states = compact(states)
    first, m = states[~later].astype(np.float64), int(later.sum())
    total, beginnings = states.sum(axis=0, dtype=np.float64), first.sum(axis=0)
    everywhere, mean = total / max(len(states), 1), (total - beginnings) / max(m, 1)
    rest = states - mean.astype(states.dtype)
    rest[~later] = 0
    scatter = (rest.T @ rest).astype(np.float64)
    without = _eigenvalues(scatter, m)
    if not len(first):
        return without, without
    first -= everywhere
    mean -= everywhere
    moved = np.vstack([first, np.sqrt(m) * mean])
    everything = moved.T @ moved
    everything += scatter
    return _eigenvalues(everything, len(states)), without


def _eigenvalues(scatter: Float64[np.ndarray, "k k"], n: int) -> Float64[np.ndarray, " k"]:
    if n < 2:
        return np.full(len(scatter), np.nan)
    return np.maximum(np.linalg.eigvalsh(scatter)[::-1], 0) / (n - 1)


def effective_rank(eigenvalues: Float64[np.ndarray, " k"]) -> float:
    """exp of the entropy of the eigenvalues as shares (Roy and Vetterli 2007): 1 to d.

    There of the singular values of a matrix, which of a covariance are the eigenvalues.
    """
    shares = ratio(eigenvalues, eigenvalues.sum())
    logs = np.log(shares, out=np.zeros_like(shares), where=shares != 0)
    return float(np.exp(-(shares * logs).sum()))


def participation_ratio(eigenvalues: Float64[np.ndarray, " k"]) -> float:
    """(sum of the eigenvalues)^2 / sum of their squares: 1 to d."""
    return float(ratio(np.square(eigenvalues.sum()), np.square(eigenvalues).sum()))


def isoscore(eigenvalues: Float64[np.ndarray, " k"], d: int) -> float:
    """IsoScore* (Rudman and Eickhoff 2024) without shrinkage, their IsoScore of 2022: 0 to 1.

    Algorithm 1 there, with zeta = 0, takes the eigenvalues to length sqrt(d), their distance from
    (1, ..., 1) over sqrt(2 (d - sqrt(d))) as the defect, and rescales it twice. Worked out, it is
    (P - 1) / (d - 1) with the participation ratio P.

    Parameters
    ----------
    d: dimensions of the states; eigenvalues that are not given are 0.
    """
    return float(ratio(np.array(participation_ratio(eigenvalues) - 1), np.array(d - 1)))


def slope(eigenvalues: Float64[np.ndarray, " k"], n: int) -> float:
    """Slope of log eigenvalue over log index, -a for eigenvalues that fall as index^-a.

    Least squares with weights 1 / index, which count every octave alike, as Stringer et al. (2019)
    fit it. Of the indices in `SLOPE_RANGE`, but none beyond half of the eigenvalues that can differ
    from 0; NaN where these are fewer than 10.

    Parameters
    ----------
    eigenvalues: the largest first.
    n: how many states they come from.
    """
    first, last = SLOPE_RANGE
    last = min(last, min(n - 1, len(eigenvalues)) // 2)
    index = np.arange(first, last + 1)
    values = eigenvalues[first - 1 : last]
    if len(index) < FEWEST_INDICES or not (values > 0).all():
        return float("nan")
    return float(np.polyfit(np.log(index), np.log(values), 1, w=1 / np.sqrt(index))[0])
