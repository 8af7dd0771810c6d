"""What was worked out of a text before, by the text's hash, so that no start has to do it again.

It lies in the user's cache folder and may be deleted at any time: a text that is not known is
worked out again, and nothing is known of a text that has changed.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from .atomic import replacing

MOST = 5_000
"""Texts that are kept; beyond, those alone that this process has asked for."""


class Memo:
    """Results as JSON, by text.

    Parameters
    ----------
    name: of the file.
    version: of what works results out, for one of another version to count for nothing.
    """

    def __init__(self, name: str, version: str) -> None:
        self._name, self._version = name, version
        self._asked: dict[str, Any] = {}

    def __call__(self, text: str, work_out: Callable[[str], Any]) -> Any:
        """The result for a text; only one that is worked out without an error is kept."""
        key = hashlib.sha256(f"{self._version}\n{text}".encode()).hexdigest()
        if key not in self._asked:
            if key not in self._known:
                self._known[key] = work_out(text)
                if not self._is_due:
                    self._is_due = True
                    atexit.register(self._save)
            self._asked[key] = self._known[key]
        return self._asked[key]

    _is_due = False

    @property
    def _path(self) -> Path:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache) / "tokentrails" / f"{self._name}.json"

    @cached_property
    def _known(self) -> dict[str, Any]:
        with suppress(OSError, RuntimeError, ValueError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _save(self) -> None:
        kept = self._known if len(self._known) <= MOST else self._asked
        with suppress(OSError, RuntimeError):  # no home, no room: then it is worked out again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as part:
                part.write_text(json.dumps(kept), encoding="utf-8")
