"""The figure of similarity and rank by class of words."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.rank_classes import rank_classes
    from tokentrails.files.tables import read_frame

    chart = rank_classes(
        read_frame(snakemake.input.by_class),
        read_frame(snakemake.input.gap),
        read_frame(snakemake.input.summary),
        title=snakemake.params.title,
        **snakemake.params.options,
    )
    save(chart, snakemake.output, snakemake.input.page_script)
