"""The rows of a table as an experiment's prompts."""

import logging
from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.config.senses import check_senses
    from tokentrails.errors import Where
    from tokentrails.files.hashes import facts_of
    from tokentrails.files.tables import describe, write_table
    from tokentrails.files.yaml_file import top_level
    from tokentrails.settings import TextTable
    from tokentrails.texts.table import prompts_table, read_prompts

    params = snakemake.params
    table = TextTable(**params.table)
    facts = facts_of(Path(snakemake.input[0]), "table")
    prompts, lines, skipped = read_prompts(
        table, needs_sense=params.senses, where=top_level(params.file) / "table"
    )
    logging.info(
        "texts that are read: %d; rows that are left out: %d", len(prompts), skipped.num_rows
    )
    if params.senses:
        check_senses(prompts, Where(lambda keys: f"{table.file}, line {lines[keys[0]]}"))
    provenance = {
        "experiment": snakemake.wildcards.experiment,
        "table": table.file,
        **facts,
    }
    meanings = {"line": "line of the table, from 1; of Parquet the row"}
    write_table(
        describe(
            prompts_table(prompts, lines, table),
            title="the texts of a table, as prompts",
            provenance=provenance,
            meanings=meanings
            | {
                "prompt": "the text",
                "word": "the target as it is written, null: it is another, or every token",
                "token": "the target as a vocabulary entry",
                "occurrence": "which one, from 1, where the target is there more than once",
            },
        ),
        snakemake.output.texts,
    )
    write_table(
        describe(
            skipped,
            title="rows of a table that are left out",
            provenance=provenance,
            meanings=meanings | {"label": "that of the row", "reason": "why it is left out"},
        ),
        snakemake.output.skipped,
        snakemake.output.skipped_csv,
    )
