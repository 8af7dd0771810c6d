"""Whether a configuration and tensors are of one model, from names, types and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..errors import TokentrailsError, one_line
from ..network.architectures import Architecture, MaskedHead, architecture_of
from ..network.weights import Entry

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Of weights, by safetensors' names."""

_COMPUTED = re.compile(
    r"(^|\.)((attn|attention)\.(masked_)?bias|rotary_emb\.(inv_freq|cos_cached|sin_cached)"
    r"|(position|token_type)_ids|decoder\.version)$"
)
"""Causal masks, rotary frequencies and numbers: older versions of transformers saved them, newer
ones compute them."""

_MOST_COMPUTED = 1 << 26
"""Numbers in such tables. Those of a million positions have a million."""

_MOST_LABELS = 1 << 20
"""Classes of a classifier's head, each of which transformers names."""


def complete(config: dict[str, Any], *, where: str) -> dict[str, Any]:
    """A configuration with the sizes that it leaves to its class's defaults, as transformers does.

    Raises
    ------
    TokentrailsError: if a size is no number from 1 on, or transformers refuses the configuration.
    """
    architecture = architecture_of(config, where=where)
    missing = [key for key in architecture.size_keys if key not in config]
    if missing:
        own = _parsed(config, where)
        config = config | {key: getattr(own, key) for key in missing}
    for size in (architecture.depth, architecture.width, architecture.heads):
        size(config)
    architecture.context_length(config)
    return config


def refuse_misfit(config: dict[str, Any], entries: Mapping[str, Entry], *, where: str) -> None:
    """Raise unless tensors are those of the model that a configuration describes.

    Nothing but the heads that a model may have besides its unembedding may be left over, and
    nothing but unembedding or masked-token head may be missing: what needs them says so.

    Parameters
    ----------
    config: complete.
    entries: what a file's header says of each tensor.
    where: what has both, for messages.
    """
    architecture = architecture_of(config, where=where)
    entries = {name: e for name, e in entries.items() if not _COMPUTED.search(name)}
    _refuse_sizes(config, architecture, entries, where)
    try:
        model, loading = _loaded(_parsed(config, where), architecture, entries)
    except TokentrailsError:
        raise
    except Exception as error:  # whatever a class makes of senseless settings
        raise TokentrailsError(
            f"transformers cannot build the model of its config.json: {one_line(error)}",
            where=where,
            hint="save or fetch the model again.",
        ) from error
    inside = f"{model.base_model_prefix}."
    prefixed = any(name.startswith(inside) for name in entries)
    parts = {name for name, _ in model.base_model.named_children()}
    left = [
        name
        for name in sorted(loading["unexpected_keys"])
        # Heads of other tasks lie outside the base model, but for the pooler of BERT's kind.
        if (name.startswith(inside) or not prefixed or name.partition(".")[0] in parts)
        and not name.removeprefix(inside).startswith("pooler.")
    ]
    missing = sorted(name for name in loading["missing_keys"] if name.startswith(inside))
    if left:
        raise _misfit(
            f"{len(left)} of its tensors have no place in it, among them {left[0]!r}", where
        )
    if missing:
        raise _misfit(f"{len(missing)} tensors are missing, among them {missing[0]!r}", where)
    if other := sorted(loading["mismatched_keys"]):
        name, held, wanted = other[0]
        raise _misfit(
            f"{len(other)} tensors have other shapes, among them {name!r}: {list(held)} where "
            f"config.json wants {list(wanted)}",
            where,
        )


def _refuse_sizes(
    config: dict[str, Any], architecture: Architecture, entries: Mapping[str, Entry], where: str
) -> None:
    """Raise for what must be known before a model is built of a configuration."""
    for name, entry in entries.items():
        if entry.dtype not in TYPES:
            raise TokentrailsError(
                f"the tensor {name!r} has the type {entry.dtype}, not one of {', '.join(TYPES)}",
                where=where,
                hint="quantised weights are not supported; take the model as it was before.",
            )
    block = re.compile(rf"(?:^|\.){re.escape(architecture.blocks)}\.(\d{{1,9}})\.")
    held = max((int(m[1]) + 1 for m in map(block.search, entries) if m), default=0)
    if held != (depth := architecture.depth(config)):
        raise _misfit(
            f"{architecture.depth_key} is {depth:,}, the weights have {held:,} blocks",
            where,
        )
    if architecture.position_embedding:
        ending = f"{architecture.position_embedding}.weight"
        rows = max(
            (e.shape[0] for n, e in entries.items() if n.endswith(ending) and e.shape), default=0
        )
        if rows < (length := config[architecture.context_key]):
            raise _misfit(
                f"{architecture.context_key} is {length:,}, the weights have {rows:,} positions",
                where,
            )


def _parsed(config: dict[str, Any], where: str) -> PreTrainedConfig:
    labels = config.get("num_labels")
    try:
        if isinstance(labels, int) and labels > _MOST_LABELS:
            raise ValueError(f"num_labels is {labels:,}")
        return CONFIG_MAPPING[config["model_type"]].from_dict(config)
    except Exception as error:
        raise TokentrailsError(
            f"transformers refuses its config.json: {one_line(error)}",
            where=where,
            hint="save or fetch the model again.",
        ) from error


def _loaded(
    config: PreTrainedConfig, architecture: Architecture, entries: Mapping[str, Entry]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model without any numbers, and what transformers says of tensors that it is given."""
    masked = isinstance(architecture.unembedding, MaskedHead)
    kind = (MODEL_FOR_MASKED_LM_MAPPING if masked else MODEL_FOR_CAUSAL_LM_MAPPING)[type(config)]
    with torch.device("meta"):
        if (size := sum(b.numel() for b in kind(config).buffers())) > _MOST_COMPUTED:
            raise ValueError(f"its tables of positions would have {size:,} numbers")
        tensors = {name: torch.empty(e.shape, dtype=TYPES[e.dtype]) for name, e in entries.items()}
    return kind.from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        device_map="meta",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused, by name
    )


def _misfit(problem: str, where: str) -> TokentrailsError:
    return TokentrailsError(
        f"its weights are not those of its config.json: {problem}",
        where=where,
        hint="they are not of one model, or one was changed; fetch or save the model again.",
    )
