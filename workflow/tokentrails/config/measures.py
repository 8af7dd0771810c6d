"""Measures of the user's own: what their files say, read without running them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..catalogue import CATALOGUE
from ..files.yaml_file import Where
from ..settings import SITES, Experiment, Measure

READS = ("hidden", "previous", "embedding", "tokens", "site", "layer")
"""The parameters that the function `measure` may have."""

_CONSTANTS = {"TITLE": str, "MEANING": str, "UNIT": str, "SITES": tuple}

_TAKEN = {
    *CATALOGUE.analyses,
    *CATALOGUE.tables,
    *CATALOGUE.figures,
    *(row.target for row in CATALOGUE.analyses.values()),
    *("all", "claims", "composites", "costs", "figures", "metrics", "models", "paper", "plan"),
    *("page", "predictions", "tokens", "hidden_states", "weights"),
}


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
        if not _rows(name).isdisjoint(_TAKEN | others):
            raise here.error(
                f"the name {name!r} is taken by something that the workflow makes",
                "call the measure otherwise.",
            )
        for experiment in entry.get("experiments", ()):
            if experiment not in experiments:
                raise (here / "experiments").error(
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
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise where.error(
            f"the file {file!r} cannot be read: {error.strerror}",
            "its path is relative to the working directory.",
        ) from error
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{file}, line {line}" if line else file
        raise where.error(f"{place}: this is no Python: {error}", "mend the file.") from error
    constants = {
        target.id: (node.lineno, node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in _CONSTANTS
    }
    stated = {key: _constant(key, *pair, file, where) for key, pair in constants.items()}
    unknown = set(stated.get("SITES", ())) - set(SITES)
    if unknown:
        raise where.error(
            f"{file}: SITES names {min(unknown)!r}, which is no site",
            f"choose from {', '.join(SITES)}.",
        )
    docstring = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
    title = stated.get("TITLE") or docstring or name.replace("_", " ")
    return Measure(
        name=name,
        file=file,
        experiments=experiments,
        title=title,
        meaning=stated.get("MEANING") or title,
        unit=stated.get("UNIT", ""),
        sites=tuple(sorted(stated.get("SITES", ()))),
        reads=_parameters(tree, file, where),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _constant(key: str, line: int, value: ast.expr, file: str, where: Where) -> Any:
    try:
        found = ast.literal_eval(value)
    except ValueError:
        found = None
    if _CONSTANTS[key] is tuple and isinstance(found, list):
        found = tuple(found)
    if not isinstance(found, _CONSTANTS[key]):
        kind = "a text" if _CONSTANTS[key] is str else "a tuple of texts"
        raise where.error(f"{file}, line {line}: {key} must be {kind}, written out", "mend it.")
    return found


def _parameters(tree: ast.Module, file: str, where: Where) -> tuple[str, ...]:
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "measure"]
    if not found:
        raise where.error(
            f"{file} defines no function 'measure'",
            "write one, such as: def measure(hidden): return (hidden**2).sum(axis=1) ** 0.5",
        )
    arguments = found[-1].args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    more = [a.arg for a in (arguments.vararg, arguments.kwarg) if a]
    unknown = [name for name in names if name not in READS] + [f"*{name}" for name in more]
    if unknown or not names:
        raise where.error(
            f"{file}, line {found[-1].lineno}: 'measure' has "
            + (f"the parameter {unknown[0]!r}" if unknown else "no parameter"),
            f"name what it reads, of these: {', '.join(READS)}.",
        )
    return tuple(names)
