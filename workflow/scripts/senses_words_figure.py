"""The figure of how well the senses of each word are told apart."""

from _job import job

with job(snakemake):
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.sense_words import senses_words
    from tokentrails.files.tables import read_frame

    chart = senses_words(read_frame(snakemake.input[0]), title=snakemake.params.title)
    save(chart, snakemake.output, snakemake.input.page_script)
