"""The tables `claims` and `claims_forms`: every claim in every model that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pyarrow as pa

from ..errors import TokentrailsError, refuse_all
from ..files.tables import describe
from ..statistics.bootstrap import FEWEST_UNITS, Bootstrap
from ..statistics.forms import FORMS, MATCHED, SOUND
from ..statistics.permutation import holm
from .file import FORM, Claim
from .formula import Estimate, estimate, over_trainings
from .models import unfit
from .sources import Draw, Source
from .sql import forms_of, tables_of, unit_of
from .verdict import (
    UNDECIDED,
    UNTESTABLE,
    Forms,
    attainable_p,
    evidence,
    p_as_published,
    p_value,
    verdict,
    weakest,
)

MEANINGS = {
    "claim": "identifier of the claim in the claims file",
    "study": "the study that makes the statement",
    "statement": "what the study states, in words of the claims file",
    "statement_is": "stated: a sentence or a number of the study says so; reading: it is read from "
    "its tables or figures",
    "published_value": "the number that the study gives, or that its own table gives by the "
    "claim's statistic; null: it gives none",
    "value_as_published": "the number in this run by the study's own way; null: see reason",
    "value_corrected": "the number in this run with what was wrong put right, in the form of "
    "similarity that supports the verdict least; the same as published where nothing was wrong; "
    "null: see reason",
    "ci_low": "lower end of the interval of value_corrected; null: "
    f"under {FEWEST_UNITS} units, or every resample gives the same number",
    "ci_high": "upper end of the same",
    "control": "the number that value_corrected is, in the same form, with random weights in the "
    "place of the model's: what it shows too was not learnt; of several draws their mean; null: no "
    "control runs on all that the formula reads",
    "control_low": "lower end of the interval of control: of one draw over its texts, words or "
    "heads, of several over draws; null: "
    f"under {FEWEST_UNITS} of these, or every resample gives the same number",
    "control_high": "upper end of the same",
    "verdict": "holds: value_corrected is what is claimed, in every form of similarity, after "
    "Holm's correction; does not hold: it is clear of that in every form, of a statement with "
    "parts in every form of one of them; undecided: neither; "
    "holds only as published: value_as_published is what is claimed, value_corrected is not, and "
    "the two differ significantly; not testable here: see reason",
    "model": "name of the model, or set of replicates, in the configuration; null: the claim is "
    "about none of them",
    "form": "the form of similarity, the part of the statement and the variant that "
    "value_corrected is in; null: of none",
    "p": "of value_corrected lying where the verdict has it, two-sided, before correction; null: "
    "nothing is tested",
    "p_holm": "the same after Holm's correction over all claims and models of the run",
    "p_holm_as_published": "of value_as_published lying where the claim has it and of its "
    "difference from value_corrected, the larger, after Holm's correction among these alone: what "
    "decides on holds only as published; null: nothing was wrong, or nothing is tested",
    "reason": "why the claim is undecided or not testable, or what else is to be known",
    "control_reason": "why control is null, in words; null: it is not, or value_corrected is",
    "n": "how many values value_corrected sums up",
    "units": "how many texts, words, heads, trainings or other units these come from, of crossed "
    "ones the first. The interval is over them, of crossed ones over both; of a share that all "
    "agree on over those of which there are fewer",
    "unit": "what one of these is; null: the formula does not say",
    "as_published_low": "lower end of the interval of value_as_published",
    "as_published_high": "upper end of the same",
    "claimed": "what the number must be for the claim to hold",
    "measure": "what the numbers are, with their unit",
    "correction": "what value_corrected puts right; empty: nothing",
    "statistic": "how values are summed up",
    "source": "where in the study the statement stands",
    "tables": "the tables of the model that were read",
}
FORM_MEANINGS = {
    **{name: MEANINGS[name] for name in ("claim", "model")},
    "form": "form of similarity, part of the statement and variant",
    "part": "which part of the statement it is of, which is false where one of them is; null: it "
    "has none",
    "value": "the corrected number in this form",
    "ci_low": f"lower end of its interval; null: under {FEWEST_UNITS} units, or every resample "
    "gives the same number",
    "ci_high": "upper end of the same",
    "favour": "one-sided p of the claim by this form alone; null: nothing is tested",
    "against": "one-sided p of its contrary",
    "claimed": MEANINGS["claimed"],
    "shown": "whether value_corrected of the table claims is this one",
}
CORRECTED = "corrected"
NO_CONTROL = "no random weights to compare with"
TOO_FEW = "units could not have decided it among so many claims"
"""In the reason of a claim that no values of its units could have decided."""

_NUMBERS = {
    **dict.fromkeys(("published_value", "value_as_published", "value_corrected"), pa.float64()),
    **dict.fromkeys(("ci_low", "ci_high", "as_published_low", "as_published_high"), pa.float64()),
    **dict.fromkeys(("control", "control_low", "control_high"), pa.float64()),
    **dict.fromkeys(("p", "p_holm", "p_holm_as_published"), pa.float64()),
    **dict.fromkeys(("value", "favour", "against"), pa.float64()),
    **dict.fromkeys(("n", "units"), pa.int32()),
    "shown": pa.bool_(),
}
SCHEMA, FORM_SCHEMA = (
    pa.schema({name: _NUMBERS.get(name, pa.string()) for name in meanings})
    for meanings in (MEANINGS, FORM_MEANINGS)
)

Query = Callable[[str, Mapping[str, str], pl.DataFrame, str], pl.DataFrame]
"""Gives the result of some SQL over files by the names of their tables, and the table `model`; the
last is where the SQL stands, for messages."""


@dataclass(frozen=True)
class Run:
    """What this run has to test claims with.

    Attributes
    ----------
    models: the table `model` of each.
    sources: by claim and model, the file of each table.
    query: runs a formula.
    replicates: by the name of each set, its models.
    draws: by claim and model, its draws of random weights.
    problems: by where it stands, what is wrong with a formula that failed; see `refuse`.
    """

    models: Mapping[str, pl.DataFrame]
    sources: Mapping[str, Mapping[str, Mapping[str, Source]]]
    query: Query
    replicates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    draws: Mapping[str, Mapping[str, Sequence[Draw]]] = field(default_factory=dict)
    problems: dict[str, TokentrailsError] = field(default_factory=dict)

    def refuse(self) -> None:
        """Raise for all formulas that failed, in one message."""
        refuse_all([*self.problems.values()], "formulas of the claims file fail")

    @contextmanager
    def noting(self, where: str) -> Iterator[None]:
        """Note what is wrong with a formula and go on, so that one hides no other."""
        try:
            yield
        except TokentrailsError as error:
            self.problems.setdefault(where, error)

    def members(self, name: str) -> Sequence[str]:
        """The models of a set of replicates; a model by itself."""
        return self.replicates.get(name, [name])


@dataclass(frozen=True)
class Tested:
    """A claim in a model: its numbers, or why there are none.

    Attributes
    ----------
    corrected: by form of similarity, `""` where the formula is of none.
    control: that of `form` with random weights.
    """

    claim: Claim
    model: str | None
    published: Estimate
    corrected: Forms
    control: Estimate = field(default_factory=Estimate)

    @property
    def p(self) -> float | None:
        """Before correction; None where nothing is tested."""
        return p_value(self.claim.target, self.corrected)

    @property
    def attainable_p(self) -> float | None:
        """No p of so many units is smaller; None where nothing is tested."""
        if self.p is None:
            return None
        return attainable_p(self.corrected)

    @property
    def p_as_published(self) -> float | None:
        """Of the study's own number and its difference; None too where nothing was wrong."""
        if self.claim.corrected is None:
            return None
        return p_as_published(self.claim.target, self.published, self.corrected)

    @property
    def form(self) -> str:
        """The one that is shown: where all have an interval, the one that says least."""
        found = weakest(self.claim.target, self.corrected)
        return next(iter(self.corrected)) if found is None else found


