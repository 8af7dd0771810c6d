"""What scripts that rank among the embedding rows begin with."""

from pathlib import Path

import torch
from _torch import prepare_torch

from tokentrails.metrics.ranks import Vocabulary
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.device import choose_device
from tokentrails.texts.tokenization import TokenizerFiles


def read_vocabulary(snakemake):
    """Set torch up; the checkpoint and its vocabulary, on a device."""
    prepare_torch(snakemake)
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    embedding = torch.from_numpy(checkpoint.embedding)
    entries = TokenizerFiles.load(checkpoint.folder).entries(len(embedding))
    return checkpoint, Vocabulary(entries, embedding.to(choose_device(snakemake.params.device)))
