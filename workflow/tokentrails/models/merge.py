"""An adapter merged into its base: one model of plain weights, which does what both together do."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import peft
import torch
from jaxtyping import Float
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import TokentrailsError, one_line
from ..files.hashes import sha256_of
from ..files.json_file import read_object
from ..network.checkpoint import Checkpoint
from ..network.lens import last_name
from ..network.load import language_model_class
from ..network.weights import Entry, Weights
from ..settings import Source
from .adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, refuse_unmergeable
from .fit import TYPES
from .self_check import TOLERANCE, trial_ids
from .source import PROVENANCE, TOKENIZER, TOKENIZER_CONFIG, Fetched

SECONDS = 300
"""For PEFT to put an adapter in: the regular expressions in its configuration may never end."""

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
    logits before and after the merge, what the adapter changes in them, and what is doubtful.

    Raises
    ------
    TokentrailsError: if the adapter is not one of this base, cannot be merged, or has another
        vocabulary; if its tensors are no floats, or replace the base's without its configuration
        saying so; if what it makes is not finite; or if logits change when it is merged.
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
    _refuse_other_type(described, model, where)
    ids = torch.tensor([trial_ids(checkpoint, model.get_input_embeddings().num_embeddings)])
    alone = _logits(model, ids)
    wrapped = _adapted(model, adapter.folder, where)
    adapted = _logits(model, ids)
    try:
        wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # numbers that are not finite
        raise _broken(f"PEFT cannot merge it: {one_line(error)}", where) from error
    merged = _logits(model, ids)
    _refuse_broken(model, merged, where)
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
    trained_on = described.get("base_model_name_or_path")
    doubts = []
    if torch.equal(adapted, alone):
        doubts.append("the adapter changes no logit of the trial text")
    if trained_on and last_name(trained_on) not in {
        last_name(of_base[key]) for key in ("model", "source")
    }:
        doubts.append(
            f"the adapter was trained on {trained_on!r:.200}, its base is {of_base['source']}"
        )
    keys = ("model", "checkpoint", "source", "revision", "sha256", "tensors_sha256")
    facts = {
        "adapter": {
            "peft_type": described["peft_type"],
            "base_model_name_or_path": trained_on and trained_on[:200],
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
        "warnings": doubts,
        "note": "an adapter merged into its base, in float32",
    }
    return replace(adapter, folder=folder, facts=adapter.facts | facts)


def _refuse_other_type(described: dict[str, Any], model: PreTrainedModel, where: str) -> None:
    """Raise for an adapter that names another module of transformers than the base's."""
    named = str((described.get("auto_mapping") or {}).get("parent_library"))
    theirs, own = (path.split(".")[:3] for path in (named, type(model).__module__))
    if theirs[:2] == own[:2] == ["transformers", "models"] and theirs != own:
        raise _unfit(f"it was trained on a model of {theirs[2]}, not of {own[2]}", where)


def _adapted(model: PreTrainedModel, folder: Path, where: str) -> peft.PeftModel:
    """The model with the adapter in it, in place."""
    path = folder / ADAPTER_WEIGHTS
    held = Weights(path).entries
    _refuse_integers(held, path)
    inside = f"{_ROOT}{model.base_model_prefix}."
    whole = any(name.startswith(inside) for name in held)  # else of the model without its head
    try:
        config = peft.PeftConfig.from_pretrained(folder)
        config.task_type, config.inference_mode = None, True
        _refuse_ranks(config, max(chain.from_iterable(e.shape for e in held.values()), default=0))
        with _limited(where):
            wrapped = peft.PeftModel(model if whole else model.base_model, config, _NAME)
            wanted = peft.get_peft_model_state_dict(
                wrapped, adapter_name=_NAME, save_embedding_layers=False
            )
            _refuse_any(wanted.keys() - held.keys(), "are missing", where)
            own = wrapped.state_dict()
            with safe_open(path, framework="pt") as file:
                changed = {
                    name
                    for name in (held.keys() - wanted.keys()) & own.keys()
                    if not torch.equal(file.get_tensor(name).float(), own[name])
                }
            _refuse_any(
                changed, f"replace the base's, of which {ADAPTER_CONFIG} says nothing", where
            )
            found = wrapped.load_adapter(folder, _NAME, torch_device="cpu")
    except TokentrailsError:
        raise
    except Exception as error:  # whatever PEFT makes of settings and shapes that do not fit
        raise _unfit(f"PEFT cannot load it: {one_line(error)}", where) from error
    _refuse_any(found.unexpected_keys, "have no place in the base", where)
    return wrapped


@contextmanager
def _limited(where: str) -> Iterator[None]:
    """Raise where the inside has not ended after `SECONDS`; Python's matching heeds signals."""

    def stop(*_: object) -> None:
        raise TokentrailsError(
            f"PEFT has not put the adapter into its base after {SECONDS:g} seconds",
            where=f"{where}.source",
            hint=f"look at the regular expressions in its {ADAPTER_CONFIG} (target_modules and the "
            "like): one with repeats inside of repeats may never end.",
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _refuse_integers(held: Mapping[str, Entry], path: Path) -> None:
    """Raise for tensors that torch would cast into weights, whatever they were meant to be."""
    for name, entry in held.items():
        if entry.dtype not in TYPES:
            raise TokentrailsError(
                f"the tensor {name!r} has type {entry.dtype}",
                where=path,
                hint=f"save the adapter as plain numbers; types are {', '.join(TYPES)}.",
            )


def _refuse_broken(model: PreTrainedModel, logits: Float[Tensor, "1 t v"], where: str) -> None:
    """Raise for a merged model of which nothing is left: not finite, or all logits the same."""
    broken = next((n for n, w in model.state_dict().items() if not w.isfinite().all()), None)
    if broken is not None:
        raise _broken(f"{broken!r} is not finite", where)
    if not logits.isfinite().all():
        raise _broken("its logits are not finite", where)
    if (logits == logits[0, 0, 0]).all():
        raise _broken("all of its logits are the same", where)


def _broken(problem: str, where: str) -> TokentrailsError:
    return TokentrailsError(
        f"the merged model is broken: {problem}",
        where=f"{where}.source",
        hint="the adapter's weights, or its lora_alpha, are far too large; train or save it again.",
    )


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
