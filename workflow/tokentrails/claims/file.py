"""Reading the claims file: what each study states, and how it is tested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError
from ..files.schema import check, closest, schema, with_defaults
from ..files.yaml_file import KeyPath, YamlFile


@dataclass(frozen=True)
class Spec:
    """One table that a formula may read: `EXPERIMENT/METRIC`, or with `@CHECKPOINT`.

    Attributes
    ----------
    experiment: its name in the configuration; `*` for the first one that has the metric.
    checkpoint: None for the reference, or for all of them where the metric is across checkpoints.
    """

    experiment: str
    metric: str
    checkpoint: str | None

    @classmethod
    def parse(cls, text: str) -> Spec:
        place, _, checkpoint = text.partition("@")
        experiment, _, metric = place.partition("/")
        return cls(experiment, metric, checkpoint or None)

    def __str__(self) -> str:
        at = f"@{self.checkpoint}" if self.checkpoint else ""
        return f"{self.experiment}/{self.metric}{at}"


Tables = dict[str, tuple[Spec, ...]]
"""By the name that formulas use: the candidates, of which the first that is made is read."""


@dataclass(frozen=True)
class Target:
    """What a number has to be for the claim to hold.

    Attributes
    ----------
    above, below: the threshold; None where it is not one of these.
    value, tolerance: a published number and how far off it may be.
    """

    above: float | None = None
    below: float | None = None
    value: float | None = None
    tolerance: float = 0.0

    @property
    def threshold(self) -> float | None:
        """Of a direction; None for a value."""
        return self.above if self.above is not None else self.below

    def __str__(self) -> str:
        if self.threshold is None:
            return f"{self.value:g} ± {self.tolerance:g}"
        return f"{'above' if self.above is not None else 'below'} {self.threshold:g}"


@dataclass(frozen=True)
class AppliesTo:
    """Which models a claim is about; None stands for any.

    Attributes
    ----------
    models: their names in the configuration.
    kind: `decoder` or `encoder`.
    positions: `learned` or `rotary`.
    several_checkpoints: whether one checkpoint is not enough.
    """

    models: tuple[str, ...] | None
    kind: str | None
    positions: str | None
    several_checkpoints: bool


@dataclass(frozen=True)
class Claim:
    """One statement of a study. The keys of the file, see `claims.schema.yaml`.

    Attributes
    ----------
    corrected: None where nothing was wrong: `as_published` is then both.
    where: file and line, for messages.
    """

    id: str
    study: str
    source: str
    statement: str
    measure: str
    published: float | None
    target: Target
    applies_to: AppliesTo
    tables: Tables
    as_published: str
    corrected: str | None
    correction: str
    statistic: str
    difference: tuple[str, str] | None
    where: str


@dataclass(frozen=True)
class Quoted:
    """A number that a text quotes.

    Attributes
    ----------
    sql: a query whose result is one row with the column `value`.
    digits: decimals that are kept.
    """

    name: str
    meaning: str
    models: tuple[str, ...] | None
    tables: Tables
    sql: str
    digits: int
    where: str


@dataclass(frozen=True)
class ClaimsFile:
    """What a claims file holds, in its order."""

    claims: tuple[Claim, ...]
    numbers: tuple[Quoted, ...]


def load_claims(path: str | Path, metrics: Collection[str]) -> ClaimsFile:
    """Read and check a claims file. Formulas are checked as far as that goes without data.

    Parameters
    ----------
    metrics: the tables that there can be.

    Raises
    ------
    TokentrailsError: for the first thing that is wrong.
    """
    file = YamlFile(path)
    check(file.data, "claims", file.where)
    assert isinstance(file.data, dict)
    rules = schema("claims")["properties"]
    of_claims = rules["claims"]["items"]
    claims = [with_defaults(entry, of_claims) for entry in file.data["claims"]]
    numbers = [with_defaults(n, rules["numbers"]["items"]) for n in file.data.get("numbers", ())]
    _refuse_twice([c["id"] for c in claims], "claims", "id", file)
    _refuse_twice([n["name"] for n in numbers], "numbers", "name", file)
    for index, entry in enumerate(claims):
        _check_formulas(entry, ("claims", index), file, metrics)
    for index, entry in enumerate(numbers):
        _check_formulas(entry, ("numbers", index), file, metrics)
    return ClaimsFile(
        tuple(_claim(c, f"{file.where(('claims', i))} ({c['id']})") for i, c in enumerate(claims)),
        tuple(
            _quoted(n, f"{file.where(('numbers', i))} ({n['name']})") for i, n in enumerate(numbers)
        ),
    )


def _claim(entry: dict[str, Any], where: str) -> Claim:
    about, difference = entry["applies_to"], entry.get("difference")
    return Claim(
        **{key: entry[key] for key in ("id", "study", "as_published", "statistic")},
        source=" ".join(entry["source"].split()),
        statement=" ".join(entry["statement"].split()),
        measure=" ".join(entry["measure"].split()),
        correction=" ".join(entry["correction"].split()),
        published=entry.get("published"),
        target=Target(**entry["claimed"]),
        applies_to=AppliesTo(
            models=tuple(about["models"]) if "models" in about else None,
            kind=about.get("kind"),
            positions=about.get("positions"),
            several_checkpoints=about["several_checkpoints"],
        ),
        tables=_tables(entry["tables"]),
        corrected=entry.get("corrected"),
        difference=(difference[0], difference[1]) if difference else None,
        where=where,
    )


def _quoted(entry: dict[str, Any], where: str) -> Quoted:
    models = tuple(entry["models"]) if "models" in entry else None
    return Quoted(
        **{key: entry[key] for key in ("name", "meaning", "sql", "digits")},
        models=models,
        tables=_tables(entry["tables"]),
        where=where,
    )


def _tables(entry: dict[str, Any]) -> Tables:
    return {name: tuple(map(Spec.parse, _listed(specs))) for name, specs in entry.items()}


def _listed(specs: str | list[str]) -> list[str]:
    return [specs] if isinstance(specs, str) else specs


def _refuse_twice(names: Sequence[str], section: str, key: str, file: YamlFile) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            second = [i for i, other in enumerate(names) if other == name][1]
            raise TokentrailsError(
                f"the {key} {name!r} is used {count} times",
                where=file.where((section, second, key)),
                hint=f"give each of the {section} a name of its own.",
            )


def _check_formulas(
    entry: dict[str, Any], at: KeyPath, file: YamlFile, metrics: Collection[str]
) -> None:
    """Refuse tables that no analysis makes, and what is no query of the named tables."""
    for name, specs in entry["tables"].items():
        for spec in map(Spec.parse, _listed(specs)):
            if spec.metric not in metrics:
                guess = closest(spec.metric, sorted(metrics))
                raise TokentrailsError(
                    f"no analysis makes a table {spec.metric!r}",
                    where=file.where((*at, "tables", name)),
                    hint=f"did you mean {guess!r}?"
                    if guess
                    else f"the tables are {', '.join(sorted(metrics))}.",
                )
    for key in ("as_published", "corrected", "sql"):
        sql = entry.get(key, "SELECT")
        if not re.match(r"\s*(SELECT|WITH)\b", sql, re.IGNORECASE):
            raise TokentrailsError(
                "the formula is no query",
                where=file.where((*at, key)),
                hint="begin it with SELECT, or with WITH … AS (…) SELECT.",
            )
        if re.search(r"\b(read|scan)_\w+\s*\(", sql, re.IGNORECASE):
            raise TokentrailsError(
                "the formula reads a file of its own",
                where=file.where((*at, key)),
                hint="name the table under 'tables'; its provenance is then known.",
            )
    if ("corrected" in entry) != bool(entry.get("correction")):
        raise TokentrailsError(
            "'corrected' and 'correction' go together: a formula, and what it puts right",
            where=file.where(at),
            hint="give both, or none where nothing was wrong.",
        )
