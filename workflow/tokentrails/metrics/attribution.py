"""Attribution: which heads and MLPs take a token away from its embedding, block by block.

With e = E[token] / |E[token]|, each block changes e · x by exactly the sum of e · (head output)
over its heads, e · (attention bias) and e · (MLP output). The length of x changes too; it takes the
rest of the identity, which is e · x / |x|.
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
from ..statistics.similarity import row_cosine
from ..texts.whole import WholeText
from .columns.frame import token_keys
from .columns.whole_texts import traces

MEANINGS = {
    "position": "position of the token in the text, from 0",
    "token": "vocabulary entry at this position; e is its row of the input embedding matrix, "
    "divided by its length",
    "layer": "index of the block",
    "part": "what changes e · x: head, attention_bias (the bias of the attention's output), mlp; "
    "attention_norm and mlp_norm (what the norm of the sum after each changes; in post-norm "
    "encoders only). Norms of a branch's output (Gemma 2) are in the parts of that branch",
    "head": "index of the head in its block; null: the part is no head",
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
}
UNITS = dict.fromkeys(
    ("contribution", "before", "after", "total", "error", "norm_before", "norm_after"),
    "model units",
) | {"share": "cosine", "identity_before": "cosine, -1 to 1", "identity_after": "cosine, -1 to 1"}

# How far the parts may be from the change of e · x: absolute, relative to it, and, for what float32
# leaves of a long state, relative to |x|.
TOLERANCE = (1e-4, 1e-3, 1e-6)


@dataclass(frozen=True)
class Changes:
    """What the blocks do to e · x at each position of a text.

    Attributes
    ----------
    parts: name and head of each part, the same in every block, in the order of the tables.
    contributions: of each part.
    along: e · x before each block, and after the last.
    norms: |x| likewise.
    identity: the cosine of e with x likewise.
    """

    parts: list[tuple[str, int | None]]
    contributions: Float64[np.ndarray, "layers t parts"]
    along: Float64[np.ndarray, "layers+1 t"]
    norms: Float64[np.ndarray, "layers+1 t"]
    identity: Float64[np.ndarray, "layers+1 t"]

    @property
    def total(self) -> Float64[np.ndarray, "layers t"]:
        return self.contributions.sum(axis=2)

    @property
    def error(self) -> Float64[np.ndarray, "layers t"]:
        return np.diff(self.along, axis=0) - self.total


def attribution(
    texts: Sequence[WholeText],
    run: Callable[[list[int]], Trace],
    parts: Parts,
    own: Callable[[list[int]], Float32[np.ndarray, "t d"]],
    *,
    provenance: Mapping[str, str],
) -> tuple[pa.Table, pa.Table]:
    """The tables `attribution` and `attribution_sum`.

    Parameters
    ----------
    run: traces a text's token ids.
    own: rows of the input embedding matrix, as the table `identity` takes them.
    provenance: gives the key columns too.

    Raises
    ------
    TokentrailsError: if a state is not finite, or the parts do not add up to what a block changes.
    """
    by_part, sums = [], []
    for text, traced in traces(texts, run, provenance):
        found = changes(parts, traced, own(text.token_ids))
        _refuse_error(found, text, checkpoint_name(provenance))
        by_part.append(_parts_table(found, text, provenance))
        sums.append(_sums_table(found, text, provenance))
    about = {"provenance": provenance, "meanings": MEANINGS, "units": UNITS}
    return (
        describe(
            pa.concat_tables(by_part),
            title="attribution: what each head and MLP adds to a token's likeness to its embedding",
            **about,
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
    change, error = np.diff(found.along, axis=0), found.error
    allowed = absolute + relative * np.abs(change) + rounding * found.norms[1:]
    far = ~(np.abs(error) <= allowed) & ~np.isnan(found.along[0])
    if far.any():
        layer, position = np.argwhere(far)[0]
        raise TokentrailsError(
            f"the parts of block {layer} add up to {found.total[layer, position]:.6g}, but the "
            f"block changes e · x by {change[layer, position]:.6g} (label {text.label!r}, "
            f"position {position})",
            where=name,
            hint="the model has a part that is not known here; please report it with its name.",
        )


def _parts_table(found: Changes, text: WholeText, provenance: Mapping[str, str]) -> pa.Table:
    depth, n, n_parts = found.contributions.shape
    share = found.contributions / found.norms[:-1, :, None]
    by_token = {"contribution": found.contributions, "share": share}
    names, heads = zip(*found.parts, strict=True)
    return pa.table(
        token_keys(provenance, text.label, text.tokens, depth * n_parts)
        | {
            "layer": pa.array(np.tile(np.repeat(np.arange(depth), n_parts), n), pa.int32()),
            "part": pa.array(list(names) * (depth * n), pa.string()),
            "head": pa.array(list(heads) * (depth * n), pa.int32()),
        }
        | {key: _floats(values.swapaxes(0, 1)) for key, values in by_token.items()}
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
    found = [_block_changes(block, traced, layer, e) for layer, block in enumerate(parts.blocks)]
    names = sorted(found[0])
    heads = range(len(parts.blocks[0].heads.W_O))
    return Changes(
        parts=[(name, i) for name in names for i in (heads if name == "head" else [None])],
        contributions=np.stack(
            [torch.cat([block[name] for name in names], dim=1).cpu().numpy() for block in found]
        ),
        along=np.stack([_dot(x.to(device), e).cpu().numpy() for x in traced.resid]),
        norms=np.linalg.norm(traced.resid.numpy().astype(np.float64), axis=2),
        identity=np.stack([row_cosine(states, own) for states in traced.resid.numpy()]),
    )


def _block_changes(
    block: Block, traced: Trace, layer: int, e: Float64[Tensor, "t d"]
) -> dict[str, Float64[Tensor, "t n"]]:
    """The contributions of a block's parts, by name: one column each, of heads one for each."""
    x, mid, attention, mlp_out = (
        getattr(traced, site)[layer].to(e.device)
        for site in ("resid", "resid_mid", "attention", "mlp_out")
    )
    heads = block.heads
    results = attention @ heads.values(block.attention_norm(x))  # of each head, before W_O
    attention_out = torch.einsum("htk,hkd->td", results, heads.W_O) + heads.b_O
    norm = block.attention_post_norm
    scaled = e * (gain(norm, attention_out).double() / divisor(norm, attention_out.double()))
    by_head = torch.einsum("td,hkd->htk", scaled, heads.W_O.double())
    found = {
        "attention_bias": (scaled @ heads.b_O.double())[:, None],
        "head": _dot(results, by_head).T,
        "mlp": _dot(mlp_out, e)[:, None],
    }
    if not isinstance(block.sum_norm_mlp, nn.Identity):
        normed = block.sum_norm_attention(mid)
        found["attention_norm"] = (_dot(normed, e) - _dot(mid, e))[:, None]
        summed = normed + mlp_out
        found["mlp_norm"] = (_dot(block.sum_norm_mlp(summed), e) - _dot(summed, e))[:, None]
    return found


def _dot(x: Tensor, y: Float64[Tensor, "*n d"]) -> Float64[Tensor, "*n"]:
    return (x.double() * y).sum(dim=-1)
