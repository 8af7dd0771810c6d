"""The summary table."""

from _job import job

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.summary import summary

    identity = read_table(snakemake.input.identity)
    context = [read_table(path) for path in snakemake.input.context]
    table = summary(
        identity,
        context[0] if context else None,
        threshold=snakemake.params.threshold,
        provenance=provenance_of(identity),
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
