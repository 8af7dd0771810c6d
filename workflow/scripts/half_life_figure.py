"""The figure of half-lives of one model."""

from _job import job

with job(snakemake):
    from tokentrails.figures.half_lives import half_life
    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frame

    params = snakemake.params
    chart = half_life(read_frame(snakemake.input[0]), title=params.title, **params.options)
    save(chart, snakemake.output, snakemake.input.page_script)
