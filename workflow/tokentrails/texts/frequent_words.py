"""The list of frequent words of a package, which nobody else needs who reads lists."""

from __future__ import annotations

import wordfreq


def frequent_words(n: int, language: str) -> list[str]:
    """The n most frequent words of the largest list of `wordfreq`, or all, the first one first.

    Numbers of several digits are not among them: wordfreq estimates those by their form.
    """
    return wordfreq.top_n_list(language, n, wordlist="best")