def measured_claims(claims: Sequence[Claim], run: Run, bootstrap: Bootstrap) -> list[Tested]:
    """Every claim in every model that it is about, sorted by both; one without a model for none.

    Of training, one model is a single case: a claim on it is tested in a set of replicates in the
    place of the models of the set. What is wrong with a formula, `run` notes.
    """
    found = []
    for claim in claims:
        about_training = claim.applies_to.several_checkpoints or claim.applies_to.replicates
        named = claim.applies_to.models or run.models
        about = {member for name in named for member in run.members(name)}
        models = [name for name in run.sources[claim.id] if name in about]
        sets = {
            name: members
            for name, members in run.replicates.items()
            if about_training and set(members) <= set(models)
        }
        alone = set(models).difference(*sets.values())
        tested = (_tested(claim, model, run, bootstrap) for model in (*alone, *sets))
        found += [replace(each, control=_control(each, run, bootstrap)) for each in tested]
        if not models:
            lacking = f"no model of this configuration is named {' or '.join(named)}"
            nothing = Estimate(reason=lacking)
            found.append(Tested(claim, None, nothing, {"": nothing}))
    return sorted(found, key=lambda tested: (tested.claim.id, tested.model or ""))


def claims_table(
    found: Sequence[Tested], run: Run, confidence: float, *, provenance: Mapping[str, str]
) -> pa.Table:
    """A row per claim and model.

    Parameters
    ----------
    found: as `measured_claims` gives it; Holm's correction is over all of them.
    confidence: 1 minus how often a run may err in one of its verdicts or more. What holds only as
        published is a second question, which takes no power from the first: its tests are corrected
        among themselves.
    """
    p = _corrected([tested.p for tested in found])
    p_published = _corrected([tested.p_as_published for tested in found])
    least = _corrected([tested.attainable_p for tested in found])
    rows = [
        _row(*each, run, 1 - confidence) for each in zip(found, p, p_published, least, strict=True)
    ]
    title = "What the published studies claim, and whether it holds in this run"
    of_p = [name for name in MEANINGS if name.startswith("p_") or name == "p"]
    units = {"n": "values", "units": "units"} | dict.fromkeys(of_p, "probability")
    return describe(pa.Table.from_pylist(rows, schema=SCHEMA), title, provenance, MEANINGS, units)


