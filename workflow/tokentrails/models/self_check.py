"""Whether what is read of a model is what the model does, checked on its own weights.

The row of an architecture says where its parts are. It was tested on small models, and a
configuration may ask for what no test did. So when a model is prepared, its first block, the middle
one and the last run a short text, and its parts have to add up to what they gave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, PreTrainedModel

from ..errors import TokentrailsError, one_line
from ..network.architectures import trained_length
from ..network.checkpoint import Checkpoint
from ..network.computed import block_pattern
from ..network.heads import Heads
from ..network.norms import divisor
from ..network.parts import Parts
from ..network.trace import trace
from .fit import TYPES
from .trial import base_name, class_with_head, shortened

TOKENS, WINDOW = 12, 8
"""Of the text, and the most that a query then sees where the model has windows."""
TOLERANCE = 1e-3
"""Of |found - own| / (0.1 + |own|)."""

FAR = 1e-2
"""The same at far positions, whose angles are rounded more."""

_STREAM = ("attention", "mlp")
"""Checks without which no state inside a block can be trusted."""


def self_check(folder: Path, where: str) -> dict[str, Any]:
    """What `provenance.json` says of the check: the grade, and the largest error of each part.

    `full` is a model whose parts all add up; of one with the grade `states` the stream can be read,
    and heads, neurons or logits cannot: they do not add up, or are not taken apart. One whose
    states are not finite is `unchecked`: what reads them says so. Where patterns do not give the
    attention beyond the length of texts that rotations were made for at first, `heads_within` is
    that length.

    Parameters
    ----------
    folder: with weights and configuration.
    where: the model in the configuration, for messages.

    Raises
    ------
    TokentrailsError: if the branches of a block do not add up to what it gives.
    """
    checkpoint = Checkpoint(folder)
    try:
        errors = errors_of(checkpoint)
    except TokentrailsError:
        raise
    except Exception as error:  # whatever transformers makes of senseless settings
        raise TokentrailsError(
            f"transformers cannot run this model: {one_line(error)}",
            where=where,
            hint="save or fetch the model again.",
        ) from error
    if not errors:
        return {"grade": "unchecked"}
    bad = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    if lost := [name for name in _STREAM if name in bad]:
        raise TokentrailsError(
            f"what this model adds to its stream cannot be read: {lost[0]} is off by up to "
            f"{bad[lost[0]]:.2g} of its size",
            where=where,
            hint="its config.json asks for something that this version does not know; choose "
            "another model, or report it.",
        )
    opaque = checkpoint.architecture.attention.opaque
    grade = "states" if bad or opaque else "full"
    found: dict[str, Any] = {"grade": grade}
    found["errors"] = {n: float(f"{e:.2g}") for n, e in errors.items()}
    length = trained_length(checkpoint.config)
    if opaque:
        return found
    if length is not None and checkpoint.architecture.rotary and far_error(checkpoint) > FAR:
        found["heads_within"] = length
    return found


@torch.inference_mode()
def errors_of(checkpoint: Checkpoint) -> dict[str, float]:
    """The largest error of each part, by name, relative to 0.1 + its size.

    Empty for a model whose states are not finite.
    """
    architecture = checkpoint.architecture
    model, base, parts = _few_blocks(checkpoint)
    ids = trial_ids(checkpoint, len(parts.embedding))
    run = trace(base, architecture, ids)
    found: dict[str, float] = {}
    if not (run.resid.isfinite().all() and run.resid_mid.isfinite().all()):
        return found

    def compare(name: str, value: Float[Tensor, "*n"], own: Float[Tensor, "*n"]) -> None:
        error = ((value - own).abs() / (0.1 + own.abs())).max()
        found[name] = max(found.get(name, 0.0), float(error.nan_to_num(torch.inf)))

    if architecture.position_embedding is None:
        norm = parts.embedding_norm
        rows = parts.embedding[ids]
        compare("embedding", rows if norm is None else norm(rows), run.resid[0])
    for layer, mid in enumerate(run.resid_mid):
        x = run.resid[layer]
        compare("attention", x + run.attention_out[layer], mid)
        if architecture.attention.opaque:
            compare("mlp", mid + run.mlp_out[layer], run.resid[layer + 1])
            continue
        block = parts.blocks[layer]
        after = block.sum_norm_mlp(block.sum_norm_attention(mid) + run.mlp_out[layer])
        compare("mlp", after, run.resid[layer + 1])
        x_hat = block.attention_norm(x)
        compare("patterns", _weights(block.heads, x_hat), run.attention[layer])
        results = run.attention[layer] @ block.heads.values(x_hat)
        total = torch.einsum("hid,hde->ie", results, block.heads.W_O) + block.heads.b_O
        compare("heads", block.attention_post_norm(total), run.attention_out[layer])
        if block.dense_mlp is not None:
            neurons = block.mlp.activations(block.mlp_input(x, mid))
            output = neurons @ block.mlp.W_out + block.mlp.b_out
            compare("neurons", block.mlp_post_norm(output), run.mlp_out[layer])
    logits = parts.logits(run.resid[-1])
    if logits is not None:
        compare("logits", logits, model(torch.tensor([ids])).logits[0])
    return found


@torch.inference_mode()
def far_error(checkpoint: Checkpoint) -> float:
    """The largest error of patterns in a text that begins where scaled rotations do."""
    architecture, first = checkpoint.architecture, trained_length(checkpoint.config)
    assert first is not None
    _, base, parts = _few_blocks(checkpoint)
    run = trace(base, architecture, trial_ids(checkpoint, len(parts.embedding)), first=first)
    errors = [
        ((_weights(block.heads, block.attention_norm(x)) - own).abs() / (0.1 + own.abs())).max()
        for block, x, own in zip(parts.blocks, run.resid[:-1], run.attention, strict=True)
    ]
    return float(torch.stack(errors).max().nan_to_num(torch.inf))


def _weights(heads: Heads, x_hat: Float[Tensor, "t d"]) -> Float[Tensor, "heads t t"]:
    """Attention weights from the patterns of the query's side, and the norm of the keys."""
    n = len(x_hat)
    logits = x_hat.new_zeros(len(heads.kv_of), n, n)
    keys = divisor(heads.key_norm, x_hat @ heads.W_K + heads.b_K[:, None])[list(heads.kv_of), :, 0]
    for offset in range(0 if heads.causal else 1 - n, n):
        patterns, bias = heads.patterns(x_hat, "query", offset)
        z = (patterns.product() @ x_hat.mT + bias[..., None]) / keys[:, None]
        query = torch.arange(max(offset, 0), n + min(offset, 0))
        logits[:, query, query - offset] = z[:, query, query - offset]
    return heads.weights(logits)


