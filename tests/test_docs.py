"""The manual and the code say the same, and its links lead somewhere."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from repository import ROOT, repository_texts

from tokentrails.catalogue import CATALOGUE
from tokentrails.documents.licences import licence
from tokentrails.documents.manual import manual, pages
from tokentrails.files.schema import schema

REFERENCE = {"config": "configuration", "experiment": "experiments", "claims": "claims-files"}
GENERATED = ("catalogue", "figures", *REFERENCE.values(), "licences")


def rules(rule: dict) -> Iterator[tuple[str, dict]]:
    """Every key that a schema names, at any depth, with its rule."""
    below = rule.get("properties", {})
    yield from below.items()
    parts = [*below.values(), rule.get("items"), rule.get("additionalProperties")]
    for part in parts:
        if isinstance(part, dict):
            yield from rules(part)


@pytest.mark.parametrize("path", sorted(pages()))
def test_what_is_written_is_what_the_code_says(path):
    assert (ROOT / path).read_text(encoding="utf-8") == pages()[path], "run `make manual`"


def test_no_page_that_is_written_is_forgotten():
    captions = {
        str(path.relative_to(ROOT)) for path in (ROOT / "workflow/report/figures").glob("*.rst")
    }
    assert pages().keys() - captions == {f"docs/{page}.md" for page in GENERATED}
    assert captions < pages().keys()
    assert pages()["docs/catalogue.md"] == manual()


@pytest.mark.parametrize("name", REFERENCE)
def test_the_manual_explains_every_key_of_the_schema_with_its_default(name):
    page = pages()[f"docs/{REFERENCE[name]}.md"]
    for key, rule in rules(schema(name)):
        assert re.search(rf"^\| `{key}` \| \w|^\| `{key}` \| `", page, re.MULTILINE), key
        default = rule.get("default", {})
        if default != {}:
            shown = yaml.safe_dump(default, default_flow_style=True, width=999, allow_unicode=True)
            shown = re.escape(shown.split("\n")[0])
            assert re.search(rf"^\| `{key}` \|.*\| `{shown}` \|$", page, re.MULTILINE), key


def test_every_job_with_a_gpu_is_in_the_manual():
    """By its analysis in the catalogue; those of none are named on the page of the cluster."""
    rules = {
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r'gpu_needs\("(\w+)"', path.read_text(encoding="utf-8"))
    }
    of_analyses = {row.gpu_rule for row in CATALOGUE.analyses.values() if row.gpu_rule}
    assert rules - of_analyses == {"hidden_states", "partial_states", "neuron_table", "lens"}
    section = pages()["docs/catalogue.md"].split("## Analyses that use a GPU")[1]
    for rule in rules & of_analyses:
        assert f"| `{rule}` |" in section.split("\n## ")[0], rule
    assert "| `ablation` | `ablation_table` | 1 + 3 × blocks | 0 |" in section
    assert "| `heads` | `head_tables` | 1 | 3 × heads × blocks |" in section


def test_messages_on_the_page_of_failures_are_those_of_the_code():
    page = (ROOT / "docs/trouble.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    parts = [p for cell in cells for m in re.findall("`([^`]*)`", cell) for p in m.split(" … ")]
    code = "".join(
        path.read_text(encoding="utf-8")
        for suffix in ("py", "smk")
        for path in (ROOT / "workflow").rglob(f"*.{suffix}")
    )
    assert len(parts) > 20
    assert [part for part in parts if part not in code] == []


def test_licences_are_those_of_the_packages():
    """Stated as an expression, by a classifier, and in a file alone."""
    assert licence("numpy").startswith("BSD-3-Clause")
    assert licence("tqdm") == "MPL-2.0 AND MIT"
    assert licence("jinja2") == "BSD License"
    assert licence("locate") == "MIT License"
    assert "not stated" not in pages()["docs/licences.md"]


# --- links, as GitHub follows them ----------------------------------------------------------------

LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for target, anchor in LINK.findall(CODE.sub("", text)):
        file = (page.parent / target).resolve() if target else page
        found = file.exists() and (file.is_relative_to(ROOT) or not target)
        if not found or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    return broken


def test_links_between_pages_lead_to_files_and_headings_that_are_there():
    texts = {name: text for name, text in repository_texts().items() if name.endswith(".md")}
    assert {"README.md", "config/README.md", "docs/index.md"} <= texts.keys()
    found = {name: broken_links(ROOT / name, text) for name, text in texts.items()}
    assert {name: links for name, links in found.items() if links} == {}


@pytest.mark.parametrize("link", ["gone.md", "models.md#gone", "#gone", "../../outside.md"])
def test_a_broken_link_is_found(link):
    assert (
        len(broken_links(ROOT / "docs/index.md", f"[here]({link}) [ok](models.md#adapters)")) == 1
    )


def test_the_home_page_names_every_page():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name
