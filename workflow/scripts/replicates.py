"""A table of several trainings as that of one model."""

from _job import job

with job(snakemake):
    from tokentrails.files.tables import read_table, write_table
    from tokentrails.metrics.replicates import over_trainings
    from tokentrails.statistics.settings import Statistics

    params = snakemake.params
    table = over_trainings(
        dict(zip(params.members, map(read_table, snakemake.input), strict=True)),
        model=snakemake.wildcards.model,
        statistics=Statistics.from_config(params.statistics),
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
