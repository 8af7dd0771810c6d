"""A figure across models."""

from _job import job

with job(snakemake):
    from tokentrails.figures.identity import composite_depth, composite_senses
    from tokentrails.figures.save import save
    from tokentrails.tables import read_frames

    draw = {"senses": composite_senses, "depth": composite_depth}[snakemake.wildcards.composite]
    chart = draw(
        read_frames(snakemake.input.identity),
        read_frames(snakemake.input.context),
        title=snakemake.params.title,
    )
    save(chart, snakemake.output)
