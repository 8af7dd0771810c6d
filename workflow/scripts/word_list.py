"""Write the most frequent English words, one a line."""

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import replacing
    from tokentrails.texts.word_list import frequent_words

    words = frequent_words(snakemake.params.n)
    with replacing(snakemake.output[0]) as part:
        part.write_text("\n".join(words) + "\n", encoding="utf-8")
