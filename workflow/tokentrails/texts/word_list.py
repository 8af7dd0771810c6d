"""Lists of words, one a line, the most frequent first."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from ..errors import TokentrailsError

LONGEST_LINE = 200


@dataclass(frozen=True)
class Entry:
    """A line of a word list: its number, counted from 1, and what it says."""

    rank: int
    text: str


@dataclass(frozen=True)
class WordList:
    """The lines of a word list that are not empty, and the hash of the file."""

    entries: tuple[Entry, ...]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> WordList:
        """Read a file of words.

        Raises
        ------
        TokentrailsError: naming the line that is no single word of UTF-8 text; and if there is no
            such file, or nothing in it.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise TokentrailsError(
                f"the word list cannot be read: {error.strerror}",
                where=path,
                hint="check the name; it is relative to the working directory.",
            ) from error
        lines = enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
        read = (Entry(rank, _text_of(line, f"{path}, line {rank}")) for rank, line in lines)
        entries = tuple(entry for entry in read if entry.text)
        if not entries:
            raise TokentrailsError(
                "the word list is empty", where=path, hint="write one word a line into it."
            )
        return cls(entries, hashlib.sha256(content).hexdigest())


def _text_of(line: bytes, where: str) -> str:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise TokentrailsError(
            f"the line is not UTF-8 text: {error}", where=where, hint="save the file as UTF-8."
        ) from error
    problem = ""
    if len(text) > LONGEST_LINE:
        problem = f"the line has {len(text)} characters, more than {LONGEST_LINE}"
    elif any(c.isspace() for c in text):
        problem = f"there is white space in {text!r}"
    elif any(unicodedata.category(c) == "Cc" for c in text):
        problem = f"there is a control character in {text!r}"
    if problem:
        hint = "a word list has one word a line and nothing else."
        raise TokentrailsError(problem, where=where, hint=hint)
    return text
