"""What was seen as an experiment file, which the workflow runs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..config.experiments import load_experiment_file, refuse_taken
from ..errors import TokentrailsError
from ..files.schema import schema
from ..settings import Prompt

FOLDER = Path("config/experiments")
ANALYSES = ["identity", "ranks", "own_token"]
OPENED = {"inside": ["heads", "neurons", "attribution"], "evolution": ["evolution"]}
"""What else an experiment measures, by the panel of the page that was open."""


def text_file(
    name: str, text: str, opened: Sequence[str] = (), without: Collection[str] = ()
) -> str:
    """An experiment on every token of a text; raises as `experiment_file` does.

    Parameters
    ----------
    opened: keys of `OPENED`; others say nothing.
    without: analyses that the model does not have.
    """
    more = [each for panel, names in OPENED.items() if panel in opened for each in names]
    analyses = [each for each in (*ANALYSES, *more) if each not in without]
    return experiment_file(name, analyses, [Prompt(name, text)])


def experiment_file(name: str, analyses: Sequence[str], prompts: Sequence[Prompt]) -> str:
    """An experiment on texts.

    Raises
    ------
    TokentrailsError: for a name that no experiment can have, and for a text that no YAML file
        holds.
    """
    _refuse(name)
    keys = ("label", "word", "occurrence", "prompt")
    texts = [
        {key: value for key in keys if (value := getattr(prompt, key)) not in (None, 1)}
        for prompt in prompts
    ]
    content = _yaml({"analyses": list(analyses), "prompts": texts})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(content, encoding="utf-8")
        read = load_experiment_file(str(path)).prompts
    if list(read) != list(prompts):
        raise TokentrailsError(
            "a YAML file would change a character of this text", hint="remove control characters."
        )
    return content


def config_entry(
    name: str,
    model: str,
    special_tokens: str,
    sites: Sequence[str],
    control: str | None = None,
    **more: Any,
) -> str:
    """How the configuration names the experiment, and that with a control word beside it.

    Raises
    ------
    TokentrailsError: for a name that no experiment can have.
    """
    changes = {name: more}
    if control:
        changes[replaced_name(name)] = more | {"replace": [control]}
    for each in changes:
        _refuse(each)
    entries = {
        each: {
            "file": str(path_of(name)),
            "models": [model],
            "sites": list(sites),
            "special_tokens": special_tokens,
            **change,
        }
        for each, change in changes.items()
    }
    return _yaml({"experiments": entries})


def _refuse(name: str) -> None:
    rule = schema("config")["$defs"]["name"]
    if not re.search(rule["pattern"], name):
        allowed, _, _ = rule["description"].partition(";")
        raise TokentrailsError(
            f"{name!r} cannot be the name of an experiment", hint=f"use {allowed}."
        )
    refuse_taken(name)


def replaced_name(name: str) -> str:
    """What the experiment with a control word in the word's place is called."""
    return f"{name}_replaced"


def path_of(name: str) -> Path:
    """The experiment file of a name."""
    return FOLDER / f"{name}.yaml"


def write(name: str, content: str) -> Path:
    """Write a new experiment file under the working directory; one that is there stays.

    Raises
    ------
    TokentrailsError: if there is such a file, or it cannot be written.
    """
    path = path_of(name)
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError as error:
        raise TokentrailsError(
            "the file is there already", where=path, hint="choose another name."
        ) from error
    except OSError as error:
        raise TokentrailsError(
            f"the file cannot be written: {error.strerror}",
            where=path,
            hint="check the folder's permissions.",
        ) from error
    return path


def _yaml(data: Any) -> str:
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100)
