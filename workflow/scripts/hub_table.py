"""Fetch a file of a data set on the hub."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.hub import fetch_data

    output = snakemake.output
    fetch_data(snakemake.wildcards.hub, Path(output.file), Path(output.provenance))
