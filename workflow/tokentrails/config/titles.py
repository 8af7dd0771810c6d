"""A user's texts that come into the report: titles, names and paths, as params of rules."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

from ..errors import Where


def check_title(title: str, where: Where) -> None:
    """Refuse the title of a figure that cannot be filled in."""
    plain = {(name, False, None) for name in (None, "model", "checkpoint", "experiment")}
    try:
        fields = {(name, bool(form), kind) for _, name, form, kind in Formatter().parse(title)}
    except ValueError:  # a single brace
        fields = set()
    if not fields <= plain or (title and not fields):
        raise where.error(
            f"the title {title!r} cannot be filled in",
            "use only {model}, {checkpoint} and {experiment} in braces.",
        )


def refuse_scripts(data: Any, where: Where) -> None:
    """Refuse what would end a script: the report has the params of rules in one, as they are.

    Templates reach no rule that the report shows, and may hold a token such as `</s>`.
    """
    if isinstance(data, dict):
        for key, value in data.items():
            if key != "template":
                refuse_script(str(key), where)
                refuse_scripts(value, where / key)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            refuse_scripts(value, where / index)
    elif isinstance(data, str):
        refuse_script(data, where)


def refuse_script(text: str, where: Where) -> None:
    """Refuse one such text."""
    if re.search(r"<(/|!|script)", text, re.IGNORECASE):
        raise where.error(
            f"the text {text!r} would end a script of the report, or begin one",
            "leave out '</', '<!' and '<script'.",
        )
