"""The perturbation table of one checkpoint."""

from _job import job

with job(snakemake):
    from tokentrails.metrics.perturbation import perturbation
    from tokentrails.states import StatesReader
    from tokentrails.tables import provenance_of, read_table, write_table

    states = StatesReader(snakemake.input.states)
    table = perturbation(
        states, read_table(snakemake.input.tokens), provenance=provenance_of(states.metadata)
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
