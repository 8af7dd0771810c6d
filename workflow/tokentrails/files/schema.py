"""Checking data against a JSON schema, with one message that helps."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator, FormatChecker, TypeChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from ..catalogue import ANALYSES, FIGURE_SUFFIXES, FIGURES, Kind
from ..errors import KeyPath, TokentrailsError
from ..project import SCHEMAS
from .near import closest, near_name


def _is_number(checker: TypeChecker, value: object) -> bool:
    """In YAML .nan and .inf are numbers; no setting and no column can do anything with them."""
    is_number = Draft202012Validator.TYPE_CHECKER.is_type(value, "number")
    return is_number and not (isinstance(value, float) and not math.isfinite(value))


_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number),
)


_formats = FormatChecker(formats=())


@_formats.checks("path", raises=(OSError, RuntimeError, ValueError))
def _can_be_path(value: object) -> bool:
    """Whether a path, or that of a source, can be looked for, and is none that is waited for.

    Every path of a configuration is checked here, before anything opens or resolves it. That there
    is nothing, or a folder in the place of a file, its reader says.
    """
    if not isinstance(value, str):
        return True
    try:
        mode = Path(value.removeprefix("path:")).expanduser().absolute().stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


@cache
def schema(name: str) -> dict[str, Any]:
    """The schema in `schemas/{name}.schema.yaml`, with the analyses and figures that there are."""
    rules = yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"))
    known = {"enum": [each.name for each in ANALYSES if each.kinds]}
    if name == "experiment":
        analyses = rules["properties"]["analyses"]
        analyses["items"] = known
        analyses["description"] += "; " + "; ".join(map(_analyses_of, Kind))
    if name == "config":
        experiment = rules["properties"]["experiments"]["additionalProperties"]
        experiment["properties"]["analyses"]["items"] = known
        figures = rules["properties"]["figures"]["properties"]
        figures["formats"]["items"] = {"enum": list(FIGURE_SUFFIXES)}
        figures["formats"]["description"] += f"; known are {', '.join(FIGURE_SUFFIXES)}"
        figures |= {
            figure.name: {
                "description": f"title of the figure of {figure.about}",
                "type": "string",
                "default": figure.title,
            }
            for figure in FIGURES
        }
    return rules


def _analyses_of(kind: Kind) -> str:
    names = [each.name for each in ANALYSES if kind in each.kinds]
    default = [each.name for each in ANALYSES if kind in each.default]
    by_default = f" (by default {', '.join(default)})" if default != names else ""
    return f"of {kind} {', '.join(names)}{by_default}"


def check(data: Any, name: str, where: Callable[[KeyPath], str]) -> None:
    """Check what a YAML file or Snakemake's config holds.

    Raises
    ------
    TokentrailsError: naming the key, the value and what the schema says of it.
    """
    errors = list(_Validator(schema(name), format_checker=_formats).iter_errors(data))
    error = best_match(errors, key=_relevance(errors))
    if error is not None:
        keys = tuple(error.absolute_path)
        problem, hint, culprit = _explain(error)
        raise TokentrailsError(problem, where=where(keys + culprit), hint=hint)


def _relevance(errors: Sequence[ValidationError]) -> Callable[[ValidationError], Any]:
    """A key by which the error to show is the largest, and of several the first.

    What a list lacks is said when its entries are right: a misspelt one may be what it lacks.
    """
    paths = [tuple(error.absolute_path) for error in errors]
    above = {path[:depth] for path in paths for depth in range(len(path))}

    def relevance(error: ValidationError) -> tuple[bool, int, bool]:
        path = tuple(error.absolute_path)
        has_wrong_entry = isinstance(error.instance, list) and path in above
        return not has_wrong_entry, -len(path), error.validator not in ("anyOf", "oneOf")

    return relevance


def with_defaults(data: Any, rule: Mapping[str, Any]) -> Any:
    """A copy of checked data in which every absent key with a default has it, at every depth.

    Numbers have the type that the schema says, however they are written, and lists in which nothing
    comes twice are sorted.
    """
    if isinstance(data, dict):
        rules, extra = rule.get("properties", {}), rule.get("additionalProperties") or {}
        absent = {k: r["default"] for k, r in rules.items() if "default" in r and k not in data}
        return {k: with_defaults(v, rules.get(k, extra)) for k, v in (data | absent).items()}
    if isinstance(data, list):
        filled = [with_defaults(value, rule.get("items", {})) for value in data]
        return sorted(filled) if rule.get("uniqueItems") else filled
    match rule.get("type"):
        case "integer":
            return int(data)
        case "number":
            return float(data)
    return data


def _explain(error: ValidationError) -> tuple[str, str, KeyPath]:
    """The problem, the hint, and the keys to add to the error's path."""
    rule: Any = error.schema
    value: Any = error.instance
    wanted = cast(Any, error.validator_value)
    meaning = " ".join(str(rule.get("description", "")).split())
    shown = repr(value) if len(repr(value)) < 120 else repr(value)[:120] + "…"
    # Of a key, what is refused is its name, which the path to it does not have.
    name: KeyPath = (value,) if _is_of_name(error) else ()
    what = "name" if name else "value"
    given = f"{'use' if name else 'give it:'} {meaning or error.message}."
    match error.validator:
        case "additionalProperties":
            known = sorted(rule.get("properties", {}))
            unknown = next(key for key in value if key not in known)
            hint = near_name(str(unknown), known, f"the known keys are {', '.join(known)}.")
            return f"unknown key {unknown!r}", hint, (unknown,)
        case "required":
            missing = next(key for key in wanted if key not in value)
            described = rule.get("properties", {}).get(missing, {}).get("description", "")
            hint = f"give it: {' '.join(described.split())}." if described else "give it."
            return f"the key {missing!r} is missing", hint, ()
        case "anyOf":
            names = [name for option in wanted for name in option["required"]]
            return f"none of {' / '.join(names)} is given", "give one of them.", ()
        case "oneOf":
            given = " and ".join(map(repr, value)) or "nothing"
            ways = "; ".join(" with ".join(map(repr, each["required"])) for each in wanted)
            what = "are given together" if len(value) > 1 else "is given"
            return f"{given} {what}", f"give one of these and nothing else: {ways}.", ()
        case "enum":
            allowed = [str(v) for v in wanted]
            guess = closest(str(value), allowed)
            hint = f"did you mean {guess!r}? " if guess else ""
            return f"{shown} is not allowed", f"{hint}Choose from {', '.join(allowed)}.", ()
        case "type":
            wanted = wanted if isinstance(wanted, str) else " or ".join(wanted)
            if value is None and not error.absolute_path:
                return "the file is empty", "write the keys into it that the manual has.", ()
            hint = f"{given if meaning else 'see docs/configuration.md.'}{_cause(value, wanted)}"
            return f"{shown} is not of type {wanted}", hint, name
        case "uniqueItems":
            twice = next(entry for i, entry in enumerate(value) if entry in value[:i])
            return f"{twice!r} stands more than once in {shown}", "remove one of them.", ()
        case "minimum" | "maximum" as limit:
            side, way = ("below", "more") if limit == "minimum" else ("above", "less")
            hint = f"give {wanted} or {way}{f': {meaning}' if meaning else ''}."
            return f"the value {shown} is {side} the {limit} of {wanted}", hint, ()
        case "pattern" if odd := _odd_character(value, wanted):
            return f"the {what} {shown} has {odd!r}", f"use {meaning}.", name
        case "format":
            cause = error.cause or "it is a pipe, a socket or a device"
            reason = getattr(cause, "strerror", None) or str(cause).rstrip(".")
            return f"the path {shown} cannot be used: {reason}", f"give another: {meaning}.", ()
        case "minItems" if value:
            return f"{shown} has {len(value)} of at least {wanted} entries", given, ()
        case _:
            if value in ("", [], {}):
                return f"the {what} {shown} is empty", f"give {meaning or 'a value'}.", name
            return f"the {what} {shown} is not valid", given, name


