"""The architecture, configuration and tokenizer of another model, with weights that never learnt.

What such a model does too, training did not bring about: it is the control of every curve.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig

from ..catalogue import MODEL_FOLDER
from ..errors import TokentrailsError
from ..network.checkpoint import Checkpoint
from ..network.load import language_model_class
from ..settings import Model, Source
from .size import Expected, size_of_other
from .source import CONFIG_FILE, TOKENIZER, TOKENIZER_CONFIG, Fetched


def files(source: Source, checkpoint: str) -> list[Path]:
    """What is taken of the other model, as the rule `model` prepares it: all but its weights."""
    return [_folder(source) / name for name in (CONFIG_FILE, TOKENIZER, TOKENIZER_CONFIG)]


def size(model: Model) -> Expected:
    """The size of the other model, in float32.

    Raises
    ------
    TokentrailsError: if that one is not there yet.
    """
    return size_of_other(model, _folder(model.source))


def fetch(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """Draw the weights as transformers does before a training; their content hash is the revision.

    How widely they scatter, the source says, or else `initializer_range` in `config.json`; one that
    is made from a GGUF file has that of its class.

    Parameters
    ----------
    checkpoint: the draw, such as `draw0`; its number is the seed.

    Raises
    ------
    TokentrailsError: if the source says how widely, and the architecture takes no such number.
    """
    given = _folder(source)
    config = AutoConfig.from_pretrained(given, trust_remote_code=False)
    if source.initializer_range is not None:
        if not hasattr(config, "initializer_range"):
            raise TokentrailsError(
                f"{config.model_type} draws its weights without 'initializer_range'",
                where=f"models.{source.model}.initializer_range",
                hint="remove it.",
            )
        config.initializer_range = source.initializer_range
    seed = int(checkpoint.removeprefix("draw"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        auto = language_model_class(Checkpoint(given).architecture)
        model = auto.from_config(config, dtype=torch.float32)
    folder = scratch / "drawn"
    model.save_pretrained(folder)
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        shutil.copyfile(given / name, folder / name)
    facts = {
        "random_weights_of": source.location,
        "seed": seed,
        "initializer_range": getattr(config, "initializer_range", None),
        "transformers_version": transformers.__version__,
        "torch_version": torch.__version__,
    }
    return Fetched(folder, revision="", facts=facts)


def _folder(source: Source) -> Path:
    return Path(MODEL_FOLDER.format(model=source.location, checkpoint=source.revision))
