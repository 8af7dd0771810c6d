"""Everything that a model does to one text: its stream, its attention, what its branches add."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..files.states import Place
from .architectures import Architecture
from .stream import StreamReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Trace:
    """One text's way through a model, in float32 on the CPU.

    Attributes
    ----------
    resid: the stream before each block, and after the last.
    resid_mid: block input plus attention output, in each block.
    attention: the model's own weights, after the softmax; from query (row) to key.
    attention_out, mlp_out: what each branch of a block adds to the stream: after Gemma 2's
        post-norms, before the norm of the sum in post-norm encoders.
    """

    resid: Float[Tensor, "layers+1 t d"]
    resid_mid: Float[Tensor, "layers t d"]
    attention: Float[Tensor, "layers heads t t"]
    attention_out: Float[Tensor, "layers t d"]
    mlp_out: Float[Tensor, "layers t d"]


class WholeText(NamedTuple):
    """A text of the tokens table, and the numbers of its rows there, one for each position."""

    label: str
    token_ids: list[int]
    tokens: list[str]
    rows: range


def texts_of(tokens: pa.Table) -> list[WholeText]:
    """The texts of an experiment on whole texts, in the order of the table.

    Parameters
    ----------
    tokens: the experiment's tokens table: a row for each token, those of a text together.
    """
    texts: list[WholeText] = []
    row = 0
    while row < tokens.num_rows:
        label, ids, entries = (
            tokens[name][row].as_py() for name in ("label", "token_ids", "tokens")
        )
        texts.append(WholeText(label, ids, entries, range(row, row + len(ids))))
        row += len(ids)
    return texts


def eager(model: nn.Module) -> None:
    """Let a model compute its attention in the plain way, which alone gives the weights."""
    before = model.config._attn_implementation
    if before != "eager":
        model.set_attn_implementation("eager")
        log.info("attention is computed by 'eager' instead of %r, to see its weights", before)


@torch.no_grad()
def trace(model: nn.Module, architecture: Architecture, token_ids: list[int]) -> Trace:
    """Run one text alone and keep what happens to it.

    Parameters
    ----------
    model, architecture: as `load_model` gives them. The model is switched to eager attention.
    token_ids: of the whole text.
    """
    eager(model)
    depth = len(model.get_submodule(architecture.blocks))
    sites = {
        "resid": depth + 1,
        "resid_mid": depth,
        "attention_out": depth,
        "mlp_out": depth,
    }
    places: list[Place] = [(site, layer) for site, n in sites.items() for layer in range(n)]
    device = next(model.parameters()).device
    reader = StreamReader(model, architecture, places)
    try:
        ids = torch.tensor([token_ids], device=device)
        rows = torch.arange(len(token_ids), device=device)
        states, output = reader.run(ids, rows, output_attentions=True)
    finally:
        reader.close()
    parts = dict(zip(sites, states.cpu().split(list(sites.values())), strict=True))
    weights = torch.cat(output.attentions).float().cpu()
    return Trace(attention=weights, **parts)
