"""Reading the claims file: what each study states, and how it is tested."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ..errors import TokentrailsError, Where, refuse_all
from ..files.near import near_name
from ..files.schema import check, schema, with_defaults
from ..files.yaml_file import YamlFile
from ..settings import build
from ..statistics.forms import SOUND
from .sql import tables_of


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
        checkpoint = f"@{self.checkpoint}" if self.checkpoint else ""
        return f"{self.experiment}/{self.metric}{checkpoint}"


FORM, PART, VARIANT = "{form}", "{part}", "{variant}"
"""In a corrected formula: stand for each form of similarity, part and variant, in turn."""

Tables = dict[str, tuple[Spec, ...]]
"""By the name that formulas use: the candidates, of which the first that is made is read."""


@dataclass(frozen=True)
class Target:
    """What a number has to be: above or below a threshold, or a value within a tolerance."""

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
    kind: `decoder` or `encoder`.
    positions: `learned` or `rotary`.
    several_checkpoints: whether one checkpoint is not enough.
    replicates: whether one training is not enough.
    """

    several_checkpoints: bool
    replicates: bool
    models: tuple[str, ...] | None = None
    kind: str | None = None
    positions: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a study. The keys of the file, see `claims.schema.yaml`.

    Attributes
    ----------
    corrected: None where nothing was wrong: `as_published` is then both.
    parts: SQL by name, for what the statement says together: it is false where one of them is.
    variants: SQL by name, for choices that the statement leaves open.
    where: file and line, for messages.
    """

    id: str
    study: str
    source: str
    statement: str
    statement_is: Literal["stated", "reading"]
    measure: str
    published: float | None = None
    target: Target
    applies_to: AppliesTo
    tables: Tables
    as_published: str
    corrected: str | None = None
    correction: str
    statistic: str
    difference: tuple[str, str] | None = None
    parts: Mapping[str, str]
    variants: Mapping[str, str]
    where: str

    def corrected_formulas(self) -> dict[str, str]:
        """The corrected formula by form of similarity, part and variant; alone by `""`."""
        parts = self.corrected_parts().values()
        return {form: sql for formulas in parts for form, sql in formulas.items()}

    def corrected_parts(self) -> dict[str, dict[str, str]]:
        """The same, first by part alone; of a statement without parts by `""`."""
        return _written_out(self.corrected or self.as_published, self.parts, self.variants)


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """A number that a text quotes.

    Attributes
    ----------
    sql: a query whose result is one row with the column `value`.
    digits: decimals that are kept.
    """

    name: str
    meaning: str
    models: tuple[str, ...] | None = None
    tables: Tables
    sql: str
    digits: int
    where: str


@dataclass(frozen=True)
class ClaimsFile:
    """What a claims file holds, in its order.

    Attributes
    ----------
    studies: the models that each study is about, by its name; a study may be missing.
    """

    claims: tuple[Claim, ...]
    numbers: tuple[Quoted, ...]
    studies: dict[str, tuple[str, ...]]

    def studies_of(self, models: Iterable[str | None]) -> list[str]:
        """All studies: those about one of these models, or about any, before those of others."""
        names = set(models)
        studies = dict.fromkeys(claim.study for claim in self.claims)
        return sorted(studies, key=lambda study: names.isdisjoint(self.studies.get(study, names)))

    def elsewhere(self, claim: Claim, model: str) -> bool:
        """Whether the claim's study is about other models than this one."""
        return claim.study in self.studies and model not in self.studies[claim.study]


def load_claims(path: str | Path, metrics: Collection[str]) -> ClaimsFile:
    """Read and check a claims file. Formulas are checked as far as that goes without data.

    Parameters
    ----------
    metrics: the tables that there can be.

    Raises
    ------
    TokentrailsError: for the first thing that is wrong with its form, or for all formulas that are.
    """
    file = YamlFile(path)
    check(file.data, "claims", file.where)
    data = with_defaults(file.data, schema("claims"))
    sections = {"claims": data["claims"], "numbers": data.get("numbers", [])}
    for (section, entries), key in zip(sections.items(), ("id", "name"), strict=True):
        _refuse_repeated([entry[key] for entry in entries], Where(file.where) / section, key)
    claims = {entry["id"] for entry in sections["claims"]}
    for index, number in enumerate(sections["numbers"]):
        if number["name"] in claims:  # the tables of both are found by one name
            where = Where(file.where) / "numbers" / index / "name"
            raise where.error(f"a claim has the id {number['name']!r}", "rename the number.")
    problems: list[TokentrailsError] = []
    for section, entries in sections.items():
        for index, entry in enumerate(entries):
            where = Where(file.where) / section / index
            try:
                _check_formulas(entry, where, metrics)
            except TokentrailsError as error:
                problems.append(error)
            entry["where"] = f"{where} ({entry.get('id') or entry['name']})"
            entry["tables"] = {
                name: tuple(map(Spec.parse, _listed(specs)))
                for name, specs in entry["tables"].items()
            }
    refuse_all(problems, "claims or numbers are not well-formed")
    return ClaimsFile(
        tuple(map(_claim, sections["claims"])),
        tuple(build(Quoted, entry) for entry in sections["numbers"]),
        {name: tuple(models) for name, models in data["studies"].items()},
    )


