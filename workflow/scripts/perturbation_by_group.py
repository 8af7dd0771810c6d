"""The means of perturbation over words, at every checkpoint."""

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails.files.siblings import provenance_of_all
    from tokentrails.files.tables import read_table, write_table
    from tokentrails.metrics.perturbation import perturbation_by_group
    from tokentrails.statistics.settings import Statistics

    params = snakemake.params
    statistics = Statistics.from_config(params.statistics)
    tables = dict(zip(params.steps, map(read_table, snakemake.input), strict=True))
    table = perturbation_by_group(
        {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()},
        params.steps,
        groups=params.groups,
        statistics=statistics,
        provenance=provenance_of_all(tables) | statistics.provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
