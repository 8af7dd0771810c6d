"""The figure of half-life and context-dominance layers, for one model."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.summary import summary
    from tokentrails.files.tables import read_frame

    save(
        summary(read_frame(snakemake.input[0]), title=snakemake.params.title),
        snakemake.output,
        snakemake.input.page_script,
    )
