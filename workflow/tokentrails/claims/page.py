"""The page of claims: one offline file without any script, to be read and printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..figures.pieces.text import counted
from ..files.pages import html_page
from .file import Claim, ClaimsFile
from .sql import CROSSED
from .strip import strip
from .verdict import AS_PUBLISHED, FAILS, HOLDS, UNDECIDED, UNTESTABLE, VERDICTS, worded

_CLASS = {
    HOLDS: "holds",
    AS_PUBLISHED: "published",
    FAILS: "fails",
    UNDECIDED: "undecided",
    UNTESTABLE: "untestable",
}
_HEAD = (
    *("Model", "As published, here", "Corrected, here"),
    *("Every form of similarity", "Measured on", "Verdict", "Reason"),
)

Rows = Sequence[dict[str, Any]]


def claims_page(table: pa.Table, forms: pa.Table, file: ClaimsFile, confidence: float) -> str:
    """HTML of the table `claims`, by study, those about models of this run first.

    Parameters
    ----------
    forms: the table `claims_forms`.
    confidence: of the intervals, between 0 and 1.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["claim"], []).append(row | {"forms": []})
    of_model = {(row["claim"], row["model"]): row for each in rows.values() for row in each}
    for form in forms.to_pylist():
        of_model[form["claim"], form["model"]]["forms"].append(form)
    claims, studies = file.claims, file.studies_of(row["model"] for row in of_model.values())
    body = ["<h1>What the studies claim, and whether it holds here</h1>"]
    body += [_introduction(confidence), _overview(studies, claims, rows)]
    for study in studies:
        body.append(f"<h2>{escape(study)}</h2>")
        sections: dict[bool, list[str]] = {True: [], False: []}
        for claim in claims:
            if claim.study == study:
                of_claim = rows[claim.id]
                sections[_lacks_data(of_claim)].append(_claim(claim, of_claim, file))
        body += sections[False]
        if lacking := sections[True]:
            summary = f"{counted(len(lacking), 'statement')} for which data are lacking"
            body.append(f"<details><summary>{summary}</summary>{''.join(lacking)}</details>")
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return html_page("Published claims", "\n".join(body), style=style)


def _introduction(confidence: float) -> str:
    share = f"{100 * confidence:g} %"
    return f"""<p>Each claim is one number of this run, computed twice: in the study's own way, and
with what was wrong put right. In brackets are {share} intervals from a bootstrap over whole units
(texts, words or heads), or Student's over trainings. Similarities are computed in every form that
is sound to compare, and the one that supports the verdict least is the corrected number. Below it
is what random weights give, or that there are none on the same texts: what they show too was not
learnt, and without them a verdict does not say that it was. Verdicts are corrected for the number
of claims that are tested (Holm), so that with {share} no "holds" and no "does not hold" is said in
error. Drawings have a row for each form, with a dot for the number and a line for its interval,
over what is claimed, in green with dashed ends; each has a scale of its own.</p>
<ul class="legend">
<li>{badge(HOLDS)} the corrected number is what is claimed, in every form</li>
<li>{badge(AS_PUBLISHED)} the number of the study's own way is what is claimed, the corrected one
is not, and the two differ significantly</li>
<li>{badge(FAILS)} the corrected number contradicts the claim, in every form; of a statement
of several parts, in every form of one of them</li>
<li>{badge(UNDECIDED)} neither, or the forms disagree: these data cannot tell</li>
<li>{badge(UNTESTABLE)} data are lacking</li>
<li>{badge(HOLDS, True)} {badge(FAILS, True)} the same as "holds" and "does not hold", in a model
that the study is not about</li>
</ul>"""


def _lacks_data(rows: Rows) -> bool:
    """Whether a claim has no verdict in any model."""
    return {row["verdict"] for row in rows} == {UNTESTABLE}


