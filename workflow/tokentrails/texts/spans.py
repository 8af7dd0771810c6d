"""Finding a target word's tokens, and a token's word, from character offsets."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import regex

Offsets = Sequence[tuple[int, int]]
WordPart = Literal["whole", "first", "later"]

# What a word is made of, by Unicode's properties. Letters of scripts without spaces are those that
# its default word boundaries (UAX #29) leave to dictionaries: Han, kana, Thai, Khmer and the like.
_SPACELESS = r"[[\p{L}\p{Nl}]--[[\p{WB=ALetter}\p{WB=Hebrew_Letter}]--\p{Han}]]"
_LETTER = rf"[\p{{L}}--{_SPACELESS}]"
_DIGIT = rf"[\p{{N}}--{_SPACELESS}]"
# Accents, vowel signs, points, joiners, and the Hebrew geresh.
_MARKS = r"[\p{M}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}\u05f3]*+"
# Apostrophes, the marks inside Catalan, Hebrew and Armenian words, and hyphens: Unicode's for the
# middle of words without colons and full stops, its hyphens, and those that it has as dashes alone.
_MIDDLE = r"[[\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=Single_Quote}]--[:︓﹕：.․﹒．]]"
_HYPHEN = r"[[\p{Pd}&&\p{Hyphen}]\u05be\u1400\U00010ead]"
_JOINER = rf"[{_MIDDLE}{_HYPHEN}[\p{{P}}&&\p{{WB=ALetter}}]]"
# Commas and full stops, between digits.
_POINT = r"[[\p{WB=MidNum}\p{WB=MidNumLet}\u066b]--[;\u037e﹔；]]"
_POINT = rf"(?<={_DIGIT}){_POINT}(?={_DIGIT})"
_APOSTROPHES = "'’＇"
_LETTERS = rf"(?:{_LETTER}{_MARKS})++"
_UNSPACED = rf"(?:{_SPACELESS}{_MARKS})++"
_BOTH = rf"(?:[{_LETTER}{_DIGIT}]{_MARKS})++"

_WORD = regex.compile(
    rf"{_BOTH}(?:(?:{_JOINER}|\p{{Pc}}|{_POINT}){_BOTH})*+"  # don't, 1,845.5
    rf"|{_UNSPACED}"
    rf"|(?:\p{{P}}{_MARKS})++"
    # Other signs, but none that is not seen; U+200B is a space, too.
    rf"|(?:[^\s\u200b\p{{WB=Format}}\p{{L}}\p{{N}}\p{{P}}]{_MARKS})++",
    regex.V1,
)
# Directions, soft hyphens and the like: within a word they are part of it, at its end they are not.
_UNSEEN_END = regex.compile(r"\p{WB=Format}++$", regex.REVERSE)
_ONE_WORD = regex.compile(rf"{_LETTERS}(?:{_JOINER}{_LETTERS})*+|{_UNSPACED}", regex.V1)
_HAS_SPACES = regex.compile(rf"[{_LETTER}{_DIGIT}]", regex.V1)
_CHARACTER = regex.compile(r"\X")  # as a reader sees it, with all its marks
CLITICS = regex.compile(
    rf"(?:[{_APOSTROPHES}](?:s|re|ve|ll|d|m))+$", regex.IGNORECASE | regex.ASCII | regex.REVERSE
)


@dataclass(frozen=True)
class Span:
    """The tokens of one target: positions `first` to `last`, both included."""

    first: int
    last: int


class NotAligned(Exception):
    """A text or its target cannot be used as it is cut into tokens; the message says why."""


def find_words(text: str, word: str) -> list[tuple[int, int]]:
    """Character ranges of a word in a text, without the spaces around it.

    A word that begins (ends) with a letter or digit is not found in the middle of a longer one, as
    `words_in` has them; scripts without spaces do not show their words' borders, so that it is
    found anywhere there. An accent may be a character of its own in one and not in the other. A
    space in front is required where `word` has one.
    """
    _, wanted = _characters(word.strip())
    places, characters = _characters(text)
    n = len(wanted)
    firsts = [i for i in range(len(places) - n + 1) if characters[i : i + n] == wanted]
    if not firsts:
        return []
    spaced = [place for place in words_in(text) if _HAS_SPACES.match(text, place[0])]
    inner = {place for start, end in spaced for place in range(start + 1, end)}

    def is_border(place: int, character: str, outside: str, space: str) -> bool:
        is_between_words = place not in inner or not _HAS_SPACES.match(character)
        return is_between_words and (outside.isspace() or not space.isspace())

    found: list[tuple[int, int]] = []
    for first in firsts:
        start, end = places[first][0], places[first + n - 1][1]
        if (
            is_border(start, wanted[0], text[start - 1 : start], word[0])
            and is_border(end, wanted[-1], text[end : end + 1], word[-1])
            and (not found or start >= found[-1][1])
        ):
            found.append((start, end))
    return found


def _characters(text: str) -> tuple[Sequence[tuple[int, int]], list[str]]:
    """The characters of a text as a reader sees them: where they are, and with accents composed."""
    if text.isascii() and "\r" not in text:
        return list(pairwise(range(len(text) + 1))), list(text)
    places = [match.span() for match in _CHARACTER.finditer(text)]
    return places, [_composed(text[slice(*place)]) for place in places]


def span_of(text: str, offsets: Offsets, start: int, end: int) -> Span:
    """The tokens that cover the characters `start` to `end` of a text.

    Parameters
    ----------
    text: what was tokenized.
    offsets: each token's characters, (0, 0) for special tokens; spaces at a token's borders do not
        count, since some tokenizers include them and others do not.

    Raises
    ------
    NotAligned: if no token begins at `start`, or none ends at `end`, or the tokenizer drops a
        letter or digit in between.
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
    covering = offsets[first : last + 1]
    ends = pairwise([(0, start), *covering, (end, end)])
    if all(b >= c for (_, b), (c, _) in ends):  # no gap, as nearly always
        return Span(first, last)
    for character in _CHARACTER.finditer(text, start, end):
        if text[character.start()].isalnum() and not any(
            a < character.end() and b > character.start() for a, b in covering
        ):
            raise NotAligned(f"no token covers its {character.group()!r}")
    return Span(first, last)


