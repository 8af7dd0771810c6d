"""The table matched_groups."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.catalogue import COMPARED
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.matched_groups import matched_groups
    from tokentrails.statistics.settings import Statistics
    from tokentrails.texts.word_list import WordList

    paths = dict(snakemake.input.items())
    tables = {name: read_table(paths[name]) for name in COMPARED if name in paths}
    table = matched_groups(
        tables,
        read_table(paths["tokens"]),
        WordList.read(Path(paths["words"])),
        Statistics.from_config(snakemake.params.statistics),
        provenance=provenance_of(next(iter(tables.values()))),
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
