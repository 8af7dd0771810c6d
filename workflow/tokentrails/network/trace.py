"""Everything that a model does to one text: its stream, its attention, what its branches add."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..files.states import Place
from .architectures import Architecture
from .spread import device_of
from .stream import StreamReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Trace:
    """One text's way through a model, in float32 on the CPU.

    Attributes
    ----------
    resid: the stream before each block, and after the last.
    resid_mid: block input plus attention output, in each block.
    attention: the model's own weights, after the softmax; from query (row) to key; of no layer
        where attention is not taken apart.
    attention_out, mlp_out: what each branch of a block adds to the stream: after Gemma 2's
        post-norms, before the norm of the sum in post-norm encoders.
    """

    resid: Float[Tensor, "layers+1 t d"]
    resid_mid: Float[Tensor, "layers t d"]
    attention: Float[Tensor, "layers heads t t"]
    attention_out: Float[Tensor, "layers t d"]
    mlp_out: Float[Tensor, "layers t d"]


def eager(model: nn.Module) -> None:
    """Let a model compute its attention in the plain way, which alone gives the weights."""
    before = model.config._attn_implementation
    if before != "eager":
        model.set_attn_implementation("eager")
        model.config._attn_implementation = "eager"  # Falcon's keeps the other one
        log.info("attention is computed by 'eager' instead of %r, to see its weights", before)


@torch.no_grad()
def trace(
    model: nn.Module, architecture: Architecture, token_ids: list[int], *, first: int = 0
) -> Trace:
    """Run one text alone and keep what happens to it; the model is switched to eager attention.

    Parameters
    ----------
    first: position of the first token.
    """
    eager(model)
    depth = len(model.get_submodule(architecture.blocks))
    sites = {"resid": depth + 1, "resid_mid": depth, "attention_out": depth, "mlp_out": depth}
    wanted: list[Place] = [(site, layer) for site, n in sites.items() for layer in range(n)]
    device = device_of(model)
    ids = torch.tensor([token_ids], device=device)
    rows = torch.arange(len(token_ids), device=device)
    with StreamReader(model, architecture, wanted) as reader:
        options: dict[str, Any] = {"position_ids": rows[None] + first} if first else {}
        if not architecture.attention.opaque:
            options["output_attentions"] = True
        states, output = reader.run(ids, rows, **options)
    parts = dict(zip(sites, states.cpu().split(list(sites.values())), strict=True))
    if architecture.attention.opaque:
        n = len(token_ids)
        return Trace(attention=states.new_empty(0, 0, n, n), **parts)
    weights = torch.cat([each.float().cpu() for each in output.attentions])
    return Trace(attention=weights, **parts)
