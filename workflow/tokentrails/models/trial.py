"""A model of one block without any numbers: whether its configuration makes sense."""

from __future__ import annotations

from collections.abc import Collection
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
from ..network.architectures import READ_AS, Architecture, MaskedHead, architecture_of

_TOKENS = 4
"""Of the text that the block is given."""

_MOST_NAMED = 3
"""Keys that a message names."""


def shortened(config: dict[str, Any], row: Architecture, kept: Collection[int]) -> dict[str, Any]:
    """The configuration of a model of some of the blocks.

    Parameters
    ----------
    kept: the indices of the blocks, in order.
    """
    depth = config.get(row.depth_key)
    short = {
        key: [value[i] for i in kept] if isinstance(value, list) and len(value) == depth else value
        for key, value in config.items()
    }
    short[row.depth_key] = len(kept)
    if "attention_types" in short:  # GPT-Neo says the same twice
        types = CONFIG_MAPPING[config["model_type"]].from_dict(config).attention_layers
        short["attention_layers"] = [types[i] for i in kept]
        short["attention_types"] = [[short["attention_layers"], 1]]
    return short


def class_with_head(config: PreTrainedConfig, architecture: Architecture) -> Any:
    """Transformers' class of a model with its unembedding, or its masked-token head.

    Raises
    ------
    TokentrailsError: if there is none.
    """
    masked = isinstance(architecture.unembedding, MaskedHead)
    known = MODEL_FOR_MASKED_LM_MAPPING if masked else MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in known:
        raise TokentrailsError(
            f"model_type {config.model_type!r} is not supported: transformers has no such model "
            "with an unembedding",
            hint="choose another model.",
        )
    return known[type(config)]


def base_name(model: PreTrainedModel) -> str:
    """What the bare model is called inside the one with an unembedding."""
    name = str(model.base_model_prefix)
    if hasattr(model, name):
        return name
    # Llama 4 names the model of images and texts that it may lie in.
    return next(n for n, child in model.named_children() if isinstance(child, PreTrainedModel))


def tried(config: dict[str, Any], *, where: str) -> PreTrainedModel:
    """A model of the first block, which was given a text.

    Parameters
    ----------
    config: complete.

    Raises
    ------
    TokentrailsError: if transformers cannot build or run it; the message names the keys without
        which it can.
    """
    row = architecture_of(config, where=where)
    try:
        return _tried(config, row)
    except TokentrailsError:
        raise
    except Exception as error:  # whatever a class makes of senseless settings
        raise TokentrailsError(
            "transformers cannot run the model of its config.json: "
            + (_uneven(config, row) or _named(config, row, error)),
            where=where,
            hint="correct config.json, or save or fetch the model again.",
        ) from error


def _uneven(config: dict[str, Any], row: Architecture) -> str:
    """Which size is no multiple of another that it is shared out among; empty where all are."""
    pairs = [(row.heads_key, "num_key_value_heads")]
    if "head_dim" not in config:
        pairs.insert(0, (row.width_key, row.heads_key))
    for whole, parts in pairs:
        n, divisor = config.get(whole), config.get(parts)
        if isinstance(n, int) and isinstance(divisor, int) and divisor > 0 and n % divisor:
            return f"{whole} is {n} and {parts} is {divisor}, which does not divide it"
    return ""


def _named(config: dict[str, Any], row: Architecture, error: Exception) -> str:
    """The keys without which the model can be run, their values, and what transformers said."""
    named = [key for key in config if _works_without(key, config, row)][:_MOST_NAMED]
    if isinstance(error, KeyError) and len(named) == 1 and config[named[0]] in error.args:
        return f"{named[0]} is {config[named[0]]!r:.80}, which it does not know"
    named = named or [key for key in row.size_keys if key in config]
    said = "".join(f"{key} is {config[key]!r:.80}; " for key in named)
    return f"{said}{one_line(error):.150}"


def _works_without(key: str, config: dict[str, Any], row: Architecture) -> bool:
    if key in ("model_type", row.depth_key, READ_AS):
        return False
    try:
        _tried({k: value for k, value in config.items() if k != key}, row)
    except Exception:  # the same, or another
        return False
    return True


@torch.inference_mode()
def _tried(config: dict[str, Any], row: Architecture) -> PreTrainedModel:
    parsed = CONFIG_MAPPING[config["model_type"]].from_dict(shortened(config, row, [0]))
    if not isinstance(parsed.dtype, torch.dtype) and parsed.dtype not in (None, "auto"):
        raise ValueError(f"{parsed.dtype!r} is no type of numbers")
    parsed._experts_implementation = "eager"  # others want bfloat16
    with torch.device("meta"):
        model = class_with_head(parsed, row)(parsed).eval()
        model.set_attn_implementation("eager")
        try:
            model(torch.zeros(1, _TOKENS, dtype=torch.long))
        except NotImplementedError:  # what depends on numbers, such as a choice of experts
            pass
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
    return model
