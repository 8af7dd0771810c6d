"""Mean identity and context similarity, with intervals."""

from _job import job

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.curves import curves
    from tokentrails.statistics.settings import Statistics

    statistics = Statistics.from_config(snakemake.params.statistics)
    identity = read_table(snakemake.input.identity)
    context = [read_table(path) for path in snakemake.input.context]
    table = curves(
        identity,
        context[0] if context else None,
        statistics=statistics,
        provenance=provenance_of(identity) | statistics.provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
