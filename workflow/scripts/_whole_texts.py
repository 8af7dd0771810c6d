"""What the scripts that run a checkpoint on whole texts begin with."""

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

from _weights import of_weights


class Run(NamedTuple):
    """A checkpoint's folder and name, an experiment's texts, and where the tables come from."""

    folder: Path
    name: str
    texts: list
    provenance: dict
    progress: partial


def prepare_torch(snakemake):
    """Set torch up for the job's threads, and keep transformers quiet."""
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    torch.set_num_threads(min(snakemake.threads, len(os.sched_getaffinity(0))))


def prepare_run(snakemake):
    """Read the inputs `tokens` and `provenance`, and set torch up."""
    from tokentrails.models.siblings import refuse_other_tokenizer
    from tokentrails.progress import token_bar
    from tokentrails.tables import provenance_of, read_table
    from tokentrails.trace import texts_of

    prepare_torch(snakemake)
    wildcards = snakemake.wildcards
    name = f"{wildcards.model} ({wildcards.checkpoint})"
    tokens = read_table(snakemake.input.tokens)
    source, provenance = of_weights(snakemake)
    refuse_other_tokenizer(provenance_of(tokens), source)
    return Run(
        folder=Path(snakemake.input.weights).parent,
        name=name,
        texts=texts_of(tokens),
        provenance=provenance_of(tokens) | provenance,
        progress=partial(token_bar, label=f"{name}, {wildcards.experiment}"),
    )
