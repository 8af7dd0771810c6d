"""Tokens as people read them, and labels that do not overlap."""

import unicodedata
from collections.abc import Sequence

from ...texts.entries import surface, with_bytes

_BLANK = "\u115f\u1160\u3164\uffa0\u2800"
"""Fillers of Hangul and the blank of Braille, which Unicode calls letters and a symbol."""

_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def readable(token: str, *, byte_level: bool = False) -> str:
    """A vocabulary entry as a word: `Ġlead` and `▁lead` -> `lead`, `##ing` -> `-ing`.

    Byte-level entries are decoded (`Ċ` -> `\\n`, `cafÃ©` -> `café`) where their bytes are whole
    characters; spaces alone read `[space]`. Plain words pass unchanged. Bytes that are no whole
    character read `<0xD7>` if the entry is known to be `byte_level`: else it may be a letter. Other
    spaces, and marks without a letter, are escapes.
    """
    if token.startswith("##") and len(token) > 2:
        return visible("-" + token[2:])
    # A part of a character stays as it is written; its spaces and line ends are still marks.
    plain = with_bytes(token) if byte_level else surface(token)
    token = plain.replace("Ġ", " ").replace("Ċ", "\n")
    if token and not token.strip(" "):
        return "[space]"
    token = token.strip(" ")
    kinds = [unicodedata.category(c) for c in token]
    bare = all(kind[0] in "CZ" or kind in ("Mn", "Me") for kind in kinds)  # nothing to stand on
    return "".join(
        _escape(c) if (bare or kind == "Zs") and c != " " else visible(c)
        for c, kind in zip(token, kinds, strict=True)
    )


def visible(text: str) -> str:
    """`text` with control, format and other invisible characters written as escapes."""
    return "".join(_escape(c) if _is_invisible(c) else c for c in text)


def _is_invisible(character: str) -> bool:
    # C*: control, format (bidirectional marks too), unassigned; Zl, Zp: line and paragraph ends.
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp") or character in _BLANK


def _escape(character: str) -> str:
    code = ord(character)
    form = "\\x{:02x}" if code < 0x100 else "\\u{:04x}" if code < 0x10000 else "\\U{:08x}"
    return _ESCAPES.get(character) or form.format(code)


def counted(number: int, noun: str) -> str:
    """A number of things, such as `1 text` and `1,070 texts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shorten(text: str, length: int = 24) -> str:
    """`text` cut to `length` characters, the last one an ellipsis if anything was cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near `values`, in the same order, at least `gap` apart and within [low, high].

    Among all such positions these have the least squared displacement. Where the range cannot
    hold them, they are spaced evenly over it.
    """
    if not values:
        return []
    count = len(values)
    gap = min(gap, (high - low) / max(count - 1, 1))
    order = sorted(range(count), key=lambda i: (values[i], i))

    # With p_i = q_i + i * gap the constraint is that q never falls: pool neighbours that would.
    pools: list[tuple[float, int]] = []
    for step, i in enumerate(order):
        mean, size = values[i] - step * gap, 1
        while pools and pools[-1][0] > mean:
            other, other_size = pools.pop()
            mean = (mean * size + other * other_size) / (size + other_size)
            size += other_size
        pools.append((mean, size))
    levels = [mean for mean, size in pools for _ in range(size)]

    top = high - (count - 1) * gap
    positions = [0.0] * count
    for step, i in enumerate(order):
        positions[i] = min(max(levels[step], low), max(top, low)) + step * gap
    return positions
