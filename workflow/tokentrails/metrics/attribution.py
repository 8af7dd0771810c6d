"""Attribution: which heads and MLPs take a token away from its embedding, block by block.

With e = E[token] / |E[token]|, each block changes e · x by exactly the sum of e · (head output)
over its heads, e · (attention bias) and e · (MLP output). The length of x changes too, by the same
parts: identity, which is e · x / |x|, is split along the straight path from before the block to
after it, where a part adds g · (its output), with g the mean gradient of the cosine on the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..files.tables import describe
from ..network.checkpoint import checkpoint_name
from ..network.norms import divisor, gain
from ..network.parts import Block, Parts
from ..network.trace import Trace
from ..statistics.ratio import ratio
from ..statistics.similarity import row_cosine
from ..texts.whole import WholeText
from .attribution_by_layer import PART_MEANINGS
from .columns.frame import token_keys
from .columns.whole_texts import traces
from .cosine_path import mean_gradient

MEANINGS = PART_MEANINGS | {
    "token": "vocabulary entry at this position; e is its row of the input embedding matrix, "
    "divided by its length",
    "contribution": "what the part adds to e · x; all parts of a block add up to its change",
    "share": "contribution / |x| before the block: what it would add to the identity if the length "
    "of x stayed as it was",
    "before": "e · x before the block",
    "after": "e · x after the block",
    "total": "sum of the contributions of all parts of the block",
    "error": "after - before - total: what rounding leaves",
    "norm_before": "|x| before the block",
    "norm_after": "|x| after the block",
    "identity_before": "cosine of x before the block with e, as in the table identity",
    "identity_after": "cosine of x after the block with e",
    "identity_total": "sum of the contributions to identity, those of attribution_cosine",
    "identity_error": "identity_after - identity_before - identity_total: what rounding leaves",
}
COSINE_MEANINGS = MEANINGS | {
    "contribution": "what the part adds to the cosine of x with e: g · (its output), with g the "
    "mean of the cosine's gradient over the straight path from x before the block to x after it; "
    "all parts of a block add up to the change of identity, whatever their order; null: the path "
    "leads through 0, where there is no cosine",
}
UNITS = dict.fromkeys(
    ("contribution", "before", "after", "total", "error", "norm_before", "norm_after"),
    "model units",
) | dict.fromkeys(("identity_before", "identity_after"), "cosine, -1 to 1")
UNITS |= dict.fromkeys(("share", "identity_total", "identity_error"), "cosine")

# How far the parts may be from a change: absolute, relative to it, and, for what float32 leaves of
# a long state, relative to |x|.
TOLERANCE = (1e-4, 1e-3, 1e-6)


@dataclass(frozen=True)
class Changes:
    """What the blocks do to e · x at each position of a text.

    Attributes
    ----------
    parts: name and head of each part, the same in every block, in the order of the tables.
    contributions: of each part, to e · x.
    to_identity: of each part, to the cosine of e with x.
    along: e · x before each block, and after the last.
    norms: |x| likewise.
    identity: the cosine of e with x likewise.
    """

    parts: list[tuple[str, int | None]]
    contributions: Float64[np.ndarray, "layers t parts"]
    to_identity: Float64[np.ndarray, "layers t parts"]
    along: Float64[np.ndarray, "layers+1 t"]
    norms: Float64[np.ndarray, "layers+1 t"]
    identity: Float64[np.ndarray, "layers+1 t"]

    @property
    def total(self) -> Float64[np.ndarray, "layers t"]:
        return self.contributions.sum(axis=2)

    @property
    def error(self) -> Float64[np.ndarray, "layers t"]:
        return np.diff(self.along, axis=0) - self.total

    @property
    def identity_total(self) -> Float64[np.ndarray, "layers t"]:
        return self.to_identity.sum(axis=2)


def attribution(
    texts: Sequence[WholeText],
    run: Callable[[list[int]], Trace],
    parts: Parts,
    own: Callable[[list[int]], Float32[np.ndarray, "t d"]],
    *,
    provenance: Mapping[str, str],
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The tables `attribution`, `attribution_cosine` and `attribution_sum`.

    Parameters
    ----------
    run: traces a text's token ids.
    own: rows of the input embedding matrix, as the table `identity` takes them.
    provenance: gives the key columns too.

    Raises
    ------
    TokentrailsError: if a state is not finite, or the parts do not add up to what a block changes.
    """
    by_part, of_cosine, sums = [], [], []
    for text, traced in traces(texts, run, provenance):
        found = changes(parts, traced, own(text.token_ids))
        _refuse_error(found, text, checkpoint_name(provenance))
        share = found.contributions / found.norms[:-1, :, None]
        along = {"contribution": found.contributions, "share": share}
        by_part.append(_parts_table(found.parts, along, text, provenance))
        cosine = {"contribution": found.to_identity}
        of_cosine.append(_parts_table(found.parts, cosine, text, provenance))
        sums.append(_sums_table(found, text, provenance))
    about = {"provenance": provenance, "meanings": MEANINGS, "units": UNITS}
    return (
        describe(
            pa.concat_tables(by_part),
            title="attribution: what each head and MLP adds to the stream along a token's own "
            "embedding",
            **about,
        ),
        describe(
            pa.concat_tables(of_cosine),
            title="attribution_cosine: what each head and MLP adds to identity, the cosine of the "
            "stream with the token's own embedding",
            provenance=provenance,
            meanings=COSINE_MEANINGS,
            units={"contribution": "cosine"},
        ),
        describe(
            pa.concat_tables(sums),
            title="attribution_sum: whether the parts of each block add up, and the growth of the "
            "states",
            **about,
        ),
    )


