"""The context table."""

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.metrics.context import context

    states, baseline, provenance = read_states(snakemake)
    table = context(
        states,
        read_tokens(snakemake),
        baseline=baseline,
        pooling=provenance["pooling"],
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
