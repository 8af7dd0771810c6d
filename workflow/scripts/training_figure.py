"""The figure of a training's loss."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.training import training
    from tokentrails.files.tables import read_frame

    save(
        training(read_frame(snakemake.input[0]), title=snakemake.params.title),
        snakemake.output,
        snakemake.input.page_script,
    )
