"""The identity table."""

from pathlib import Path

from _baseline import read_baseline
from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.identity import identity, own_token_ids
    from tokentrails.network.checkpoint import Checkpoint

    states = StatesReader(snakemake.input.states)
    tokens = read_table(snakemake.input.tokens)
    provenance = provenance_of(states.metadata)
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    baseline, baseline_provenance = read_baseline(snakemake)
    pooling = provenance["pooling"]
    table = identity(
        states,
        tokens,
        checkpoint.embedding_rows(own_token_ids(tokens, pooling)),
        baseline=baseline,
        pooling=pooling,
        groups=snakemake.params.groups,
        provenance=provenance | baseline_provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
