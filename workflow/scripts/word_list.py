"""Write the most frequent English words, one a line."""

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import write_text
    from tokentrails.texts.frequent_words import frequent_words

    words = frequent_words(snakemake.params.n)
    write_text(snakemake.output[0], "\n".join(words) + "\n")
