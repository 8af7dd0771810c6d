"""Files of data sets on the hub: what their names say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..files.yaml_file import Where
from ..settings import HUB

_PART = "[A-Za-z0-9][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"{HUB}({_PART}/{_PART})/([^\x00-\x1f\x7f\\<>{{}}*?]+)")


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
    if match is None or not {"", ".", ".."}.isdisjoint(match[2].split("/")):
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
    return f"{HUB}{match[1]}@{quote(given['revision'], safe='')}/{match[2]}"