def forms_table(found: Sequence[Tested], *, provenance: Mapping[str, str]) -> pa.Table:
    """A row per claim, model and form of similarity, of claims that have forms."""
    rows = []
    for tested in found:
        for form, number in tested.corrected.items():
            if not form or number.value is None:
                continue
            said = evidence(tested.claim.target, number)
            rows.append(
                {
                    "claim": tested.claim.id,
                    "model": tested.model,
                    "form": form,
                    "part": number.part or None,
                    "value": number.value,
                    "ci_low": number.low,
                    "ci_high": number.high,
                    "favour": said and said.favour,
                    "against": said and said.against,
                    "claimed": str(tested.claim.target),
                    "shown": form == tested.form,
                }
            )
    table = pa.Table.from_pylist(rows, schema=FORM_SCHEMA)
    title = "The corrected numbers of claims in every form of similarity"
    units = dict.fromkeys(("favour", "against"), "probability")
    return describe(table, title, provenance, FORM_MEANINGS, units)


def _tested(claim: Claim, model: str, run: Run, bootstrap: Bootstrap) -> Tested:
    for member in run.members(model):
        if reason := unfit(claim.applies_to, run.models[member]):
            nothing = Estimate(reason=reason)
            return Tested(claim, model, nothing, {"": nothing})
    published = _estimate(claim, "as_published", claim.as_published, model, run, bootstrap)
    if claim.corrected is None:
        return Tested(claim, model, published, {"": published})
    corrected = {
        form: replace(_estimate(claim, "corrected", sql, model, run, bootstrap), part=part)
        for part, formulas in claim.corrected_parts().items()
        for form, sql in formulas.items()
    }
    # Some experiments make too few pairs for a chance of their own, of all words or of some.
    for form, found in list(corrected.items()):
        if form.startswith(MATCHED) and FORM in claim.corrected + claim.parts.get(found.part, ""):
            cosine = corrected[form.replace(MATCHED, "cosine", 1)]
            if found.units < cosine.units:
                del corrected[form]
    return Tested(claim, model, published, corrected)


def _control(tested: Tested, run: Run, bootstrap: Bootstrap) -> Estimate:
    """The number that is shown, with random weights.

    Of several draws it is the mean over them; of a set, over its models.
    """
    claim = tested.claim
    if tested.corrected[tested.form].value is None:
        return Estimate()
    of_claim = run.draws.get(claim.id, {})
    members = [draws for name in run.members(tested.model or "") if (draws := of_claim.get(name))]
    if not members:
        return Estimate(reason=NO_CONTROL)
    key = "as_published" if claim.corrected is None else CORRECTED
    sql = claim.corrected_formulas()[tested.form]
    over_units = bootstrap if sum(map(len, members)) == 1 else None
    found = [
        [
            _of_model(
                claim, key, sql, name, {t: Source(p) for t, p in paths.items()}, run, over_units
            )
            for name, paths in draws
        ]
        for draws in members
    ]
    means = found[0] if len(found) == 1 else [_mean(each, bootstrap) for each in found]
    number = means[0] if len(means) == 1 else _mean(means, bootstrap)
    if number.value is None:
        return replace(number, reason=f"random weights give no number ({number.reason})")
    return number


def _mean(numbers: Sequence[Estimate], bootstrap: Bootstrap) -> Estimate:
    """Over draws of random weights."""
    named = {f"draw {i}": each for i, each in enumerate(numbers)}
    return over_trainings(named, bootstrap.confidence)


def _corrected(p: Sequence[float | None]) -> list[float | None]:
    """After Holm's correction; None is no test."""
    found = holm(np.array([np.nan if each is None else each for each in p]))
    return [None if np.isnan(each) else float(each) for each in found]


