"""Cosines as whole numbers, whose sums do not depend on an order."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

_UNIT = 2.0**-36
"""What is counted: up to 10^8 cosines add up within 64 bits, each exact to 10 digits."""


def to_fixed(cosine: Float64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """Cosines as multiples of the unit; 0 of a NaN."""
    return np.round(np.nan_to_num(cosine) / _UNIT).astype(np.int64)


def from_fixed(fixed: Int64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """What sums of such multiples stand for."""
    return fixed * _UNIT