def trial_ids(checkpoint: Checkpoint, rows: int) -> list[int]:
    """Tokens of all parts of the vocabulary, always the same; none is padding."""
    length = min(TOKENS, checkpoint.architecture.context_length(checkpoint.config))
    drawn = np.random.default_rng(0).integers(rows, size=length + TOKENS).tolist()
    return [i for i in drawn if i != checkpoint.config.get("pad_token_id")][:length]


def _few_blocks(checkpoint: Checkpoint) -> tuple[PreTrainedModel, nn.Module, Parts]:
    """A model of the first block, the middle one and the last, in float32; its base and parts."""
    config, weights, architecture = checkpoint.config, checkpoint.weights, checkpoint.architecture
    depth = architecture.depth(config)
    kept = sorted({0, depth // 2, depth - 1})
    short = shortened(config, architecture, kept)
    for key in ("sliding_window", "local_attention", "window_size"):
        if type(short.get(key)) is int:
            short[key] = min(short[key], WINDOW)
    block = block_pattern(architecture)
    tensors = {}
    for name, entry in weights.entries.items():
        found = block.search(name)
        if entry.dtype not in TYPES or (found and int(found[1]) not in kept):
            continue  # tables of positions are no weights
        new = name
        if found:
            new = f"{name[: found.start(1)]}{kept.index(int(found[1]))}{name[found.end(1) :]}"
        tensors[new] = torch.from_numpy(weights.tensor(name))
    parsed = CONFIG_MAPPING[config["model_type"]].from_dict(short)
    model = class_with_head(parsed, architecture).from_pretrained(
        None, config=parsed, state_dict=tensors, dtype=torch.float32, attn_implementation="eager"
    )
    base = model.eval().get_submodule(base_name(model))
    return model, base, Parts.from_model(base, checkpoint.folder)
