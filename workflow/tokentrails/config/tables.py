"""Tables as experiments: what their keys say, and what groups may be called. No row is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import Where
from ..files.lfs import refuse_pointer
from ..files.near import closest, near_path
from ..files.rows import DELIMITERS, FORMATS, suffix_of
from ..files.schema import schema, with_defaults
from ..settings import OF_LANGUAGE, TextTable, build
from .data_sets import with_revision


def load_table(data: dict[str, Any], where: Where) -> TextTable:
    """A table as its keys say; no row of it is read.

    Parameters
    ----------
    data: what the experiment file says, checked against its schema.
    where: the key `table`, for messages.

    Raises
    ------
    TokentrailsError: for a file that is not there, and keys and columns that do not go together.
    """
    if extra := data.keys() - {"table", "analyses", "splits", *OF_LANGUAGE}:
        raise where.error(
            f"the file has a table, whose rows are its texts, and {min(extra)!r}",
            "write two files, one of each.",
        )
    filled = with_defaults(data["table"], schema("experiment")["properties"]["table"])
    groups = filled.get("groups", ())
    lists = {k: _as_list(filled[k]) for k in _OF_TEXTS if k in filled}
    for key in lists.keys() & {"word", "token", "occurrence", "sense"}:  # one for both texts
        lists[key] *= len(lists["text"]) // len(lists[key]) or 1
    table: TextTable = build(
        TextTable,
        filled | lists | {"file": with_revision(filled, "file", where)},
        groups=groups if isinstance(groups, dict) else {name: name for name in groups},
        where={k: tuple(_as_list(v)) for k, v in filled.get("where", {}).items()},
    )
    if not table.on_hub and not Path(table.file).is_file():
        raise (where / "file").error(
            f"there is no file {table.file!r}",
            f"{near_path(table.file)}check the name; it is relative to the working directory.",
        )
    if not table.on_hub:
        refuse_pointer(Path(table.file))
    if table.delimiter in _NO_DELIMITERS:
        raise (where / "delimiter").error(
            f"{table.delimiter!r} cannot stand between cells: it {_NO_DELIMITERS[table.delimiter]}",
            "give the character that parts them, such as ',' or ';'.",
        )
    if suffix_of(table) not in FORMATS:
        raise (where / "file").error(
            f"the name {table.file!r} does not say how the file is read",
            f"let it end in {', '.join(FORMATS)}, or give the 'delimiter' between cells.",
        )
    known = list(schema("experiment")["properties"]["prompts"]["items"]["properties"])
    for name in table.groups:
        check_group(name, None, [*known, "sense", "pair"], where / "groups" / name)
    _check_columns(table, where)
    return table


_NO_DELIMITERS = {'"': "is the quote around them", "\n": "ends a row", "\r": "ends a row"}

_OF_TEXTS = ("text", "word", "token", "occurrence", "start", "end", "sense")
"""Keys of a table with a column for each text."""


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_columns(table: TextTable, where: Where) -> None:
    """Refuse columns that do not go together."""
    n = len(table.text)
    for key in _OF_TEXTS[1:]:
        columns = getattr(table, key)
        if len(columns) > n:
            raise (where / key).error(
                f"{key!r} names {len(columns)} columns, and there is one text",
                "name one column, or two columns of 'text'.",
            )
    delimited = suffix_of(table) in DELIMITERS
    problems = (
        ("start", table.start and (table.word or table.token), "the target's place and the target"),
        ("end", table.end and not table.start, "the end of a target without its 'start'"),
        (
            "start",
            table.start and not table.end and table.unit == "characters",
            "the 'start' of a target in characters without its 'end'",
        ),
        ("unit", table.unit == "words" and not table.start, "a 'unit' of places, and no 'start'"),
        (
            "occurrence",
            table.occurrence and not (table.word or table.token),
            "which target is meant, and no 'word' or 'token'",
        ),
        ("same", table.same and n == 1, "whether two texts have one sense, and one text"),
        ("same", table.same and table.sense, "both 'sense' and 'same'"),
        ("text", n > 1 and not table.has_targets, "two texts without a target to compare"),
        ("columns", table.columns and not delimited, "names for columns that have names"),
        ("quotes", table.quotes is not None and not delimited, "'quotes', and no delimited file"),
    )
    for key, is_wrong, problem in problems:
        if is_wrong:
            raise (where / key).error(f"the table has {problem}", "remove or add one of them.")
    if table.columns:
        for name in table.names:
            if table.columns.count(name) != 1:
                raise (where / "columns").error(
                    f"the column {name!r}, which is read, is named {table.columns.count(name)} "
                    "times",
                    "name each column of the file once, in their order.",
                )


def check_sense(table: TextTable, where: Where) -> None:
    """Refuse a table without senses that all its texts share."""
    if not table.sense:
        key = "same" if table.same else "text"
        raise (where / key).error(
            "the analysis senses compares all texts of a word by their sense, and the table has no "
            "column 'sense'",
            "name it, or ask for context, which compares the two texts of a row.",
        )


def check_group(name: Any, value: Any, known: list[str], where: Where) -> None:
    """Refuse a group column whose name is none, or much like one of the keys that are known."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise where.error(
            f"{name!r} cannot be the name of a group column",
            "use letters, digits and '_', beginning with a letter.",
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise where.error(
            f"the value {value} has more than 64 bits",
            "put it in quotes to group by it as a text.",
        )
    if name in known:
        raise where.error(
            f"{name!r} is something else than a group already",
            f"give the group another name, such as {name}_group.",
        )
    if guess := closest(name, known):
        raise where.error(
            f"unknown key {name!r}",
            f"did you mean {guess!r}? If it is a group column, choose a name less alike.",
        )
