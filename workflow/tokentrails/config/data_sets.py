"""Files of data sets on the hub: what their names say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..errors import Where
from ..settings import HUB

_PART = "[A-Za-z0-9][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"{HUB}({_PART}/{_PART})/([^\x00-\x1f\x7f\\<>{{}}*?]+)")
_STRANGE = {"", ".", ".."}
_MOST_BYTES = 255 - len(".provenance.json")
"""Of a part of a path: file systems take 255, and a file has others of longer names beside it."""


def with_revision(given: Mapping[str, Any], key: str, where: Where) -> str:
    """The name of a file; of one in a data set with its revision, `hub:OWNER/NAME@REVISION/FILE`.

    Parameters
    ----------
    given: the keys beside it, `revision` among them.
    key: that of the name.

    Raises
    ------
    TokentrailsError: for what names no file of a data set, or no revision; and for a revision of a
        file on this machine.
    """
    file: str = given[key]
    if not file.startswith(HUB):
        if "revision" in given:
            raise (where / "revision").error(
                f"'revision' is of data sets on the hub, and {file!r} is a file on this machine",
                f"remove it, or let {key!r} be hub:OWNER/NAME/FILE.",
            )
        return file
    match = _NAME.fullmatch(file)
    if match is None or match[2][1:2] == ":" or not _STRANGE.isdisjoint(match[2].split("/")):
        raise (where / key).error(
            f"{file!r} names no file of a data set",
            "write hub:OWNER/NAME/FILE, such as hub:OWNER/NAME/data/test.parquet.",
        )
    if file.endswith(".py"):
        raise (where / key).error(
            f"{file!r} is a script that loads data, and no data: code of a data set is never run",
            "name a file of data; of many data sets the revision refs/convert/parquet has some.",
        )
    if "revision" not in given:
        raise (where / key).error(
            f"{file!r} has no revision",
            "add 'revision' beside it: a branch such as main, a tag, or a commit.",
        )
    name = f"{match[1]}@{quote(given['revision'], safe='')}/{match[2]}"
    if long := [part for part in name.split("/") if len(part.encode()) > _MOST_BYTES]:
        raise (where / key).error(
            f"{long[0]!r:.80} is longer than {_MOST_BYTES} bytes, and no file here can be named so",
            "take the data set's Parquet files, or download it and name the file on this machine.",
        )
    return f"{HUB}{name}"
