"""Reading and checking the whole configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..catalogue import ANALYSES, BASELINE, FIGURE_SUFFIXES, MODEL_FOLDER, Scope
from ..errors import KeyPath, Where, show_keys
from ..files.near import near_or_all
from ..files.schema import check, schema, with_defaults
from ..files.yaml_file import YamlFile, top_level
from ..project import PROJECT
from ..settings import SOURCE_KINDS, Config, Experiment, Model, single_models
from .experiments import load_experiment, refuse_taken
from .measures import add_measures, load_measures
from .models import load_model, load_replicates
from .titles import check_title, refuse_scripts

_MADE = ("results", str(Path(MODEL_FOLDER).parent.parent))

_WILDCARD = re.compile(r"\{\s*[.\w]+\s*(,.*)?\}|<[a-z][a-z0-9_]*>")  # and its pathvars


def load_config(data: dict[str, Any], files: Sequence[str] = ()) -> Config:
    """Check a configuration and the experiment files that it names.

    Parameters
    ----------
    data: the merged configuration.
    files: the files it was read from, for lines in messages and for repeated keys.

    Raises
    ------
    TokentrailsError: for the first thing that is wrong.
    """
    yamls = [YamlFile(file, is_config=True) for file in files]
    merged = data

    def show(keys: KeyPath) -> str:
        there = keys  # or what it would stand under
        while (value := _value(merged, there)) is _NOTHING:
            there = there[:-1]
        for file in reversed(yamls):
            if _gives(_value(file.data, there), value):
                return file.where(keys)
        return f"{'--config' if files else 'config'}, {show_keys(keys) or 'top level'}"

    own_titles, data = _split_titles(data)
    check(data, "config", show)
    where = Where(show)
    refuse_scripts(data | {"figures": data.get("figures", {}) | own_titles}, where)
    filled = with_defaults(data, schema("config"))
    sets = {n: entry for n, entry in data["models"].items() if "replicates" in entry}
    entries = {name: entry for name, entry in filled["models"].items() if name not in sets}
    models = {name: load_model(name, entries, where / "models") for name in entries}
    replicates = {n: load_replicates(n, sets, models, where / "models") for n in sets}
    experiments = {}
    for name, entry in data["experiments"].items():
        here = where / "experiments" / name
        refuse_taken(name, here)
        named = entry.get("models", list(data["models"]))
        for index, model in enumerate(named):
            if model not in data["models"]:
                guess = near_or_all(model, data["models"])
                raise (here / "models" / index).error(
                    f"the model {model!r} is not in the configuration",
                    f"add it under 'models', or name one of them: {guess}.",
                )
        runs_on = {
            "models": single_models(named, replicates),
            "replicates": [each for each in replicates if each in named],
        }
        experiments[name] = load_experiment(name, entry | runs_on, where=where)
        _check_checkpoints(experiments[name], models, here)
    _check_neurons(experiments, where / "experiments")
    measures = load_measures(filled["measures"], experiments, where)
    experiments = add_measures(experiments, measures)
    if filled["baseline"]["enabled"]:
        experiments |= _baseline(filled["baseline"]["file"], experiments, models, measures, where)
    filled["formats"] = filled["figures"].pop("formats")
    filled["figures"] |= own_titles
    for figure, title in filled["figures"].items():
        check_title(title, where / "figures" / figure)
    filled["claims"] = {"file": _claims_file()} | filled["claims"]
    sections = ("extract", "report", "explore", "summary", "statistics", "figures", "claims")
    settings = {section: filled[section] for section in (*sections, "paper", "formats")}
    config = Config(models, replicates, experiments, measures, where=where, **settings)
    _check_composites(config, where)
    _check_paper(config, where / "paper")
    _check_paths(config, where)
    return config


def _check_paths(config: Config, where: Where) -> None:
    """Refuse paths in which Snakemake sees wildcards, and files that the workflow itself makes.

    The former it has no way to escape; the latter it would make for models that there are not.
    """
    paths: list[tuple[Where, str | None]] = [(where / "claims" / "file", config.claims["file"])]
    for model in config.models.values():
        here = where / "models" / model.name
        if SOURCE_KINDS[model.source.kind].is_path:
            paths.append((here / "source", model.source.location))
        paths += [(here / "lenses" / lens.name / "file", lens.file) for lens in model.lenses]
    for experiment in config.experiments.values():
        paths += _paths_in_file(experiment)
    for place, path in ((place, path) for place, path in paths if path):
        whole = Path(path).expanduser().resolve()
        for folder in _MADE:
            if whole.is_relative_to(Path(folder).resolve()):
                raise place.error(
                    f"the path {path!r} lies in {folder}/, which holds what this workflow makes",
                    "copy what you need to a place of its own, and name that.",
                )
        if wildcard := _WILDCARD.search(path):
            raise place.error(
                f"the path {path!r} has {wildcard[0]} in it, which Snakemake takes for a wildcard",
                "rename the folder or the file, or name a link to it.",
            )


def _paths_in_file(experiment: Experiment) -> Iterator[tuple[Where, str]]:
    """The files that an experiment's own file names, and its keys."""
    where = top_level(experiment.file)
    keys = (("words", "list"), ("splits", "list"), ("corpus", "text"), ("table", "file"))
    for section, key in keys:
        if given := getattr(experiment, section):
            yield where / section / key, getattr(given, key)
    for key in ("contexts_from", "function_words", "frequency_list"):
        if given := getattr(experiment, key):
            yield where / key, given


