"""Checkpoints as running models."""

from __future__ import annotations

import logging
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from ..errors import TokentrailsError, one_line
from .architectures import Architecture, MaskedHead
from .checkpoint import Checkpoint
from .extract import is_out_of_memory
from .spread import MostBytes, described, device_of, is_spread

log = logging.getLogger(__name__)


def load_model(
    folder: Path,
    device: torch.device,
    dtype: str = "float32",
    spread: MostBytes | None = None,
) -> tuple[nn.Module, Architecture]:
    """The bare model of a checkpoint folder, without unembedding, ready to run.

    Parameters
    ----------
    spread: where weights may lie; by default all on the device.

    Raises
    ------
    TokentrailsError: for weights that are cut short, lack a part of the model, or do not fit in
        memory; for a model that cannot be run, or is called causal and is not.
    """
    architecture = Checkpoint(folder).architecture
    options = {"add_pooling_layer": False} if architecture.pooling else {}
    model, bad = _load(AutoModel, folder, device, dtype, spread, **options)
    _refuse_bad_tensors(bad, folder)
    _try(model, architecture, folder)
    return model, architecture


def load_language_model(
    folder: Path, device: torch.device, *, name: str, spread: MostBytes | None = None
) -> tuple[nn.Module, Architecture]:
    """The model of a checkpoint folder with its unembedding, in float32.

    Its attribute `base_model` is what `load_model` gives.

    Parameters
    ----------
    name: of the model and checkpoint, for messages.

    Raises
    ------
    TokentrailsError: for weights that are cut short, or lack the unembedding (of encoders: the
        masked-token head) or another part of the model.
    """
    architecture = Checkpoint(folder).architecture
    auto = language_model_class(architecture)
    model, bad = _load(auto, folder, device, "float32", spread)
    missing = [tensor for tensor in bad if not tensor.startswith(f"{model.base_model_prefix}.")]
    if missing and len(missing) == len(bad):
        head = "masked-token head" if auto is AutoModelForMaskedLM else "unembedding"
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise TokentrailsError(
            f"{name} has no {head}: its weights lack {missing[0]!r}{more}",
            where=folder / "model.safetensors",
            hint="take a model that was saved with it, or leave this one out of the experiment.",
        )
    _refuse_bad_tensors(bad, folder)
    _try(model.base_model, architecture, folder)
    return model, architecture


def language_model_class(architecture: Architecture) -> Any:
    """The auto class of transformers that builds a model with its unembedding."""
    masked = isinstance(architecture.unembedding, MaskedHead)
    return AutoModelForMaskedLM if masked else AutoModelForCausalLM


def _load(
    auto: Any,
    folder: Path,
    device: torch.device,
    dtype: str,
    spread: MostBytes | None,
    **options: Any,
) -> tuple[nn.Module, list[str]]:
    """A model as one of transformers' auto classes builds it, and the tensors that it lacks."""
    _ = Checkpoint(folder).weights  # refuses a file that is cut short
    if spread is not None:
        # Experts are stacked when they are loaded; on the disk they need a new file for that.
        scratch = tempfile.TemporaryDirectory(prefix="tokentrails-")
        options |= {"device_map": "auto", "max_memory": dict(spread)}
        options |= {"offload_folder": scratch.name}
    try:
        model, loading = auto.from_pretrained(
            folder,
            config=AutoConfig.from_pretrained(folder, trust_remote_code=False, return_dict=True),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused, by name
            **options,
        )
        model = model.eval()
        if not is_spread(model):  # nor is one whose weights fit on one device
            model = model.to(device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise _senseless(error, folder) from error
        raise TokentrailsError(
            f"the model does not fit in the memory of {device}",
            where=folder,
            hint="use a larger machine, a smaller model, extract.dtype: bfloat16, or "
            "extract.device_map.",
        ) from error
    if spread is not None:
        weakref.finalize(model, scratch.cleanup)
        log.info("the model is spread: %s", described(model))
    bad = sorted(loading["missing_keys"]) + sorted(map(str, loading.get("mismatched_keys", ())))
    return model, bad


def _refuse_bad_tensors(bad: list[str], folder: Path) -> None:
    if bad:  # transformers would fill them with random numbers
        raise TokentrailsError(
            f"{len(bad)} tensors are missing or of another shape, among them {bad[0]!r}",
            where=folder / "model.safetensors",
            hint="the weights do not fit config.json; fetch or save the model again.",
        )


@torch.inference_mode()
def _try(model: nn.Module, architecture: Architecture, folder: Path) -> None:
    """Run a short text, and raise for a model called causal whose states change with later tokens.

    Texts of causal models are cut behind their last target, and are padded without a mask.
    """
    length = min(8, architecture.context_length(Checkpoint(folder).config))
    ids = torch.zeros(2, length, dtype=torch.long, device=device_of(model))
    ids[1, -1] = 1
    try:
        one, other = model(input_ids=ids).last_hidden_state[:, :-1].float()
    except Exception as error:
        raise _senseless(error, folder) from error
    change = (one - other).norm(dim=-1) / one.norm(dim=-1)
    if architecture.causal and (change > torch.finfo(model.dtype).eps ** 0.5).any():
        raise TokentrailsError(
            f"its states change by up to {float(change.max()):.1%} when a later token does, and "
            "nothing in config.json says so",
            where=folder / "config.json",
            hint='if the model was made to see whole texts, say "is_causal": false there.',
        )


def _senseless(error: Exception, folder: Path) -> TokentrailsError:
    """Of whatever transformers makes of settings that have no sense."""
    return TokentrailsError(
        f"transformers cannot run the model of this file: {one_line(error)}",
        where=folder / "config.json",
        hint="save or fetch the model again.",
    )
