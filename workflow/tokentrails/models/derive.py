"""Rows of the table of architectures for types of models that are not in it.

Many models have the modules of Llama, GPT-2 or BERT under another name. A row fits if every path in
it is there, and no parameter of a block lies elsewhere; whether what is read by it is what the
model does, `self_check` says, on the model's own weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedConfig

from ..network.architectures import (
    ARCHITECTURES,
    READ_AS,
    Architecture,
    is_known,
    refuse_absurd,
    text_config,
)


def readings(config: dict[str, Any], *, where: object) -> Iterator[dict[str, Any]]:
    """The configuration with each row that may fit an unknown type, the plainest first.

    One of a known type as it is, and one that no row fits too: `architecture_of` then refuses it.

    Raises
    ------
    TokentrailsError: for sizes that no model has; `where` names the configuration.
    """
    if isinstance(config, dict):
        refuse_absurd(config, where=where)
        config = text_config(config)
        # What a file says there itself counts for nothing.
        config = {key: value for key, value in config.items() if key != READ_AS}
    known = not isinstance(config, dict) or is_known(config.get("model_type"))
    rows = [] if known else _fitting(config)
    if not rows:
        yield config
    for row in rows:
        yield config | {READ_AS: row.model_type}


def derived(config: dict[str, Any], *, where: object) -> dict[str, Any]:
    """The first of the readings; raises as they do."""
    return next(readings(config, where=where))


def _fitting(config: dict[str, Any]) -> list[Architecture]:
    try:
        parsed = CONFIG_MAPPING[config["model_type"]].from_dict(config)
        with torch.device("meta"):
            model = AutoModel.from_config(parsed, trust_remote_code=False)
    except Exception:  # whatever a class makes of settings; the caller refuses the type by name
        return []
    rows = [row for row in ARCHITECTURES.values() if _fits(row, model, parsed)]
    return sorted(rows, key=lambda row: (bool(row.attention.opaque), row.mlp.experts))


def _fits(row: Architecture, model: nn.Module, config: PreTrainedConfig) -> bool:
    attention, mlp = row.attention, row.mlp
    top = {row.embedding, row.blocks, row.final_norm, row.rotary, row.position_embedding}
    top |= {row.embedding_norm}
    inside = {attention.query, attention.key, attention.value, attention.output, attention.norm}
    inside |= {attention.query_norm, attention.key_norm, attention.post_norm, row.mid, row.sum_norm}
    inside |= {mlp.input, mlp.output, mlp.gate, mlp.post_norm}
    try:
        if not all(type(getattr(config, key, None)) is int for key in row.size_keys):
            return False
        block = model.get_submodule(f"{row.blocks}.0")
        if mlp.experts and not attention.opaque:  # whose first blocks may have none
            block.get_submodule(f"{mlp.output}.experts")
        for path in filter(None, top):
            model.get_submodule(path)
        for path in filter(None, {*inside, attention.module, mlp.activation}):
            block.get_submodule(path)
    except Exception:  # a name that is not there, or a configuration that differs by block
        return False
    named = tuple(f"{path}." for path in inside if path)
    beside = {name.partition(".")[0] for name, _ in model.named_parameters()}
    return all(f"{name}.".startswith(named) for name, _ in block.named_parameters()) and (
        beside <= {"pooler"} | {path.partition(".")[0] for path in top if path}
    )
