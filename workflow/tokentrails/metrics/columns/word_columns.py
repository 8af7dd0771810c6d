"""The columns of tables whose rows are lists of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...vocabulary.nearest import Nearest

MEANINGS = {
    "space": "what the list was compared with, by cosine: attention_input (E through the norm that "
    "the block's attention reads through), mlp_input (E through the norm that its MLP reads "
    "through), embedding (the input embedding matrix E), unembedding (the unembedding through the "
    "last norm, but for its division)",
    "top": "the vocabulary entries that are nearest, the nearest first: whole words alone, unless "
    "the configuration asks for all; null: the vector has no direction",
    "top_cosine": "their cosines",
    "bias": "mean of |z| over the list, where z is the vocabulary bias of an entry as a z-score "
    "over all of the tokenizer's entries",
    "high_bias": "whether that is above the configured threshold",
    "norm": "length of the vector; what goes through a norm before it enters the stream (Gemma 2) "
    "is amplified by it, but not divided",
}
UNITS = {"top_cosine": "cosine, -1 to 1", "bias": "standard deviations", "norm": "model units"}


def word_columns(
    lists: Sequence[Nearest], names: pa.Array, high_bias: float
) -> dict[str, pa.Array]:
    """The columns top, top_cosine, bias, high_bias and norm; lists of a vector stand together.

    Parameters
    ----------
    lists: of the same number of vectors.
    names: of the vocabulary's entries.
    high_bias: lists with a bias above this are marked.
    """
    entries = _interleaved([found.entries for found in lists])
    cosines = _interleaved([found.cosines for found in lists])
    bias = _interleaved([found.bias for found in lists])
    lost = np.isnan(cosines).any(axis=1)
    words = names.take(pa.array(entries.ravel()))
    return {
        "top": _lists(words, entries.shape[1], lost),
        "top_cosine": _lists(pa.array(cosines.ravel(), pa.float32()), entries.shape[1], lost),
        "bias": pa.array(bias, pa.float32(), mask=lost),
        "high_bias": pa.array(bias > high_bias, pa.bool_(), mask=lost),
        "norm": pa.array(_interleaved([found.norms for found in lists]), pa.float32()),
    }


def _interleaved(columns: Sequence[np.ndarray]) -> np.ndarray:
    """The first row of each, then the second row of each, and so on."""
    return np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])


def _lists(values: pa.Array, each: int, lost: np.ndarray) -> pa.ListArray:
    ends = pa.array(np.arange(len(lost) + 1) * each, pa.int32())
    return pa.ListArray.from_arrays(ends, values, mask=pa.array(lost))
