"""How alike two sets of states are, whatever the basis they are written in.

Both measures compare X and Y, the states of the same n words in two models. Rotating all states of
one of them leaves both as they are, while the cosine of a word with itself drops. Both depend on
inner products alone, so that states can be made as small as there are words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from .ratio import ratio

FEWEST_WORDS = 4
"""What the unbiased estimator needs: it divides by n - 3."""

Parts = Sequence[Int[np.ndarray, " words"]]
"""Words to leave out, by their index: one part at a time."""


def compact(x: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n k"]:
    """The same states, centred, in as many dimensions as they need: k = min(n, d).

    Their inner products are kept, which is all that the measures of this module look at.
    """
    wide = np.array(x, dtype=np.float64)
    wide -= wide.mean(axis=0)
    if len(x) < x.shape[1]:  # X' = QR: the columns of R are the words in the basis Q
        return np.asarray(np.linalg.qr(wide.T, mode="r")).T
    return wide


def debiased_cka(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n e"], parts: Parts = ()
) -> Float64[np.ndarray, " 1+parts"]:
    """Debiased linear centred kernel alignment: 1 for rotated copies, about 0 for unrelated states.

    Of all words, then of all but those of each part. Kornblith et al. 2019 with the unbiased
    estimator HSIC_1 of Song et al. 2012, whose value for unrelated states does not grow with d / n.
    NaN for fewer than 4 words, or if the states of one side hardly vary.

    Parameters
    ----------
    x, y: centred, best as `compact` gives them.
    """
    return cka(*(hsic(a, b, parts) for a, b in ((x, y), (x, x), (y, y))))


def cka(
    together: Float64[np.ndarray, " k"],
    own: Float64[np.ndarray, " k"],
    other: Float64[np.ndarray, " k"],
) -> Float64[np.ndarray, " k"]:
    """The alignment of two sets of states, from `hsic` of both and of each with itself."""
    return ratio(together, np.sqrt(np.maximum(own, 0)) * np.sqrt(np.maximum(other, 0)))


def procrustes(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], parts: Parts = ()
) -> Float64[np.ndarray, " 1+parts"]:
    """What the best rotation makes of two sets of states: 1 for rotated copies, at least 0.

    Of all words, then of all but those of each part. The nuclear norm of X'Y over |X| |Y|, both
    centred: 1 - D/2 with the squared orthogonal Procrustes distance D of states scaled to norm 1
    (Schönemann 1966; Ding et al. 2021). With few words it is high for unrelated states too. NaN if
    the states of one side do not vary.
    """
    return np.array([_procrustes(*kept) for kept in _kept(x, y, parts)])


def _procrustes(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"], product: np.ndarray
) -> float:
    if len(x) < 2:  # as where all words are of one part
        return float("nan")
    means = x.mean(axis=0), y.mean(axis=0)
    squares = [np.square(s).sum() - len(s) * m @ m for s, m in zip((x, y), means, strict=True)]
    if min(squares) <= 0:
        return float("nan")
    centred = product - len(x) * np.outer(*means)
    # Eigenvalues of the square take half the time of singular values and keep seven digits.
    nuclear = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0)).sum()
    return min(1.0, float(nuclear / np.sqrt(squares[0]) / np.sqrt(squares[1])))


def _kept(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n e"], parts: Parts
) -> Iterator[tuple[np.ndarray, np.ndarray, Float64[np.ndarray, "d e"]]]:
    """x, y and X'Y: of all words, then of all but those of each part."""
    product = x.T @ y
    yield x, y, product
    for part in parts:
        # What is left out is little: taking it off costs less than the product of the rest.
        rest = (np.delete(side, part, axis=0) for side in (x, y))
        yield *rest, product - x[part].T @ y[part]


def hsic(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n e"], parts: Parts = ()
) -> Float64[np.ndarray, " 1+parts"]:
    """HSIC_1 of the linear kernels K = XX' and L = YY', neither of which is formed.

    NaN for fewer than 4 words.
    """
    values = []
    for kept_x, kept_y, product in _kept(x, y, parts):
        k_diagonal, l_diagonal = (np.einsum("nd,nd->n", s, s) for s in (kept_x, kept_y))
        k_sums = kept_x @ kept_x.sum(axis=0) - k_diagonal
        l_sums = kept_y @ kept_y.sum(axis=0) - l_diagonal
        trace = np.square(product).sum() - k_diagonal @ l_diagonal
        values.append(_hsic(len(k_sums), float(trace), k_sums, l_sums))
    return np.array(values)


def kernel(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n n"]:
    """Inner products of states, with zeros on the diagonal: cheap where states are few."""
    products = x @ x.T
    np.fill_diagonal(products, 0)
    return products


def kernel_hsic(
    k: Float64[np.ndarray, "n n"],
    other: Float64[np.ndarray, "n n"],
    kept: Float64[np.ndarray, "sets n"],
) -> Float64[np.ndarray, " sets"]:
    """`hsic` of two sets of states by their kernels, for sets that are compared often.

    Parameters
    ----------
    kept: sets of the words, each with 1 for those that take part and 0 for the others.
    """
    traces = np.einsum("sn,sn->s", kept @ (k * other), kept)
    sums = (kept * (kept @ each) for each in (k, other))
    return np.array(list(map(_hsic, kept.sum(axis=1), traces, *sums)))


def _hsic(
    n: int, trace: float, k_sums: Float64[np.ndarray, " n"], l_sums: Float64[np.ndarray, " n"]
) -> float:
    """HSIC_1 from tr(KL) and the sums of rows, all with zeroed diagonals.

    [tr(KL) + sum(K) sum(L) / ((n-1)(n-2)) - 2 sum(KL) / (n-2)] / (n(n-3)).
    """
    if n < FEWEST_WORDS:
        return float("nan")
    sums = k_sums.sum() * l_sums.sum() / ((n - 1) * (n - 2))
    return float((trace + sums - 2 * (k_sums @ l_sums) / (n - 2)) / (n * (n - 3)))
