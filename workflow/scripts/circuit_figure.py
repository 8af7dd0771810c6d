"""A figure of heads, of token evolution or of attribution."""

from _job import job

with job(snakemake):
    from tokentrails.figures.attention import attention
    from tokentrails.figures.attribution import attribution
    from tokentrails.figures.evolution import evolution
    from tokentrails.figures.head_summary import head_summary
    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frame

    draw = {
        "attention": attention,
        "head_summary": head_summary,
        "evolution": evolution,
        "attribution": attribution,
    }[snakemake.wildcards.figure]
    tables = [read_frame(path) for name, path in snakemake.input.items() if name != "page_script"]
    chart = draw(*tables, title=snakemake.params.title, **snakemake.params.shown)
    save(chart, snakemake.output, snakemake.input.page_script)
