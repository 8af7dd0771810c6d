"""Prompts from the rows of a file, with the target at its place, or two texts in each."""

from __future__ import annotations

import heapq
import math
import random
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import regex

from ..errors import Where
from ..files.rows import (
    DELIMITERS,
    Numbered,
    Reader,
    Row,
    Wrong,
    as_text,
    number_of,
    plain_text,
    suffix_of,
    text_in,
    value_in,
)
from ..files.yaml_file import plain_values
from ..settings import OWN, Prompt, TextTable
from .entries import target
from .spans import find_words
from .tokenization import column_of_values

_TRUTH = {
    **dict.fromkeys(("t", "true", "1", "yes"), True),
    **dict.fromkeys(("f", "false", "0", "no"), False),
}

# A word between spaces, without the punctuation around it unless that is all; apostrophes may be
# of the word ('s).
_AROUND = r"[\p{P}--['’＇]]"
_BETWEEN_SPACES = regex.compile(rf"{_AROUND}*+(\S*[\S--{_AROUND}]){_AROUND}*|(\S+)", regex.V1)

SKIPPED = pa.schema([("line", pa.int64()), ("label", pa.string()), ("reason", pa.string())])
_PROMPTS = ("label", "prompt", "token", "word", "occurrence", "line")


def read_prompts(
    table: TextTable, *, needs_sense: bool = False, where: Where | None = None
) -> tuple[list[Prompt], list[int], pa.Table]:
    """The prompts of a table, in the order of its rows, with their lines; and those left out.

    Rows are those that pass `where`, of these the first `limit`, and of these a sample.

    Parameters
    ----------
    needs_sense: whether a row without a sense is a wrong one.
    where: the key `table`, for messages.

    Returns
    -------
    A row of two texts is two prompts, with the endings `.1` and `.2` to its label.

    Raises
    ------
    TokentrailsError: for what `Reader.rows` refuses, a label that is there twice, and more wrong
        rows than `most_skipped`.
    """
    reader = Reader(table, where or Where(keys=("table",)))
    wanted = {name: set(map(as_text, values)) for name, values in table.where.items()}
    rows: Iterable[Numbered] = (row for row in reader.rows() if _is_wanted(row.cells, wanted))
    rows = islice(rows, table.limit)
    if table.sample is not None:
        rng = random.Random(table.seed)
        drawn = heapq.nsmallest(table.sample, rows, key=lambda _: rng.random())
        rows = sorted(drawn, key=lambda row: row.line)
    prompts: list[Prompt] = []
    lines: list[int] = []
    skipped: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    n = 0
    for line, cells in rows:
        n += 1
        label = None
        try:
            if isinstance(cells, Wrong):
                raise cells
            label = _label(cells, table, line)
            found = _prompts(cells, table, label, needs_sense)
        except Wrong as reason:
            skipped.append({"line": line, "label": label, "reason": str(reason)})
            continue
        if (other := first.setdefault(label, line)) != line:
            raise reader.error(
                f"the label {label!r} is in line {other}, too",
                f"give every row its own {table.label!r}, or leave 'label' out, which numbers the "
                "rows.",
                line,
            )
        prompts += found
        lines += [line] * len(found)
    _refuse_few(reader, n, skipped)
    return _with_plain_values(prompts, table), lines, pa.Table.from_pylist(skipped, SKIPPED)


def prompts_table(prompts: Sequence[Prompt], lines: Sequence[int], table: TextTable) -> pa.Table:
    """Prompts as a table, which `prompts_of` reads."""
    columns: dict[str, Any] = {
        "label": pa.array([each.label for each in prompts], pa.string()),
        "prompt": pa.array([each.prompt for each in prompts], pa.string()),
        "token": pa.array([each.token for each in prompts], pa.string()),
        "word": pa.array([each.word for each in prompts], pa.string()),
        "occurrence": pa.array([each.occurrence for each in prompts], pa.int32()),
        "line": pa.array(lines, pa.int64()),
    }
    for name in table.group_columns:
        columns[name] = column_of_values([each.columns.get(name) for each in prompts])
    return pa.table(columns)


def prompts_of(table: pa.Table) -> list[Prompt]:
    """The prompts of such a table."""
    groups = [name for name in table.column_names if name not in _PROMPTS]
    names = {name: name.removeprefix(OWN) for name in groups}
    if table["sense"].null_count == len(table):
        del names["sense"]
    return [
        Prompt(
            **{name: row[name] for name in _PROMPTS[:-1]},
            groups={own: row[name] for name, own in names.items()},
        )
        for row in table.to_pylist()
    ]


def _is_wanted(cells: Row | Wrong, wanted: Mapping[str, set[str]]) -> bool:
    if isinstance(cells, Wrong):
        return True
    for name, values in wanted.items():
        value = cells[name]
        text = "" if isinstance(value, float) and math.isnan(value) else as_text(value)
        if values.isdisjoint((text, plain_text(text))):
            return False
    return True


