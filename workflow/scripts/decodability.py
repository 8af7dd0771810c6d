"""Whether tokens can be decoded from their states: the table of maps, and half-lives."""

from pathlib import Path

from _job import job

with job(snakemake, "torch"):
    import torch
    from _torch import prepare_torch

    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics import decodability
    from tokentrails.metrics.ranks import Vocabulary
    from tokentrails.network.checkpoint import Checkpoint
    from tokentrails.network.device import choose_device
    from tokentrails.statistics.settings import Statistics
    from tokentrails.texts.tokenization import TokenizerFiles

    prepare_torch(snakemake)
    output = snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    states = StatesReader(snakemake.input.states)
    tokens = read_table(snakemake.input.tokens, [*decodability.COLUMNS])
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    embedding = torch.from_numpy(checkpoint.embedding)
    vocabulary = Vocabulary(
        TokenizerFiles.load(checkpoint.folder).entries(len(embedding)),
        embedding.to(choose_device(snakemake.params.device)),
    )
    samples = decodability.samples(tokens, statistics.bootstrap.seed)
    found = decodability.Found.of(decodability.looked_up(states, samples, vocabulary), samples)
    bootstrap = statistics.bootstrap
    provenance = provenance_of(states.metadata) | statistics.provenance
    table = decodability.decodability(found, len(tokens), bootstrap, provenance=provenance)
    write_table(table, output.table, output.csv)
    table = decodability.decodability_half_lives(found, bootstrap, provenance=provenance)
    write_table(table, output.half_lives, output.half_lives_csv)
    table = decodability.decodability_types(found, vocabulary.entries, provenance=provenance)
    write_table(table, output.types, output.types_csv)
