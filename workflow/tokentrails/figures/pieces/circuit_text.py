"""The one text that figures of heads draw: which of its tokens, and what they are called."""

from collections.abc import Mapping

import polars as pl

from .text import readable, shorten

_TEXT = 240  # most characters


def names_of(
    rows: pl.DataFrame, position: str = "position", token: str = "token"
) -> dict[int, str]:
    """The token at each position of a text, in order; the arguments are columns."""
    return dict(rows.select(position, token).unique().sort(position).iter_rows())


def text_notes(show: str, names: Mapping[int, str], most: int) -> list[str]:
    """Which text is drawn, token by token, and how much of it where only the first `most` are."""
    text = " ".join(map(readable, names.values()))
    notes = [f"{show}: {shorten(text, _TEXT)}"]
    if len(names) > most:
        notes.append(f"Drawn: the first {most} of {len(names)} tokens.")
    return notes