def _check_composites(config: Config, where: Where) -> None:
    """Refuse two experiments whose composites would have the same name."""
    seen: dict[str, str] = {}
    for figure in config.catalogue.figures.values():
        for name, experiment in config.experiments.items():
            if figure.scope is Scope.MODELS and config.draws(figure, experiment):
                path = figure.path.format(experiment=name)
                if seen.setdefault(path, name) != name:
                    raise (where / "experiments" / name).error(
                        f"{path} would be a figure of both {name!r} and {seen[path]!r}",
                        "give one of these experiments, or the measure, another name.",
                    )


def _check_paper(config: Config, where: Where) -> None:
    """Refuse figures of a format that none is written in."""
    for index, entry in enumerate(config.paper):
        file = PurePosixPath(entry["file"])
        suffix = file.suffix[1:]
        if (
            file.parts[0] in ("figures", "composites")
            and suffix in FIGURE_SUFFIXES
            and suffix not in config.formats
        ):
            raise (where / index / "file").error(
                f"{entry['file']} is not made: the formats of figures are "
                f"{', '.join(config.formats)}",
                f"name one of these, or add {suffix} to the 'formats' of 'figures'.",
            )


def _split_titles(data: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Titles of the figures of the user's own measures, and the configuration without them."""
    measures, figures = (data.get(key) for key in ("measures", "figures"))
    if not isinstance(measures, dict) or not isinstance(figures, dict):
        return {}, data
    names = {figure for name in measures for figure in (name, f"{name}_composite")}
    own = {k: v for k, v in figures.items() if k in names and isinstance(v, str)}
    return own, data | {"figures": {k: v for k, v in figures.items() if k not in own}}


_NOTHING = object()


def _value(data: Any, keys: KeyPath) -> Any:
    """What lies at a key path, or _NOTHING."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return data


def _gives(held: Any, value: Any) -> bool:
    """Whether a file that holds the one gave the other; mappings of several sources are merged."""
    both = isinstance(held, dict) and isinstance(value, dict)
    return both or held == value or repr(held) == repr(value)  # of NaN, which equals nothing


def _claims_file() -> str:
    """That of the working directory, or the one that comes with the workflow."""
    own = "config/claims.yaml"
    return own if Path(own).is_file() else str(PROJECT / own)


def _baseline(
    file: str,
    experiments: dict[str, Experiment],
    models: dict[str, Model],
    measures: Collection[str],
    where: Where,
) -> dict[str, Experiment]:
    """The experiment that random pairs come from, where anything is compared with them.

    It runs on the models, and at the sites, of the experiments that compare.
    """
    similarities = {*measures, *(each.name for each in ANALYSES if each.similarity)}
    compared = [e for e in experiments.values() if not similarities.isdisjoint(e.analyses)]
    if not compared:
        return {}
    used = {name for experiment in compared for name in experiment.models}
    sites = sorted({site for experiment in compared for site in experiment.sites})
    entry = {"file": file, "models": [name for name in models if name in used], "sites": sites}
    if all(experiment.checkpoints != "all" for experiment in compared):
        entry["checkpoints"] = sorted({n for each in compared for n in each.named_checkpoints})
    return {BASELINE: load_experiment(BASELINE, entry, where=where)}


def _check_checkpoints(experiment: Experiment, models: dict[str, Model], where: Where) -> None:
    """Refuse checkpoints that no model has, and what compares them where no model has several."""
    runs_on = [models[name] for name in experiment.models]
    there = {name: None for model in runs_on for name in model.checkpoints}
    for index, name in enumerate(experiment.named_checkpoints):
        if name not in there:
            raise (where / "checkpoints" / index).error(
                f"none of the experiment's models has a checkpoint {name!r}",
                f"choose from {', '.join(there)}.",
            )
    if any(len(experiment.checkpoints_of(model)) > 1 for model in runs_on):
        return
    compared = [each.name for each in ANALYSES if each.several_checkpoints]
    for analysis in (name for name in compared if name in experiment.analyses):
        leave = f"leave '{analysis}' out of the analyses"
        if several := [model.name for model in runs_on if len(model.checkpoints) > 1]:
            raise (where / "checkpoints").error(
                f"{analysis} compares checkpoints, and of {', '.join(several)} the reference alone "
                "is asked for",
                f"write all, name others besides the reference, or {leave}.",
            )
        raise where.error(
            f"{analysis} compares checkpoints, but {', '.join(experiment.models)} "
            f"{'has' if len(experiment.models) == 1 else 'have'} one each here",
            f"give a model a list of 'checkpoints', or {leave} of {experiment.file}.",
        )


def _check_neurons(experiments: dict[str, Experiment], where: Where) -> None:
    """Refuse experiments that would list neurons differently: a checkpoint has one list."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, experiment in experiments.items():
        if experiment.circuits is None or "neurons" not in experiment.analyses:
            continue
        listing = experiment.circuits.list_settings
        for model in experiment.models:
            other, theirs = first.setdefault(model, (name, listing))
            for key in (key for key in listing if listing[key] != theirs[key]):
                raise (where / name / "circuits" / key).error(
                    f"the neurons of {model!r} are listed once for all experiments, but {key} is "
                    f"{listing[key]} here and {theirs[key]} in {other!r}",
                    "give both the same value, or leave neurons out of the analyses of one.",
                )
