"""What a run decides: the first page of the report, from the table of claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..files.pages import html_page
from .file import Claim, ClaimsFile
from .page import badge, control, sample, with_interval
from .table import CORRECTED, TOO_FEW
from .verdict import UNDECIDED, UNTESTABLE

Rows = Sequence[dict[str, Any]]


def findings_page(table: pa.Table, file: ClaimsFile, confidence: float) -> str:
    """HTML of the claims that have a verdict, each with its numbers, and of those left open.

    Parameters
    ----------
    table: the table `claims`.
    confidence: of the intervals, between 0 and 1.
    """
    rows = table.to_pylist()
    counts = Counter(row["verdict"] for row in rows)
    too_few = sum(TOO_FEW in (row["reason"] or "") for row in rows)
    body = ["<h1>Findings</h1>", _introduction(counts, too_few, confidence)]
    for study in file.studies_of(row["model"] for row in rows):
        body += _study(study, [claim for claim in file.claims if claim.study == study], rows, file)
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return html_page("Findings", "\n".join(body), style=style)


def _introduction(counts: Counter[str], too_few: int, confidence: float) -> str:
    undecided, lacking = counts[UNDECIDED], counts[UNTESTABLE]
    decided = counts.total() - undecided - lacking
    bound = f", of which {too_few} could not have been decided with so few units" if too_few else ""
    return f"""<p>Each statement is one number of this run, with its {100 * confidence:g} % interval
over units such as texts, words, heads or trainings, against what is claimed.
Pairs of a claim and a model: {counts.total()}. With a verdict: {decided}.
Undecided: {undecided}{bound}. Lacking data: {lacking}.
Of several forms of similarity, the number is that of the one that supports the verdict least.
Beside it is what random weights give, or that there are none on the same texts: what they show
too was not learnt, and without them a verdict does not say that it was. Verdicts are corrected for
how many claims are tested. Of a model that a study is not about, they say whether its statement is
replicated there. The page of claims, claims.html, has every form, and the formulas.</p>"""


def _study(study: str, claims: Sequence[Claim], rows: Rows, file: ClaimsFile) -> list[str]:
    """The claims of a study that have a verdict, and the statements that stay open."""
    found, undecided = [], []
    for claim in claims:
        claim_rows = [row for row in rows if row["claim"] == claim.id]
        decided = [row for row in claim_rows if row["verdict"] not in (UNDECIDED, UNTESTABLE)]
        if decided:
            found.append(_finding(claim, decided, file))
        if rest := [row for row in claim_rows if row["verdict"] == UNDECIDED]:
            claimed = f"{escape(claim.statement)} Claimed: {claim.target}."
            undecided.append(f"<li>{claimed}<ul>{_lines(claim, rest, file)}</ul></li>")
    if undecided:
        found.append(f"<h3>{badge(UNDECIDED)}</h3><ul>{''.join(undecided)}</ul>")
    return [f"<h2>{escape(study)}</h2>", *found] if found else []


def _finding(claim: Claim, rows: Rows, file: ClaimsFile) -> str:
    control = ""
    if claim.correction:
        summary = "<summary>what is controlled for, beyond the study</summary>"
        stand_in = any(f"{CORRECTED}, of" in (row["reason"] or "") for row in rows)
        meant = "Of the tables of first choice, which this run does not have: "
        control = f"{meant if stand_in else ''}{escape(claim.correction)}"
        control = f"<details>{summary}{control}</details>"
    return (
        f"<section class='finding'><h3>{escape(claim.statement)}</h3>"
        f"<p>Claimed: {claim.target}. Measured: {escape(claim.measure)} ({claim.statistic}).</p>"
        f"<ul>{_lines(claim, rows, file)}</ul>{control}</section>"
    )


def _lines(claim: Claim, rows: Rows, file: ClaimsFile) -> str:
    """An item for each model, with its number, and why where it takes words."""
    return "".join(_line(row, file.elsewhere(claim, row["model"])) for row in rows)


def _line(row: dict[str, Any], elsewhere: bool) -> str:
    number = with_interval(row["value_corrected"], row["ci_low"], row["ci_high"])
    form = f", {escape(row['form'])}" if row["form"] else ""
    about = "; ".join(filter(None, (sample(row), control(row))))
    why = f": {escape(row['reason'])}" if row["reason"] else ""
    return (
        f"<li>{badge(row['verdict'], elsewhere)} in {escape(row['model'])}: "
        f"<b>{number}</b>{form} ({about}){why}</li>"
    )