def _is_of_name(error: ValidationError) -> bool:
    """Whether an error is of a key of a mapping, and not of its value."""
    steps = [step for step in error.absolute_schema_path if step != "$ref"]
    return "propertyNames" in steps[-2:]


def _odd_character(name: str, pattern: str) -> str | None:
    """The first character that a name must not have; None where names are more than characters."""
    if not re.search(pattern, "aa"):
        return None
    return next((c for c in name if not re.search(pattern, f"a{c}a")), None)


def _cause(value: Any, wanted: str) -> str:
    """Why a value that looks right is of another type: what YAML and Snakemake make of it."""
    kinds = set(wanted.split(" or "))
    if "object" in kinds:
        brackets = ", without the dashes or brackets of a list" * isinstance(value, list)
        return f" Write a mapping, 'KEY: VALUE'{brackets}."
    if "string" in kinds and isinstance(value, bool | int | float):
        return " Put it in quotes: YAML takes numbers and true and false for what they are."
    if kinds.isdisjoint(("integer", "number")):
        return ""
    if isinstance(value, bool):
        return " Write a number."
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""
    if not math.isfinite(number):
        return ""
    if "number" not in kinds and not number.is_integer():
        return " Write a whole number."
    return (
        f" Write {number:.15g} without quotes, in a file: in the braces of --config everything is "
        "a text."
    )
