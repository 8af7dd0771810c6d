"""What an adapter says of itself: its files, and whether it can be merged into its base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import TokentrailsError
from ..settings import Source

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

MERGED = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "VERA")
"""Kinds of adapters that are a change of weights, by PEFT's names."""

_HINTS = {
    "alora_invocation_tokens": "the adapter acts behind those tokens alone",
    "layer_replication": "the adapted model has more blocks than its base",
    "megatron_config": "the base's matrices are split over devices",
    "use_qalora": "the adapter is of quantised weights",
}
"""Keys of an adapter's configuration, and why they cannot be merged."""

_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""How a LoRA may begin, by `init_lora_weights`; others change the base, which is not saved."""


def adapter_files(names: Sequence[str], source: Source, place: str) -> list[str]:
    """Names of the files that make an adapter: its configuration first, and its weights.

    Parameters
    ----------
    names: of all files that the source has.
    place: what has them, for the message.

    Raises
    ------
    TokentrailsError: if one of them is missing; pickles are not read.
    """
    files = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
    for missing in (name for name in files if name not in names):
        raise TokentrailsError(
            f"{place} holds no {missing}",
            where=f"models.{source.model}.source",
            hint="its weights are a pickle, which is not read; load it with PEFT, and save it with "
            "save_pretrained()."
            if "adapter_model.bin" in names
            else "take an adapter that PEFT has saved; for a whole model, remove 'base'.",
        )
    return files


def refuse_unmergeable(config: dict[str, Any], source: Source) -> None:
    """Raise unless an adapter can be merged: is a change of the base's weights, and no more.

    Parameters
    ----------
    config: its `adapter_config.json`.
    """
    kind, start = config.get("peft_type"), config.get("init_lora_weights", True)
    problem = None
    if kind not in MERGED:
        problem = f"peft_type is {kind!r}"
    elif key := next((key for key in _HINTS if config.get(key)), None):
        problem = f"{key} is set, so {_HINTS[key]}"
    elif start not in _STARTS:
        problem = f"init_lora_weights is {start!r}, so its base is not the one that is published"
    if problem is None:
        return
    raise TokentrailsError(
        f"this adapter cannot be merged into its base: {problem}",
        where=f"models.{source.model}.source",
        hint="convert it into a LoRA of the published base, with "
        "save_pretrained(path_initial_model_for_weight_conversion=…) of PEFT."
        if kind in MERGED and start not in _STARTS
        else f"what can be merged are {', '.join(MERGED)}, and LoRA with use_dora and use_rslora.",
    )
