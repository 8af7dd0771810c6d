"""A result is stale when code that it came from changed, and only then."""

import ast
import shutil
import sys
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

import pytest
import workflow as wf

from tokentrails.project import LIBRARY, SCRIPTS
from tokentrails.running import fingerprint as module
from tokentrails.running.fingerprint import WITHOUT_EFFECT, fingerprint

HELPERS = sorted(SCRIPTS.glob("_*.py"))
RULE_SCRIPTS = sorted(path.stem for path in SCRIPTS.glob("[!_]*.py"))


def forget() -> None:
    """Let the next fingerprint read every file again."""
    fingerprint.cache_clear()
    module._read.cache_clear()


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy of the library and the scripts, which fingerprints are taken of."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name, folder in {"LIBRARY": LIBRARY, "SCRIPTS": SCRIPTS}.items():
        shutil.copytree(folder, tmp_path / folder.name, ignore=ignore)
        monkeypatch.setattr(module, name, tmp_path / folder.name)
    forget()
    yield tmp_path
    forget()


def changed(path: Path, edit, *scripts: str) -> set[str]:
    """The scripts whose fingerprint an edit of a file changes; the file is as before then."""
    before = {script: fingerprint(script) for script in scripts}
    text = path.read_text(encoding="utf-8")
    edited = edit(text)
    assert edited != text
    path.write_text(edited, encoding="utf-8")
    forget()
    after = {script: fingerprint(script) for script in scripts}
    path.write_text(text, encoding="utf-8")
    forget()
    return {script for script in scripts if after[script] != before[script]}


def more_code(text: str) -> str:
    return text + "\n\nANOTHER = 1\n"


# Which files count


