"""Which words of the vocabulary vectors are nearest to, by cosine, in the space they belong to.

A pattern is compared with the words as the attention of its block would see them, a message with
the words as they enter the stream and as they leave it (Patterns and Messages, part 6). A norm of
the words is never computed layer by layer: its weight goes into the vectors, so that one matrix
serves all layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from torch.nn import functional

from ..errors import TokentrailsError
from ..network.norms import Norm, epsilon, gain, is_centring, shift, standardised
from ..network.parts import Parts
from ..texts.entries import surface
from ..texts.spans import is_word
from ..texts.tokenization import TokenizerFiles
from .cosines import SHORT, known_rows, pair_slices
from .nearest import GROUP, Space


def surfaces(names: Sequence[str | None], *, byte_level: bool | None = None) -> list[str]:
    """How entries look in a text, as `surface` has it; empty for None."""
    return ["" if name is None else surface(name, byte_level=byte_level) for name in names]


def are_whole_words(names: Sequence[str | None], shown: Sequence[str]) -> Bool[np.ndarray, " v"]:
    """Which vocabulary entries begin a word and are letters, or those with marks between them.

    The beginning is marked by ``Ġ`` or ``▁``; where no entry is marked so (WordPiece), entries that
    do not begin a word are marked, by ``##``. The marks are apostrophes and hyphens.

    Parameters
    ----------
    names: the tokenizer's entry of each row; None for a row that it does not use.
    shown: their surfaces.
    """
    marked = [text[:1] == " " and is_word(text[1:]) for text in shown]
    if any(marked):
        return np.array(marked)
    return np.array([name is not None and is_word(name) for name in names])


def vocabulary_bias(parts: Parts, known: Bool[Tensor, " v"]) -> Float32[Tensor, " v"]:
    """How far each entry is favoured whatever the text, as a z-score over the known entries.

    b_t = (β_f U)_t, what the bias of the last norm adds to its logit; in models without such a bias
    the cosine of its row of U (of E, where there is no U) with the mean row.

    Parameters
    ----------
    known: the rows that the tokenizer uses; the z of others is NaN.
    """
    rows = parts.embedding if parts.unembedding is None else parts.unembedding
    normed_alone = parts.unembedding is not None and parts.head_transform is None
    beta = shift(parts.final_norm) if normed_alone else None
    if beta is None:
        mean = functional.normalize(known.float() @ rows, dim=0)
        lengths = torch.linalg.vector_norm(rows, dim=1)
        b = torch.where(lengths > 0, rows @ mean / lengths, 0)
    else:
        b = rows @ beta
    spread = b[known].std(correction=0)
    z = (b - b[known].mean()) / spread if spread > 0 else torch.zeros_like(b)
    return torch.where(known, z, torch.nan)


class Spaces:
    """The spaces of a model's vocabulary.

    Parameters
    ----------
    parts: the spaces are on their device.
    names: the tokenizer's entry of each row of the embedding; None for a padded row.
    byte_level: whether the tokenizer is; by default as each entry looks.
    whole_words: whether only whole words are listed.

    Raises
    ------
    TokentrailsError: if no entry is a whole word.
    """

    def __init__(
        self,
        parts: Parts,
        names: Sequence[str | None],
        *,
        byte_level: bool | None = None,
        whole_words: bool = True,
    ) -> None:
        self.parts, self.names = parts, names
        device = parts.embedding.device
        self.surfaces = surfaces(names, byte_level=byte_level)
        self.known = known_rows(names, device)
        listed = self.known.clone()
        if whole_words:
            listed &= torch.from_numpy(are_whole_words(names, self.surfaces)).to(device)
        listed &= _have_direction(parts.embedding)
        if parts.unembedding is not None and parts.unembedding is not parts.embedding:
            listed &= _have_direction(parts.unembedding)
        if not listed.any():
            raise TokentrailsError(
                "no entry of the vocabulary is a whole word",
                where="the lists of words",
                hint="list all entries: circuits.whole_words: false.",
            )
        self.entries = listed.nonzero()[:, 0]
        self.z = vocabulary_bias(parts, self.known)[self.entries]
        self._standardised: dict[float | None, Tensor] = {}
        # By kind of norm and ε: gains, shifts, and the lengths that they lead to, of all layers.
        self._layers: dict[tuple[str, float | None], tuple[Tensor, Tensor, Tensor]] = {}

    @classmethod
    def of(cls, parts: Parts, files: TokenizerFiles, *, whole_words: bool = True) -> Spaces:
        """With the entries of the model's tokenizer."""
        names = files.entries(len(parts.embedding))
        return cls(parts, names, byte_level=files.is_byte_level, whole_words=whole_words)

    @cached_property
    def embedding(self) -> Space:
        """E as it enters the stream, before positions and any norm of the embeddings."""
        return self._space("embedding", self._rows_of_E)

    @cached_property
    def unembedding(self) -> Space | None:
        """U through the last norm, so that products are logits but for the norm's division.

        Its gain and, where it subtracts the mean of a state, its mean: (x - mean(x)) · r is the
        same as x · (r - mean(r)). None for a model without either; what the masked-token head of an
        encoder does before U is no norm alone, and no space.
        """
        parts = self.parts
        if parts.unembedding is None or parts.final_norm is None or parts.head_transform:
            return None
        same = parts.unembedding is parts.embedding
        rows = self._rows_of_E if same else self._picked(parts.unembedding)
        gains = gain(parts.final_norm, rows)
        if not is_centring(parts.final_norm, rows):
            return self._space("unembedding", rows, gains)
        read = rows * gains
        return self._space("unembedding", read.sub_(read.mean(dim=1, keepdim=True)))

    def attention_input(self, layer: int) -> Space:
        """E as the attention of a block would see it: LN_l(E)."""
        return self._inputs("attention_input", "attention_norm", layer)

    def mlp_input(self, layer: int) -> Space:
        """E as the MLP of a block would see it: through its norm."""
        return self._inputs("mlp_input", "mlp_norm", layer)

    @cached_property
    def _rows_of_E(self) -> Float32[Tensor, "w d"]:
        return self._picked(self.parts.embedding)

    @cached_property
    def _stream(self) -> Float32[Tensor, "w d"]:
        """E as the first block gets it, but for positions."""
        norm = self.parts.embedding_norm
        return self._rows_of_E if norm is None else norm(self._rows_of_E)

    def _inputs(self, name: str, kind: str, layer: int) -> Space:
        norms = [getattr(block, kind) for block in self.parts.blocks]
        eps = epsilon(norms[layer]) if is_centring(norms[layer], self._stream) else None
        rows = self._before(norms[layer], eps)
        if (kind, eps) not in self._layers:
            zeros = torch.zeros_like(rows[0])
            gains = torch.stack([gain(norm, rows) for norm in norms])
            shifts = torch.stack([zeros if shift(norm) is None else shift(norm) for norm in norms])
            self._layers[kind, eps] = gains, shifts, _lengths(rows, gains, shifts)
        return self._space(name, rows, *(each[layer] for each in self._layers[kind, eps]))

    def _before(self, norm: Norm, eps: float | None) -> Float32[Tensor, "w d"]:
        """Rows before a norm's gain and shift, which norms with the same ε share."""
        if eps not in self._standardised:
            self._standardised[eps] = standardised(norm, self._stream)
        return self._standardised[eps]

    def _picked(self, matrix: Tensor) -> Float32[Tensor, "w d"]:
        n = len(self.entries)
        rows = matrix.new_zeros(n + -n % GROUP, matrix.shape[1])
        torch.index_select(matrix, 0, self.entries, out=rows[:n])
        return rows

    def _space(
        self,
        name: str,
        rows: Tensor,
        gain: Tensor | None = None,
        shift: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Space:
        gain = torch.ones_like(rows[0]) if gain is None else gain
        shift = torch.zeros_like(rows[0]) if shift is None else shift
        if lengths is None:
            lengths = _lengths(rows, gain[None], shift[None])[0]
        n = len(self.entries)
        return Space(name, self.entries, rows, gain, shift, lengths[:n], self.z)


def _have_direction(rows: Float32[Tensor, "v d"]) -> Bool[Tensor, " v"]:
    """Which rows are no zeros to float32, which are near to nothing."""
    directed = torch.linalg.vector_norm(rows, dim=1) > SHORT
    rest = (~directed).nonzero()[:, 0]  # their squares may have left float32
    largest = torch.linalg.vector_norm(rows[rest], math.inf, dim=1)
    return directed.index_copy_(0, rest, largest > torch.finfo(torch.float32).tiny)


def _lengths(
    rows: Float32[Tensor, "v d"], gains: Float32[Tensor, "s d"], shifts: Float32[Tensor, "s d"]
) -> Float64[Tensor, "s v"]:
    """Lengths of gain * rows + shift, for several gains and shifts at once."""
    gains, shifts = gains.double(), shifts.double()
    square, cross, own = gains.square().T, 2 * (gains * shifts).T, shifts.square().sum(dim=1)
    squares = rows.new_empty(len(rows), len(gains), dtype=torch.float64)
    for part in pair_slices(len(rows), rows.shape[1], rows.device):
        block = rows[part].double()
        torch.mm(block.square(), square, out=squares[part])
        if cross.any():
            squares[part] += block @ cross + own
    return squares.clamp_(min=0).sqrt_().T