@lru_cache(maxsize=8)  # of one text they are asked for several times
def words_in(text: str) -> Sequence[tuple[int, int]]:
    """Character ranges of the words of a text, one after the other.

    A word is a run of letters and digits, each with the accents, vowel signs, points and unseen
    joiners that follow it, with an apostrophe, a hyphen or a low line only between them, or a full
    stop or comma between digits. The English clitics ``'s``, ``'re``, ``'ve``, ``'ll``, ``'d`` and
    ``'m`` at its end are words of their own, ``n't`` is not. So is each run of letters of scripts
    without spaces, of punctuation marks, and of other signs. Format characters, such as those that
    turn the direction of writing, are in no word but between two of its letters.
    """
    found: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, end = _seen(text, *match.span())
        clitics = CLITICS.search(text, start, end)
        rest = range(clitics.start(), end) if clitics else ()
        borders = [start, *(i for i in rest if text[i] in _APOSTROPHES), end]
        found += (_seen(text, *word) for word in pairwise(borders))
    return tuple(found)


def _seen(text: str, start: int, end: int) -> tuple[int, int]:
    """A character range without the format characters at its end."""
    unseen = _UNSEEN_END.search(text, start, end)
    return start, unseen.start() if unseen else end


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


def dropped_words(text: str, offsets: Offsets) -> Iterator[str]:
    """Words of a text that have a letter or digit that no token covers."""
    covered = {place for a, b in offsets for place in range(a, b)}
    for start, end in words_in(text):
        if covered.issuperset(range(start, end)):
            continue
        for character in _CHARACTER.finditer(text, start, end):
            if text[character.start()].isalnum() and covered.isdisjoint(range(*character.span())):
                yield text[start:end]
                break


def is_word(text: str) -> bool:
    """Whether a text is one word of letters, and apostrophes or hyphens only between them."""
    if text.isascii() and text.isalpha():  # most are, and this is soon seen
        return True
    return _ONE_WORD.fullmatch(text) is not None and _UNSEEN_END.search(text) is None


def is_spaceless(word: str) -> bool:
    """Whether a word, as `words_in` has them, is of a script without spaces between words."""
    return _HAS_SPACES.match(word.lstrip(_APOSTROPHES)) is None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
