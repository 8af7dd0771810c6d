"""Pages of the manual that list the keys of a YAML file, from its schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from ..files.schema import schema

_QUOTED = re.compile(r"(?<!\w)'([^'\n]+)'(?!\w)")


class _Section(NamedTuple):
    """The keys of one mapping: where it stands, what it is, and what stands under each key."""

    path: str
    meaning: str
    rule: Mapping[str, Any]


def reference(name: str, title: str, introduction: str) -> str:
    """The page of `schemas/{name}.schema.yaml`, as Markdown: a table for each mapping in it."""
    rules = schema(name)
    sections = list(_sections(rules, rules, ""))
    known = {section.path for section in sections}
    parts = [f"# {title}\n\n{introduction}"]
    for section in sections:
        heading = [f"## `{section.path}`"] if section.path else []
        text = [_sentence(section.meaning)] if section.path and section.meaning else []
        parts.append("\n\n".join([*heading, *text, _table(section, known, rules)]))
    return "\n\n".join(parts) + "\n"


def _sections(rule: Mapping[str, Any], rules: Mapping[str, Any], path: str) -> Iterator[_Section]:
    """Every mapping with keys of its own, from the outside in."""
    rule = _resolved(rule, rules)
    if rule.get("properties"):
        yield _Section(path, str(rule.get("description", "")), rule)
    for key, below in rule.get("properties", {}).items():
        yield from _sections(below, rules, f"{path}.{key}" if path else key)
    for key, below in (("NAME", rule.get("additionalProperties")), ("", rule.get("items"))):
        if isinstance(below, Mapping):
            inner = f"{path}.{key}" if key else f"{path}[]"
            for section in _sections(below, rules, inner):
                # A mapping of names, and a list, are described where they stand.
                own = section.path == inner and not section.meaning
                yield section._replace(meaning=str(rule.get("description", ""))) if own else section


def _table(section: _Section, known: Collection[str], rules: Mapping[str, Any]) -> str:
    """The keys of a mapping, each with what it means; those of mappings in it have their own."""
    lines = ["| key | meaning | values | default |", "| --- | --- | --- | --- |"]
    rule = section.rule
    required = rule.get("required", [])
    for key, below in rule["properties"].items():
        below = _resolved(below, rules)
        default = "required" if key in required else ""
        if "default" in below and below["default"] != {}:
            default = _code(_flow(below["default"]))
        path = f"{section.path}.{key}" if section.path else key
        inner = next((p for p in (path, f"{path}.NAME", f"{path}[]") if p in known), None)
        values = _values(below, rules)
        cells = [
            _code(key),
            _markdown(str(below.get("description", ""))),
            re.sub(r"(mappings?)$", rf"[\1](#{_anchor(inner)})", values) if inner else values,
        ]
        lines.append(f"| {' | '.join([*cells, default])} |")
    extra = rule.get("additionalProperties")
    if isinstance(extra, Mapping):
        meaning = _markdown(str(extra.get("description", "")))
        lines.append(f"| any other | {meaning} | {_values(extra, rules)} |  |")
    return "\n".join(lines)


def _values(rule: Mapping[str, Any], rules: Mapping[str, Any]) -> str:
    """What a value may be: its type, its limits, or all there are."""
    rule = _resolved(rule, rules)
    if "enum" in rule:
        return ", ".join(_code(_flow(value)) for value in rule["enum"])
    types = rule.get("type", "")
    types = [types] if isinstance(types, str) else types
    return " or ".join(filter(None, (_one_type(each, rule, rules) for each in types)))


def _one_type(name: str, rule: Mapping[str, Any], rules: Mapping[str, Any]) -> str:
    match name:
        case "array":
            items = _values(rule.get("items", {}), rules)
            return "list of " + re.sub(r"^(text|mapping|integer|number)\b", r"\1s", items)
        case "object":
            return "mapping"
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case "string":
            words = re.fullmatch(r"\^\(?([a-z|]+)\)?\$\(\?!\\n\)", rule.get("pattern", ""))
            return ", ".join(map(_code, words[1].split("|"))) if words else "text"
    limits = {
        "from": rule.get("minimum"),
        "above": rule.get("exclusiveMinimum"),
        "to": rule.get("maximum"),
        "below": rule.get("exclusiveMaximum"),
    }
    said = [f"{word} {value:,}" for word, value in limits.items() if value is not None]
    return " ".join([name, *said])


def _resolved(rule: Mapping[str, Any], rules: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rule with what it refers to; what it says itself comes first."""
    if "$ref" not in rule:
        return rule
    return rules["$defs"][rule["$ref"].rpartition("/")[2]] | rule


def _flow(value: Any) -> str:
    """A value as it is written in YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _markdown(text: str) -> str:
    """A description as the cell of a table: what is quoted in it is code."""
    plain = " ".join(text.split())
    cell = "".join(
        part if i % 2 else re.sub(r"([*<])", r"\\\1", part)
        for i, part in enumerate(re.split(r"(`[^`]*`)", _QUOTED.sub(r"`\1`", plain)))
    )
    return cell.replace("|", r"\|")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading).lower()


def _sentence(text: str) -> str:
    shown = _markdown(text)
    return f"{shown[:1].upper()}{shown[1:].removesuffix('.')}."


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|")
