"""Which words of the vocabulary vectors are nearest to, by cosine, in the space they belong to.

A pattern is compared with the words as the attention of its block would see them, a message with
the words as they enter the stream and as they leave it (Patterns and Messages, part 6). A norm of
the words is never computed layer by layer: its weight goes into the vectors, so that one matrix
serves all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from ..errors import TokentrailsError
from ..network.factored import Factored
from ..network.parts import Norm, Parts
from ..texts.entries import surface
from ..texts.spans import is_word
from .ranks import (
    BLOCK_BYTES,
    GROUP,
    PAIR_BYTES,
    directions,
    in_order,
    largest,
    refuse_non_finite,
    slices,
)

# Most bytes of the scores of one block of vectors, which has at least so many vectors.
SCORES_BYTES = 32 << 20
VECTORS_AT_ONCE = 64
# Most bytes of the rows as some heads see them, d_head wide.
THIN_BYTES = 128 << 20
# Further entries whose exact cosine is looked at, in case rounding has changed their order.
SPARE = 4


def surfaces(names: Sequence[str | None]) -> list[str]:
    """How entries look in a text; empty for None."""
    return ["" if name is None else surface(name) for name in names]


def are_whole_words(names: Sequence[str | None], seen: Sequence[str]) -> Bool[np.ndarray, " v"]:
    """Which vocabulary entries begin a word and are letters, or those with marks between them.

    The beginning is marked by ``Ġ`` or ``▁``; where no entry is marked so (WordPiece), entries that
    do not begin a word are marked, by ``##``. The marks are apostrophes and hyphens.

    Parameters
    ----------
    names: the tokenizer's entry of each row; None for a row that it does not use.
    seen: their surfaces.
    """
    marked = [text[:1] == " " and is_word(text[1:]) for text in seen]
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
    beta = getattr(parts.final_norm, "bias", None) if parts.unembedding is not None else None
    if beta is None:
        mean = functional.normalize(known.float() @ rows, dim=0)
        lengths = torch.linalg.vector_norm(rows, dim=1)
        b = torch.where(lengths > 0, rows @ mean / lengths, 0)
    else:
        b = rows @ beta
    of_known = b[known]
    spread = of_known.std(correction=0)
    z = (b - of_known.mean()) / spread if spread > 0 else torch.zeros_like(b)
    return torch.where(known, z, torch.nan)


@dataclass(frozen=True, eq=False)
class Space:
    """Vocabulary rows to compare vectors with: gain * rows + shift, one for each entry.

    Attributes
    ----------
    name: as in the column `space`.
    entries: the number in the vocabulary of each entry that may be listed.
    rows: in their order, and zeros up to a multiple of `ranks.GROUP`.
    gain, shift: the weight and the bias of the norm that the rows go through.
    lengths: of gain * rows + shift.
    z: the vocabulary bias of each entry.
    """

    name: str
    entries: Int64[Tensor, " v"]
    rows: Float32[Tensor, "w d"]
    gain: Float32[Tensor, " d"]
    shift: Float32[Tensor, " d"]
    lengths: Float64[Tensor, " v"]
    z: Float32[Tensor, " v"]

    @cached_property
    def inverse(self) -> Float32[Tensor, " w"]:
        """1 / length of each row, 0 for what is no row."""
        inverse = torch.where(self.lengths > 0, 1 / self.lengths, 0).float()
        return functional.pad(inverse, (0, len(self.rows) - len(inverse)))


@dataclass(frozen=True)
class Nearest:
    """The entries that each vector is nearest to; one without a direction has NaN as cosines.

    Attributes
    ----------
    entries: their numbers in the vocabulary, the nearest first; equal ones by number.
    cosines: theirs.
    bias: mean |z| of each list.
    norms: lengths of the vectors.
    """

    entries: Int[np.ndarray, "n k"]
    cosines: Float64[np.ndarray, "n k"]
    bias: Float32[np.ndarray, " n"]
    norms: Float64[np.ndarray, " n"]


def nearest(vectors: Float32[Tensor, "n d"] | Factored, space: Space, k: int) -> Nearest:
    """The k entries of a space that vectors are nearest to, by cosine.

    Scores are float32, of one block of vectors at a time. What is listed has its cosine in float64,
    of the vectors multiplied out, so that both ways of scoring give the same.

    Parameters
    ----------
    vectors: on the space's device; those of factors head by head.
    k: less are listed if there are fewer entries.

    Raises
    ------
    TokentrailsError: if a vector has a NaN or an infinity.
    """
    whole = vectors.product().flatten(0, 1) if isinstance(vectors, Factored) else vectors
    refuse_non_finite("vector", whole)
    norms = torch.linalg.vector_norm(whole, dim=1, dtype=torch.float64)
    keep = min(k + SPARE, len(space.entries))
    if isinstance(vectors, Factored) and not vectors.multiplying_out_is_cheaper(len(space.rows)):
        near = _by_thin_factors(vectors, norms, space, keep)
    else:
        near = _directly(whole, space, keep)
    near, cosines = in_order(near, _cosines(whole, norms, space, near), min(k, keep))
    found = space.entries[near], cosines, space.z[near].abs().mean(dim=1), norms
    return Nearest(*(column.cpu().numpy() for column in found))


def _directly(vectors: Tensor, space: Space, keep: int) -> Int64[Tensor, "n k"]:
    """The rows with the largest scores: products of d dimensions."""
    unit = directions(vectors)
    offset = (unit @ space.shift)[:, None] if space.shift.any() else None

    def finish(scores: Tensor, some: slice) -> None:
        if offset is not None:
            scores.add_(offset[some])
        scores.mul_(space.inverse)

    return _largest_of(unit * space.gain, space.rows, space, keep, finish)


def _by_thin_factors(
    vectors: Factored, norms: Tensor, space: Space, keep: int
) -> Int64[Tensor, "n k"]:
    """The same by products of d_head dimensions: of left with right @ row."""
    heads, t, d_head = vectors.left.shape
    lengths = norms.view(heads, t, 1)
    left = torch.where(lengths > 0, vectors.left / lengths, 0).float()
    near = torch.empty(heads, t, keep, dtype=torch.int64, device=left.device)
    matrices = sorted(set(vectors.of))
    for some in slices(len(matrices), 4 * len(space.rows) * d_head, THIN_BYTES):
        right = vectors.right[matrices[some]].flatten(0, 1)
        thin = torch.addmm(right @ space.shift, space.rows, (right * space.gain).T)
        thin = thin.mul_(space.inverse[:, None]).unflatten(1, (-1, d_head))
        for index, matrix in enumerate(matrices[some]):
            of = [head for head in range(heads) if vectors.of[head] == matrix]
            found = _largest_of(left[of].flatten(0, 1), thin[:, index], space, keep)
            near[of] = found.view(len(of), t, keep)
    return near.flatten(0, 1)


def _largest_of(
    vectors: Tensor,
    rows: Tensor,
    space: Space,
    keep: int,
    finish: Callable[[Tensor, slice], object] = lambda scores, some: None,
) -> Int64[Tensor, "n k"]:
    """The rows with the largest products with each vector, after `finish` has changed them."""
    at_once = max(VECTORS_AT_ONCE, SCORES_BYTES // (4 * len(rows)))
    buffer = torch.empty(min(at_once, len(vectors)), len(rows), device=rows.device)
    near = torch.empty(len(vectors), keep, dtype=torch.int64, device=rows.device)
    for start in range(0, len(vectors), at_once):
        some = slice(start, min(start + at_once, len(vectors)))
        scores = torch.mm(vectors[some], rows.T, out=buffer[: some.stop - start])
        finish(scores, some)
        scores[:, len(space.entries) :] = -torch.inf
        near[some] = largest(scores, keep)[1]
    return near


def _cosines(
    vectors: Tensor, norms: Tensor, space: Space, near: Int64[Tensor, "n c"]
) -> Float64[Tensor, "n c"]:
    """Cosines of vectors with some rows each, in float64; NaN for one without a direction."""
    result = torch.empty(near.shape, dtype=torch.float64, device=near.device)
    room = PAIR_BYTES.get(near.device.type, BLOCK_BYTES)
    for some in slices(len(near), 8 * near.shape[1] * vectors.shape[1], room):
        x, at = vectors[some].double(), near[some]
        rows = space.rows[at].double().mul_((x * space.gain)[:, None])
        dots = rows.sum(dim=2) + (x @ space.shift.double())[:, None]
        lengths = norms[some, None] * space.lengths[at]
        result[some] = torch.where(lengths > 0, (dots / lengths).clamp(-1, 1), torch.nan)
    return result


class Spaces:
    """The spaces of a model's vocabulary.

    Parameters
    ----------
    parts: of the model; the spaces are on its device.
    names: the tokenizer's entry of each row of the embedding; None for a padded row.
    whole_words: whether only whole words are listed.

    Raises
    ------
    TokentrailsError: if no entry is a whole word.
    """

    def __init__(
        self, parts: Parts, names: Sequence[str | None], *, whole_words: bool = True
    ) -> None:
        self.parts = parts
        device = parts.embedding.device
        self.surfaces = surfaces(names)
        known = torch.tensor([name is not None for name in names], device=device)
        listed = known.clone()
        if whole_words:
            listed &= torch.from_numpy(are_whole_words(names, self.surfaces)).to(device)
        for rows in (parts.embedding, parts.unembedding):
            if rows is not None:  # a row of zeros is near to nothing
                listed &= torch.linalg.vector_norm(rows, dim=1) > 0
        if not listed.any():
            raise TokentrailsError(
                "no entry of the vocabulary is a whole word",
                where="the lists of words",
                hint="list all entries: circuits.whole_words: false.",
            )
        self.entries = listed.nonzero()[:, 0]
        self.z = vocabulary_bias(parts, known)[self.entries]
        self._normalised: dict[float, Tensor] = {}
        self._lengths: dict[str, Float64[Tensor, "layers v"]] = {}  # at all layers at once

    @cached_property
    def embedding(self) -> Space:
        """E, as it enters the stream."""
        rows = self._embedding
        return self._space("embedding", rows, *(x[0] for x in _identity(rows)))

    @cached_property
    def unembedding(self) -> Space | None:
        """U with the weight of the last norm; None for a model without either.

        What the masked-token head of an encoder does before U is no norm alone, and no space.
        """
        parts = self.parts
        if parts.unembedding is None or parts.final_norm is None:
            return None
        same = parts.unembedding is parts.embedding
        rows = self._embedding if same else self._picked(parts.unembedding)
        gain, shift = _affine(parts.final_norm, rows)
        return self._space("unembedding", rows, gain, torch.zeros_like(shift))

    def attention_input(self, layer: int) -> Space:
        """E as the attention of a block would see it: LN_l(E)."""
        return self._inputs("attention_input", "attention_norm", layer)

    def mlp_input(self, layer: int) -> Space:
        """E as the MLP of a block would see it: through its norm."""
        return self._inputs("mlp_input", "mlp_norm", layer)

    @cached_property
    def _embedding(self) -> Float32[Tensor, "w d"]:
        return self._picked(self.parts.embedding)

    @cached_property
    def _stream(self) -> Float32[Tensor, "w d"]:
        """E as the first block gets it, but for positions."""
        norm = self.parts.embedding_norm
        return self._embedding if norm is None else norm(self._embedding)

    def _inputs(self, name: str, kind: str, layer: int) -> Space:
        norms = [getattr(block, kind) for block in self.parts.blocks]
        rows = self._before(norms[layer])
        if kind not in self._lengths:
            affine = [_affine(norm, rows) for norm in norms]
            self._lengths[kind] = _lengths(rows, *map(torch.stack, zip(*affine, strict=True)))
        return self._space(name, rows, *_affine(norms[layer], rows), self._lengths[kind][layer])

    def _before(self, norm: Norm) -> Float32[Tensor, "w d"]:
        """What a norm's weight and bias are put on: all norms of a model share it.

        Of norms that do not subtract the mean, lengths are left as they are: no cosine sees them.
        """
        if not isinstance(norm, nn.LayerNorm):
            return self._stream
        if norm.eps not in self._normalised:
            rows = self._stream
            self._normalised[norm.eps] = functional.layer_norm(rows, rows.shape[1:], eps=norm.eps)
        return self._normalised[norm.eps]

    def _picked(self, matrix: Tensor) -> Float32[Tensor, "w d"]:
        n = len(self.entries)
        rows = matrix.new_zeros(n + -n % GROUP, matrix.shape[1])
        torch.index_select(matrix, 0, self.entries, out=rows[:n])
        return rows

    def _space(
        self,
        name: str,
        rows: Tensor,
        gain: Tensor,
        shift: Tensor,
        lengths: Tensor | None = None,
    ) -> Space:
        if lengths is None:
            lengths = _lengths(rows, gain[None], shift[None])[0]
        n = len(self.entries)
        return Space(name, self.entries, rows, gain, shift, lengths[:n], self.z)


def _affine(norm: Norm, rows: Tensor) -> tuple[Float32[Tensor, " d"], Float32[Tensor, " d"]]:
    """Weight and bias of a norm; of one without, ones and zeros."""
    (one,), (zero,) = _identity(rows)
    if isinstance(norm, nn.Identity):
        return one, zero
    if isinstance(norm, nn.LayerNorm):
        return norm.weight, zero if norm.bias is None else norm.bias
    # Whatever a norm by root mean square calls its weight (Gemma's counts from -1), this is it.
    return norm(2.0**14 * one), zero


def _identity(rows: Tensor) -> tuple[Float32[Tensor, "1 d"], Float32[Tensor, "1 d"]]:
    one = torch.ones(1, rows.shape[1], device=rows.device)
    return one, torch.zeros_like(one)


def _lengths(
    rows: Float32[Tensor, "v d"], gains: Float32[Tensor, "s d"], shifts: Float32[Tensor, "s d"]
) -> Float64[Tensor, "s v"]:
    """Lengths of gain * rows + shift, for several gains and shifts at once."""
    gains, shifts = gains.double(), shifts.double()
    square, cross, own = gains.square().T, 2 * (gains * shifts).T, shifts.square().sum(dim=1)
    squares = rows.new_empty(len(rows), len(gains), dtype=torch.float64)
    for some in slices(len(rows), 8 * rows.shape[1], PAIR_BYTES.get(rows.device.type, BLOCK_BYTES)):
        block = rows[some].double()
        torch.mm(block.square(), square, out=squares[some])
        if cross.any():
            squares[some] += block @ cross + own
    return squares.clamp_(min=0).sqrt_().T
