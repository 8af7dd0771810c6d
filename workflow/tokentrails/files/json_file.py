"""Reading a JSON file that holds an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError


def read_object(path: Path, *, hint: str = "fetch or save the model again.") -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises
    ------
    TokentrailsError: if the file cannot be read, or holds no object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"it holds {data!r:.50}, not an object in braces")
    except (OSError, ValueError, RecursionError) as error:
        raise TokentrailsError(
            f"the file cannot be read: {error}", where=path, hint=hint
        ) from error
    return data
