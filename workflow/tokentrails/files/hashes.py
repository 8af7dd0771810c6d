"""Hashes of files, and of those of the hub their commit."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import TokentrailsError
from ..settings import HUB_FOLDER
from .json_file import read_object

DATA_PROVENANCE = "{}.provenance.json"
"""By a file of a data set, that which says what was fetched."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts_of(path: Path, noun: str) -> dict[str, str]:
    """The provenance of a file of texts: its hash, and of one of the hub its commit.

    Parameters
    ----------
    noun: what it is called there: `text` has `text_sha256`.

    Raises
    ------
    TokentrailsError: for one of the hub that is not what was fetched.
    """
    facts = {f"{noun}_sha256": sha256_of(path)}
    if path.is_relative_to(HUB_FOLDER):
        hint = f"delete it (rm '{path}') and run again; it is fetched anew."
        fetched = read_object(Path(DATA_PROVENANCE.format(path)), hint=hint)
        if fetched.get("sha256") not in facts.values():
            raise TokentrailsError("the file is not what was fetched", where=path, hint=hint)
        facts[f"{noun}_revision"] = fetched["revision"]
    return facts
