"""A figure of the tokens of one text."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.rank_heatmap import rank_heatmap
    from tokentrails.figures.ranks import rank_layers, similarity_layers
    from tokentrails.files.tables import read_frame

    draw = {
        "similarity_layers": similarity_layers,
        "rank_layers": rank_layers,
        "rank_heatmap": rank_heatmap,
    }[snakemake.wildcards.figure]
    chart = draw(
        read_frame(snakemake.input[0]), show=snakemake.params.show, title=snakemake.params.title
    )
    save(chart, snakemake.output, snakemake.input.page_script)
