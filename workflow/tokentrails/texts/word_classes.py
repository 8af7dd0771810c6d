"""Function words and content words: which words belong to the closed classes of English."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from ..files.schema import check
from ..files.yaml_file import Where, YamlFile
from ..project import PROJECT
from .spans import CLITICS, is_word
from .word_list import WordList

WordClass = Literal["function", "content", "punctuation", "other"]
CLASSES: tuple[str, ...] = get_args(WordClass)

BANDS = {100: "1-100", 1_000: "101-1,000", 10_000: "1,001-10,000"}
"""Bands of frequency, by the last place in the list of words."""
RAREST = "over 10,000"

FUNCTION_WORDS = PROJECT / "resources/words/function_words.yaml"


@cache
def function_words(path: Path = FUNCTION_WORDS) -> frozenset[str]:
    """The words of all closed classes, in small letters and with straight apostrophes.

    Raises
    ------
    TokentrailsError: if the file breaks its schema, or a word is not written as it is looked up.
    """
    file = YamlFile(path)
    check(file.data, "function_words", file.where)
    assert isinstance(file.data, dict)
    for name, words in file.data.items():
        for index, word in enumerate(words):
            where = Where(file.where) / name / index
            if word != plain(word):
                raise where.error(
                    f"the word {word!r} has capitals",
                    f"write {plain(word)!r}; it stands for every spelling.",
                )
            if word in words[:index]:
                raise where.error(f"the word {word!r} is listed twice", "remove one of them.")
    return frozenset(word for words in file.data.values() for word in words)


def word_class(word: str) -> WordClass | None:
    """The class of a word as `spans.words_in` finds them; with clitics, that of what they lean on.

    Capitals do not count, and a curly apostrophe is a straight one.

    Returns
    -------
    ``"function"`` for the words of `FUNCTION_WORDS`, ``"content"`` for all other words of letters,
    ``"punctuation"`` for punctuation marks, ``"other"`` for numbers, words with digits and other
    signs, and None where there is no word.
    """
    if not word.strip():
        return None
    if {plain(word), plain(CLITICS.sub("", word))} & function_words():
        return "function"
    if is_word(word):
        return "content"
    if all(unicodedata.category(c)[0] == "P" for c in word):
        return "punctuation"
    return "other"


def places(words: WordList) -> dict[str, int]:
    """The line of each word of a list, as it is looked up; of several spellings the first."""
    return {plain(entry.text): entry.rank for entry in reversed(words.entries)}


def frequency_band(rank: int | None) -> str:
    """The band of a word by its line in the list, from 1; None if it is not there."""
    return next((name for last, name in BANDS.items() if rank and rank <= last), RAREST)


def class_and_band(word: str, rank: Mapping[str, int]) -> tuple[WordClass | None, str | None]:
    """Class of a word, and its band of frequency; None of what is no word of letters.

    Parameters
    ----------
    rank: the lines of words, as `places` gives them.
    """
    band = frequency_band(rank.get(plain(word))) if is_word(word) else None
    return word_class(word), band


def plain(word: str) -> str:
    """A word as it is looked up: small letters, composed accents, straight apostrophes."""
    return unicodedata.normalize("NFC", word.replace("’", "'").casefold())
