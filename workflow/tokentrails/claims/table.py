"""The table `claims`: every claim in every model that it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from ..files.tables import describe
from ..statistics.bootstrap import Bootstrap
from .file import Claim
from .formula import Estimate, estimate
from .models import unfit
from .sources import Source
from .sql import tables_of
from .verdict import UNTESTABLE, verdict

MEANINGS = {
    "claim": "identifier of the claim in the claims file",
    "study": "the study that makes the statement",
    "statement": "what the study states",
    "published_value": "the number that the study gives; null: it gives none",
    "value_as_published": "the number in this run by the study's own way; null: see reason",
    "value_corrected": "the number in this run with what was wrong put right; the same where "
    "nothing was; null: see reason",
    "ci_low": "lower end of the interval of value_corrected; null: fewer than two units",
    "ci_high": "upper end of the same",
    "verdict": "holds: value_corrected is what is claimed, with its whole interval where a "
    "direction is claimed; holds only as published: value_as_published is, and value_corrected is "
    "not; does not hold: value_corrected is not, with its whole interval; not testable here: see "
    "reason",
    "model": "name of the model in the configuration; null: the claim is about none of them",
    "reason": "why the claim is not testable, or what else is to be known of the verdict",
    "n": "how many values value_corrected sums up",
    "units": "how many texts, words or heads these come from; the interval resamples these",
    "as_published_low": "lower end of the interval of value_as_published",
    "as_published_high": "upper end of the same",
    "claimed": "what the number must be for the claim to hold",
    "measure": "what the numbers are, with their unit",
    "correction": "what value_corrected puts right; empty: nothing",
    "statistic": "how values are summed up",
    "source": "where in the study the statement stands",
    "tables": "the tables that were read",
}
_NUMBERS = {
    **dict.fromkeys(("published_value", "value_as_published", "value_corrected"), pa.float64()),
    **dict.fromkeys(("ci_low", "ci_high", "as_published_low", "as_published_high"), pa.float64()),
    **dict.fromkeys(("n", "units"), pa.int32()),
}
SCHEMA = pa.schema({name: _NUMBERS.get(name, pa.string()) for name in MEANINGS})

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
    """

    models: Mapping[str, pl.DataFrame]
    sources: Mapping[str, Mapping[str, Mapping[str, Source]]]
    query: Query


def claims_table(
    claims: Sequence[Claim],
    run: Run,
    bootstrap: Bootstrap,
    *,
    few: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """A row per claim and model, sorted by both; one without a model where there is none.

    Parameters
    ----------
    few: intervals over fewer units than this are marked in `reason`.

    Raises
    ------
    TokentrailsError: if a formula does not run.
    """
    rows = []
    for claim in claims:
        about = claim.applies_to.models
        models = [name for name in run.models if about is None or name in about]
        rows += [_row(claim, model, run, bootstrap, few) for model in models]
        if not models:
            missing = f"no model of this configuration is named {' or '.join(about or ())}"
            rows.append(_described(claim) | {"verdict": UNTESTABLE, "reason": missing})
    rows.sort(key=lambda row: (str(row["claim"]), str(row.get("model") or "")))
    return describe(
        pa.Table.from_pylist(rows, schema=SCHEMA),
        title="What the published studies claim, and whether it holds in this run",
        provenance=provenance,
        meanings=MEANINGS,
        units={"n": "values", "units": "units"},
    )


def _described(claim: Claim) -> dict[str, object]:
    about = ("study", "statement", "measure", "correction", "statistic", "source")
    return {key: getattr(claim, key) for key in about} | {
        "claim": claim.id,
        "published_value": claim.published,
        "claimed": str(claim.target),
    }


def _row(claim: Claim, model: str, run: Run, bootstrap: Bootstrap, few: int) -> dict[str, object]:
    row = _described(claim) | {"model": model}
    files = run.sources[claim.id][model]
    row["tables"] = ", ".join(sorted({file.path for file in files.values() if file.path})) or None
    if reason := unfit(claim.applies_to, run.models[model]):
        return row | {"verdict": UNTESTABLE, "reason": reason}
    published = _estimate(claim, "as_published", model, run, bootstrap)
    corrected = published
    if claim.corrected is not None:
        corrected = _estimate(claim, "corrected", model, run, bootstrap)
    answer, reason = verdict(claim.target, published, corrected, few)
    return row | {
        "value_as_published": published.value,
        "as_published_low": published.low,
        "as_published_high": published.high,
        "value_corrected": corrected.value,
        "ci_low": corrected.low,
        "ci_high": corrected.high,
        "n": corrected.n,
        "units": corrected.units,
        "verdict": answer,
        "reason": reason or None,
    }


def _estimate(claim: Claim, key: str, model: str, run: Run, bootstrap: Bootstrap) -> Estimate:
    """The number of one formula; a reason where one of its tables is not made."""
    sql, where = getattr(claim, key), f"{claim.where}, {key}"
    files = run.sources[claim.id][model]
    paths = {}
    for name in sorted(tables_of(sql, where) & files.keys()):
        path = files[name].path
        if path is None:
            return Estimate(reason=files[name].reason)
        paths[name] = path
    return estimate(
        run.query(sql, paths, run.models[model], where),
        statistic=claim.statistic,
        difference=claim.difference,
        bootstrap=bootstrap,
        stream=claim.id,
        where=where,
    )
