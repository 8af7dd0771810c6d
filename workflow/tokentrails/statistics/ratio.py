"""Division where there may be nothing to divide by."""

from __future__ import annotations

import numpy as np


def ratio(total: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the size is not above 0."""
    return np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)
