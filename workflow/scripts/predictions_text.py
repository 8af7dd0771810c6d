"""Predictions as plain text."""

from _job import job

with job(snakemake):
    from tokentrails.documents.predictions import predictions_text
    from tokentrails.files.atomic import write_text
    from tokentrails.files.tables import read_table

    write_text(snakemake.output[0], predictions_text(read_table(snakemake.input[0])))
