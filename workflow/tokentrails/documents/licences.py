"""The page of the manual that lists the licences of the packages in requirements.lock."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

_PAGE = """# Licences of the packages

What `requirements.lock` pins, with the licence that each package states of itself. tokentrails is
under the MIT licence, see [LICENSE](../LICENSE); the list of words that `wordfreq` gives is under
CC BY-SA 4.0. Models that you name have licences of their own.

Written by `make manual` from the metadata of the installed packages; do not edit it by hand.

| package | version | licence |
| --- | --- | --- |
{rows}
"""
_OPEN_ENDED = "Other/Proprietary License"
_TITLE = re.compile(r"^\W*(\S.*licen[cs]e.*?)\W*$", re.IGNORECASE | re.MULTILINE)


def licences(lock: Path) -> str:
    """The page, as Markdown.

    Raises
    ------
    importlib.metadata.PackageNotFoundError: if a package of the lock is not installed.
    """
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    rows = (f"| {name} | {version} | {licence(name)} |" for name, version in pins)
    return _PAGE.format(rows="\n".join(rows))


def licence(package: str) -> str:
    """What an installed package says of its licence: an SPDX expression, or in its own words."""
    metadata = importlib.metadata.metadata(package)
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    prefix = "License :: "
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier", [])
        if each.startswith(prefix) and not each.endswith(_OPEN_ENDED)
    ]
    if classifiers:
        return " or ".join(classifiers)
    named = metadata["License"].strip() if "License" in metadata else ""
    if named and "\n" not in named:
        return named
    for file in importlib.metadata.files(package) or []:
        if re.match(r"(?i)(licen[cs]e|copying)", file.name):
            title = _TITLE.search(Path(str(file.locate())).read_text(encoding="utf-8"))
            if title:
                return title[1]
    return "not stated"
