"""Data and scripts inside a page that is opened from the disk and must not run anybody's text."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any


def embedded(data: Any) -> str:
    """JSON that no HTML parser can take for markup: labels and prompts are anybody's text."""
    # Nothing but ASCII, so that U+2028 is escaped too.
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def policy_hash(code: str) -> str:
    """What a Content-Security-Policy calls one script or style, to allow it and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}"