def _refuse_few(reader: Reader, n: int, skipped: Sequence[Row]) -> None:
    """Refuse a table without rows, or with more wrong ones than it may have."""
    table = reader.table
    if not n:
        hint = "add rows."
        if suffix_of(table) in DELIMITERS:
            hint = "add rows below the header, if it has one."
        raise reader.error("no row is read", "check 'where'." if table.where else hint)
    if len(skipped) > table.most_skipped * n or len(skipped) == n:
        shown = [f"line {row['line']}: {row['reason']}" for row in skipped[:3]]
        if more := len(skipped) - len(shown):
            shown.append(f"and {more} more")
        which = f"more than the share of {table.most_skipped:g} that may be"
        hint = "mend them or the keys of 'table', or raise table.most_skipped."
        if len(skipped) == n:
            which, hint = "and none is left", "mend them or the keys of 'table'."
        problem = f"{len(skipped)} of {n} rows cannot be used, {which}: {'; '.join(shown)}"
        raise reader.error(problem, hint)


def _label(cells: Row, table: TextTable, line: int) -> str:
    return f"line{line}" if table.label is None else text_in(cells, table.label).strip()


def _prompts(cells: Row, table: TextTable, label: str, needs_sense: bool) -> list[Prompt]:
    """One prompt for each text of a row."""
    shared = {name: value_in(cells, column) for name, column in table.groups.items()}
    senses = _senses(cells, table)
    if needs_sense and None in senses:
        raise Wrong(f"{table.sense[senses.index(None)]!r} is empty")
    found = []
    for index, column in enumerate(table.text):
        if not isinstance(text := cells[column], str | None):
            raise Wrong(f"{column!r} is no text")
        text = text_in(cells, column)
        groups: dict[str, Any] = {"sense": senses[index]} if senses else {}
        own = label
        if len(table.text) > 1:
            groups["pair"] = label
            own = f"{label}.{index + 1}"
        found.append(
            Prompt(own, text, **_target(cells, table, index, text), groups=groups | shared)
        )
    return found


def _senses(cells: Row, table: TextTable) -> list[Any]:
    if table.same:
        said = text_in(cells, table.same).strip()
        if (same := _TRUTH.get(plain_text(said).lower())) is None:
            raise Wrong(f"{table.same!r} is {said!r}, and neither true nor false")
        return ["first", "first" if same else "other"]
    return [value_in(cells, column) for column in table.sense]


def _target(cells: Row, table: TextTable, index: int, text: str) -> dict[str, Any]:
    """The keys of a prompt that mark its target."""
    if table.start:
        start, end = _place(cells, table, index)
        return _at(text, start, end, table.unit)
    if not table.has_targets:
        return {}
    found: dict[str, Any] = {"word": None, "token": None, "occurrence": 1}
    for name in ("word", "token"):
        if columns := getattr(table, name):
            found[name] = text_in(cells, columns[index])
    if table.occurrence:
        found["occurrence"] = number_of(text_in(cells, table.occurrence[index]), 1)
    prompt = Prompt("", text, **found)
    if len(find_words(text, target(prompt))) < prompt.occurrence:
        nth = f" {prompt.occurrence} times" if prompt.occurrence > 1 else ""
        raise Wrong(f"the target {target(prompt)!r} is not{nth} in the text")
    return found


def _place(cells: Row, table: TextTable, index: int) -> tuple[int, int | None]:
    """Start and end of a target; None for one word."""
    both = []
    for columns in (table.start, table.end):
        if not columns:
            continue
        given = text_in(cells, columns[min(index, len(columns) - 1)])
        if len(columns) < len(table.text):
            parts = given.split("-")
            if len(parts) != len(table.text):
                raise Wrong(f"{columns[0]!r} is {given!r}, and not two numbers, such as 2-5")
            given = parts[index]
        both.append(number_of(given, 0))
    return both[0], both[1] if table.end else None


def _at(text: str, start: int, end: int | None, unit: str) -> dict[str, Any]:
    """The word at a place, and which one it is of those that look alike."""
    if unit == "words":
        words = [match.span(match.lastindex) for match in _BETWEEN_SPACES.finditer(text)]
        end = start + 1 if end is None else end
        if not start < end <= len(words):
            raise Wrong(f"there is no target at words {start} to {end}: the text has {len(words)}")
        place = f"words {start} to {end}"
        start, end = words[start][0], words[end - 1][1]
        if all(unicodedata.category(c)[0] in "PZ" for c in text[start:end]):
            raise Wrong(f"there is punctuation alone at {place}: {text[start:end]!r}")
    assert end is not None
    if not start < end <= len(text):
        raise Wrong(f"there is no target at {start} to {end}: the text has {len(text)} characters")
    given = text[start:end]
    core = given.strip()
    start += len(given) - len(given.lstrip())
    places = find_words(text, core) if core else []
    if (start, start + len(core)) not in places:
        raise Wrong(f"{given!r}, at {start} to {end}, is no whole word")
    occurrence = places.index((start, start + len(core))) + 1
    return {"word": core, "token": None, "occurrence": occurrence}


def _with_plain_values(prompts: list[Prompt], table: TextTable) -> list[Prompt]:
    """The same; groups of a delimited file are numbers or truth values where all cells are."""
    if suffix_of(table) not in DELIMITERS or not prompts:
        return prompts
    for name in prompts[0].groups:
        if name == "pair":
            continue
        values = {each.groups[name] for each in prompts} - {None}
        plain = plain_values(values)
        for each in prompts:
            each.groups[name] = plain.get(each.groups[name], each.groups[name])
    return prompts