def _row(
    tested: Tested,
    p: float | None,
    p_published: float | None,
    least: float | None,
    run: Run,
    alpha: float,
) -> dict[str, object]:
    claim, published = tested.claim, tested.published
    answer, reason = verdict(
        claim.target, published, tested.corrected, p=p, p_published=p_published, alpha=alpha
    )
    about = ("study", "statement", "statement_is", "measure", "correction", "statistic", "source")
    row = {key: getattr(claim, key) for key in about} | {
        "claim": claim.id,
        "published_value": claim.published,
        "claimed": str(claim.target),
        "verdict": answer,
        "reason": reason or None,
        "model": tested.model,
    }
    if tested.model is None:
        return row
    corrected = tested.corrected[tested.form]
    of_claim, members = run.sources[claim.id], run.members(tested.model)
    files = [file for member in members for file in of_claim[member].values()]
    formulas = claim.corrected_formulas()
    shown = formulas.get(tested.form) or next(iter(formulas.values()))
    ways = {"as published": [claim.as_published]}
    if claim.corrected is not None:
        ways[CORRECTED] = [*formulas.values()]
    others = {
        f"{way}, of {file.reason}": None
        for way, queries in ways.items()
        for name in sorted(set().union(*(tables_of(sql, claim.where) for sql in queries)))
        for member in members
        if (file := of_claim[member].get(name)) and file.path and file.reason
    }
    too_few = answer == UNDECIDED and least is not None and least >= alpha
    notes = [
        reason,
        "" if answer == UNTESTABLE else _other_forms(claim),
        f"{corrected.fewest} {TOO_FEW}" if too_few else "",
        *others,
    ]
    return row | {
        "reason": "; ".join(filter(None, notes)) or None,
        "value_as_published": published.value,
        "as_published_low": published.low,
        "as_published_high": published.high,
        "value_corrected": corrected.value,
        "ci_low": corrected.low,
        "ci_high": corrected.high,
        "control": tested.control.value,
        "control_low": tested.control.low,
        "control_high": tested.control.high,
        "control_reason": tested.control.reason or None if tested.control.value is None else None,
        "form": (tested.form or None) if corrected.value is not None else None,
        "p": tested.p,
        "p_holm": p,
        "p_holm_as_published": p_published,
        "n": corrected.n,
        "units": corrected.units,
        "unit": "training" if _is_of_trainings(claim, tested.model, run) else unit_of(shown),
        "tables": ", ".join(sorted({file.path for file in files if file.path})) or None,
    }


def _other_forms(claim: Claim) -> str:
    """That a direction is one of some forms of similarity alone; empty where it is not."""
    if claim.target.threshold is None:
        return ""
    named = frozenset().union(*map(forms_of, claim.corrected_formulas().values()))
    if not named or named.issuperset(SOUND):
        return ""
    seen = " and ".join(form for form in FORMS if form in named)
    return f"of {seen} alone: no other form of similarity was looked at"


def _estimate(
    claim: Claim, key: str, sql: str, name: str, run: Run, bootstrap: Bootstrap
) -> Estimate:
    """The number of one formula in a model; in a set of replicates its mean over them."""
    files = run.sources[claim.id]
    if not _is_of_trainings(claim, name, run):
        return _of_model(claim, key, sql, name, files[name], run, bootstrap)
    each = {m: _of_model(claim, key, sql, m, files[m], run, None) for m in run.members(name)}
    return over_trainings(each, bootstrap.confidence)


def _is_of_trainings(claim: Claim, name: str, run: Run) -> bool:
    """Whether a training is the unit: of a set, and of one model where it takes a set."""
    return name in run.replicates or claim.applies_to.replicates


def _of_model(
    claim: Claim,
    key: str,
    sql: str,
    model: str,
    files: Mapping[str, Source],
    run: Run,
    bootstrap: Bootstrap | None,
) -> Estimate:
    """The number of one formula; a reason where one of its tables is not made."""
    where, fails = f"{claim.where}, {key}", Estimate(reason="the formula fails")
    if where in run.problems:
        return fails
    paths = {}
    for name in sorted(tables_of(sql, where) & files.keys()):
        path = files[name].path
        if path is None:
            return Estimate(reason=files[name].reason)
        paths[name] = path
    with run.noting(where):
        return estimate(
            run.query(sql, paths, run.models[model], where),
            statistic=claim.statistic,
            difference=claim.difference,
            bootstrap=bootstrap,
            stream=claim.id,
            where=where,
            filled_by="as_published: true" if "_as_published" in sql else "",
        )
    return fails
