"""Documents of any size, a part at a time: a plain text, or the cells of a table's column."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import TokentrailsError, Where
from ..settings import Corpus, TextTable
from .rows import Reader, Wrong, text_in
from .schema import schema

PART = 1 << 18
"""Characters of a plain text that are read at a time."""


def shortage(text: str, asked: int, there: int, unit: str) -> tuple[str, str]:
    """Problem and hint where fewer tokens are there than are asked for.

    Parameters
    ----------
    there: how many of `unit`, which names tokens, or bytes, of which there are no fewer.
    """
    fewest = schema("experiment")["properties"]["corpus"]["properties"]["tokens"]["minimum"]
    return (
        f"the text {text!r} has {there:,} {unit}, and {asked:,} tokens are asked for",
        "give a longer text" + (", or lower corpus.tokens." if there >= fewest else "."),
    )


def emptiness(text: str) -> tuple[str, str]:
    """Problem and hint where nothing is in a text."""
    return f"the text {text!r} is empty", "give one with words in it."


class Documents:
    """The documents of a corpus, in their order.

    Parameters
    ----------
    where: the key `corpus`, for messages.

    Attributes
    ----------
    left_out: rows of a table that are no document, by line, with the reason; complete only when
        all have been read.
    """

    def __init__(self, corpus: Corpus, path: Path, where: Where | None = None) -> None:
        self.left_out: list[tuple[int, str]] = []
        self._column, self._path = corpus.column, path
        self._where = where or Where(keys=("corpus",))

    def __iter__(self) -> Iterator[Iterator[str] | Sequence[str]]:
        """Each document as its parts, which begin and end between words.

        Raises
        ------
        TokentrailsError: for a file that cannot be read, or is no UTF-8 text, and for a table
            without the column.
        """
        if self._column is None:
            yield self._parts()
            return
        suffix = Path(self._path.name.removesuffix(".gz")).suffix
        table = TextTable(str(self._path), text=(self._column,), quotes=suffix == ".csv")
        for line, cells in Reader(table, self._where, "column").rows():
            try:
                if isinstance(cells, Wrong):
                    raise cells
                yield (text_in(cells, self._column),)
            except Wrong as reason:
                self.left_out.append((line, str(reason)))

    def _parts(self) -> Iterator[str]:
        opened = gzip.open if self._path.suffix == ".gz" else open
        begun = ""
        try:
            with opened(self._path, "rt", encoding="utf-8-sig") as file:
                while part := file.read(PART):
                    part = begun + part
                    begun = "" if part[-1].isspace() else part.split()[-1]
                    yield part[: len(part) - len(begun)]
            yield begun
        except UnicodeDecodeError as error:
            raise TokentrailsError(
                f"the file is not UTF-8 text: {error}", where=self._path, hint="save it as UTF-8."
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise TokentrailsError(
                f"the text cannot be read: {error}",
                where=self._path,
                hint="check that it is whole; its name is relative to the working directory.",
            ) from error
