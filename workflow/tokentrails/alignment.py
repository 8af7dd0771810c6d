"""How alike two sets of states are, whatever the basis they are written in.

Both measures compare X and Y, the states of the same n words in two models. Rotating all states of
one of them leaves both as they are, while the cosine of a word with itself drops.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

FEWEST_WORDS = 4
"""What the unbiased estimator needs: it divides by n - 3."""


def debiased_cka(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"]) -> float:
    """Debiased linear centred kernel alignment: 1 for rotated copies, about 0 for unrelated states.

    Kornblith et al. 2019 with the unbiased estimator HSIC_1 of Song et al. 2012, whose value for
    unrelated states does not grow with d / n. NaN for fewer than 4 words, or if the states of one
    side hardly vary.
    """
    if len(x) < FEWEST_WORDS:
        return float("nan")
    x, y = _centred(x), _centred(y)
    variances = _hsic(x, x), _hsic(y, y)
    if min(variances) <= 0:
        return float("nan")
    return _hsic(x, y) / float(np.sqrt(variances[0]) * np.sqrt(variances[1]))


def procrustes(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]) -> float:
    """What the best rotation makes of two sets of states: 1 for rotated copies, at least 0.

    The nuclear norm of X'Y over |X| |Y|, both centred: 1 - D/2 with the squared orthogonal
    Procrustes distance D of states scaled to norm 1 (Schönemann 1966; Ding et al. 2021). With few
    words it is high for unrelated states too. NaN if the states of one side do not vary.
    """
    x, y = _centred(x), _centred(y)
    norms = float(np.linalg.norm(x)) * float(np.linalg.norm(y))
    if norms == 0:
        return float("nan")
    if len(x) < x.shape[1]:  # X' = QR has the singular values of R: n x n in place of d x d
        x, y = (np.asarray(np.linalg.qr(side.T, mode="r")).T for side in (x, y))
    nuclear = float(np.linalg.svd(x.T @ y, compute_uv=False).sum())
    return min(1.0, nuclear / norms)


def _centred(x: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    wide = np.asarray(x, dtype=np.float64)
    return wide - wide.mean(axis=0)


def _hsic(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n e"]) -> float:
    """HSIC_1 of the linear kernels K = XX' and L = YY', neither of which is formed.

    With zeroed diagonals: [tr(KL) + sum(K) sum(L) / ((n-1)(n-2)) - 2 sum(KL) / (n-2)] / (n(n-3)).
    """
    n = len(x)
    k_diagonal, l_diagonal = (np.einsum("nd,nd->n", side, side) for side in (x, y))
    k_sums = x @ x.sum(axis=0) - k_diagonal
    l_sums = y @ y.sum(axis=0) - l_diagonal
    trace = np.square(x.T @ y).sum() - k_diagonal @ l_diagonal
    product = k_sums.sum() * l_sums.sum() / ((n - 1) * (n - 2))
    return float((trace + product - 2 * (k_sums @ l_sums) / (n - 2)) / (n * (n - 3)))
