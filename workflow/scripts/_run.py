"""What scripts that run a checkpoint begin with."""

import logging
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from _torch import prepare_torch, quiet_transformers

from tokentrails.files.tables import provenance_of, read_table
from tokentrails.models.checkpoints import refuse_other_tokenizer, refuse_out_of_vocabulary
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.device import seconds_of
from tokentrails.network.spread import MostBytes, Placement


class Run(NamedTuple):
    """A checkpoint, where it runs, and the tokens of an experiment, if it has any.

    Its weights lie on the device, or are spread, each device with so many bytes at most.
    """

    checkpoint: Checkpoint
    device: torch.device
    spread: MostBytes | None
    tokens: pa.Table | None
    provenance: dict


def prepare_run(snakemake):
    """Set torch up, read the inputs, and take a device, or several."""
    prepare_torch(snakemake)
    quiet_transformers()
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    tokens, provenance = None, checkpoint.provenance
    if path := snakemake.input.get("tokens"):
        tokens = read_table(path)
        refuse_other_tokenizer(provenance_of(tokens), checkpoint.facts)
        refuse_out_of_vocabulary(tokens, checkpoint.facts)
        provenance = provenance_of(tokens) | provenance
    # The last thing that may fail, or wait.
    place = Placement.choose(snakemake.params.device, snakemake.params.device_map)
    provenance |= {"device": str(place)}
    return Run(checkpoint, place.device, place.spread, tokens, provenance)


def announce(operations, run, hint):
    """Say what a job of more than a minute costs here, before it begins."""
    minutes = seconds_of(operations, run.device) / 60
    text = f"{run.checkpoint.name}: {operations / 1e12:.2g} TFLOP, about {minutes:.1f} minutes here"
    logging.info(text)
    if minutes > 1:
        print(f"{text} ({hint})", file=sys.stderr, flush=True)
