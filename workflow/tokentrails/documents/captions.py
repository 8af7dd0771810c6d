"""Captions of the figures in the report, and the page of the manual that says how to read them."""

from __future__ import annotations

from ..catalogue import CATALOGUE, Catalogue, Figure
from .readings import READINGS

_NAMES = ("Axes", "Marks", "High and low", "Compared with", "Interval")
"""Of the fields of a reading, in their order."""
_HEAD = """{# Written by `make manual` from workflow/tokentrails; do not edit it by hand. #}
{# A title is anybody's text: a literal, in which nothing is markup. #}
{% set title = snakemake.params.title.split() | join(" ") | replace("`", "'") %}
{{ "``%s``" | format(title) if title }}
"""

_PAGE = """# How to read the figures

Written by `make manual` from `workflow/tokentrails/documents/readings.py`; do not edit it by hand.
The report has the same text beside each figure. [Measures](measures.md) and [controls](controls.md)
are defined on pages of their own.

{figures}
"""


def captions() -> dict[str, str]:
    """Every caption, as a template of Jinja that gives reStructuredText, by its path."""
    return {
        f"workflow/report/figures/{name}.rst": f"{_HEAD}\n{_about(row)}\n\n{_reading(name)}\n"
        for name, row in _rows().items()
    }


def page() -> str:
    """How to read each figure, as Markdown."""
    parts = (f"## `{name}`\n\n{_about(row)}\n\n{_reading(name)}\n" for name, row in _rows().items())
    return _PAGE.format(figures="\n".join(parts))


def _rows() -> dict[str, Figure]:
    """A figure of each caption."""
    own = Catalogue({}, {}, {}).with_measures({"own": "a measure of one's own"})
    figures = (*CATALOGUE.figures.values(), *own.figures.values())
    return {row.caption or row.name: row for row in figures}


def _about(row: Figure) -> str:
    return f"{row.about[:1].upper()}{row.about[1:]}."


def _reading(name: str) -> str:
    parts = zip(_NAMES, READINGS[name], strict=True)
    return "\n".join(f"- **{part}**: {text.strip()}" for part, text in parts)