def _claim(entry: dict[str, Any]) -> Claim:
    texts = ("source", "statement", "measure", "correction")
    return build(
        Claim,
        entry | {key: " ".join(entry[key].split()) for key in texts},
        target=Target(**entry["claimed"]),
        applies_to=build(AppliesTo, entry["applies_to"]),
    )


def _listed(specs: str | list[str]) -> list[str]:
    return [specs] if isinstance(specs, str) else specs


def _refuse_repeated(names: Sequence[str], where: Where, key: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise (where / index / key).error(
                f"the {key} {name!r} is used {names.count(name)} times",
                f"give each of the {where.keys[0]} a name of its own.",
            )


def _check_formulas(entry: dict[str, Any], where: Where, metrics: Collection[str]) -> None:
    """Refuse tables that no analysis makes, and what is no query of the named tables."""
    for name, specs in entry["tables"].items():
        for spec in map(Spec.parse, _listed(specs)):
            if spec.metric not in metrics:
                known = sorted(metrics)
                raise (where / "tables" / name).error(
                    f"no analysis makes a table {spec.metric!r}",
                    near_name(spec.metric, known, f"the tables are {', '.join(known)}."),
                )
    for key in ("as_published", "corrected", "sql"):
        if key in entry:
            parts, variants = (entry.get(choices, {}) for choices in ("parts", "variants"))
            for formulas in _written_out(entry[key], parts, variants).values():
                for sql in formulas.values():
                    _refuse_left(sql, where / key)
                    _refuse_unnamed(tables_of(sql, where / key), entry["tables"], where / key)
    for key, name in product(("as_published", "sql"), (FORM, PART, VARIANT)):
        if name in entry.get(key, ""):
            raise (where / key).error(
                f"{name} stands in {key!r}", "write one way there: only 'corrected' has several."
            )
    for key, name in (("parts", PART), ("variants", VARIANT)):
        if bool(entry.get(key)) != (name in entry.get("corrected", "")):
            raise where.error(
                f"{key!r} and {name} in 'corrected' go together", "give both, or none of them."
            )
    if ("corrected" in entry) != bool(entry.get("correction")):
        raise where.error(
            "'corrected' and 'correction' go together: a formula, and what it puts right",
            "give both, or none where nothing was wrong.",
        )


def _refuse_unnamed(read: Collection[str], named: Collection[str], where: Where) -> None:
    """Raise for a table that a formula reads and that `tables` does not name."""
    known = sorted({*named, "model"})
    for name in sorted(set(read).difference(known)):
        raise where.error(
            f"there is no table {name!r} under 'tables'",
            near_name(name, known, f"its tables are {', '.join(known)}."),
        )


def _refuse_left(sql: str, where: Where) -> None:
    """Raise for a name in braces that no piece takes the place of, as it stands in a piece."""
    for name in (FORM, PART, VARIANT):
        if name in sql:
            raise where.error(
                f"{name} stands in a piece of SQL where nothing takes its place",
                f"write it in 'corrected' itself; pieces of parts may hold {FORM} and {VARIANT}.",
            )


def _written_out(
    sql: str, parts: Mapping[str, str], variants: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """A formula by part, then by form of similarity, part and variant."""
    nothing = {"": ""}
    written: dict[str, dict[str, str]] = {}
    for part, piece in (parts or nothing).items():
        formula = sql.replace(PART, piece)
        forms = SOUND if FORM in formula else ("",)
        written[part] = {
            ", ".join(filter(None, (form, part, variant))): formula.replace(FORM, form).replace(
                VARIANT, text
            )
            for form, (variant, text) in product(forms, (variants or nothing).items())
        }
    return written
