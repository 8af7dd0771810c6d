"""The context table."""

from _job import job
from _states import read_states

with job(snakemake):
    from tokentrails.files.tables import read_table, write_table
    from tokentrails.metrics.context import context

    states, baseline, provenance = read_states(snakemake)
    table = context(
        states,
        read_table(snakemake.input.tokens),
        baseline=baseline,
        pooling=provenance["pooling"],
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
