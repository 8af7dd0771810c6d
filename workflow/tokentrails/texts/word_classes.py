"""Function words and content words: which words belong to the closed classes of a language."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import regex

from ..errors import Where
from ..files.schema import check
from ..files.yaml_file import YamlFile
from ..project import PROJECT
from .spans import CLITICS, is_spaceless, is_word
from .word_groups import BANDS, RAREST, UNKNOWN, WordClass
from .word_list import WordList

FUNCTION_WORDS = PROJECT / "resources/words/function_words.yaml"
"""Those of English."""

# Letters of one script, and not of several, such as the micro sign.
_OF_A_SCRIPT = regex.compile(r"[\p{L}--\p{Script=Common}--\p{Script=Inherited}]", regex.V1)


def function_words(path: Path = FUNCTION_WORDS) -> frozenset[str]:
    """The words of all closed classes, in small letters and with straight apostrophes.

    Raises
    ------
    TokentrailsError: if the file breaks its schema, or a word is not written as it is looked up,
        or is of a script without spaces, of which texts are not cut into words.
    """
    file = YamlFile(path)
    check(file.data, "function_words", file.where)
    assert isinstance(file.data, dict)
    for name, words in file.data.items():
        for index, word in enumerate(words):
            where = Where(file.where) / name / index
            if word != plain(word):
                raise where.error(
                    f"the word {word!r} has capitals, or other apostrophes or accents than texts "
                    "are searched for",
                    f"write {plain(word)!r}; it stands for every spelling.",
                )
            if not is_word(word.removeprefix("'")):
                raise where.error(
                    f"{word!r} is no word",
                    "write letters, with hyphens and straight apostrophes between them only.",
                )
            if is_spaceless(word):
                raise where.error(
                    f"the word {word!r} is of a script without spaces between words, and texts in "
                    "it are not cut into words",
                    "leave 'function_words' out; such texts have no classes.",
                )
            if word in words[:index]:
                raise where.error(f"the word {word!r} is listed twice", "remove one of them.")
    return frozenset(word for words in file.data.values() for word in words)


@dataclass(frozen=True)
class WordClasses:
    """The closed classes of a language; a language of which none are known has no such words.

    A word has a class if it is in the script of these words: of others they say nothing.
    """

    function: frozenset[str] = frozenset()

    @cached_property
    def _scripts(self) -> frozenset[str]:
        return frozenset().union(*map(_scripts, self.function))

    def of(self, word: str) -> WordClass | None:
        """The class of a word as `spans.words_in` finds them; with clitics, of what they lean on.

        Capitals do not count, and a curly apostrophe is a straight one.

        Returns
        -------
        ``"function"`` for the words of the closed classes, ``"content"`` for all other words of
        letters of their script, ``"punctuation"`` for punctuation marks, ``"other"`` for numbers,
        words with digits and other signs, and None for words of letters without a class, and where
        there is no word.
        """
        if not word.strip():
            return None
        if {plain(word), plain(CLITICS.sub("", word))} & self.function:
            return "function"
        if is_word(word):
            return "content" if self.function and _scripts(word) <= self._scripts else None
        if CLITICS.fullmatch(word):
            return None
        if all(unicodedata.category(c)[0] == "P" for c in word):
            return "punctuation"
        return "other"


def _scripts(word: str) -> frozenset[str]:
    """The scripts of a word's letters, as Unicode's names of letters begin with them."""
    letters = (unicodedata.normalize("NFKC", letter)[0] for letter in _OF_A_SCRIPT.findall(word))
    return frozenset(unicodedata.name(letter, "").split(" ")[0] for letter in letters)


def places(words: WordList | None) -> dict[str, int]:
    """The line of each word of a list, as it is looked up; of several spellings the first."""
    return {plain(entry.text): entry.rank for entry in reversed(words.entries if words else ())}


def frequency_band(rank: int | None) -> str:
    """The band of a word by its line in the list, from 1; None if a list of all bands lacks it."""
    return next((name for last, name in BANDS.items() if rank and rank <= last), RAREST)


@dataclass(frozen=True)
class FrequencyBands:
    """The bands of frequency of words, by the list of the most frequent ones; None: no list."""

    words: WordList | None

    @cached_property
    def _lines(self) -> dict[str, int]:
        return places(self.words)

    @cached_property
    def _is_whole(self) -> bool:
        """Whether what the list lacks is rarer than all bands but the last."""
        return self.words is not None and self.words.entries[-1].rank >= max(BANDS)

    def of(self, word: str) -> str | None:
        """The band of a word; None of what is no word of letters.

        Returns
        -------
        `UNKNOWN` for what is not listed, without a list, in one that ends within a band, and in a
        script without spaces: it may be several words.
        """
        if not is_word(word):
            return None
        line = self._lines.get(plain(word))
        if line is None and (not self._is_whole or is_spaceless(word)):
            return UNKNOWN
        return frequency_band(line)


def plain(word: str) -> str:
    """A word as it is looked up: small letters, composed accents, straight apostrophes."""
    return unicodedata.normalize("NFC", word.replace("’", "'").casefold())
