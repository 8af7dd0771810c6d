"""Write the script that draws a figure in its page."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.page_script import page_script
    from tokentrails.files.atomic import replacing

    with replacing(snakemake.output[0]) as part:
        part.write_bytes(page_script().encode())
