"""Predictions as plain text."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.documents.predictions import predictions_text
    from tokentrails.files.atomic import replacing
    from tokentrails.files.tables import read_table

    with replacing(snakemake.output[0]) as part:
        Path(part).write_text(predictions_text(read_table(snakemake.input[0])), encoding="utf-8")
