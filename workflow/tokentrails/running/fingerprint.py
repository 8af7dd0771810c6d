"""Which code a result came from.

Snakemake sees a rule's script, not what it imports. Each rule puts the fingerprint of its script
into `params`, so that a change in the library makes exactly the results stale that came from there.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ..files.memo import Memo
from ..project import LIBRARY, SCRIPTS

PACKAGE = "tokentrails"

WITHOUT_EFFECT = {
    "_job.py": "opens the log, and ends a job with a message",
    "__init__.py": "holds the version, which is in every table anyway",
    "catalogue.py": "its rows reach a rule as inputs and params",
    **dict.fromkeys(
        ("config/experiments.py", "config/load.py", "config/models.py", "config/senses.py"),
        "what they read reaches a rule as params; of an experiment, its hash",
    ),
    "errors.py": "makes messages",
    "files/atomic.py": "moves a finished file into its place, and removes old parts",
    "files/meanings.py": "describes columns",
    "files/memo.py": "keeps what was worked out of a text",
    "network/lease.py": "waits for a free GPU",
    "progress.py": "draws bars",
    "project.py": "says where files lie",
}
"""Code that says, waits or refuses, but cannot change a value; and why."""


@cache
def fingerprint(script: str, *modules: str) -> str:
    """Hash of the code of a rule's script and of everything that it imports from this project.

    Comments, docstrings and layout do not count. Scripts and styles of pages do, whole.

    Parameters
    ----------
    script: name of the file in `workflow/scripts`, without its ending.
    modules: further modules, by dotted names below the package, that the script loads by name.
    """
    found = closure([SCRIPTS / f"{script}.py", *(_source(f"{PACKAGE}.{m}") for m in modules)])
    text = "\n".join(f"{_name(file)} {_read(file)[0]}" for file in sorted(found, key=_name))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def closure(files: Iterable[Path]) -> set[Path]:
    """These files and all that they import, directly or not, but for `WITHOUT_EFFECT`."""
    found: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in found and _name(file) not in WITHOUT_EFFECT:
            found.add(file)
            waiting += _read(file)[1]
    return found


def _name(file: Path) -> str:
    """A file's path in the library, or its name among the scripts."""
    return file.relative_to(SCRIPTS if file.is_relative_to(SCRIPTS) else LIBRARY).as_posix()


@cache
def _read(file: Path) -> tuple[str, list[Path]]:
    """What counts of one file, and which files it imports."""
    code, imports = _parsed(file.read_text(encoding="utf-8"), _parse)
    return code + _data_files(file), _files(imports, file)


_parsed = Memo("code", f"1, Python {sys.version}")
"""Parsing all files would take most of the time of a start."""


def _parse(source: str) -> list[Any]:
    """A hash of the code of a file, and each of its imports: dots, module and names."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    imports = _imports(nodes)
    _remove_docstrings(nodes)
    return [hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports]


def _source(module: str) -> Path:
    path = LIBRARY.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _data_files(file: Path) -> str:
    """The style, script and fonts that a module writes into its pages: those of its own name."""
    files = [file.with_suffix(suffix) for suffix in (".css", ".js", ".conf")]
    return "".join(data.read_text(encoding="utf-8") for data in files if data.is_file())


def _imports(nodes: list[ast.AST]) -> list[tuple[int, str, list[str]]]:
    found: list[tuple[int, str, list[str]]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", [alias.name for alias in node.names]))
    return found


def _files(imports: Iterable[tuple[int, str, list[str]]], importer: Path) -> list[Path]:
    """The files of this project that a file imports."""
    names: set[str] = set()
    for level, module, members in imports:
        whole = ".".join(filter(None, [_package(importer, level), module]))
        names |= {whole, *(f"{whole}.{member}" for member in members)}
    ours = {_source(name) for name in names if name.split(".")[0] == PACKAGE}
    helpers = {SCRIPTS / f"{name}.py" for name in names if name.startswith("_")}
    return [file for file in ours | helpers if file.is_file()]


def _package(importer: Path, level: int) -> str:
    """The package that a relative import of so many dots begins at; empty for none."""
    if not level:
        return ""
    folder = importer.parents[level - 1].relative_to(LIBRARY)
    return ".".join([PACKAGE, *folder.parts])


def _remove_docstrings(nodes: list[ast.AST]) -> None:
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_docstring(line)]


def _is_docstring(line: ast.stmt) -> bool:
    """Whether a statement is a string alone, as those of functions and of constants are."""
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )
