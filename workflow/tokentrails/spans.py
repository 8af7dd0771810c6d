"""Finding a target word's tokens, from character offsets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Offsets = Sequence[tuple[int, int]]

COMBINING = "\u0300-\u036f"  # accents written behind their letter


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
