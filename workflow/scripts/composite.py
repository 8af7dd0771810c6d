"""A figure across models."""

from _job import job

with job(snakemake):
    from tokentrails.figures.half_lives import composite_half_lives
    from tokentrails.figures.identity import composite_depth, composite_senses
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.rank_classes import composite_ranks
    from tokentrails.figures.separability import composite_separability
    from tokentrails.files.tables import read_frames

    draw = {
        "senses": composite_senses,
        "depth": composite_depth,
        "half_lives": composite_half_lives,
        "ranks": composite_ranks,
        "separability": composite_separability,
    }[snakemake.wildcards.composite]
    tables = [
        read_frames(paths) for name, paths in snakemake.input.items() if name != "page_script"
    ]
    chart = draw(*tables, title=snakemake.params.title, **snakemake.params.options)
    save(chart, snakemake.output, snakemake.input.page_script)
