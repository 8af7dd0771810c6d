"""The figure of identity and context similarity, for one model."""

from _job import job

with job(snakemake):
    from tokentrails.figures.identity import identity_context
    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frame, read_frames

    chart = identity_context(
        read_frame(snakemake.input.identity),
        read_frames(snakemake.input.context),
        read_frame(snakemake.input.curves),
        title=snakemake.params.title,
        **snakemake.params.options,
    )
    save(chart, snakemake.output, snakemake.input.page_script)
