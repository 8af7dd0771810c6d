"""What scripts read that look at the words of tokens."""

from pathlib import Path


def read_classes(snakemake):
    """The classes of words of the experiment's language, as far as they are known."""
    from tokentrails.texts.word_classes import WordClasses, function_words

    paths = map(Path, snakemake.input.classes)
    return WordClasses(frozenset().union(*map(function_words, paths)))


def read_tokens(snakemake):
    """The tokens, with the classes of their words."""
    from tokentrails.files.tables import read_table
    from tokentrails.metrics.columns.frame import with_classes

    return with_classes(read_table(snakemake.input.tokens), read_classes(snakemake))


def read_word_list(paths):
    """The list of frequent words, which is the only path; None without one."""
    from tokentrails.texts.word_list import WordList

    return WordList.read(Path(paths[0])) if paths else None
