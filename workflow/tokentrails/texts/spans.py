"""Finding a target word's tokens, and a token's word, from character offsets."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Offsets = Sequence[tuple[int, int]]
WordPart = Literal["whole", "first", "later"]

COMBINING = "\u0300-\u036f"  # accents written behind their letter

# Words in a text of the characters' kinds, as `_kind` gives them.
_WORD = re.compile(
    r"[a0][a0m]*(?:(?:'|(?<=0)\.(?=0))[a0][a0m]*)*"  # letters and digits: don't, co-op, 1,845.5
    r"|['.p][m'.p]*"  # punctuation marks
    r"|s[ms]*|m+"  # other signs; the last for accents on nothing
)
CLITICS = re.compile(r"(?:['’](?:s|re|ve|ll|d|m))+$", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Span:
    """The tokens of one target: positions `first` to `last`, both included."""

    first: int
    last: int


class NotAligned(Exception):
    """The target's characters are there, but a token crosses its border."""


def find_words(text: str, word: str) -> list[tuple[int, int]]:
    """Character ranges of a word in a text, without the spaces around it.

    A word that begins (ends) with a letter or digit is not found in the middle of a longer one. A
    space in front is required where `word` has one.
    """
    core = word.strip()
    before = r"(?<=\s)" if word[0].isspace() else r"(?<!\w)" if core[0].isalnum() else ""
    after = (
        r"(?=\s)" if word[-1].isspace() else rf"(?![\w{COMBINING}])" if core[-1].isalnum() else ""
    )
    return [m.span() for m in re.finditer(before + re.escape(core) + after, text)]


def span_of(text: str, offsets: Offsets, start: int, end: int) -> Span:
    """The tokens that cover the characters `start` to `end` of a text.

    Parameters
    ----------
    text: what was tokenized.
    offsets: each token's characters, (0, 0) for special tokens; spaces at a token's borders do not
        count, since some tokenizers include them and others do not.

    Raises
    ------
    NotAligned: if no token begins at `start`, or none ends at `end`.
    """
    first = last = None
    for position, (a, b) in enumerate(offsets):
        while a < b and text[a].isspace():
            a += 1
        while b > a and text[b - 1].isspace():
            b -= 1
        if a < end and b > start:
            if a < start or b > end:
                raise NotAligned(f"the token over {text[a:b]!r} crosses its border")
            first = position if first is None else first
            last = position
    if first is None or last is None:
        raise NotAligned("no token covers it")
    return Span(first, last)


def words_in(text: str) -> Iterator[tuple[int, int]]:
    """Character ranges of the words of a text, one after the other.

    A word is a run of letters of any script and digits, with an apostrophe or a hyphen only between
    them, or a full stop or comma between digits. The English clitics ``'s``, ``'re``, ``'ve``,
    ``'ll``, ``'d`` and ``'m`` at its end are words of their own, ``n't`` is not. So is each run of
    punctuation marks, and each run of other signs.
    """
    for match in _WORD.finditer("".join(map(_kind, text))):
        start, end = match.span()
        clitics = CLITICS.search(text, start, end)
        rest = range(clitics.start(), end) if clitics else ()
        yield from pairwise([start, *(i for i in rest if text[i] in "'’"), end])


def words_and_parts(text: str, offsets: Offsets) -> list[tuple[str, WordPart | None]]:
    """The word that each token is part of, as the text has it, and which part of it that is.

    Parameters
    ----------
    text, offsets: as for `span_of`. Tokens that share a character all belong to its word.

    Returns
    -------
    For a token across several words the one that it has most characters of, or the first of these;
    ``"whole"`` for the only token of a word, ``"first"`` and ``"later"`` for those of a word of
    several. ``""`` and None for special tokens and for those of nothing but spaces.
    """
    word_at: list[tuple[int, int] | None] = [None] * len(text)
    for start, end in words_in(text):
        word_at[start:end] = [(start, end)] * (end - start)
    covered = [[word for word in word_at[a:b] if word is not None] for a, b in offsets]
    places = [max(words, key=words.count, default=None) for words in covered]
    tokens, begun = Counter(places), set()
    found: list[tuple[str, WordPart | None]] = []
    for place in places:
        if place is None:
            found.append(("", None))
        elif tokens[place] == 1:
            found.append((text[slice(*place)], "whole"))
        else:
            found.append((text[slice(*place)], "later" if place in begun else "first"))
        begun.add(place)
    return found


def _kind(c: str) -> str:
    """What a character is in a word, as one character."""
    if c.isspace():
        return " "
    if c in "'’-":
        return "'"
    if c in ".,":
        return "."
    category = unicodedata.category(c)
    if category == "Cf":  # joins its neighbours without being seen
        return "m"
    return {"L": "a", "N": "0", "M": "m", "P": "p"}.get(category[0], "s")


def is_word(text: str) -> bool:
    """Whether a text is letters of any script, with apostrophes or hyphens only between them."""
    parts = re.split("['’-]", text)
    return all(
        # Accents and vowel signs (category M) may be written behind their letter.
        part[:1].isalpha() and all(unicodedata.category(c)[0] in "LM" for c in part)
        for part in parts
    )