def _overview(studies: Sequence[str], claims: Sequence[Claim], rows: Mapping[str, Rows]) -> str:
    """How often each verdict was reached, by study."""
    lines = []
    for study in studies:
        counts = Counter(
            row["verdict"] for claim in claims if claim.study == study for row in rows[claim.id]
        )
        cells = "".join(f"<td class='number'>{counts[verdict] or ''}</td>" for verdict in VERDICTS)
        lines.append(f"<tr><th scope='row'>{escape(study)}</th>{cells}</tr>")
    head = "".join(f"<th scope='col'>{badge(verdict)}</th>" for verdict in VERDICTS)
    return (
        f"<table class='overview'><thead><tr><th scope='col'>Claims × models</th>{head}</tr>"
        f"</thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _claim(claim: Claim, rows: Rows, file: ClaimsFile) -> str:
    published = "no number" if claim.published is None else _number(claim.published)
    read = "; read from its tables" if claim.statement_is == "reading" else ""
    about = [
        ("Published", f"{published} ({escape(claim.source)}{read})"),
        ("Tested as", f"{escape(claim.measure)}: {escape(claim.statistic)}, {claim.target}"),
        ("Corrected", escape(claim.correction) or "nothing: there is one formula"),
    ]
    terms = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in about)
    formulas = f"as published\n{claim.as_published.strip()}"
    if claim.corrected is not None:
        formulas += f"\n\ncorrected\n{claim.corrected.strip()}"
    return (
        f"<section id='{escape(claim.id)}'><h3>{escape(claim.statement)}</h3><dl>{terms}</dl>"
        f"{_results(claim, rows, file)}"
        f"<details><summary>{escape(claim.id)}: formulas</summary><pre>{escape(formulas)}</pre>"
        "</details></section>"
    )


def _results(claim: Claim, rows: Rows, file: ClaimsFile) -> str:
    """A line for each model; a sentence where the claim is about none of them."""
    if all(row["model"] is None for row in rows):
        return f"<p>{badge(rows[0]['verdict'])} {escape(rows[0]['reason'] or '')}</p>"
    head = "".join(f"<th scope='col'>{name}</th>" for name in _HEAD)
    lines = "".join(_line(claim, row, file.elsewhere(claim, row["model"])) for row in rows)
    return f"<table class='models'><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _line(claim: Claim, row: dict[str, Any], elsewhere: bool) -> str:
    published = with_interval(
        row["value_as_published"], row["as_published_low"], row["as_published_high"]
    )
    corrected = with_interval(row["value_corrected"], row["ci_low"], row["ci_high"])
    form = f"<br>{escape(row['form'])}" if row["form"] else ""
    has_number = row["value_corrected"] is not None
    beside = f"<br>{control(row)}" if has_number else ""
    return (
        f"<tr class='{_CLASS[row['verdict']]}'>"
        f"<th scope='row'>{escape(row['model'])}</th>"
        f"<td class='number'>{published}</td>"
        f"<td class='number'>{corrected}{form}{beside}</td>"
        f"<td>{strip(row['forms'], claim.target)}</td><td>{sample(row)}</td>"
        f"<td>{badge(row['verdict'], elsewhere)}</td><td>{escape(row['reason'] or '')}</td></tr>"
    )


def badge(verdict: str, elsewhere: bool = False) -> str:
    """HTML of a verdict."""
    words = worded(verdict, elsewhere=elsewhere)
    return f"<span class='verdict {_CLASS[verdict]}'>{words}</span>"


def sample(row: Mapping[str, Any]) -> str:
    """How many values a number sums up, of what; nothing where there is none."""
    unit, *crossed = (row["unit"] or "unit").split(CROSSED)
    units, values = counted(row["units"] or 0, unit), counted(row["n"] or 0, "value")
    if row["n"] == row["units"]:
        return (units if row["unit"] else values) if row["n"] else ""
    return f"{values} from {units}" + "".join(f", crossed with {each}s" for each in crossed)


def control(row: Mapping[str, Any]) -> str:
    """HTML of the number of random weights, or of why there is none."""
    if row["control"] is None:
        return escape(row["control_reason"] or "")
    number = with_interval(row["control"], row["control_low"], row["control_high"])
    return f"random weights: {number}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval, where it has one."""
    if value is None:
        return "none"
    interval = "" if low is None or high is None else f" [{_number(low)}, {_number(high)}]"
    return _number(value) + interval


def _number(value: float) -> str:
    """Three digits behind the point, none of a large number, and a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    return text.replace("-", "\u2212")
