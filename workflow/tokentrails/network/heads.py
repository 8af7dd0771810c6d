"""The attention of a block as matrices, a set for each head.

Names and shapes are those of TransformerLens. Rows multiply from the left: q = x W_Q + b_Q.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from operator import attrgetter
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .architectures import Architecture, Attention
from .factored import Factored
from .norms import AcrossHeads, Norm, gain, norm_at
from .spread import device_of

PositionBias = Callable[[int], Float[Tensor, "heads _ n"]]
"""What is added to the logits of a text of n tokens by position: for each query, or for all."""


@dataclass(frozen=True)
class Rotary:
    """Rotations of queries and keys by their positions (https://arxiv.org/abs/2104.09864).

    The model's own module gives cosine and sine for positions, whatever its scaling. (One that
    depends on the length of the text is that of the positions asked for.)

    Attributes
    ----------
    options: what else that module asks for: the type of the block, where rotations differ by it.
    pairs: whether neighbouring dimensions are rotated, and not those of the two halves.
    once: whether the module gives a cosine for both dimensions that are rotated together.
    """

    module: nn.Module
    options: Mapping[str, str] = field(default_factory=dict)
    pairs: bool = False
    once: bool = False

    def __call__(
        self, x: Float[Tensor, "... t d_head"], positions: Int[Tensor, " t"]
    ) -> Float[Tensor, "... t d_head"]:
        """Rotate queries or keys; dimensions beyond the rotary ones stay as they are."""
        given = self.module(x, positions[None].to(x.device), **self.options)
        cos, sin = (self._each(part[0]) for part in given)
        rotary, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        if self.pairs:
            turned = torch.stack((-rotary[..., 1::2], rotary[..., ::2]), dim=-1).flatten(-2)
        else:
            first, second = rotary.chunk(2, dim=-1)
            turned = torch.cat((-second, first), dim=-1)
        return torch.cat((rotary * cos + turned * sin, rest), dim=-1)

    def _each(self, part: Float[Tensor, t * n]) -> Float[Tensor, "t d_rotary"]:
        """A number for each dimension; some modules give halves to models that rotate pairs."""
        if self.once:
            return torch.cat([part, part], dim=1)
        if not self.pairs or torch.equal(part[:, ::2], part[:, 1::2]):
            return part
        return part[:, : part.shape[1] // 2].repeat_interleave(2, dim=1)


class SineTable(nn.Module):
    """The sines and cosines of all positions, which a model keeps in a table (GPT-J)."""

    def __init__(self, table: Float[Tensor, "positions d_rotary"]) -> None:
        super().__init__()
        self.table = table

    def forward(
        self, x: Tensor, positions: Int[Tensor, "1 t"]
    ) -> tuple[Float[Tensor, "1 t d_rotary"], Float[Tensor, "1 t d_rotary"]]:
        """Cosine and sine; a position below 0 is that above it turned back."""
        sin, cos = self.table.to(x)[positions.abs()].chunk(2, dim=-1)
        both = (cos, sin * positions.sign()[..., None])
        cos, sin = (part.repeat_interleave(2, dim=-1) for part in both)
        return cos, sin


@dataclass(frozen=True, eq=False)
class Heads:
    """The attention of one block. Its input x_hat is the stream through the block's norm.

    The logit of query i and key j is pattern_i · x_hat_j + bias_i, where both are `patterns` of the
    query's side with the offset i - j, or likewise of the key's side. Queries and keys that are
    normalised each by itself (Qwen 3) are no linear functions of x_hat: the gain of that norm is
    in the pattern of the other side, and the sum has to be divided by the norm's divisor of the
    key (of the query).

    Attributes
    ----------
    W_Q, b_Q: queries, for each head.
    W_K, b_K, W_V, b_V: keys and values, for each key/value head. Biases that the model does
        not have are zeros, here and below.
    W_O, b_O: from the heads' results to the stream. The bias is added once, not per head.
    scale: what the logits are multiplied by, 1 / √d_head in most models.
    softcap: c, where logits z are capped as c tanh(z / c) (Gemma 2).
    query_norm, key_norm: norms over d_head; the identity in most models.
    kv_of: the key/value head of each head.
    rotary: None where positions are not rotations.
    causal: whether a query sees only its own token and those before it.
    window: how many tokens a query sees, its own the last, and where attention is not causal so
        many to either side; None without such a limit.
    sinks: a further logit of each head, whose share of attention goes to no token (gpt-oss).
    position_bias: what is added to the logits of n tokens by position (ALiBi's slopes, MPNet's
        table); None for nothing.
    """

    W_Q: Float[Tensor, "heads d d_head"]
    b_Q: Float[Tensor, "heads d_head"]
    W_K: Float[Tensor, "kv_heads d d_head"]
    b_K: Float[Tensor, "kv_heads d_head"]
    W_V: Float[Tensor, "kv_heads d d_head"]
    b_V: Float[Tensor, "kv_heads d_head"]
    W_O: Float[Tensor, "heads d_head d"]
    b_O: Float[Tensor, " d"]
    scale: float
    softcap: float | None
    query_norm: Norm
    key_norm: Norm
    kv_of: tuple[int, ...]
    rotary: Rotary | None
    causal: bool = True
    window: int | None = None
    sinks: Float[Tensor, " heads"] | None = None
    position_bias: PositionBias | None = None

    def visible(self, n: int) -> Bool[Tensor, "n n"]:
        """Which keys (columns) each query of a text of n tokens may attend to."""
        seen = torch.ones(n, n, dtype=torch.bool, device=self.W_Q.device)
        if self.causal:
            seen = seen.tril()
            return seen if self.window is None else seen.triu(1 - self.window)
        return seen if self.window is None else seen.triu(-self.window).tril(self.window)

    def weights(self, logits: Float[Tensor, "heads t t"]) -> Float[Tensor, "heads t t"]:
        """Attention from query (row) to key, after cap, positions, mask and softmax."""
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        if self.position_bias is not None:
            logits = logits + self.position_bias(logits.shape[-1])
        logits = logits.masked_fill(~self.visible(logits.shape[-1]), -torch.inf)
        if self.sinks is None:
            return logits.softmax(-1)
        sinks = self.sinks[:, None, None].expand(-1, logits.shape[1], 1)
        return torch.cat([logits, sinks], dim=-1).softmax(-1)[..., :-1]

    def queries(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t d_head"]:
        """Queries as they enter the logits, but not rotated."""
        return self.query_norm(x_hat @ self.W_Q + self.b_Q[:, None])

    def keys(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "kv_heads t d_head"]:
        """Keys as they enter the logits, but not rotated."""
        return self.key_norm(x_hat @ self.W_K + self.b_K[:, None])

    def values(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t d_head"]:
        """Values, those of a key/value head once for each of its heads."""
        return (x_hat @ self.W_V + self.b_V[:, None])[list(self.kv_of)]

    def messages(self, x_hat: Float[Tensor, "t d"]) -> Factored:
        """What a head gives when it attends to a token alone: (x_hat W_V + b_V) W_O.

        `Block.messages` are these as they enter the stream.
        """
        return Factored(self.values(x_hat), self.W_O, tuple(range(len(self.W_O))))

    def patterns(
        self, x_hat: Float[Tensor, "t d"], side: Literal["query", "key"], offset: int = 0
    ) -> tuple[Factored, Float[Tensor, "heads t"]]:
        """Patterns, and what the bias of the other side adds to every logit of each.

        On the query's side what tokens look for, scale W_K q, with the bias scale q · b_K; on the
        key's side what they offer to be found by, scale W_Q k, with the bias scale k · b_Q.

        Parameters
        ----------
        offset: position of the query minus position of the key, for rotary models.
        """
        if side == "query":
            z = self._rotated(self.queries(x_hat), offset)
            weight, bias, norm, matrix = self.W_K, self.b_K, self.key_norm, self.kv_of
        else:
            z = self._rotated(self.keys(x_hat), -offset)[list(self.kv_of)]
            weight, bias, norm = self.W_Q, self.b_Q, self.query_norm
            matrix = tuple(range(len(self.W_Q)))
        gains = gain(norm, z)
        z = self.scale * z * (gains[list(matrix)] if gains.ndim > 1 else gains)
        return Factored(z, weight.mT, matrix), (z * bias[list(matrix), None]).sum(-1)

    def _rotated(self, x: Tensor, offset: int) -> Tensor:
        """Rotated by the offset, so that the other side need not be rotated."""
        if self.rotary is None:
            return x
        places = torch.full((x.shape[-2],), offset, device=x.device)
        # The other side's rotation by 0 is the identity, but for the factor that YaRN puts in.
        return self.rotary(self.rotary(x, places), torch.zeros_like(places))

    @classmethod
    def from_block(cls, block: nn.Module, model: nn.Module, architecture: Architecture) -> Heads:
        """The matrices are views of the model's own parameters."""
        names = architecture.attention
        attention = block.get_submodule(names.module)
        W_O, b_O = weight_and_bias(block.get_submodule(names.output))
        n_heads = architecture.heads(model.config.to_dict())
        W_O = W_O.unflatten(0, (n_heads, -1))
        projections = _by_head(block, names, *W_O.shape[:2])
        n_kv = len(projections["W_K"])
        return cls(
            **projections,
            W_O=W_O,
            b_O=b_O,
            scale=_scale(attention, names, W_O.shape[1]),
            softcap=model.config.attn_logit_softcapping if names.capped else None,
            query_norm=_norm(block, names.query_norm, W_O.shape[1]),
            key_norm=_norm(block, names.key_norm, W_O.shape[1]),
            kv_of=tuple(head * n_kv // n_heads for head in range(n_heads)),
            rotary=_rotary(attention, model, architecture),
            causal=architecture.causal,
            window=_window(attention, model, names),
            sinks=getattr(attention, "sinks", None),
            position_bias=_position_bias(model, names, n_heads),
        )


def _scale(attention: nn.Module, names: Attention, d_head: int) -> float:
    """What an attention module multiplies its logits by."""
    if names.unscaled:
        return 1.0
    known = ("scaling", "softmax_scale")
    return float(
        next((getattr(attention, k) for k in known if hasattr(attention, k)), d_head**-0.5)
    )


def _position_bias(model: nn.Module, names: Attention, n_heads: int) -> PositionBias | None:
    """The model's own function of what it adds to logits by position."""
    if names.position_bias is None:
        return None
    path, takes = names.position_bias
    device, own = device_of(model), attrgetter(path)(model)
    given: dict[str, PositionBias] = {
        "rows": lambda n: own(torch.ones(1, n, device=device), n_heads, torch.float32),
        "heads": lambda n: own(n_heads, n, device=device),
        "text": lambda n: own(torch.zeros(1, n, device=device))[0],
    }
    return given[takes]


def _norm(block: nn.Module, name: str | None, d_head: int) -> Norm:
    """A norm of queries or keys, of each head by itself or of all together."""
    norm = norm_at(block, name)
    weight = getattr(norm, "weight", None)
    return norm if weight is None or weight.numel() == d_head else AcrossHeads(norm)


def _layer_type(attention: nn.Module, config: Any) -> str:
    """Of the block, where the configuration has types of blocks."""
    types = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None)
    layer = getattr(attention, "layer_idx", getattr(attention, "layer_id", None))
    return types[layer] if types and layer is not None else ""


def _rotary(attention: nn.Module, model: nn.Module, architecture: Architecture) -> Rotary | None:
    """The rotations of a block; None in a block without any."""
    pairs = architecture.attention.rotated_pairs
    if hasattr(attention, "embed_positions"):
        return Rotary(SineTable(attention.embed_positions), pairs=pairs)
    if architecture.rotary is None or not getattr(attention, "use_rope", True):
        return None
    kind = _layer_type(attention, model.config)
    windows = architecture.attention.rotated_windows_only and model.config.sliding_window
    if windows and kind != "sliding_attention":
        return None
    module = model.get_submodule(architecture.rotary)
    by_type = "layer_type" in signature(module.forward).parameters
    once = architecture.attention.rotary_once
    return Rotary(module, {"layer_type": kind} if by_type else {}, pairs, once)


def _window(attention: nn.Module, model: nn.Module, names: Attention) -> int | None:
    """How many tokens a query sees; None for all."""
    if _layer_type(attention, model.config) in ("full_attention", "global"):
        return None
    if names.window_key is not None:
        return getattr(model.config, names.window_key, None)
    return getattr(attention, "sliding_window", None)


def weight_and_bias(module: nn.Module) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
    """Of a projection, such that it gives x weight + bias."""
    # Conv1D, transformers' own class, stores (in, out), nn.Linear (out, in).
    weight = module.weight.mT if isinstance(module, nn.Linear) else module.weight
    bias = module.bias
    return weight, weight.new_zeros(weight.shape[1]) if bias is None else bias


def _by_head(
    block: nn.Module, names: Attention, n_heads: int, d_head: int
) -> dict[str, Float[Tensor, "heads *d d_head"]]:
    """W_Q, b_Q, W_K, b_K, W_V and b_V, by name."""
    found: dict[str, Tensor] = {}
    for part, (letter, name) in enumerate(
        (("Q", names.query), ("K", names.key), ("V", names.value))
    ):
        for kind, matrix in zip("Wb", weight_and_bias(block.get_submodule(name)), strict=True):
            heads = matrix.unflatten(-1, (-1, d_head))
            if names.fused == "parts":
                n_kv = (heads.shape[-2] - n_heads) // 2
                heads = heads.split([n_heads, n_kv, n_kv], dim=-2)[part]
            elif names.fused == "heads":
                n_kv = (heads.shape[-2] - n_heads) // 2
                groups = heads.unflatten(-2, (n_kv, -1)).split([n_heads // n_kv, 1, 1], dim=-2)
                heads = groups[part].flatten(-3, -2)
            found[f"{kind}_{letter}"] = heads.movedim(-2, 0)
    return found
