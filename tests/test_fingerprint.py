"""A result is stale when code that it came from changed, and only then."""

import shutil
from pathlib import Path

import pytest

from tokentrails.running import fingerprint as module
from tokentrails.running.fingerprint import fingerprint

LIBRARY = Path(module.__file__).parent


def forget():
    """Read every module anew at the next fingerprint."""
    fingerprint.cache_clear()
    module._read.cache_clear()


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that fingerprints are taken of."""
    copy = tmp_path / "tokentrails"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "ROOT", copy)
    forget()
    yield copy
    forget()


def changed(path, edit, *modules):
    """Whether an edit of a file changes the fingerprint of modules."""
    before = fingerprint(*modules)
    text = path.read_text(encoding="utf-8")
    edited = edit(text)
    assert edited != text
    path.write_text(edited, encoding="utf-8")
    forget()
    after = fingerprint(*modules)
    path.write_text(text, encoding="utf-8")
    forget()
    assert fingerprint(*modules) == before
    return after != before


def more_code(text):
    return text + "\n\nANOTHER = 1\n"


TYPICAL = [
    *("metrics.identity", "metrics.context", "metrics.summary"),
    *("network.extract", "texts.tokenization", "texts.words"),
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

    assert not changed(library / "network/architectures.py", edit, "network.architectures")


def test_strings_that_do_something_count(library):
    def edit(text):
        return text.replace('"cosine of the state', '"the cosine of the state')

    assert changed(library / "metrics/identity.py", edit, "metrics.identity")


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("metrics.identity", "statistics.similarity"),
        ("metrics.identity", "files.states"),
        ("metrics.identity", "metrics/columns/frame"),
        ("metrics.identity", "network.architectures"),
        ("metrics.context", "statistics.similarity"),
        ("texts.tokenization", "texts.spans"),
        ("texts.tokenization", "settings"),
        ("texts.words", "texts.tokenization"),
        ("texts.words", "texts.template"),
        ("texts.words", "texts.word_list"),
        ("network.extract", "network.stream"),
        ("network.extract", "network.batches"),
        ("models.prepare", "models/convert"),
        ("models.prepare", "network.weights"),
    ],
)
def test_code_in_what_it_imports_counts(library, name, imported):
    assert changed(library / f"{imported.replace('.', '/')}.py", more_code, name)


@pytest.mark.parametrize(
    ("name", "unrelated"),
    [
        ("metrics.identity", "figures/identity"),
        ("metrics.identity", "metrics/context"),
        ("metrics.identity", "network.extract"),
        ("metrics.identity", "network.stream"),
        ("texts.tokenization", "files.states"),
        ("texts.tokenization", "network.extract"),
        ("network.extract", "metrics/identity"),
        ("network.extract", "texts.tokenization"),
        ("metrics.identity", "errors"),
        ("metrics.identity", "files.atomic"),
        ("metrics.identity", "__init__"),
        ("metrics.identity", "files.meanings"),
        ("texts.tokenization", "config.load"),
        ("texts.tokenization", "texts.words"),
        ("texts.tokenization", "texts.word_list"),
    ],
)
def test_code_elsewhere_does_not_count(library, name, unrelated):
    assert not changed(library / f"{unrelated.replace('.', '/')}.py", more_code, name)


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
    assert changed(library / "statistics/similarity.py", more_code, "made")
    assert not changed(library / "texts/spans.py", more_code, "made")


def test_modules_that_import_each_other_end(library):
    (library / "one.py").write_text("from . import two\n")
    (library / "two.py").write_text("from . import one\n")
    assert changed(library / "two.py", more_code, "one")


def test_several_modules_have_one_fingerprint(library):
    assert fingerprint("texts.spans", "statistics.similarity") == fingerprint(
        "statistics.similarity", "texts.spans"
    )
    assert fingerprint("texts.spans", "statistics.similarity") != fingerprint("texts.spans")
    assert changed(library / "texts/spans.py", more_code, "statistics.similarity", "texts.spans")


def test_the_place_of_the_library_does_not_count(library):
    inside = fingerprint("metrics.identity")
    module.ROOT = LIBRARY
    forget()
    assert fingerprint("metrics.identity") == inside
