"""The context table."""

from _baseline import read_baseline
from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.context import context

    states = StatesReader(snakemake.input.states)
    provenance = provenance_of(states.metadata)
    baseline, baseline_provenance = read_baseline(snakemake)
    table = context(
        states,
        read_table(snakemake.input.tokens),
        baseline=baseline,
        pooling=provenance["pooling"],
        provenance=provenance | baseline_provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
