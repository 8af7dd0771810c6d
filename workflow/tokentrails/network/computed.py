"""Tensors of a weights file that no training has learnt: the model computes them by itself."""

from __future__ import annotations

import re

from .architectures import Architecture

MASK, MASKED, VERSION = "bias", "masked_bias", "decoder.version"
POSITIONS, FREQUENCIES = "embeddings.position_ids", "rotary_emb.inv_freq"
_BY_TYPE = {
    "gpt2": (MASK, MASKED),
    "gpt_neo": (MASK, MASKED),
    "gptj": (MASK, MASKED),
    "gpt_neox": (MASK, MASKED, FREQUENCIES),
    "llama": (FREQUENCIES,),
    "opt": (VERSION,),
} | dict.fromkeys(
    ("bert", "roberta", "distilbert", "electra", "xlm-roberta", "camembert", "data2vec-text"),
    (POSITIONS,),
)
"""Causal masks, rotary frequencies and numbers, of the attention or of the model: transformers'
older versions saved them, newer ones compute them."""


def block_pattern(architecture: Architecture) -> re.Pattern[str]:
    """Finds a block in the name of a tensor, wherever it is."""
    return re.compile(rf"(?:^|\.){re.escape(architecture.blocks)}\.(\d{{1,9}})\.")


def computed(name: str, architecture: Architecture) -> str | None:
    """Which of the tensors that transformers computes has this name, if one has."""
    attention = (
        rf"{block_pattern(architecture).pattern}{re.escape(architecture.attention.module)}\."
    )
    found = re.search(
        rf"{attention}({MASK}|{MASKED}|{FREQUENCIES})$|(?:^|\.)({POSITIONS}|{VERSION})$", name
    )
    kind = found and (found[2] or found[3])
    return kind if kind in _BY_TYPE.get(architecture.model_type, ()) else None
