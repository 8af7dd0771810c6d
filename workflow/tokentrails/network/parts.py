"""A model taken apart, in one form for all architectures.

The matrices are views of the model's own parameters, so they cost no memory; the norms, activations
and rotations are its own modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import TokentrailsError
from .architectures import EXPERTS, Architecture
from .checkpoint import Checkpoint
from .factored import Factored
from .heads import Heads, weight_and_bias
from .load import load_model
from .norms import Factor, Norm, divisor, gain, norm_at
from .spread import MostBytes, device_of, gathered, is_spread
from .unembedding import Unembedding


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

    def activations(self, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "t n"]:
        """What the neurons' rows of W_out are multiplied by; their sum and b_out are the output."""
        pre_in = x_hat @ self.W_in + self.b_in
        if self.W_gate is None:
            return self.activation(pre_in)
        return self.activation(x_hat @ self.W_gate + self.b_gate) * pre_in

    @classmethod
    def from_block(cls, block: nn.Module, architecture: Architecture) -> Mlp:
        names = architecture.mlp
        W_in, b_in = weight_and_bias(block.get_submodule(names.input))
        W_gate, b_gate = (
            weight_and_bias(block.get_submodule(names.gate)) if names.gate else (None, None)
        )
        if names.gate == names.input:  # one module gives both, the gates first
            (W_gate, W_in), (b_gate, b_in) = W_in.chunk(2, dim=1), b_in.chunk(2)
        W_out, b_out = weight_and_bias(block.get_submodule(names.output))
        activation = block.get_submodule(names.activation)
        return cls(W_in, b_in, W_gate, b_gate, W_out, b_out, activation)


@dataclass(frozen=True, eq=False)
class Block:
    """One block. Norms that the architecture does not have are the identity.

    With x the block's input, m = `resid_mid`, a and f what attention and MLP give:

    - pre-norm: m = x + a(attention_norm(x)), output m + f(mlp_norm(m));
    - parallel: m = x + a(attention_norm(x)), output m + f(mlp_norm(x));
    - post-norm: m = x + a(x), output sum_norm_mlp(n + f(n)), where n = sum_norm_attention(m).

    Attributes
    ----------
    heads, dense_mlp: what attention and MLP are made of; None for an MLP of experts.
    attention_norm: LN_l; the identity in post-norm encoders.
    mlp_norm: the norm that the MLP reads through; in post-norm encoders the same as
        `sum_norm_attention`, since that is what lies between `resid_mid` and the MLP.
    attention_post_norm, mlp_post_norm: norms of what a branch adds (Gemma 2), or its factor
        (Granite).
    sum_norm_attention, sum_norm_mlp: norms of the stream after each sum (post-norm encoders).
    parallel: whether the MLP reads the block's input instead of `resid_mid`.
    """

    heads: Heads
    dense_mlp: Mlp | None
    attention_norm: Norm
    mlp_norm: Norm
    attention_post_norm: Norm
    mlp_post_norm: Norm
    sum_norm_attention: Norm
    sum_norm_mlp: Norm
    parallel: bool

    @property
    def mlp(self) -> Mlp:
        """Raises a `TokentrailsError` for an MLP of experts."""
        if self.dense_mlp is None:
            raise TokentrailsError(
                f"the model has no neurons to list: {EXPERTS}",
                hint="leave neurons out of the analyses; heads, evolution, attribution and "
                "ablation are of the whole MLP.",
            )
        return self.dense_mlp

    def messages(self, x_hat: Float[Tensor, "t d"]) -> Factored:
        """Directions in which each head adds to the stream when it attends to a token alone.

        The heads' own messages, times the gain of a post-norm (Gemma 2) or a factor (Granite). A
        post-norm divides, too, by what all heads give together, which changes no direction.
        """
        messages = self.heads.messages(x_hat)
        return replace(messages, right=_amplified(messages.right, self.attention_post_norm))

    @property
    def neuron_outputs(self) -> Float[Tensor, "n d"]:
        """Directions in which neurons add to the stream: W_out, amplified like the messages."""
        return _amplified(self.mlp.W_out, self.mlp_post_norm)

    def contributions(self, activations: Float[Tensor, "t n"]) -> Float[Tensor, "t n"]:
        """Lengths of what neurons add to the stream, behind a post-norm and its division."""
        lengths = activations.abs() * torch.linalg.vector_norm(self.neuron_outputs, dim=1)
        if isinstance(self.mlp_post_norm, nn.Identity | Factor):  # which divide by nothing
            return lengths
        output = activations @ self.mlp.W_out + self.mlp.b_out
        return lengths / divisor(self.mlp_post_norm, output)

    def mlp_input(
        self, resid: Float[Tensor, "t d"], resid_mid: Float[Tensor, "t d"]
    ) -> Float[Tensor, "t d"]:
        """The x_hat of the MLP, from the block's input and its `resid_mid`."""
        return self.mlp_norm(resid if self.parallel else resid_mid)

    @classmethod
    def from_module(cls, block: nn.Module, model: nn.Module, architecture: Architecture) -> Block:
        post_norm = architecture.sum_norm is not None
        factor = architecture.factor(model.config.to_dict(), "branch")

        def after(name: str | None) -> Norm:
            return norm_at(block, name) if factor == 1 else Factor(factor)

        return cls(
            heads=Heads.from_block(block, model, architecture),
            dense_mlp=None if architecture.mlp.experts else Mlp.from_block(block, architecture),
            attention_norm=norm_at(block, architecture.attention.norm),
            mlp_norm=norm_at(block, architecture.mid if architecture.mlp_norm else None),
            attention_post_norm=after(architecture.attention.post_norm),
            mlp_post_norm=after(architecture.mlp.post_norm),
            sum_norm_attention=norm_at(block, architecture.mid if post_norm else None),
            sum_norm_mlp=norm_at(block, architecture.sum_norm),
            parallel=architecture.parallel_attention is not None,
        )


