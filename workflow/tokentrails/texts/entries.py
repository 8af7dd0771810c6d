"""What vocabulary entries stand for, in the three styles that tokenizers write them, and by row."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..settings import Prompt

# A character that no encoding of bytes as characters has.
NO_BYTE = 0xFFFF


# Control characters but for tabs and ends of lines: what letters such as those of `čas` decode to.
_NO_TEXT = re.compile(r"\r(?!\n)|(?![\t\n\r])[\x00-\x1f\x7f-\x9f]")


def surface(token: str, *, byte_level: bool | None = None) -> str:
    """How a vocabulary entry looks in a text.

    ``Ġlead`` and ``▁lead`` are `` lead``, ``##ing`` is ``ing``.

    Byte-level entries are decoded by the table of GPT-2's tokenizer, in which every byte has a
    printable character.

    Parameters
    ----------
    byte_level: whether the tokenizer is. By default where the entry decodes to what a text may
        have: ``č`` stands for a byte, and is a letter.
    """
    if byte_level:
        return with_bytes(token)
    if token.startswith("##") and len(token) > 2:
        return token[2:]
    if "▁" in token:
        return token.replace("▁", " ")
    if byte_level is False:
        return token
    try:
        text = _raw(token).decode("utf-8")
    except UnicodeError:
        return token
    return token if _NO_TEXT.search(text) else text


def with_bytes(token: str) -> str:
    """How a byte-level entry looks in a text; bytes that are no whole character read ``<0xD7>``."""
    try:
        raw = _raw(token)
    except UnicodeEncodeError:
        return token
    text = raw.decode("utf-8", "surrogateescape")
    return "".join(f"<0x{ord(c) - 0xDC00:02X}>" if "\udc80" <= c <= "\udcff" else c for c in text)


def target(prompt: Prompt) -> str:
    """The target of a prompt as a text has it, with the space in front that it asks for."""
    return prompt.word or surface(prompt.token or "")


def entries(vocabulary: Mapping[str, int], rows: int) -> list[str | None]:
    """The entry, out of those by row number, of each row of a matrix; None for padded rows."""
    by_row: list[str | None] = [None] * rows
    for entry, row in sorted(vocabulary.items(), reverse=True):  # of two, the first by the alphabet
        if row < rows:
            by_row[row] = entry
    return by_row


def _raw(token: str) -> bytes:
    """The bytes of a byte-level entry; a UnicodeEncodeError for one that is none."""
    return token.translate(_BYTES).encode("latin-1")


def _byte_table() -> dict[int, int]:
    """From each printable character to its byte, and from others below 256 to what is no byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    spare = {0x100 + number: byte for number, byte in enumerate(others)}
    return spare | {byte: byte for byte in printable} | dict.fromkeys(others, NO_BYTE)


_BYTES = _byte_table()
