"""Write the most frequent words of a language, one a line."""

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import write_text
    from tokentrails.texts.frequent_words import frequent_words

    words = frequent_words(snakemake.params.n, snakemake.params.language)
    write_text(snakemake.output[0], "\n".join(words) + "\n")
