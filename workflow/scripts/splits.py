"""The tables splits and splits_by_layer."""

from pathlib import Path

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake, "torch"):
    import torch
    from _torch import prepare_torch

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.ranks import Vocabulary
    from tokentrails.metrics.splits import splits, splits_by_layer
    from tokentrails.network.checkpoint import Checkpoint
    from tokentrails.network.device import choose_device
    from tokentrails.statistics.settings import Statistics
    from tokentrails.texts.tokenization import TokenizerFiles

    prepare_torch(snakemake)
    output = snakemake.output
    states, baseline, provenance = read_states(snakemake)
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    embedding = torch.from_numpy(checkpoint.embedding)
    table = splits(
        states,
        read_tokens(snakemake),
        Vocabulary(
            TokenizerFiles.load(checkpoint.folder).entries(len(embedding)),
            embedding.to(choose_device(snakemake.params.device)),
        ),
        baseline=baseline,
        provenance=provenance,
    )
    write_table(table, output.table, output.csv)
    statistics = Statistics.from_config(snakemake.params.statistics)
    by_layer = splits_by_layer(table, statistics, provenance=provenance)
    write_table(by_layer, output.by_layer, output.by_layer_csv)
