"""A result is stale when code that it came from changed, and only then."""

import shutil
from pathlib import Path

import pytest

from tokentrails import fingerprint as module
from tokentrails.fingerprint import fingerprint, read_module

LIBRARY = Path(module.__file__).parent


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that fingerprints are taken of."""
    copy = tmp_path / "tokentrails"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "ROOT", copy)
    read_module.cache_clear()
    yield copy
    read_module.cache_clear()


def changed(path, edit, *modules):
    """Whether an edit of a file changes the fingerprint of modules."""
    before = fingerprint(*modules)
    text = path.read_text(encoding="utf-8")
    edited = edit(text)
    assert edited != text
    path.write_text(edited, encoding="utf-8")
    read_module.cache_clear()
    after = fingerprint(*modules)
    path.write_text(text, encoding="utf-8")
    read_module.cache_clear()
    assert fingerprint(*modules) == before
    return after != before


def more_code(text):
    return text + "\n\nANOTHER = 1\n"


TYPICAL = [
    *("metrics.identity", "metrics.context", "metrics.summary"),
    *("extract", "tokenization", "words"),
]


@pytest.mark.parametrize("name", [*TYPICAL, "figures.identity", "models.prepare"])
def test_code_in_the_module_counts(library, name):
    assert changed(library / f"{name.replace('.', '/')}.py", more_code, name)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "# A comment.\n" + text,
        lambda text: text.replace("\n\n\n", "\n\n\n# A comment.\n\n"),
        lambda text: text.replace("\n\n", "\n\n\n\n"),
        lambda text: text.replace('"""', '"""Really: ', 1),
        lambda text: text.replace('    """', '    """Really: ', 1),
    ],
    ids=["comment", "comments", "blank lines", "module docstring", "function docstring"],
)
@pytest.mark.parametrize("name", TYPICAL)
def test_comments_docstrings_and_layout_do_not_count(library, name, edit):
    assert not changed(library / f"{name.replace('.', '/')}.py", edit, name)


def test_docstrings_of_constants_do_not_count(library):
    def edit(text):
        return text.replace('"""The sites of', '"""Really: the sites of')

    assert not changed(library / "architectures.py", edit, "architectures")


def test_strings_that_do_something_count(library):
    def edit(text):
        return text.replace('"cosine of the state', '"the cosine of the state')

    assert changed(library / "metrics/identity.py", edit, "metrics.identity")


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("metrics.identity", "similarity"),
        ("metrics.identity", "states"),
        ("metrics.identity", "metrics/frame"),
        ("metrics.identity", "architectures"),
        ("metrics.context", "similarity"),
        ("tokenization", "spans"),
        ("tokenization", "settings"),
        ("words", "tokenization"),
        ("words", "template"),
        ("words", "word_list"),
        ("extract", "stream"),
        ("extract", "batches"),
        ("models.prepare", "models/convert"),
        ("models.prepare", "weights"),
    ],
)
def test_code_in_what_it_imports_counts(library, name, imported):
    assert changed(library / f"{imported}.py", more_code, name)


@pytest.mark.parametrize(
    ("name", "unrelated"),
    [
        ("metrics.identity", "figures/identity"),
        ("metrics.identity", "metrics/context"),
        ("metrics.identity", "extract"),
        ("metrics.identity", "stream"),
        ("tokenization", "states"),
        ("tokenization", "extract"),
        ("extract", "metrics/identity"),
        ("extract", "tokenization"),
        ("metrics.identity", "errors"),
        ("metrics.identity", "atomic"),
        ("metrics.identity", "__init__"),
        ("metrics.identity", "meanings"),
        ("tokenization", "config"),
        ("tokenization", "words"),
        ("tokenization", "word_list"),
    ],
)
def test_code_elsewhere_does_not_count(library, name, unrelated):
    assert not changed(library / f"{unrelated}.py", more_code, name)


@pytest.mark.parametrize("name", ["documents/page.js", "documents/page.css"])
def test_scripts_and_styles_of_pages_count(library, name):
    assert changed(library / name, lambda text: text + "\n", "documents.page")
    assert not changed(library / name, lambda text: text + "\n", "documents.workbook")


def test_imports_inside_functions_and_packages_are_followed(library):
    package = library / "made"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\n")
    (package / "inner.py").write_text("def f():\n    from ..made.deep import g\n    return g\n")
    (package / "deep.py").write_text("import tokentrails.similarity\ng = 1\n")
    for path in (package / "__init__.py", package / "inner.py", package / "deep.py"):
        assert changed(path, more_code, "made")
    assert changed(library / "similarity.py", more_code, "made")
    assert not changed(library / "spans.py", more_code, "made")


def test_modules_that_import_each_other_end(library):
    (library / "one.py").write_text("from . import two\n")
    (library / "two.py").write_text("from . import one\n")
    assert changed(library / "two.py", more_code, "one")


def test_several_modules_have_one_fingerprint(library):
    assert fingerprint("spans", "similarity") == fingerprint("similarity", "spans")
    assert fingerprint("spans", "similarity") != fingerprint("spans")
    assert changed(library / "spans.py", more_code, "similarity", "spans")


def test_the_place_of_the_library_does_not_count(library):
    inside = fingerprint("metrics.identity")
    module.ROOT = LIBRARY
    read_module.cache_clear()
    assert fingerprint("metrics.identity") == inside
