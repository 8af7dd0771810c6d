"""Titles of figures and measures: a user's texts that come into the report as params."""

from __future__ import annotations

import re
from string import Formatter

from ..files.yaml_file import Where


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
    refuse_script(title, where)


def refuse_script(text: str, where: Where) -> None:
    """Refuse what would end a script: the report has the params of rules in one, as they are."""
    if re.search(r"<(/|!|script)", text, re.IGNORECASE):
        raise where.error(
            f"the text {text!r} would end a script of the report, or begin one",
            "leave out '</', '<!' and '<script'.",
        )
