"""Measures of the user's own: what their files say, read without running them."""

from __future__ import annotations

import ast
import hashlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..catalogue import CATALOGUE
from ..errors import Where
from ..files.near import near_path
from ..settings import SITES, Experiment, Measure
from .titles import refuse_script

READS = ("hidden", "previous", "embedding", "tokens", "site", "layer")
"""The parameters that the function `measure` may have."""

_CONSTANTS = {"TITLE": str, "MEANING": str, "UNIT": str, "SITES": tuple}

_TAKEN = {
    *CATALOGUE.analyses,
    *CATALOGUE.tables,
    *CATALOGUE.figures,
    *(row.target for row in CATALOGUE.analyses.values()),
    *("all", "claims", "composites", "costs", "figures", "metrics", "models", "paper", "plan"),
    *("predictions", "tokens", "hidden_states", "weights", "document", "model", "passing_model"),
    *("partial_states", "joined_states", "streamed_tokens", "corpus_sums"),
    *("texts", "training", "training_text", "word_list", "page_script", "predictions_text"),
    *("everything", "explore", "formats"),
}

_RULE = re.compile(r".+_(tables?|figure|measure|of_replicates)")
"""Names of rules that follow from those of analyses, tables, figures and measures."""


def load_measures(
    entries: Mapping[str, Mapping[str, Any]], experiments: Collection[str], where: Where
) -> dict[str, Measure]:
    """The measures of the configuration.

    Parameters
    ----------
    where: the configuration's top level, for messages.

    Raises
    ------
    TokentrailsError: for a name that is taken, a file that is not there or is no such measure, and
        an experiment that is not in the configuration.
    """
    loaded: dict[str, Measure] = {}
    for name, entry in entries.items():
        here = where / "measures" / name
        others = {row for other in entries if other != name for row in _rows(other)}
        if _RULE.fullmatch(name) or not _rows(name).isdisjoint(_TAKEN | others):
            raise here.error(
                f"the name {name!r} is taken by something that the workflow makes",
                "call the measure otherwise.",
            )
        for index, experiment in enumerate(entry.get("experiments", ())):
            if experiment not in experiments:
                raise (here / "experiments" / index).error(
                    f"the experiment {experiment!r} is not in the configuration",
                    f"name some of these: {', '.join(experiments)}.",
                )
        users = tuple(entry.get("experiments", experiments))
        loaded[name] = load_measure(name, entry["file"], users, here / "file")
    return loaded


def _rows(name: str) -> set[str]:
    """The tables and figures of a measure."""
    return {name, f"{name}_curves", f"{name}_composite"}


def add_measures(
    experiments: Mapping[str, Experiment], measures: Mapping[str, Measure]
) -> dict[str, Experiment]:
    """The experiments, with the measures that are computed for them among their analyses."""
    return {
        name: replace(
            experiment,
            analyses=(
                *experiment.analyses,
                *(m.name for m in measures.values() if name in m.experiments),
            ),
        )
        for name, experiment in experiments.items()
    }


def load_measure(name: str, file: str, experiments: tuple[str, ...], where: Where) -> Measure:
    """What a measure's file says of itself. None of its code runs here."""
    content = _content(file, where)
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f"{file}, line {line}" if line else file
        raise where.error(f"{place}: this is no Python: {error}", "mend the file.") from error
    stated = {
        node.targets[0].id: _constant(node, file, where)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in _CONSTANTS
    }
    _refuse_other_bindings(tree, file, where)
    unknown = set(stated.get("SITES", ())) - set(SITES)
    if unknown:
        raise where.error(
            f"{file}: SITES names {min(unknown)!r}, which is no site",
            f"choose from {', '.join(SITES)}.",
        )
    docstring = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
    title = stated.get("TITLE") or docstring or name.replace("_", " ")
    meaning, unit = stated.get("MEANING") or title, stated.get("UNIT", "")
    for text in (title, meaning, unit):
        refuse_script(text, where)
    return Measure(
        name=name,
        file=os.path.normpath(file),
        title=title,
        meaning=meaning,
        unit=unit,
        sites=tuple(sorted(stated.get("SITES", ()))),
        reads=_parameters(tree, file, where),
        sha256=hashlib.sha256(content).hexdigest(),
        experiments=experiments,
    )


def _content(file: str, where: Where) -> bytes:
    """The bytes of a regular file: one that never ends, such as a pipe, is refused."""
    hint = f"{near_path(file)}its path is relative to the working directory."
    try:
        if Path(file).exists() and not Path(file).is_file():
            raise where.error(f"{file!r} is no file", hint)
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise where.error(f"the file {file!r} cannot be read: {reason}", hint) from error


def _refuse_other_bindings(tree: ast.Module, file: str, where: Where) -> None:
    """Refuse a constant that is set in a way that is not read without running the file."""
    for line in tree.body:
        names = [node for node in ast.walk(line) if isinstance(node, ast.Name)]
        for name in names:
            is_bound = isinstance(name.ctx, ast.Store) and name.id in _CONSTANTS
            if is_bound and not _is_plain(line):
                raise where.error(
                    f"{file}, line {name.lineno}: {name.id} is not set by a plain assignment",
                    f"write {name.id} = … in a line of its own, with the value written out.",
                )


def _is_plain(line: ast.stmt) -> bool:
    if not isinstance(line, ast.Assign):
        # Names within a function or a class are their own.
        return isinstance(line, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)


def _constant(line: ast.Assign, file: str, where: Where) -> Any:
    name = line.targets[0].id  # type: ignore[attr-defined]
    try:
        found = ast.literal_eval(line.value)
        found = tuple(found) if isinstance(found, list) else found
        texts = found if isinstance(found, tuple) else (found,)
        right = all(isinstance(text, str) and text.encode() is not None for text in texts)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        right = False
    if not right or not isinstance(found, _CONSTANTS[name]):
        kind = "a text" if _CONSTANTS[name] is str else "a tuple of texts"
        problem = f"{file}, line {line.lineno}: {name} must be {kind}, written out"
        raise where.error(problem, "mend it.")
    return found


def _parameters(tree: ast.Module, file: str, where: Where) -> tuple[str, ...]:
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "measure"]
    if not found:
        raise where.error(
            f"{file} defines no function 'measure'",
            "write one, such as: def measure(hidden): return (hidden**2).sum(axis=1) ** 0.5",
        )
    arguments = found[-1].args
    names = [a.arg for a in (*arguments.args, *arguments.kwonlyargs)]
    more = [f"*{a.arg}" for a in (arguments.vararg, arguments.kwarg) if a]
    more += [f"{a.arg}, /" for a in arguments.posonlyargs]
    unknown = [name for name in names if name not in READS] + more
    if unknown or not names:
        raise where.error(
            f"{file}, line {found[-1].lineno}: 'measure' has "
            + (f"the parameter {unknown[0]!r}" if unknown else "no parameter"),
            f"name what it reads, of these: {', '.join(READS)}.",
        )
    return tuple(names)
