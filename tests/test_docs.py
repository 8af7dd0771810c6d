"""The manuals and the code say the same."""

import re
from pathlib import Path

import pytest

from tokentrails.documents.manual import manual
from tokentrails.files.schema import schema

ROOT = Path(__file__).parent.parent


def keys(rule: dict) -> set[str]:
    """Every key that a schema names, at any depth."""
    found = set(rule.get("properties", {}))
    parts = [
        *rule.get("properties", {}).values(),
        rule.get("items"),
        rule.get("additionalProperties"),
    ]
    for part in parts:
        if isinstance(part, dict):
            found |= keys(part)
    return found


@pytest.mark.parametrize("name", ["config", "experiment", "claims"])
def test_the_manual_explains_every_key_of_the_schema(name):
    pages = ("config/README.md", "docs/catalogue.md")
    words = set(re.findall(r"[a-z_0-9]+", "".join((ROOT / page).read_text() for page in pages)))
    assert keys(schema(name)) - words == set()


def test_the_list_of_what_is_made_is_that_of_the_catalogue():
    assert (ROOT / "docs/catalogue.md").read_text() == manual(), "run `make manual`"


def test_the_manual_gives_the_defaults_of_the_schema():
    manual = (ROOT / "config/README.md").read_text()
    for section in ("extract", "explore", "summary", "statistics"):
        for key, rule in schema("config")["properties"][section]["properties"].items():
            default = "null" if rule["default"] is None else re.escape(str(rule["default"]))
            assert re.search(rf"^\| `{key}` \|.*\| `{default}` \|$", manual, re.MULTILINE), key
