"""The published way, as slow and plain as it was: transformers alone, one prompt at a time.

Token Identity Drift: identity(l) = cos(x_l, E[token]); context(l) = cos(x_l in one text, x_l in
another).
"""

from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

DECODER_BLOCKS = {"gpt2": "h", "llama": "layers"}

Curves = dict[tuple[str | int, ...], float]


def slow_loop(folder: Path, prompts: list[dict[str, Any]]) -> tuple[Curves, Curves]:
    """Identity by (label, site, layer), and context similarity by (label, label, site, layer).

    Parameters
    ----------
    folder: of a model that was saved by transformers.
    prompts: as in an experiment file; each target is there once, and its last token counts.
    """
    transformers.logging.set_verbosity_error()
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    embedding = model.get_input_embeddings().weight
    states, tokens = {}, {}
    for prompt in prompts:
        target = prompt.get("word", prompt.get("token", "")).replace("Ġ", "").strip()
        text = prompt["prompt"]
        assert text.count(target) == 1
        start, end = text.index(target), text.index(target) + len(target)
        encoded = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        covering = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
        ids = encoded["input_ids"][0]
        tokens[prompt["label"]] = tuple(ids[covering].tolist())
        states[prompt["label"]] = _states(model, encoded, covering[-1])
    identity = {
        (label, *place): _cosine(x, embedding[tokens[label][-1]])
        for label, places in states.items()
        for place, x in places.items()
    }
    context = {
        (a, b, *place): _cosine(states[a][place], states[b][place])
        for a, b in combinations(states, 2)
        if tokens[a] == tokens[b]
        for place in states[a]
    }
    return identity, context


def _states(model, encoded, position: int) -> dict[tuple[str, int], torch.Tensor]:
    last_block: list[torch.Tensor] = []
    hooks = []
    if model.config.model_type in DECODER_BLOCKS:
        blocks = getattr(model, DECODER_BLOCKS[model.config.model_type])

        def keep(module, args, output):
            last_block.append(output[0] if isinstance(output, tuple) else output)

        hooks.append(blocks[-1].register_forward_hook(keep))
    with torch.no_grad():
        output = model(**encoded, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    stream = list(output.hidden_states)
    depth = len(stream) - 1
    places = {}
    if last_block:  # the last entry of a decoder's hidden_states is after the final norm
        places["final_norm", depth] = output.last_hidden_state
        stream[depth] = last_block[0]
    places |= {("resid", layer): x for layer, x in enumerate(stream)}
    return {place: x[0, position].double() for place, x in places.items()}


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.cosine_similarity(a.double(), b.double(), dim=0).item()


def read_curves(csv: Path) -> Curves:
    """The same from a metric table, without `resid_mid`, which the slow loop never sees."""
    frame = pl.read_csv(csv).filter(pl.col("site") != "resid_mid")
    labels = [name for name in ("label", "label_a", "label_b") if name in frame.columns]
    rows = frame.select(*labels, "site", "layer", "cosine").rows()
    curves = {row[:-1]: row[-1] for row in rows}
    assert len(curves) == len(rows)
    return curves


def largest_difference(a: Curves, b: Curves) -> float:
    """Over the same places in both; that they are the same is asserted."""
    assert a.keys() == b.keys() and a
    return max(abs(a[key] - b[key]) for key in a)
