"""The table own_token_by_layer."""

from _job import job

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.own_token_by_layer import own_token_by_layer
    from tokentrails.statistics.settings import Statistics

    table = read_table(snakemake.input.own_token)
    means = own_token_by_layer(
        table,
        read_table(snakemake.input.tokens, ["label", "first", "word"]),
        Statistics.from_config(snakemake.params.statistics),
        provenance=provenance_of(table),
    )
    write_table(means, snakemake.output.table, snakemake.output.csv)
