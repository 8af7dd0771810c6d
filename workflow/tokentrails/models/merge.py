"""An adapter merged into its base: one model of plain weights, which does what both together do."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from itertools import chain
from pathlib import Path

import peft
import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import TokentrailsError, one_line
from ..files.json_file import read_object
from ..network.checkpoint import Checkpoint
from ..network.load import language_model_class
from ..network.weights import Weights
from ..settings import Source
from .adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, refuse_unmergeable
from .self_check import TOLERANCE, trial_ids
from .source import PROVENANCE, TOKENIZER, TOKENIZER_CONFIG, Fetched, sha256_of

_NAME = "default"
"""Of the only adapter."""

_ROOT = "base_model.model."
"""What PEFT puts before the names of a model's own modules."""


def merge(adapter: Fetched, source: Source, folder: Path) -> Fetched:
    """Merge an adapter into its base, in float32, and compare the logits before and after.

    Parameters
    ----------
    folder: where the merged model goes, as transformers saves it.

    Returns
    -------
    The merged model. Its facts name both, with their hashes, and tell the largest difference of
    logits before and after the merge, and what the adapter changes in them.

    Raises
    ------
    TokentrailsError: if the adapter is not one of this base, cannot be merged, or has another
        vocabulary; or if logits change when it is merged.
    """
    where, base = f"models.{source.model}", Path(source.base or "")
    described = read_object(adapter.folder / ADAPTER_CONFIG)
    refuse_unmergeable(described, source)
    _refuse_vocabulary(adapter.folder, base, where)
    checkpoint = Checkpoint(base)
    model, loading = language_model_class(checkpoint.architecture).from_pretrained(
        base,
        dtype=torch.float32,
        attn_implementation="eager",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    ids = torch.tensor([trial_ids(checkpoint, model.get_input_embeddings().num_embeddings)])
    alone = _logits(model, ids)
    wrapped = _adapted(model, adapter.folder, where)
    adapted = _logits(model, ids)
    try:
        wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # numbers that are not finite
        raise _unfit(f"PEFT cannot merge it: {one_line(error)}", where) from error
    merged = _logits(model, ids)
    difference = float(((merged - adapted).abs() / (0.1 + adapted.abs())).max())
    if not difference <= TOLERANCE:
        raise TokentrailsError(
            f"its logits change by up to {difference:.2g} of their size when it is merged",
            where=where,
            hint="the adapter does more than change weights, or changes a matrix that is both the "
            "embedding and the unembedding; what it does is in no plain model.",
        )
    state = {k: v for k, v in model.state_dict().items() if k not in loading["missing_keys"]}
    model.save_pretrained(folder, state_dict=state)
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        shutil.copyfile(base / name, folder / name)
    of_base = read_object(base / PROVENANCE)
    keys = ("model", "checkpoint", "source", "revision", "sha256", "tensors_sha256")
    facts = {
        "adapter": {
            "peft_type": described["peft_type"],
            "base_model_name_or_path": described.get("base_model_name_or_path"),
            "sha256": {
                name: sha256_of(adapter.folder / name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
            },
        },
        "base": {key: of_base.get(key) for key in keys},
        "merge": {
            "logits_max_relative_difference": difference,
            "logits_changed_by_adapter": float((adapted - alone).abs().max()),
            "peft_version": peft.__version__,
        },
        "note": "an adapter merged into its base, in float32",
    }
    return replace(adapter, folder=folder, facts=adapter.facts | facts)


def _adapted(model: PreTrainedModel, folder: Path, where: str) -> peft.PeftModel:
    """The model with the adapter in it, in place."""
    held = Weights(folder / ADAPTER_WEIGHTS).entries
    inside = f"{_ROOT}{model.base_model_prefix}."
    whole = any(name.startswith(inside) for name in held)  # else of the model without its head
    try:
        config = peft.PeftConfig.from_pretrained(folder)
        config.task_type, config.inference_mode = None, True
        _refuse_ranks(config, max(chain.from_iterable(e.shape for e in held.values()), default=0))
        wrapped = peft.PeftModel(model if whole else model.base_model, config, _NAME)
        wanted = peft.get_peft_model_state_dict(
            wrapped, adapter_name=_NAME, save_embedding_layers=False
        )
        _refuse_any(wanted.keys() - held.keys(), "are missing", where)
        found = wrapped.load_adapter(folder, _NAME, torch_device="cpu")
    except TokentrailsError:
        raise
    except Exception as error:  # whatever PEFT makes of settings and shapes that do not fit
        raise _unfit(f"PEFT cannot load it: {one_line(error)}", where) from error
    _refuse_any(found.unexpected_keys, "have no place in the base", where)
    return wrapped


def _refuse_ranks(config: peft.PeftConfig, largest: int) -> None:
    """Raise for matrices larger than any that is saved, before memory is asked for them."""
    if config.peft_type == "LOKR":  # a rank beyond the sizes means no factors
        return
    ranks = [getattr(config, key, None) for key in ("r", "init_r")]
    for rank in (*ranks, *(getattr(config, "rank_pattern", None) or {}).values()):
        if isinstance(rank, int) and rank > largest:
            raise ValueError(f"a rank is {rank:,}, its tensors have {largest:,} rows at most")


def _refuse_any(names: Collection[str], problem: str, where: str) -> None:
    if names:
        raise _unfit(f"{len(names)} of its tensors {problem}, among them {min(names)!r}", where)


@torch.inference_mode()
def _logits(model: PreTrainedModel, ids: Tensor) -> Float[Tensor, "1 t v"]:
    return model.eval()(ids).logits


def _refuse_vocabulary(folder: Path, base: Path, where: str) -> None:
    """Raise if an adapter has a tokenizer with entries that the base's has not."""
    if not (folder / TOKENIZER).is_file():
        return
    try:
        own, others = (
            Tokenizer.from_file(str(f / TOKENIZER)).get_vocab(with_added_tokens=True)
            for f in (folder, base)
        )
    except Exception as error:
        raise _unfit(f"its {TOKENIZER} cannot be read: {one_line(error)}", where) from error
    if more := sorted(own.items() - others.items()):
        raise _unfit(
            f"its tokenizer has {len(more)} entries that the base's has not, among them "
            f"{more[0][0]!r}",
            where,
        )


def _unfit(problem: str, where: str) -> TokentrailsError:
    return TokentrailsError(
        f"the adapter is not one of its base: {problem}",
        where=f"{where}.base",
        hint="name the model that it was trained on; adapter_config.json says which in "
        "base_model_name_or_path.",
    )
