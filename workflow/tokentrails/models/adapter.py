"""What an adapter says of itself: its files, and whether it can be merged into its base."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import inf
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


def _is_rank(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -inf < value < inf  # type: ignore[operator]


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_expression(value: object) -> bool:
    try:
        return isinstance(value, str) and len(value) <= _LONGEST and bool(re.compile(value))
    except (re.error, RecursionError, OverflowError):
        return False


def _is_pattern(value: object, of: Callable[[object], bool]) -> bool:
    return isinstance(value, dict) and all(_is_expression(k) and of(v) for k, v in value.items())


_LONGEST = 10_000
"""Characters of a regular expression."""

_RANK = ("a whole number from 1 on", _is_rank)
_NUMBER = ("a finite number", _is_number)
_SHARE = ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_MODULES = (
    "a regular expression or a list of names",
    lambda value: value is None or _are_names(value) or _is_expression(value),
)
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("r", "init_r", "target_r"), _RANK),
    **dict.fromkeys(("lora_alpha", "alpha"), _NUMBER),
    **dict.fromkeys(("lora_dropout", "rank_dropout", "module_dropout", "vera_dropout"), _SHARE),
    **dict.fromkeys(
        ("target_modules", "exclude_modules", "feedforward_modules", "layers_pattern"), _MODULES
    ),
    "modules_to_save": (
        "a list of names",
        lambda value: value is None or (_are_names(value) and all(map(_is_expression, value))),
    ),
    "rank_pattern": (
        "ranks by regular expressions",
        lambda value: value is None or _is_pattern(value, _is_rank),
    ),
    "alpha_pattern": (
        "finite numbers by regular expressions",
        lambda value: value is None or _is_pattern(value, _is_number),
    ),
    "auto_mapping": ("an object in braces", lambda value: isinstance(value, dict | None)),
    "base_model_name_or_path": ("a text", lambda value: isinstance(value, str | None)),
}
"""What PEFT takes as it is and fails on later: what a key must be, and whether a value is that."""

_OTHERWISE = {"OFT": ("r",), "ADALORA": ("rank_pattern",)}
"""Keys that mean something else in a kind: a zero, and masks by the tensors' names."""


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

    Its other settings have to be what they should, too.

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
        _refuse_wrong(config, source)
        return
    raise TokentrailsError(
        f"this adapter cannot be merged into its base: {problem}",
        where=f"models.{source.model}.source",
        hint="convert it into a LoRA of the published base, with "
        "save_pretrained(path_initial_model_for_weight_conversion=…) of PEFT."
        if kind in MERGED and start not in _STARTS
        else f"what can be merged are {', '.join(MERGED)}, and LoRA with use_dora and use_rslora.",
    )


def _refuse_wrong(config: dict[str, Any], source: Source) -> None:
    """Raise for settings of a wrong type, or out of their range."""
    for key in _SETTINGS.keys() & config.keys() - set(_OTHERWISE.get(config["peft_type"], ())):
        should, fits = _SETTINGS[key]
        if not fits(config[key]):
            raise TokentrailsError(
                f"{key} in {ADAPTER_CONFIG} is {config[key]!r:.80}, not {should}",
                where=f"models.{source.model}.source",
                hint="take the file as PEFT has saved it.",
            )
