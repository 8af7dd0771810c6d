"""The figure of similarity within and between senses, and of how well they are told apart."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.separability import senses_by_layer
    from tokentrails.files.tables import read_frame

    chart = senses_by_layer(
        read_frame(snakemake.input.by_layer),
        read_frame(snakemake.input.best),
        title=snakemake.params.title,
        **snakemake.params.options,
    )
    save(chart, snakemake.output, snakemake.input.page_script)
