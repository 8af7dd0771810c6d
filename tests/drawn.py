"""What a chart draws, for tests of figures: marks with their rows, panels, notes, pages."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt

from tokentrails.figures.pieces.save import specification

FORMATS = (".html", ".svg", ".png", ".pdf", ".json")
BAND: dict[str, Any] = {"title": "t", "confidence": 0.9}

ODD = [
    *("<|s|>", "</script><b>", "Ġ=SUM(A1)", "日本語", "Ġ" + "Donau" * 12, "Ġ" + "Donau" * 11),
    *("the", "Ġthe", "a\u202eb", "Ċ", "##ing", "Ġ", "æĹ", "{{x}}", "1" * 300),
]
"""Tokens that are hard to show."""

Mark = tuple[dict, list[dict]]


def layers(spec: dict) -> list[Mark]:
    """Every unit of a specification with the rows that it draws."""
    if "mark" in spec:
        data = spec["data"]
        return [(spec, data["values"] if "values" in data else spec["rows"][data["name"]])]
    rows = spec.get("rows") or spec.get("datasets", {})
    parts = [p for key in ("layer", "concat", "hconcat", "vconcat") for p in spec.get(key, [])]
    data = {"data": spec["data"]} if "data" in spec else {}  # where all parts share it
    return [unit for part in parts for unit in layers(data | part | {"rows": rows})]


def marks(chart: alt.TopLevelMixin | dict, kind: str) -> list[Mark]:
    spec = chart if isinstance(chart, dict) else specification(chart)
    return of_kind(layers(spec), kind)


def of_kind(found: Iterable[Mark], kind: str) -> list[Mark]:
    return [mark for mark in found if mark[0]["mark"]["type"] == kind]


def layer_names(found: Iterable[Mark]) -> set[str]:
    """What tooltips call the column layer."""
    told = [unit["encoding"].get("tooltip", []) for unit, _ in found]
    listed = [each for each in told if isinstance(each, list)]
    return {
        each.get("title", "layer") for every in listed for each in every if each["field"] == "layer"
    }


def panels(chart: alt.TopLevelMixin) -> dict[str, list[Mark]]:
    """The marks of every panel by its title."""
    found = {}

    def look(part: dict, rows: dict) -> None:
        parts = [p for key in ("concat", "hconcat", "vconcat") for p in part.get(key, [])]
        for inner in parts:
            look(inner, rows)
        if not parts and "title" in part:
            found[part["title"]["text"]] = layers(part | {"rows": rows})

    spec = specification(chart)
    look(spec, spec.get("datasets", {}))
    return found


def line_points(panel: list[Mark], *, width: float = 2) -> list[dict]:
    """The points of a panel's lines of some width."""
    lines = [m for m in of_kind(panel, "line") if m[0]["mark"]["strokeWidth"] == width]
    return [row for _, rows in lines for row in rows]


def coloured_cells(found: Iterable[Mark]) -> list[dict]:
    """Rows of heat maps that have a colour."""
    rects = [m for m in of_kind(found, "rect") if "color" in m[0]["encoding"]]
    return [row for _, rows in rects for row in rows]


def grey_cells(found: Iterable[Mark]) -> list[dict]:
    rects = [m for m in of_kind(found, "rect") if "color" not in m[0]["encoding"]]
    return [row for _, rows in rects for row in rows]


def labels(panel: list[Mark]) -> set[str]:
    return {row["series"] for _, rows in of_kind(panel, "text") for row in rows}


def label_gaps(panel: list[Mark], column: str, height: int) -> list[float]:
    """Pixels between the labels of a panel, from one to the next."""
    ((unit, rows),) = of_kind(panel, "text")
    low, high = unit["encoding"]["y"]["scale"]["domain"]
    places = sorted(row[column] / abs(high - low) * height for row in rows)
    return [b - a for a, b in itertools.pairwise(places)]


def values(rows: list[dict], *columns: str) -> set[tuple]:
    return {tuple(row[column] for column in columns) for row in rows}


def notes(chart: alt.TopLevelMixin | dict) -> str:
    title = chart["title"] if isinstance(chart, dict) else chart.title
    return " ".join(title["subtitle"])


class Page(HTMLParser):
    """Elements of a page, and the text inside its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def made_twice_alike(code: str, folder: Path) -> list[str]:
    """The files that code saves in a process, the same bytes in another that hashes differently.

    `out` is the folder of the files, `save` writes figures.
    """
    here = Path(__file__).parent
    start = (
        "import sys; from pathlib import Path; from tokentrails.figures.pieces.save import save\n"
        "out = Path(sys.argv[1])\n"
    )
    for seed in ("1", "2"):
        path = os.pathsep.join([str(here), str(here.parent / "workflow")])
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        command = [sys.executable, "-c", start + code, str(folder / seed)]
        subprocess.run(command, env=env, check=True)
    files = sorted(path.name for path in (folder / "1").iterdir())
    for name in files:
        assert (folder / "1" / name).read_bytes() == (folder / "2" / name).read_bytes(), name
    return files
