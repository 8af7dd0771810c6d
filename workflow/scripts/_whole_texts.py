"""What the scripts that run a checkpoint on whole texts begin with."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from _torch import prepare_torch, quiet_transformers
from _weights import of_weights


class Run(NamedTuple):
    """A checkpoint's folder and name, an experiment's texts, where they run and come from."""

    folder: Path
    name: str
    texts: list
    device: torch.device
    provenance: dict
    progress: partial


def prepare_run(snakemake):
    """Read the inputs `tokens` and `provenance`, set torch up, and take a device."""
    from tokentrails.files.tables import provenance_of, read_table
    from tokentrails.models.checkpoints import refuse_other_tokenizer
    from tokentrails.network.device import choose_device
    from tokentrails.network.trace import texts_of
    from tokentrails.progress import token_bar

    prepare_torch(snakemake)
    quiet_transformers()
    wildcards = snakemake.wildcards
    name = f"{wildcards.model} ({wildcards.checkpoint})"
    tokens = read_table(snakemake.input.tokens)
    source, provenance = of_weights(snakemake)
    refuse_other_tokenizer(provenance_of(tokens), source)
    device = choose_device(snakemake.params.device)  # the last thing that may fail, or wait
    return Run(
        folder=Path(snakemake.input.weights).parent,
        name=name,
        texts=texts_of(tokens),
        device=device,
        provenance=provenance_of(tokens) | provenance | {"device": device.type},
        progress=partial(token_bar, label=f"{name}, {wildcards.experiment}"),
    )
