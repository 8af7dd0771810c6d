"""What is known of a model from its configuration alone, before its weights are fetched."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..files.memo import Memo
from ..network.architectures import architecture_of, is_known, text_config
from ..settings import Source
from .adapter import refuse_unmergeable

_FITTING = Memo("fitting", __version__)
"""Configurations of types outside the table that a row of it fits, which needs torch to be seen."""


def refuse_config(config: dict[str, Any], source: Source) -> None:
    """Raise for what can be known of a model or an adapter from its configuration.

    Parameters
    ----------
    config: its `config.json` or `adapter_config.json`.
    """
    if source.base is not None:
        refuse_unmergeable(config, source)
        return
    where, inner = f"models.{source.model}", text_config(config)
    if is_known(inner.get("model_type")):
        architecture_of(inner, where=where)
        return

    def fits(_: str) -> bool:
        from .derive import derived  # loads torch

        return bool(architecture_of(derived(config, where=where), where=where))

    _FITTING(json.dumps(config, sort_keys=True), fits)
