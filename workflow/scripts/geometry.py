"""The geometry table."""

from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.geometry import Tokens, geometry
    from tokentrails.statistics.settings import Statistics

    states = StatesReader(snakemake.input.states)
    provenance = provenance_of(states.metadata)
    table = geometry(
        states,
        Tokens.from_table(read_table(snakemake.input.tokens), provenance["pooling"]),
        statistics=Statistics.from_config(snakemake.params.statistics),
        provenance=provenance,
        threads=snakemake.threads,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
