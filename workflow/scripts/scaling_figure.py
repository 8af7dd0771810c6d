"""The composite of measures by size of model."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.scaling import scaling
    from tokentrails.files.tables import read_frame

    table, slopes = read_frame(snakemake.input.table), read_frame(snakemake.input.slopes)
    params = snakemake.params
    save(
        scaling(table, slopes, title=params.title, **params.options),
        snakemake.output,
        snakemake.input.page_script,
    )
