"""The matrices of a model's heads and MLPs, in one form for all architectures.

Names and shapes are those of TransformerLens. Rows multiply from the left: q = x W_Q + b_Q. The
matrices are views of the model's own parameters, so they cost no memory; the norms, activations
and rotations are its own modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from ..errors import TokentrailsError
from .architectures import Architecture, Attention, MaskedHead
from .factored import Factored
from .weights import Weights

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rotary:
    """Rotations of queries and keys by their positions (https://arxiv.org/abs/2104.09864).

    Parameters
    ----------
    module: the model's own, which gives cosine and sine for positions, whatever its scaling. (One
        that depends on the length of the text is that of the positions asked for.)
    """

    module: nn.Module

    def __call__(
        self, x: Float[Tensor, "... t d_head"], positions: Int[Tensor, " t"]
    ) -> Float[Tensor, "... t d_head"]:
        """Rotate queries or keys; dimensions beyond the rotary ones stay as they are."""
        cos, sin = (part[0] for part in self.module(x, positions[None].to(x.device)))
        turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        first, second = turned.chunk(2, dim=-1)
        rotated = turned * cos + torch.cat((-second, first), dim=-1) * sin
        return torch.cat((rotated, rest), dim=-1)


@dataclass(frozen=True, eq=False)
class Heads:
    """The attention of one block. Its input x_hat is the stream through the block's norm.

    The logit of query i and key j is pattern_i · x_hat_j + bias_i, where both come from the
    query's side (`query_patterns`, `query_pattern_bias`, with the offset i - j), or likewise from
    the key's side. Queries and keys that are normalised each by itself (Qwen 3) are no linear
    functions of x_hat: the weight of that norm is in the pattern of the other side, and the
    sum has to be divided by `key_rms` of the key (`query_rms` of the query).

    Attributes
    ----------
    W_Q, b_Q: queries, for each head.
    W_K, b_K, W_V, b_V: keys and values, for each key/value head. Biases that the model does
        not have are zeros, here and below.
    W_O, b_O: from the heads' results to the stream. The bias is added once, not per head.
    scale: what the logits are multiplied by, 1 / √d_head in most models.
    softcap: c, where logits z are capped as c tanh(z / c) (Gemma 2).
    query_norm, key_norm: norms over d_head.
    kv_of: the key/value head of each head.
    rotary: None where positions are not rotations.
    causal: whether a query sees only its own token and those before it.
    window: how many tokens a query sees, its own the last; None without such a limit.
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
    query_norm: nn.Module | None
    key_norm: nn.Module | None
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

    def queries(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t d_head"]:
        """Queries as they enter the logits, but not rotated."""
        queries = x_hat @ self.W_Q + self.b_Q[:, None]
        return queries if self.query_norm is None else self.query_norm(queries)

    def keys(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "kv_heads t d_head"]:
        """Keys as they enter the logits, but not rotated."""
        keys = x_hat @ self.W_K + self.b_K[:, None]
        return keys if self.key_norm is None else self.key_norm(keys)

    def values(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "kv_heads t d_head"]:
        return x_hat @ self.W_V + self.b_V[:, None]

    def messages(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t d"]:
        """What a head adds to the stream when it attends to a token alone: (x_hat W_V + b_V) W_O.

        In a block with a post-norm (Gemma 2) the sum of all heads goes through that norm first.
        """
        return self.values(x_hat)[list(self.kv_of)] @ self.W_O

    def query_patterns(
        self, x_hat: Float[Tensor, "t d"], offset: int = 0
    ) -> Float[Tensor, "heads t d"]:
        """What tokens look for: scale W_K q, a vector in the space of x_hat.

        Parameters
        ----------
        x_hat: of the queries' tokens.
        offset: position of the query minus position of the key, for rotary models.
        """
        z = self._seen_by_query(x_hat, offset)
        # By key/value head, so that its matrix is not copied for each of its heads.
        grouped = z.reshape(len(self.W_K), -1, z.shape[-1]) @ self.W_K.mT
        return grouped.reshape(*z.shape[:2], -1)

    def query_pattern_bias(
        self, x_hat: Float[Tensor, "t d"], offset: int = 0
    ) -> Float[Tensor, "heads t"]:
        """What the bias of the keys adds to every logit of a query pattern: scale q · b_K."""
        return (self._seen_by_query(x_hat, offset) * self.b_K[list(self.kv_of), None]).sum(-1)

    def key_patterns(
        self, x_hat: Float[Tensor, "t d"], offset: int = 0
    ) -> Float[Tensor, "heads t d"]:
        """What tokens offer to be found by: scale W_Q k, a vector in the space of x_hat.

        Parameters
        ----------
        x_hat: of the keys' tokens.
        offset: position of the query minus position of the key, for rotary models.
        """
        return self._seen_by_key(x_hat, offset) @ self.W_Q.mT

    def key_pattern_bias(
        self, x_hat: Float[Tensor, "t d"], offset: int = 0
    ) -> Float[Tensor, "heads t"]:
        """What the bias of the queries adds to every logit of a key pattern: scale k · b_Q."""
        return (self._seen_by_key(x_hat, offset) * self.b_Q[:, None]).sum(-1)

    def query_rms(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t"]:
        """What the queries' norm divides them by; 1 without such a norm."""
        return _rms(x_hat @ self.W_Q + self.b_Q[:, None], self.query_norm)

    def key_rms(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t"]:
        """What the keys' norm divides them by, for each head; 1 without such a norm."""
        return _rms(x_hat @ self.W_K + self.b_K[:, None], self.key_norm)[list(self.kv_of)]

    def factored_query_patterns(self, x_hat: Float[Tensor, "t d"]) -> Factored:
        """`query_patterns` at offset 0, not multiplied out."""
        return Factored(self._seen_by_query(x_hat, 0), self.W_K.mT, self.kv_of)

    def factored_key_patterns(self, x_hat: Float[Tensor, "t d"]) -> Factored:
        """`key_patterns` at offset 0, not multiplied out."""
        return Factored(self._seen_by_key(x_hat, 0), self.W_Q.mT, tuple(range(len(self.W_Q))))

    def factored_messages(self, x_hat: Float[Tensor, "t d"]) -> Factored:
        """`messages`, not multiplied out."""
        values = self.values(x_hat)[list(self.kv_of)]
        return Factored(values, self.W_O, tuple(range(len(self.W_O))))

    def _seen_by_query(self, x_hat: Tensor, offset: int) -> Float[Tensor, "heads t d_head"]:
        """z such that the logit is z · (x_hat_j W_K + b_K), but for the keys' norm."""
        z = self.scale * self._turned(self.queries(x_hat), offset)
        return z if self.key_norm is None else z * self.key_norm.weight

    def _seen_by_key(self, x_hat: Tensor, offset: int) -> Float[Tensor, "heads t d_head"]:
        """z such that the logit is (x_hat_i W_Q + b_Q) · z, but for the queries' norm."""
        z = self.scale * self._turned(self.keys(x_hat), -offset)[list(self.kv_of)]
        return z if self.query_norm is None else z * self.query_norm.weight

    def _turned(self, x: Tensor, offset: int) -> Tensor:
        """Rotated by the offset, so that the other side need not be rotated."""
        if self.rotary is None:
            return x
        places = torch.full((x.shape[-2],), offset, device=x.device)
        # The other side's rotation by 0 is the identity, but for the factor that YaRN puts in.
        return self.rotary(self.rotary(x, places), torch.zeros_like(places))


@dataclass(frozen=True, eq=False)
class Mlp:
    """The MLP of one block. Its input x_hat is the stream through the block's `mlp_norm`.

    Attributes
    ----------
    W_in, b_in: into the neurons.
    W_gate, b_gate: into the neurons' gates; None in MLPs without gates.
    W_out, b_out: from the neurons to the stream.
    activation: the model's own function.
    """

    W_in: Float[Tensor, "d n"]
    b_in: Float[Tensor, " n"]
    W_gate: Float[Tensor, "d n"] | None
    b_gate: Float[Tensor, " n"] | None
    W_out: Float[Tensor, "n d"]
    b_out: Float[Tensor, " d"]
    activation: nn.Module

    def activate(
        self, pre_in: Float[Tensor, "... n"], pre_gate: Float[Tensor, "... n"] | None = None
    ) -> Float[Tensor, "... n"]:
        """Activations f(pre_in), or with gates f(pre_gate) pre_in."""
        return self.activation(pre_in) if pre_gate is None else self.activation(pre_gate) * pre_in

    def activations(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "t n"]:
        """What the neurons' rows of W_out are multiplied by; their sum and b_out are the output.

        In a block with a post-norm (Gemma 2) the output goes through that norm.
        """
        pre_in = x_hat @ self.W_in + self.b_in
        if self.W_gate is None:
            return self.activate(pre_in)
        return self.activate(pre_in, x_hat @ self.W_gate + self.b_gate)


@dataclass(frozen=True, eq=False)
class Block:
    """One block. Norms that the architecture does not have are the identity.

    With x the block's input, m = `resid_mid`, a and f what attention and MLP give:

    - pre-norm: m = x + a(attention_norm(x)), output m + f(mlp_norm(m));
    - parallel: m = x + a(attention_norm(x)), output m + f(mlp_norm(x));
    - post-norm: m = x + a(x), output sum_norm_mlp(n + f(n)), where n = sum_norm_attention(m).

    Attributes
    ----------
    heads, mlp: what attention and MLP are made of.
    attention_norm: LN_l; the identity in post-norm encoders.
    mlp_norm: the norm that the MLP reads through; in post-norm encoders the same as
        `sum_norm_attention`, since that is what lies between `resid_mid` and the MLP.
    attention_post_norm, mlp_post_norm: norms of what a branch adds (Gemma 2).
    sum_norm_attention, sum_norm_mlp: norms of the stream after each sum (post-norm encoders).
    parallel: whether the MLP reads the block's input instead of `resid_mid`.
    """

    heads: Heads
    mlp: Mlp
    attention_norm: Norm
    mlp_norm: Norm
    attention_post_norm: Norm
    mlp_post_norm: Norm
    sum_norm_attention: Norm
    sum_norm_mlp: Norm
    parallel: bool

    def mlp_input(
        self, resid: Float[Tensor, "t d"], resid_mid: Float[Tensor, "t d"]
    ) -> Float[Tensor, "t d"]:
        """The x_hat of the MLP, from the block's input and its `resid_mid`."""
        return self.mlp_norm(resid if self.parallel else resid_mid)


@dataclass(frozen=True, eq=False)
class Parts:
    """A model taken apart.

    Attributes
    ----------
    blocks: in order.
    embedding: E as it enters the stream (Gemma 2 multiplies it by √d), with the padded rows.
    embedding_norm: what the sum of the embeddings goes through in post-norm encoders.
    unembedding: U, a row for each of E; None where the weights file has no head.
    unembedding_bias: of the logits.
    final_norm: LN_f; None in post-norm encoders.
    head_transform: the masked-token head of an encoder up to U: norm(activation(dense(x))).
    logits_softcap: c, where logits z are capped as c tanh(z / c) (Gemma 2).
    tied: whether U is the embedding matrix, before any factor.
    """

    blocks: tuple[Block, ...]
    embedding: Float[Tensor, "v d"]
    embedding_norm: Norm | None
    unembedding: Float[Tensor, "v d"] | None
    unembedding_bias: Float[Tensor, " v"] | None
    final_norm: Norm | None
    head_transform: Norm | None
    logits_softcap: float | None
    tied: bool

    @classmethod
    def of(cls, model: nn.Module, architecture: Architecture, folder: Path) -> Parts:
        """Take a model apart.

        Parameters
        ----------
        model, architecture: as `load_model` gives them, in float32. The parameters are set not to
            require gradients, since they are used as they are.
        folder: the checkpoint's, for the unembedding, which the bare model does not have.

        Raises
        ------
        TokentrailsError: if the unembedding's tensors do not fit the model.
        """
        model.requires_grad_(False)
        embedding = model.get_submodule(architecture.embedding)
        rows = embedding.weight
        if rows.dtype != torch.float32:
            raise ValueError(f"the parts of a model are taken in float32, not {rows.dtype}")
        head = _Head.of(model, architecture, Weights(folder / "model.safetensors"))
        return cls(
            blocks=tuple(
                _block(block, model, architecture)
                for block in model.get_submodule(architecture.blocks)
            ),
            # A subclass does more than look rows up.
            embedding=rows
            if type(embedding) is nn.Embedding
            else embedding(torch.arange(len(rows), device=rows.device)),
            embedding_norm=_module(model, architecture.embedding_norm),
            unembedding=head.weight,
            unembedding_bias=head.bias,
            final_norm=_module(model, architecture.final_norm),
            head_transform=head.transform,
            logits_softcap=getattr(model.config, "final_logit_softcapping", None),
            tied=head.weight is rows,
        )

    def unembedding_input(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """What the rows of U are compared with: LN_f(x), or x through the masked-token head."""
        for step in (self.final_norm, self.head_transform):
            x = x if step is None else step(x)
        return x

    def logits(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... v"] | None:
        """Logits of the stream after the last block; None for a model without unembedding."""
        if self.unembedding is None:
            return None
        logits = functional.linear(
            self.unembedding_input(x), self.unembedding, self.unembedding_bias
        )
        if self.logits_softcap is not None:
            logits = self.logits_softcap * torch.tanh(logits / self.logits_softcap)
        return logits


def _rms(x: Tensor, norm: nn.Module | None) -> Tensor:
    """√(mean(x²) + ε) over the last dimension."""
    if norm is None:
        return torch.ones_like(x[..., 0])
    return (x.square().mean(-1) + norm.variance_epsilon).sqrt()


def _module(parent: nn.Module, name: str | None) -> nn.Module | None:
    return None if name is None else parent.get_submodule(name)


def _norm(parent: nn.Module, name: str | None) -> nn.Module:
    return _module(parent, name) or nn.Identity()


def _linear(module: nn.Module) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
    """Weight and bias, such that the module gives x weight + bias."""
    # Conv1D, transformers' own class, stores (in, out), nn.Linear (out, in).
    weight = module.weight.mT if isinstance(module, nn.Linear) else module.weight
    bias = module.bias
    return weight, weight.new_zeros(weight.shape[1]) if bias is None else bias


def _into_heads(
    parent: nn.Module, names: Attention, d_head: int
) -> dict[str, Float[Tensor, "heads *d d_head"]]:
    """W_Q, b_Q, W_K, b_K, W_V and b_V, by name."""
    found: dict[str, Tensor] = {}
    for part, (letter, name) in enumerate(
        (("Q", names.query), ("K", names.key), ("V", names.value))
    ):
        for kind, matrix in zip("Wb", _linear(parent.get_submodule(name)), strict=True):
            if names.fused == "parts":
                matrix = matrix.unflatten(-1, (3, -1, d_head)).select(-3, part)
            elif names.fused == "heads":
                matrix = matrix.unflatten(-1, (-1, 3, d_head)).select(-2, part)
            else:
                matrix = matrix.unflatten(-1, (-1, d_head))
            found[f"{kind}_{letter}"] = matrix.movedim(-2, 0)
    return found


def _heads(block: nn.Module, model: nn.Module, architecture: Architecture) -> Heads:
    names = architecture.attention
    attention = block.get_submodule(names.module)
    W_O, b_O = _linear(block.get_submodule(names.output))
    n_heads = architecture.heads(model.config.to_dict())
    W_O = W_O.unflatten(0, (n_heads, -1))
    projections = _into_heads(block, names, W_O.shape[1])
    n_kv = len(projections["W_K"])
    return Heads(
        **projections,
        W_O=W_O,
        b_O=b_O,
        scale=float(attention.scaling),
        softcap=getattr(model.config, "attn_logit_softcapping", None),
        query_norm=_module(block, names.query_norm),
        key_norm=_module(block, names.key_norm),
        kv_of=tuple(head * n_kv // n_heads for head in range(n_heads)),
        rotary=Rotary(model.get_submodule(architecture.rotary)) if architecture.rotary else None,
        causal=architecture.causal,
        window=getattr(attention, "sliding_window", getattr(model.config, "sliding_window", None)),
    )


def _mlp(block: nn.Module, architecture: Architecture) -> Mlp:
    names = architecture.mlp
    W_in, b_in = _linear(block.get_submodule(names.input))
    W_gate, b_gate = _linear(block.get_submodule(names.gate)) if names.gate else (None, None)
    W_out, b_out = _linear(block.get_submodule(names.output))
    activation = block.get_submodule(names.activation)
    return Mlp(W_in, b_in, W_gate, b_gate, W_out, b_out, activation)


def _block(block: nn.Module, model: nn.Module, architecture: Architecture) -> Block:
    post_norm = architecture.sum_norm is not None
    return Block(
        heads=_heads(block, model, architecture),
        mlp=_mlp(block, architecture),
        attention_norm=_norm(block, architecture.attention.norm),
        mlp_norm=_norm(block, architecture.mid),
        attention_post_norm=_norm(block, architecture.attention.post_norm),
        mlp_post_norm=_norm(block, architecture.mlp.post_norm),
        sum_norm_attention=_norm(block, architecture.mid if post_norm else None),
        sum_norm_mlp=_norm(block, architecture.sum_norm),
        parallel=architecture.parallel_attention is not None,
    )


@dataclass(frozen=True, eq=False)
class _Head:
    """The unembedding, with what an encoder's masked-token head puts before it."""

    weight: Tensor | None = None
    bias: Tensor | None = None
    transform: Norm | None = None

    @classmethod
    def of(cls, model: nn.Module, architecture: Architecture, weights: Weights) -> _Head:
        rows = model.get_submodule(architecture.embedding).weight
        names = architecture.unembedding
        read = _Reader(weights, rows.device)
        if isinstance(names, str):
            return cls(_unembedding(names, read, rows, model.config))
        dense = read(f"{names.dense}.weight")
        if dense is None:
            return cls()
        weight = _unembedding(names.decoder, read, rows, model.config)
        transform = _transform(names, read, model, architecture)
        return cls(weight, read(*names.biases), transform)


@dataclass(frozen=True)
class _Reader:
    """Reads a tensor onto a device, by the first of its names that the file has."""

    weights: Weights
    device: torch.device

    def __call__(self, *names: str) -> Tensor | None:
        for name in names:
            if name in self.weights.entries:
                return torch.from_numpy(self.weights.tensor(name)).to(self.device)
        return None

    def need(self, *names: str) -> Tensor:
        tensor = self(*names)
        if tensor is None:
            raise TokentrailsError(
                f"the weights have no tensor {names[0]!r}, which the masked-token head needs",
                where=self.weights.path,
                hint="save or fetch the model again, with its whole head or without any.",
            )
        return tensor


def _unembedding(name: str, read: _Reader, rows: Tensor, config: Any) -> Tensor | None:
    """U from the file; the embedding's own matrix where they are tied, or equal."""
    weight = read(f"{name}.weight")
    if weight is None:
        return rows if config.tie_word_embeddings else None
    if weight.shape != rows.shape:
        raise TokentrailsError(
            f"{name}.weight has the shape {tuple(weight.shape)}, the embedding {tuple(rows.shape)}",
            where=read.weights.path,
            hint="the weights do not fit config.json; fetch or save the model again.",
        )
    return rows if torch.equal(weight, rows) else weight


def _transform(
    names: MaskedHead, read: _Reader, model: nn.Module, architecture: Architecture
) -> Norm:
    weight, bias = read.need(f"{names.dense}.weight"), read.need(f"{names.dense}.bias")
    # BERT's first files call a norm's weight and bias gamma and beta.
    gain = read.need(f"{names.norm}.weight", f"{names.norm}.gamma")
    shift = read.need(f"{names.norm}.bias", f"{names.norm}.beta")
    first = model.get_submodule(architecture.blocks)[0]
    activation = (
        first.get_submodule(architecture.mlp.activation)
        if names.activation is None
        else ACT2FN[names.activation]
    )
    eps = _norm(model, architecture.embedding_norm).eps  # one number for all of the model's norms

    def transform(x: Tensor) -> Tensor:
        x = activation(functional.linear(x, weight, bias))
        return functional.layer_norm(x, gain.shape, gain, shift, eps)

    return transform
