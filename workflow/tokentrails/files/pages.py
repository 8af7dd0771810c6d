"""HTML pages that are opened from the disk: they fetch nothing and run nobody's text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def html_page(
    title: str, body: str, *, style: str, script: str = "", allow: dict[str, str] | None = None
) -> str:
    """One page, whose Content-Security-Policy allows this style, this script and nothing else.

    Parameters
    ----------
    title: plain text.
    body: HTML, in which the caller has escaped what is anybody's text.
    style: CSS.
    script: JavaScript that runs when the body is there.
    allow: further directives of the policy.
    """
    policy = {"default-src": "'none'"}
    if script:
        policy["script-src"] = _hash(script)
        body += f"\n<script>{script}</script>"
    policy |= {"style-src": _hash(style), "base-uri": "'none'", "form-action": "'none'"}
    policy |= allow or {}
    return _PAGE.format(
        policy="; ".join(f"{name} {sources}" for name, sources in policy.items()),
        title=html.escape(title),
        style=style,
        body=body,
    )


def embedded(name: str, data: Any) -> str:
    """An element that holds data as JSON, which no HTML parser can take for markup."""
    # Nothing but ASCII, so that U+2028 is escaped too.
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _hash(code: str) -> str:
    """The source by which a Content-Security-Policy allows one script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