@cache
def imported(path: Path) -> frozenset[Path]:
    """The project's files that Python finds for the import statements of a file, wherever in it."""
    package = None
    if path.is_relative_to(LIBRARY):
        package = ".".join(("tokentrails", *path.parent.relative_to(LIBRARY).parts))
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {import_module(alias.name) for alias in node.names if is_ours(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package)
            if is_ours(name):
                exec(compile(ast.Module([node], []), str(path), "exec"), {"__package__": package})
                parts = (vars(import_module(name)).get(alias.name) for alias in node.names)
                found |= {import_module(name), *(p for p in parts if isinstance(p, ModuleType))}
    return frozenset(Path(m.__file__) for m in found if is_ours(m.__name__))


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "tokentrails" or name in {path.stem for path in HELPERS}


def reached(path: Path) -> set[Path]:
    """A file and what it imports at any depth, not through files that have no effect."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in found and not is_without_effect(file):
            found.add(file)
            waiting += imported(file)
    return found


def is_without_effect(path: Path) -> bool:
    name = path.relative_to(LIBRARY if path.is_relative_to(LIBRARY) else SCRIPTS).as_posix()
    return name in WITHOUT_EFFECT


def test_the_files_of_a_script_are_those_that_python_imports_for_it(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "path", [*sys.path[1:], sys.path[0]])  # only for the helpers
    found = set()
    for script in RULE_SCRIPTS:
        files = module.closure([SCRIPTS / f"{script}.py"])
        assert files == reached(SCRIPTS / f"{script}.py"), script
        found |= files
    assert len(found) > 200


def test_each_of_the_files_of_a_script_counts(copy):
    for path in module.closure([copy / "scripts/identity.py"]):
        assert changed(path, more_code, "identity"), path


def test_sizes_of_trainings_and_chosen_layers_count():
    sizes = LIBRARY / "config/trainings.py", "training"
    layers = LIBRARY / "config/selection.py", "heads"
    for path, script in (sizes, layers):
        assert path in module.closure([SCRIPTS / f"{script}.py"])
    assert LIBRARY / "config/experiments.py" not in module.closure([SCRIPTS / "tokens.py"])


def test_packages_hold_no_code():
    """Importing a module runs those of its packages too, which fingerprints pass over."""
    for path in LIBRARY.glob("*/**/__init__.py"):
        assert [type(line) for line in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_what_is_said_to_have_no_effect_is_there():
    for name in WITHOUT_EFFECT:
        assert (LIBRARY / name).exists() or (SCRIPTS / name).exists(), name


# What counts of a file


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
def test_comments_docstrings_and_layout_do_not_count(copy, edit):
    for name, script in (("metrics/summary", "summary"), ("network/extract", "hidden_states")):
        assert changed(copy / f"tokentrails/{name}.py", edit, script) == set()


def test_docstrings_of_constants_do_not_count_but_strings_that_do_something_do(copy):
    path = copy / "tokentrails/made.py"
    path.write_text('VALUE = "text"\n"""What it is."""\n')
    (copy / "scripts/made.py").write_text("import tokentrails.made\n")
    assert not changed(path, lambda text: text.replace("What", "All that"), "made")
    assert changed(path, lambda text: text.replace("text", "texts"), "made")


@pytest.mark.parametrize("name", ["documents/page.js", "documents/page.css"])
def test_scripts_and_styles_of_pages_count(copy, name):
    path = copy / "tokentrails" / name
    assert changed(path, lambda text: text + "\n", "document", "tokens") == {"document"}


def test_imports_inside_functions_and_packages_are_followed(copy):
    package = copy / "tokentrails/made"
    package.mkdir()
    (copy / "scripts/made.py").write_text("with job(snakemake):\n    import tokentrails.made\n")
    (package / "__init__.py").write_text("from . import inner\n")
    (package / "inner.py").write_text("def f():\n    from ..made.deep import g\n    return g\n")
    (package / "deep.py").write_text("import tokentrails.statistics.similarity\ng = 1\n")
    for name in ("__init__", "inner", "deep"):
        assert changed(package / f"{name}.py", more_code, "made")
    assert changed(copy / "tokentrails/statistics/similarity.py", more_code, "made")
    assert not changed(copy / "tokentrails/texts/spans.py", more_code, "made")


def test_modules_that_import_each_other_end(copy):
    (copy / "scripts/made.py").write_text("import tokentrails.one\n")
    (copy / "tokentrails/one.py").write_text("from . import two\n")
    (copy / "tokentrails/two.py").write_text("from . import one\n")
    assert changed(copy / "tokentrails/two.py", more_code, "made")


def test_modules_that_a_script_loads_by_name_count(copy):
    alone, both = fingerprint("tokens"), fingerprint("tokens", "figures.summary")
    path = copy / "tokentrails/figures/summary.py"
    path.write_text(more_code(path.read_text()))
    forget()
    assert fingerprint("tokens") == alone != both != fingerprint("tokens", "figures.summary")


def test_where_the_project_lies_does_not_count(copy, monkeypatch):
    inside = fingerprint("identity")
    monkeypatch.setattr(module, "LIBRARY", LIBRARY)
    monkeypatch.setattr(module, "SCRIPTS", SCRIPTS)
    forget()
    assert fingerprint("identity") == inside


LOADED = {"tokens": ["texts.shuffle"]}
"""What a job of a rule computes with, beside what its script imports: experiments are read by code
that has no effect, since a run knows what it gave, but for the rows of a table."""


def test_the_code_of_a_rule_is_that_of_its_own_script():
    rules = {rule.name: rule.params for rule in wf.rules()}
    scripts = {rule.name: Path(rule.script).stem for rule in wf.rules()} | {"plan": "plan"}
    # What is fetched is expensive: of weights models.source.FORM says when to.
    fetching = {"model", "passing_model", "hub_table"}
    assert {name for name in rules if "code" not in rules[name]} == fetching
    for name, params in rules.items():
        if "code" in params:
            loaded = [params["module"]] if "module" in params else LOADED.get(name, [])
            assert params["code"] == fingerprint(scripts[name], *loaded), name
    assert {*scripts.values(), "explore"} == set(RULE_SCRIPTS)  # which makes no file
    by_name = {path.stem for path in SCRIPTS.glob("*.py") if "import_module" in path.read_text()}
    assert by_name == {scripts[name] for name in rules if "module" in rules[name]}