def _refuse_error(found: Changes, text: WholeText, name: str) -> None:
    absolute, relative, rounding = TOLERANCE
    before, after = found.norms[:-1], found.norms[1:]
    uneven = ratio(np.maximum(before, after), np.minimum(before, after))
    for what, states, total, scale in (
        ("e · x", found.along, found.total, after),
        ("identity", found.identity, found.identity_total, uneven),
    ):
        change = np.diff(states, axis=0)
        allowed = absolute + relative * np.abs(change) + rounding * scale
        far = (np.abs(change - total) > allowed) & ~np.isnan(total)
        if far.any():
            layer, position = np.argwhere(far)[0]
            raise TokentrailsError(
                f"the parts of block {layer} add up to {total[layer, position]:.6g}, but the "
                f"block changes {what} by {change[layer, position]:.6g} (label {text.label!r}, "
                f"position {position})",
                where=name,
                hint="the model has a part that is not known here; please report it with its name.",
            )


def _parts_table(
    parts: Sequence[tuple[str, int | None]],
    values: Mapping[str, Float64[np.ndarray, "layers t parts"]],
    text: WholeText,
    provenance: Mapping[str, str],
) -> pa.Table:
    """A row for each token, block and part, with the columns of `values`."""
    depth, n, n_parts = next(iter(values.values())).shape
    names, heads = zip(*parts, strict=True)
    return pa.table(
        token_keys(provenance, text.label, text.tokens, depth * n_parts)
        | {
            "layer": pa.array(np.tile(np.repeat(np.arange(depth), n_parts), n), pa.int32()),
            "part": pa.array(list(names) * (depth * n), pa.string()),
            "head": pa.array(list(heads) * (depth * n), pa.int32()),
        }
        | {key: _floats(column.swapaxes(0, 1)) for key, column in values.items()}
    )


def _sums_table(found: Changes, text: WholeText, provenance: Mapping[str, str]) -> pa.Table:
    depth, n = found.error.shape
    by_token = {
        "before": found.along[:-1],
        "after": found.along[1:],
        "total": found.total,
        "error": found.error,
        "norm_before": found.norms[:-1],
        "norm_after": found.norms[1:],
        "identity_before": found.identity[:-1],
        "identity_after": found.identity[1:],
        "identity_total": found.identity_total,
        "identity_error": np.diff(found.identity, axis=0) - found.identity_total,
    }
    return pa.table(
        token_keys(provenance, text.label, text.tokens, depth)
        | {"layer": pa.array(np.tile(np.arange(depth), n), pa.int32())}
        | {key: _floats(values.T) for key, values in by_token.items()}
    )


def _floats(values: Float[np.ndarray, "t ..."]) -> pa.Array:
    """Values of each token below each other; NaN becomes null."""
    return pa.array(values.ravel(), pa.float32(), from_pandas=True)


@torch.inference_mode()
def changes(parts: Parts, traced: Trace, own: Float32[np.ndarray, "t d"]) -> Changes:
    """Take the change of e · x in every block apart.

    Parameters
    ----------
    own: the row of the embedding matrix of each token. One of zeros gives NaN.
    """
    device = parts.embedding.device
    rows = torch.from_numpy(own).double().to(device)
    e = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    resid = [x.double().to(device) for x in traced.resid]
    found = [
        _block_changes(
            block, traced, layer, torch.stack([e, mean_gradient(e, *resid[layer : layer + 2])])
        )
        for layer, block in enumerate(parts.blocks)
    ]
    names = sorted(found[0])
    heads = range(len(parts.blocks[0].heads.W_O))
    both = [torch.cat([block[name] for name in names], dim=2).cpu().numpy() for block in found]
    contributions, to_identity = np.stack(both, axis=1)
    return Changes(
        parts=[(name, i) for name in names for i in (heads if name == "head" else [None])],
        contributions=contributions,
        to_identity=to_identity,
        along=np.stack([_dot(x, e).cpu().numpy() for x in resid]),
        norms=np.linalg.norm(traced.resid.numpy().astype(np.float64), axis=2),
        identity=np.stack([row_cosine(states, own) for states in traced.resid.numpy()]),
    )


def _block_changes(
    block: Block, traced: Trace, layer: int, along: Float64[Tensor, "n t d"]
) -> dict[str, Float64[Tensor, "n t parts"]]:
    """What a block's parts add along some vectors of each token, by name: heads side by side."""
    x, mid, attention, mlp_out = (
        getattr(traced, site)[layer].to(along.device)
        for site in ("resid", "resid_mid", "attention", "mlp_out")
    )
    heads = block.heads
    results = attention @ heads.values(block.attention_norm(x))  # of each head, before W_O
    attention_out = torch.einsum("htk,hkd->td", results, heads.W_O) + heads.b_O
    norm = block.attention_post_norm
    scaled = along * (gain(norm, attention_out).double() / divisor(norm, attention_out.double()))
    by_head = torch.einsum("ntd,hkd->nthk", scaled, heads.W_O.double())
    found = {
        "attention_bias": (scaled @ heads.b_O.double())[..., None],
        "head": _dot(results.transpose(0, 1), by_head),
        "mlp": _dot(mlp_out, along)[..., None],
    }
    if not isinstance(block.sum_norm_mlp, nn.Identity):
        normed = block.sum_norm_attention(mid)
        found["attention_norm"] = (_dot(normed, along) - _dot(mid, along))[..., None]
        summed = normed + mlp_out
        after = block.sum_norm_mlp(summed)
        found["mlp_norm"] = (_dot(after, along) - _dot(summed, along))[..., None]
    return found


def _dot(x: Tensor, y: Float64[Tensor, "*n d"]) -> Float64[Tensor, "*n"]:
    return (x.double() * y).sum(dim=-1)
