"""Speed and memory, measured on this machine: `make bench`, or some parts: `make bench PARTS=disk`.

Each ratio compares the workflow with another way of doing the same work, on the same machine, one
after the other. Rows go to results/bench.parquet and .csv as they are measured; in the end they are
printed and drawn. The exit status is 1 if a part failed; a missed bound is only said.
"""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module

from figure import described, number, ratios
from gather import Table, gather
from harness import Measured
from machine import machine
from material import ROOT

from tokentrails.errors import TokentrailsError
from tokentrails.figures.pieces.save import save

# By area, which module measures it and by which function.
PARTS = {
    "speed": ("extraction", "speed"),
    "disk": ("disk", "results"),
    "checkpoints": ("checkpoints", "results"),
    "chance": ("chance", "results"),
    "vocabulary": ("vocabulary", "results"),
    "circuits": ("circuits", "results"),
    "whole_texts": ("whole_texts", "results"),
    "corpora": ("corpora", "results"),
    "senses": ("senses", "results"),
    "crossed": ("crossed", "results"),
    "memory": ("extraction", "memory"),
    "explore": ("explore", "results"),
    "scale": ("scale", "results"),
    "default": ("default", "results"),
}
TABLE = ROOT / "results/bench.parquet"
TITLE = "Speed and memory, against what is required of them"


def part(module: str, function: str) -> Callable[[], Iterator[Measured]]:
    """A part that imports its module when it runs, so that a broken one stops no other."""

    def measure() -> Iterator[Measured]:
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error

        disable_progress_bar()
        set_verbosity_error()
        yield from getattr(import_module(module), function)()

    return measure


def printed(table: Table) -> None:
    """The table in columns."""
    rows = table.frame().rows(named=True)
    areas = max(len(row["area"]) for row in rows)
    names = max(len(row["what"] or "") for row in rows)
    for row in rows:
        verdict = {None: "", True: "met", False: "MISSED"}[row["passed"]]
        if row["problem"] is not None:
            print(f"{row['area']:{areas}}  {row['problem']}")
            continue
        bound = "" if row["bound"] is None else f"{row['direction']} {number(row['bound'])}"
        print(
            f"{row['area']:{areas}}  {row['what']:{names}}  {number(row['value']):>7} "
            f"{row['unit']:13}  {bound:14}  {verdict}".rstrip()
        )
    judged = [row["passed"] for row in rows if row["passed"] is not None]
    print(f"{sum(judged)} of {len(judged)} bounds are met.")


def main(areas: list[str]) -> int:
    if unknown := [area for area in areas if area not in PARTS]:
        raise TokentrailsError(
            f"there is no part {unknown[0]!r}", hint=f"the parts are {', '.join(PARTS)}."
        )
    about = machine()
    table = Table(TABLE, PARTS, about)
    failed = gather(table, {area: part(*PARTS[area]) for area in PARTS if area in (areas or PARTS)})
    print("\n".join(described(about)))
    printed(table)
    figures = [TABLE.with_suffix(f".{suffix}") for suffix in ("html", "svg", "png", "pdf", "json")]
    save(ratios(table.frame(), about, title=TITLE), figures)
    print(f"{TABLE.relative_to(ROOT)}, and .csv, .html, .svg, .png, .pdf, .json beside it")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TokentrailsError as error:
        sys.exit(f"{error}")
