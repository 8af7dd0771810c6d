"""The figure of random pairs."""

from _job import job

with job(snakemake):
    from tokentrails.figures.baseline import baseline
    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frame

    chart = baseline(
        read_frame(snakemake.input.baseline),
        read_frame(snakemake.input.dimensions),
        title=snakemake.params.title,
        **snakemake.params.options,
    )
    save(chart, snakemake.output, snakemake.input.page_script)