def _amplified(rows: Float[Tensor, "*n d"], norm: Norm) -> Float[Tensor, "*n d"]:
    """Rows times the gain of a norm; without a norm the matrix itself, not a copy."""
    return rows if isinstance(norm, nn.Identity) else rows * gain(norm, rows)


class Blocks:
    """The blocks of a model, each taken apart when it is asked for."""

    def __init__(self, model: nn.Module, architecture: Architecture) -> None:
        self._architecture = architecture
        self._modules = list(model.get_submodule(architecture.blocks))
        self._model = model

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Block]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Block:
        block = self._modules[index]
        if is_spread(self._model):
            block = gathered(block, device_of(self._model))
        return Block.from_module(block, self._model, self._architecture)


@dataclass(frozen=True, eq=False)
class Parts:
    """A model taken apart.

    Attributes
    ----------
    blocks: in order; those of a spread model are gathered whenever one is asked for. None are
        there where attention is not taken apart.
    embedding: E as it enters the stream (Gemma multiplies it by √d, Granite by a factor), with the
        padded rows.
    embedding_norm: what the sum of the embeddings goes through in post-norm encoders.
    unembedding: U, a row for each of E; None where the weights file has no head.
    unembedding_bias: of the logits.
    final_norm: LN_f; None in post-norm encoders.
    head_transform: the masked-token head of an encoder up to U: norm(activation(dense(x))).
    logits_softcap: c, where logits z are capped as c tanh(z / c) (Gemma 2).
    logits_factor: what logits are multiplied by (Cohere, Granite).
    """

    blocks: Blocks | tuple[Block, ...]
    embedding: Float[Tensor, "v d"]
    embedding_norm: Norm | None
    unembedding: Float[Tensor, "v d"] | None
    unembedding_bias: Float[Tensor, " v"] | None
    final_norm: Norm | None
    head_transform: Norm | None
    logits_softcap: float | None
    logits_factor: float = 1.0

    @classmethod
    def from_model(cls, model: nn.Module, folder: Path) -> Parts:
        """Take a bare model apart, with the unembedding from its checkpoint's folder.

        Its parameters are set not to require gradients, since they are used as they are.

        Raises
        ------
        TokentrailsError: if the unembedding's tensors do not fit the model.
        """
        model.requires_grad_(False)
        checkpoint = Checkpoint(folder)
        architecture = checkpoint.architecture
        blocks: Blocks | tuple[Block, ...] = Blocks(model, architecture)
        if is_spread(model):
            listed = model.get_submodule(architecture.blocks)
            model = gathered(model, device_of(model), apart=listed)
        else:
            blocks = () if architecture.attention.opaque else tuple(blocks)
        embedding = model.get_submodule(architecture.embedding)
        rows = embedding.weight
        if rows.dtype != torch.float32:
            raise ValueError(f"the parts of a model are taken in float32, not {rows.dtype}")
        head = Unembedding.load(model, architecture, checkpoint.weights)
        if type(embedding) is not nn.Embedding:  # a subclass does more than look rows up
            rows = embedding(torch.arange(len(rows), device=rows.device))
        factor = architecture.factor(checkpoint.config, "embedding")

        def norm(name: str | None) -> Norm | None:
            return norm_at(model, name) if name else None

        return cls(
            blocks=blocks,
            embedding=rows if factor == 1 else factor * rows,
            embedding_norm=norm(architecture.embedding_norm),
            unembedding=head.weight,
            unembedding_bias=head.bias,
            final_norm=norm(architecture.final_norm),
            head_transform=head.transform,
            logits_softcap=getattr(model.config, "final_logit_softcapping", None),
            logits_factor=architecture.factor(checkpoint.config, "logits"),
        )

    def logits(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... v"] | None:
        """Logits of the stream after the last block; None for a model without unembedding."""
        if self.unembedding is None:
            return None
        for step in (self.final_norm, self.head_transform):
            x = x if step is None else step(x)
        logits = self.logits_factor * functional.linear(x, self.unembedding, self.unembedding_bias)
        if self.logits_softcap is not None:
            logits = self.logits_softcap * torch.tanh(logits / self.logits_softcap)
        return logits


def load_parts(
    folder: Path, device: torch.device, spread: MostBytes | None = None
) -> tuple[nn.Module, Architecture, Parts]:
    """The bare model in float32 as `load_model` gives it, and its parts.

    Raises
    ------
    TokentrailsError: for a model whose parts did not add up when it was prepared.
    """
    Checkpoint(folder).refuse_parts()
    model, architecture = load_model(folder, device, spread=spread)
    return model, architecture, Parts.from_model(model, folder)
