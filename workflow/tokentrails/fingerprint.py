"""Which code a result came from.

Snakemake sees a rule's script, not the modules it imports. A stage puts the fingerprint of its
library module into `params`, so that a change there makes exactly its own results stale.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "tokentrails"
ROOT = Path(__file__).parent

# Modules that say or write things but cannot change a number.
WITHOUT_EFFECT = {
    PACKAGE,
    *(f"{PACKAGE}.{module}" for module in ("atomic", "errors", "meanings", "progress")),
}


def fingerprint(*modules: str) -> str:
    """Hash of the code of library modules and of all library modules that they import.

    Comments, docstrings and layout do not count. Scripts and styles of the same name do, whole.

    Parameters
    ----------
    modules: dotted names below the package, such as ``"metrics.identity"``.
    """
    found: dict[str, str] = {}
    waiting = [f"{PACKAGE}.{module}" for module in modules]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in WITHOUT_EFFECT:
            found[name], imported = read_module(name)
            waiting += imported
    text = "\n".join(f"{name} {found[name]}" for name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache  # many rules share most modules, and every start of Snakemake waits for this
def read_module(name: str) -> tuple[str, list[str]]:
    """What counts of a library module's code, and which library modules it imports."""
    source = _source(name)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = _imports(tree, name)
    return ast.dump(_without_docstrings(tree)) + _beside(source), imported


def _source(name: str) -> Path:
    path = ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _beside(source: Path) -> str:
    """The script and the style that a module writes into its pages: page.js, page.css."""
    files = [source.with_suffix(suffix) for suffix in (".css", ".js")]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def _exists(name: str) -> bool:
    return _source(name).is_file()


def _imports(tree: ast.Module, importer: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                anchor = importer.split(".")
                if _source(importer).name != "__init__.py":
                    anchor = anchor[:-1]
                anchor = anchor[: len(anchor) - node.level + 1]
                module = ".".join([*anchor, module]).rstrip(".")
            names.append(module)
            names += [f"{module}.{alias.name}" for alias in node.names]
    ours = {name for name in names if name == PACKAGE or name.startswith(f"{PACKAGE}.")}
    return sorted(name for name in ours if _exists(name))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_docstring(line)]
    return tree


def _is_docstring(line: ast.stmt) -> bool:
    """Whether a statement is a string alone, as those of functions and of constants are."""
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )
