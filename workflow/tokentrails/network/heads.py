"""The attention of a block as matrices, a set for each head.

Names and shapes are those of TransformerLens. Rows multiply from the left: q = x W_Q + b_Q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .architectures import Architecture, Attention
from .factored import Factored
from .norms import Norm, gain, norm_at


@dataclass(frozen=True)
class Rotary:
    """Rotations of queries and keys by their positions (https://arxiv.org/abs/2104.09864).

    The model's own module gives cosine and sine for positions, whatever its scaling. (One that
    depends on the length of the text is that of the positions asked for.)
    """

    module: nn.Module

    def __call__(
        self, x: Float[Tensor, "... t d_head"], positions: Int[Tensor, " t"]
    ) -> Float[Tensor, "... t d_head"]:
        """Rotate queries or keys; dimensions beyond the rotary ones stay as they are."""
        cos, sin = (part[0] for part in self.module(x, positions[None].to(x.device)))
        rotary, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        first, second = rotary.chunk(2, dim=-1)
        rotated = rotary * cos + torch.cat((-second, first), dim=-1) * sin
        return torch.cat((rotated, rest), dim=-1)


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

    def visible(self, n: int) -> Bool[Tensor, "n n"]:
        """Which keys (columns) each query of a text of n tokens may attend to."""
        seen = torch.ones(n, n, dtype=torch.bool, device=self.W_Q.device)
        if self.causal:
            seen = seen.tril()
            return seen if self.window is None else seen.triu(1 - self.window)
        return seen if self.window is None else seen.triu(-self.window).tril(self.window)

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
        """What a head adds to the stream when it attends to a token alone: (x_hat W_V + b_V) W_O.

        In a block with a post-norm (Gemma 2) the sum of all heads goes through that norm first.
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
        z = self.scale * z
        z = z * gain(norm, z)
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
        projections = _by_head(block, names, d_head=W_O.shape[1])
        n_kv = len(projections["W_K"])
        # Of others, whose configuration may have the key too, the module says it or has none.
        window = model.config.sliding_window if architecture.model_type == "mistral" else None
        return cls(
            **projections,
            W_O=W_O,
            b_O=b_O,
            scale=float(attention.scaling),
            softcap=getattr(model.config, "attn_logit_softcapping", None),
            query_norm=norm_at(block, names.query_norm),
            key_norm=norm_at(block, names.key_norm),
            kv_of=tuple(head * n_kv // n_heads for head in range(n_heads)),
            rotary=Rotary(model.get_submodule(architecture.rotary))
            if architecture.rotary
            else None,
            causal=architecture.causal,
            window=getattr(attention, "sliding_window", window),
        )


def weight_and_bias(module: nn.Module) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
    """Of a projection, such that it gives x weight + bias."""
    # Conv1D, transformers' own class, stores (in, out), nn.Linear (out, in).
    weight = module.weight.mT if isinstance(module, nn.Linear) else module.weight
    bias = module.bias
    return weight, weight.new_zeros(weight.shape[1]) if bias is None else bias


def _by_head(
    block: nn.Module, names: Attention, d_head: int
) -> dict[str, Float[Tensor, "heads *d d_head"]]:
    """W_Q, b_Q, W_K, b_K, W_V and b_V, by name."""
    found: dict[str, Tensor] = {}
    for part, (letter, name) in enumerate(
        (("Q", names.query), ("K", names.key), ("V", names.value))
    ):
        for kind, matrix in zip("Wb", weight_and_bias(block.get_submodule(name)), strict=True):
            if names.fused == "parts":
                matrix = matrix.unflatten(-1, (3, -1, d_head)).select(-3, part)
            elif names.fused == "heads":
                matrix = matrix.unflatten(-1, (-1, 3, d_head)).select(-2, part)
            else:
                matrix = matrix.unflatten(-1, (-1, d_head))
            found[f"{kind}_{letter}"] = matrix.movedim(-2, 0)
    return found
