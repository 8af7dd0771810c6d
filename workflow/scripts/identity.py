"""The identity table."""

from pathlib import Path

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.metrics.identity import identity, own_token_ids
    from tokentrails.network.checkpoint import Checkpoint

    states, baseline, provenance = read_states(snakemake)
    tokens = read_tokens(snakemake)
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    pooling = provenance["pooling"]
    table = identity(
        states,
        tokens,
        checkpoint.embedding_rows(own_token_ids(tokens, pooling)),
        baseline=baseline,
        pooling=pooling,
        groups=snakemake.params.groups,
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
