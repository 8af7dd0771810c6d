"""The table matched_groups."""

from _job import job
from _words import read_tokens, read_word_list

with job(snakemake):
    from tokentrails.catalogue import COMPARED
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.matched_groups import matched_groups
    from tokentrails.statistics.settings import Statistics

    paths = dict(snakemake.input.items())
    tables = {name: read_table(paths[name]) for name in COMPARED if name in paths}
    table = matched_groups(
        tables,
        read_tokens(snakemake),
        read_word_list(snakemake.input.words),
        Statistics.from_config(snakemake.params.statistics),
        provenance=provenance_of(next(iter(tables.values()))),
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
