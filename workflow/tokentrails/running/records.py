"""Records of how results were made: of failed jobs, and those that machines share in a bucket.

Snakemake keeps a record of every output in a folder: its parameters, its inputs and their
checksums. By it, and not by time alone, it knows what is stale. `--persistence-backend db` cannot
share them: it files each under the absolute path of the working directory, so that a checkout in
another place makes everything again and does not notice a changed prompt.
"""

from __future__ import annotations

import gzip
import json
import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError

FOLDER = Path(".snakemake/metadata")
"""Holds a file for each output, named after it in base64, which is cut into folders where it is too
long for one name."""

_PATCHED = "tokentrails_patched"
"""An attribute that tells a class of Snakemake's that was changed already."""

_NAME = re.compile(r"(?:@[\w=-]+/)*[\w=-]+", re.ASCII)


def keep_records_of_failed_jobs() -> None:
    """Let a job that failed leave the records of its outputs as they were.

    Snakemake 9 records inputs and parameters of a failed job too, as if its outputs had
    been made of them, and removes the outputs. Where what rests on them is there from before, the
    same command then finds nothing to do, and old tables pass for new ones
    (https://github.com/snakemake/snakemake/issues/3808). With the records of before, the job is
    stale until it succeeds.
    """
    from snakemake.jobs import Job  # here: of all that read records, the main process alone has it
    from snakemake.persistence import PersistenceBase

    if hasattr(Job, _PATCHED):
        return
    setattr(Job, _PATCHED, True)
    postprocess, finished = Job.postprocess, PersistenceBase.finished
    failed: set[Any] = set()

    async def postprocess_(self: Any, *args: Any, error: bool = False, **kwargs: Any) -> None:
        if error:
            failed.add(self)
        try:
            await postprocess(self, *args, error=error, **kwargs)
        finally:
            failed.discard(self)

    async def finished_(self: Any, job: Any) -> None:
        if job not in failed:
            return await finished(self, job)
        for file in job.output:
            self._unmark_incomplete(self._get_key(file))

    Job.postprocess, PersistenceBase.finished = postprocess_, finished_


def pack_records(folder: Path) -> bytes:
    """All records of a folder, as `merge_records` reads them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    records = {str(f.relative_to(folder)): record for f in files if (record := _read(f))}
    return gzip.compress(json.dumps(records).encode(), mtime=0)


def merge_records(packed: bytes, folder: Path, where: str) -> None:
    """Add the records that another machine has packed to those of a folder.

    Of two records of an output the later one stays. An output that is a file of this machine keeps
    the record that it has, since the other machine's file is another one.

    Parameters
    ----------
    where: what the records were read from, for the message.

    Raises
    ------
    TokentrailsError: if that is not what `pack_records` gives.
    """
    try:
        records = json.loads(gzip.decompress(packed))
        outputs = {name: _output(name) for name in records}
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise TokentrailsError(
            "the records of how the results were made cannot be read",
            where=where,
            hint="delete it; results whose records are lost are then told to be new by time alone.",
        ) from error
    for name, record in records.items():
        file = folder / name
        mine = _read(file)
        if mine and (outputs[name].exists() or _ended(mine) >= _ended(record)):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record), encoding="utf-8")


def _read(file: Path) -> dict[str, Any] | None:
    """A record; None where there is none, or one that was being written when its run was killed."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _output(name: str) -> Path:
    """The output that a record is about: a path, or the address of an object.

    Raises
    ------
    ValueError: if the name is not one of Snakemake's; it might lead out of the folder.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a record: {name}")
    return Path(urlsafe_b64decode(name.replace("/", "").replace("@", "")).decode())


def _ended(record: dict[str, Any]) -> float:
    return record.get("endtime") or 0.0
