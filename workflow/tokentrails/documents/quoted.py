"""Numbers that the manual quotes, filled in from the files that they come from: `make numbers`.

A comment behind a number says where it comes from: `0.90<!--=senses-auc/smollm2-135m/10-->`. The
number of decimals is that of the text.

- `NAME/MODEL`, then `/KEY` and `/COLUMN` as needed: of `numbers` in the claims file
- `claims/ID/MODEL`: the corrected number of a claim, with the verdict if the text has one, which is
  bold where the claim holds and has a control; `verdicts/VERDICT`: how many there are
- `bench/WHAT`: a row of the benchmarks, `bench/WHAT/bound`: what is required of it; `bench/missed`:
  the rows that miss it; `bench/machine`: where they ran
- `published`: of a study, which no run changes
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError
from ..files.atomic import write_text
from ..project import PROJECT

SOURCES = PROJECT / "docs/numbers"
"""What the texts quote: files of `results/`, kept since a checkout has no results."""

PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")))
PUBLISHED = "published"

_FILES = ("numbers.json", "bench.csv")
_VERDICTS = "holds|holds only as published|does not hold|undecided"
_NUMBER = r"−?\d(?:[\d,]*\d)?(?:\.\d+)?"
MARK = re.compile(
    rf"(?:(?:(?P<verdict>{_VERDICTS}|\*\*holds\*\*): )?(?P<value>{_NUMBER})(?P<unit> %)?"
    rf"(?P<interval> \[(?P<low>{_NUMBER}), (?P<high>{_NUMBER})\])?|`(?P<text>[^`]*)`)"
    r"<!--=(?P<path>[^>]*)-->"
)
"""A number, an interval or some code, and where it comes from."""

Source = Mapping[str, Any]


def load(folder: Path) -> dict[str, Source]:
    """By file, what it says; a file that is not there is left out."""
    found: dict[str, Source] = {}
    numbers, bench = (folder / name for name in _FILES)
    if numbers.exists():
        data = json.loads(numbers.read_text(encoding="utf-8"))
        found[numbers.name] = data | data.pop("numbers")
    if bench.exists():
        with bench.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        values = {row["what"]: float(row["value"]) for row in rows if row["value"]}
        bounds = {f"{row['what']}/bound": float(row["bound"]) for row in rows if row["bound"]}
        missed = [row["what"] for row in rows if row["passed"] == "false"]
        about = {"machine": rows[0]["machine"], "missed": "; ".join(missed) or "none"}
        found[bench.name] = values | bounds | about
    return found


def filled(text: str, sources: Mapping[str, Source], page: str) -> str:
    """A page with its numbers as their sources have them; those of a file that is not there stay.

    Raises
    ------
    TokentrailsError: if a source does not say what the page quotes.
    """
    missing: list[str] = []

    def fill(mark: re.Match[str]) -> str:
        path = mark["path"]
        file = _FILES[path.startswith("bench/")]
        if path == PUBLISHED or file not in sources:
            return mark[0]
        try:
            return f"{_rendered(mark, _find(sources[file], path))}<!--={path}-->"
        except (KeyError, TypeError):
            line = text.count("\n", 0, mark.start()) + 1
            missing.append(f"line {line}: {mark[0]!r}, which is not in {file}")
            return mark[0]

    if len(MARK.findall(text)) != text.count("<!--="):
        lost = next(line for line in MARK.sub("", text).splitlines() if "<!--=" in line)
        raise TokentrailsError(
            f"a source stands behind no number: {lost.strip()!r}",
            where=page,
            hint="write 0.9, 90 %, 0.9 [0.8, 1.0] or `code` right in front of it.",
        )
    made = MARK.sub(fill, text)
    if missing:
        raise TokentrailsError(
            "\n".join(["quotes what its sources do not say", *missing]),
            where=page,
            hint="name what is there; or run what is missing, `make tour` or `make bench`.",
        )
    return made


def _find(source: Source, path: str) -> Any:
    if path.startswith("bench/"):
        return source[path.removeprefix("bench/")]
    found: Any = source
    for name in path.split("/"):
        found = found[name]
    return found


def _rendered(mark: re.Match[str], found: Any) -> str:
    """What is found, as the text says it now: with its parts, its unit and its decimals."""
    if mark["text"] is not None:
        return f"`{found}`"
    parts = found if isinstance(found, Mapping) else {"value": found}
    value = parts["value_corrected" if "value_corrected" in parts else "value"]
    shown = f"{_formatted(mark['value'], value)}{mark['unit'] or ''}"
    if mark["interval"]:
        low, high = (_formatted(mark[end], parts[f"ci_{end}"]) for end in ("low", "high"))
        shown += f" [{low}, {high}]"
    if not mark["verdict"]:
        return shown
    verdict = parts["verdict"]
    controlled = verdict == "holds" and parts.get("control") is not None
    return f"{f'**{verdict}**' if controlled else verdict}: {shown}"


def _formatted(text: str, value: float) -> str:
    """A number with as many decimals as the text has."""
    decimals = len(text.partition(".")[2])
    return f"{round(value, decimals) + 0:,.{decimals}f}".replace("-", "−")


def main(results: Path) -> None:
    """Fill in the pages from a run, and keep its files; of what it lacks, the kept one counts."""
    sources = load(SOURCES) | load(results)
    pages = {page: (PROJECT / page).read_text(encoding="utf-8") for page in PAGES}
    made = {page: filled(text, sources, page) for page, text in pages.items()}
    for page, text in pages.items():
        for old, new in zip(MARK.finditer(text), MARK.finditer(made[page]), strict=True):
            if old[0] != new[0]:
                print(f"{page}: {old[0]} is now {new[0].partition('<')[0]}")
        write_text(PROJECT / page, made[page])
    SOURCES.mkdir(exist_ok=True)
    for name in load(results):
        shutil.copyfile(results / name, SOURCES / name)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except TokentrailsError as error:
        sys.exit(f"{error}")
