"""Whether a configuration and tensors are of one model, from names, types and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import transformers
from jaxtyping import Shaped
from torch import Tensor
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from ..errors import TokentrailsError, one_line
from ..network.architectures import Architecture, architecture_of
from ..network.computed import MASK, MASKED, POSITIONS, VERSION, block_pattern, computed
from ..network.weights import Entry, Weights
from .trial import base_name, class_with_head

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Of weights, by safetensors' names."""

_UNNAMED = re.compile(r"rotary_emb\.inv_freq|position_ids$|(attn|attention)\.(masked_)?bias")
"""What transformers does not name among the tensors that it has no place for."""

Read = Callable[[str], Shaped[Tensor, "..."]]
"""Gives a tensor by its name."""

_MOST_COMPUTED = 1 << 26
"""Numbers in tables of positions. Those of a million positions have a million."""


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
        architecture_of(config, where=where)
    named = config.get("architectures") or []
    for name in named if isinstance(named, list) else [named]:
        if not (isinstance(name, str) and hasattr(transformers, name)):
            raise TokentrailsError(
                f"architectures names {name!r:.80}, which is no class of transformers",
                where=where,
                hint="its own code would be needed to run it; choose another model.",
            )
    return config


def refuse_misfit(
    config: dict[str, Any], entries: Mapping[str, Entry], read: Read, *, where: str
) -> None:
    """Raise unless tensors are those of the model that a configuration describes.

    Nothing but the heads that a model may have besides its unembedding, and what transformers
    computes anew, may be left over, and nothing but unembedding or masked-token head may be
    missing: what needs them says so.

    Parameters
    ----------
    config: complete.
    entries: what a file's header says of each tensor.
    read: gives a tensor by its name; of those that transformers computes.
    where: what has both, for messages.
    """
    architecture = architecture_of(config, where=where)
    old = {name: kind for name in entries if (kind := computed(name, architecture))}
    tensors = {name: e for name, e in entries.items() if name not in old}
    _refuse_sizes(config, architecture, tensors, where)
    try:
        model, loading = _loaded(_parsed(config, where), architecture, tensors)
    except TokentrailsError:
        raise
    except Exception as error:  # whatever a class makes of senseless settings
        raise TokentrailsError(
            f"transformers cannot build the model of its config.json: {one_line(error)}",
            where=where,
            hint="save or fetch the model again.",
        ) from error
    base = model.get_submodule(base_name(model))
    inside = f"{base_name(model)}."
    _refuse_other_prefix(architecture, inside, entries, where)
    seen: dict[str, str] = {}
    for name in entries:
        bare = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name.removeprefix(inside))
        bare = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", bare)  # the first names of norms
        if (first := seen.setdefault(bare, name)) != name:
            raise _misfit(f"{first!r} and {name!r} are the same tensor in it", where)
    for name, kind in old.items():
        if not _is_computed(kind, entries[name], partial(read, name), model, architecture):
            raise _misfit(f"transformers computes other values of {name!r}", where)
    prefixed = any(name.startswith(inside) for name in entries)
    parts = {name for name, _ in base.named_children()}
    block = block_pattern(architecture)
    own = model.state_dict().keys()
    unnamed = {n for n in tensors if _UNNAMED.search(n)} - {
        m for n in own for m in (n, n.removeprefix(inside))
    }
    left = [
        name
        for name in sorted({*loading["unexpected_keys"], *unnamed})
        # Heads of other tasks lie outside the base model, but for the pooler of BERT's kind.
        if (
            f".{inside}" in f".{name}"
            or block.search(name)
            or not prefixed
            or name.partition(".")[0] in parts
        )
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


def refuse_not_finite(config: dict[str, Any], weights: Weights, *, where: str) -> None:
    """Raise for a tensor with NaN or infinite numbers, unless transformers computes it anew."""
    architecture = architecture_of(config, where=where)
    for name in weights.entries:
        if computed(name, architecture) is None and (count := weights.not_finite(name)):
            raise TokentrailsError(
                f"its tensor {name!r} is not finite: {count:,} of its "
                f"{math.prod(weights.shape(name)):,} numbers are NaN or infinite",
                where=where,
                hint="a training that diverged leaves such weights; take an earlier checkpoint, or "
                "save or fetch the model again.",
            )


def _refuse_other_prefix(
    architecture: Architecture, inside: str, entries: Mapping[str, Entry], where: str
) -> None:
    """Raise where the embedding is there, under a prefix by which no model finds it."""
    ending = f"{architecture.embedding}.weight"
    found = [name for name in entries if f".{name}".endswith(f".{ending}")]
    if found and not {ending, inside + ending} & set(found):
        raise _misfit(
            f"its embedding is named {found[0]!r}, where {inside + ending!r} is expected", where
        )


def blocks_ahead(config: dict[str, Any], architecture: Architecture) -> range:
    """The blocks behind the model's own that predict tokens further ahead, as in DeepSeek-V3.

    They are in its files, and transformers has no place for them.
    """
    depth, ahead = architecture.depth(config), config.get("num_nextn_predict_layers")
    return range(depth, depth + (ahead if isinstance(ahead, int) else 0))


def _is_computed(
    kind: str,
    entry: Entry,
    read: Callable[[], Tensor],
    model: PreTrainedModel,
    architecture: Architecture,
) -> bool:
    """Whether a tensor is what transformers computes in its place.

    Shapes are compared first: a configuration may describe tables that no memory has room for.
    """
    length = getattr(model.config, architecture.context_key or "", 0)
    if kind == VERSION:
        return entry.shape == (1,)
    if kind == MASKED:
        return entry.shape == () and float(read()) < -1000  # -1e4 and -1e9, or -inf in half
    if kind == MASK:
        if entry.shape != (1, 1, length, length):
            return False
        seen, causal = read()[0, 0].float(), torch.ones(length, length).tril()
        # Every other block of GPT-Neo sees a window.
        local = causal.triu(1 - getattr(model.config, "window_size", length))
        return torch.equal(seen, causal) or torch.equal(seen, local)
    if kind == POSITIONS:
        return entry.shape == (1, length) and torch.equal(read()[0].long(), torch.arange(length))
    rotary = model.get_submodule(f"{base_name(model)}.{architecture.rotary}")
    own = type(rotary).compute_default_rope_parameters(model.config)[0]  # without any scaling
    rounding = 8 * torch.finfo(TYPES.get(entry.dtype, torch.float32)).eps
    return entry.shape == tuple(own.shape) and torch.allclose(
        read().float(), own.float(), rtol=rounding, atol=1e-7
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
    block = block_pattern(architecture)
    held = max((int(m[1]) + 1 for m in map(block.search, entries) if m), default=0)
    if held != (depth := architecture.depth(config)):
        raise _misfit(
            f"{architecture.depth_key} is {depth:,}, the weights have {held:,} blocks",
            where,
        )
    if architecture.position_embedding and architecture.context_key:
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
    try:
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
    kind = class_with_head(config, architecture)
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
