"""How results were made, for machines that share them.

Snakemake keeps a record of every output: its parameters, its inputs and their checksums. By it, and
not by time alone, it knows what is stale. Records lie in a folder of the machine, but results on
object storage are found by other machines too, which need them as well.
"""

from __future__ import annotations

import gzip
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError

FOLDER = Path(".snakemake/metadata")
"""Where Snakemake keeps records: in files that are named after the output in base64, which is cut
into folders where it is too long for one name."""

_NAME = re.compile(r"(?:@[\w=-]+/)*[\w=-]+", re.ASCII)


def pack_records(folder: Path) -> bytes:
    """All records of a folder, as `merge_records` reads them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    records = {str(f.relative_to(folder)): r for f in files if (r := _read(f)) is not None}
    return gzip.compress(json.dumps(records).encode(), mtime=0)


def merge_records(packed: bytes, folder: Path, where: str) -> None:
    """Put the records that another machine has packed into a folder, beside those that are there.

    Of two records of an output the one that was made later stays. An output that is a file of this
    machine keeps the one that it has, since the other machine's file is another one.

    Parameters
    ----------
    where: what the records were read from, for the message.

    Raises
    ------
    TokentrailsError: if that is not what `pack_records` gives.
    """
    for name, record in _records(packed, where):
        file = folder / name
        mine = _read(file)
        if mine and (_output(name).exists() or _ended(mine) >= _ended(record)):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record), encoding="utf-8")


def _records(packed: bytes, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        records = json.loads(gzip.decompress(packed))
        names_are_safe = all(_NAME.fullmatch(name) and _output(name) for name in records)
    except (OSError, EOFError, ValueError, TypeError):
        names_are_safe = False
    if not names_are_safe:
        raise TokentrailsError(
            "the records of how the results were made cannot be read",
            where=where,
            hint="delete it; results whose records are lost are then told to be new by time alone.",
        )
    yield from records.items()


def _read(file: Path) -> dict[str, Any] | None:
    """A record; None where there is none, or one that was being written when its run was killed."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _output(name: str) -> Path:
    """The output that a record is about: a path, or the address of an object."""
    return Path(urlsafe_b64decode(name.replace("/", "").replace("@", "")).decode())


def _ended(record: dict[str, Any]) -> float:
    return record.get("endtime") or 0.0
