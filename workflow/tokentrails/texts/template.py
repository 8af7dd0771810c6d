"""Templates: where a word stands in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import TokentrailsError

BOS, SPACE, WORD = "{bos}", "{space}", "{word}"

_PART = re.compile(r"\{[^{}]*\}|[^{}]+|[{}]")


@dataclass(frozen=True)
class Template:
    """A text with a gap for a word.

    Attributes
    ----------
    bos: whether the tokenizer's beginning-of-sequence token comes first.
    before, after: the text around the word.
    """

    bos: bool
    before: str
    after: str

    @classmethod
    def parse(cls, source: str, where: object) -> Template:
        """Read ``{bos}``, ``{space}`` and ``{word}``; every other character stands for itself.

        Raises
        ------
        TokentrailsError: unless the word is there once, and the BOS at most once and in front.
        """

        def refuse(problem: str, hint: str) -> TokentrailsError:
            return TokentrailsError(f"the template {source!r} {problem}", where=where, hint=hint)

        parts = _PART.findall(source)
        for part in parts:
            if part[0] in "{}" and part not in (BOS, SPACE, WORD):
                raise refuse(
                    f"has {part!r} in it", f"only {BOS}, {SPACE} and {WORD} may be in braces."
                )
        if parts.count(WORD) != 1:
            raise refuse(f"has {WORD} {parts.count(WORD)} times", f"give {WORD} once.")
        if BOS in parts[1:]:
            raise refuse(f"has {BOS} behind its beginning", f"put {BOS} first, or leave it out.")
        texts = [" " if part == SPACE else part for part in parts if part != BOS]
        gap = texts.index(WORD)
        return cls(parts[0] == BOS, "".join(texts[:gap]), "".join(texts[gap + 1 :]))

    def fill(self, word: str) -> str:
        """The text with a word in its gap. The BOS is no text: it is added as a token."""
        return f"{self.before}{word}{self.after}"
