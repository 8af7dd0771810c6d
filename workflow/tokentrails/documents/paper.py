"""The published figures and tables, copied into one folder and numbered as in the studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath

import pyarrow as pa

from ..files.pages import html_page
from ..files.tables import for_spreadsheets

FOLDER = "results/paper"
PRINTED = ("svg", "png", "pdf")
"""What a figure is copied as, of its formats, where the configuration gives no ending."""

_STYLE = """
body { margin: 24px auto; max-width: 1100px; padding: 0 20px; color: #1c1f23;
  font: 14px/20px "Liberation Sans", Arial, Helvetica, sans-serif; }
figure { margin: 0 0 32px; break-inside: avoid; }
img { display: block; max-width: 100%; }
figcaption { margin-bottom: 6px; }
"""
_TITLE = """<h1>Published figures and tables, reproduced</h1>
<p>Numbered as in the studies, in the order in which each shows or lists them. Which of their
statements hold is on the page of claims.</p>"""


@dataclass(frozen=True)
class Item:
    """One figure or table of a study.

    Attributes
    ----------
    number: within its study, from 1.
    files: of each ending, (where it is made, where it is copied to).
    """

    study: str
    number: int
    title: str
    files: tuple[tuple[str, str], ...]


def items(entries: Sequence[Mapping[str, str]], formats: Sequence[str]) -> list[Item]:
    """The items of the configuration's key `paper`, in its order, numbered within each study.

    Parameters
    ----------
    formats: what a figure without an ending is copied as.
    """
    counts: Counter[str] = Counter()
    found = []
    for entry in entries:
        study, source = entry["study"], f"results/{entry['file']}"
        counts[study] += 1
        target = f"{FOLDER}/{study}/{counts[study]:02d}_{entry['name']}"
        ending = PurePosixPath(source).suffix
        files = (
            ((source, target + ending),)
            if ending
            else tuple((f"{source}.{each}", f"{target}.{each}") for each in formats)
        )
        title = entry.get("title", entry["name"])
        found.append(Item(study, counts[study], title, files))
    return found


def index_csv(found: Sequence[Item]) -> str:
    """One line per file: study, number, title, file, and where it is from."""
    rows = [
        (item.study, item.number, item.title, target, source)
        for item in found
        for source, target in item.files
    ]
    names = ("study", "number", "title", "file", "made_as")
    columns = (pa.array([row[i] for row in rows]) for i in range(len(names)))
    return for_spreadsheets(pa.table(dict(zip(names, columns, strict=True)))).write_csv()


def index_page(found: Sequence[Item]) -> str:
    """An offline page that shows the figures and links to every file."""
    body = [_TITLE]
    for study in dict.fromkeys(item.study for item in found):
        body.append(f"<h2>{escape(study)}</h2>")
        body += [_shown(item) for item in found if item.study == study]
    # A page from the disk has no origin of its own, so that its folder is allowed by the scheme.
    allow = {"img-src": "'self' file:"}
    return html_page("Published figures and tables", "\n".join(body), style=_STYLE, allow=allow)


def _shown(item: Item) -> str:
    copies = [str(PurePosixPath(target).relative_to(FOLDER)) for _, target in item.files]
    links = ", ".join(
        f'<a href="{escape(copy)}">{escape(PurePosixPath(copy).suffix[1:])}</a>' for copy in copies
    )
    caption = f"<figcaption><b>{item.number}.</b> {escape(item.title)} ({links})</figcaption>"
    shown = next((c for c in copies if c.endswith((".svg", ".png"))), None)
    image = f'<img src="{escape(shown)}" alt="{escape(item.title)}">' if shown else ""
    return f"<figure>{caption}{image}</figure>"
