"""Which files a claim reads for a model, and why it cannot where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from ..catalogue import Scope
from ..settings import Config, Model, single_models, step_of
from .file import Claim, ClaimsFile, Spec, Tables
from .sql import tables_of

Pair = tuple[str | None, str]
"""What a `Source` holds."""

Draw = tuple[str, dict[str, str]]
"""Of random weights: the name of their model, and the path of each table that a formula reads."""


@dataclass(frozen=True)
class Source:
    """A table of one model: its file, or why there is none.

    Attributes
    ----------
    path: None where it is not made.
    reason: in words why it is not made, or which one stands in for the first candidate.
    """

    path: str | None
    reason: str = ""


def sources(tables: Tables, model: Model, config: Config) -> dict[str, Source]:
    """The file of each table for a model: of the first candidate that this configuration makes."""
    found = {}
    for name, specs in tables.items():
        made = _made(specs, model, config)
        if made is None:
            found[name] = Source(None, _reason(specs, model, config))
            continue
        spec, place = made
        stands_in = f"{place.experiment}/{place.metric}: this run has no {specs[0]}"
        found[name] = Source(_path(place, model, config), "" if spec is specs[0] else stands_in)
    return found


def claim_sources(file: ClaimsFile, config: Config) -> dict[str, dict[str, dict[str, Pair]]]:
    """By claim or number, by model that it is about, and by table: its path, or why it has none.

    Claims are about models that have learnt something; texts quote numbers of controls, too.
    """
    studied, every = config.studied.values(), config.models.values()
    entries = [(claim.id, claim.tables, claim.applies_to.models, studied) for claim in file.claims]
    entries += [(number.name, number.tables, number.models, every) for number in file.numbers]
    return {
        name: {
            model.name: {
                table: (source.path, source.reason)
                for table, source in sources(tables, model, config).items()
            }
            for model in _about(models, about, config)
        }
        for name, tables, models, about in entries
    }


def control_draws(file: ClaimsFile, config: Config) -> dict[str, dict[str, list[Draw]]]:
    """By claim and model: the draws of its controls that have all that the corrected formula reads.

    Without one, of a model that is trained here: its checkpoint before the first step. What
    compares checkpoints has no control: those of a control are draws.
    """
    return {
        claim.id: {
            model.name: _draws(claim, model, config)
            for model in _about(claim.applies_to.models, config.studied.values(), config)
        }
        for claim in file.claims
    }


def paths_by_model(
    found: Mapping[str, Mapping[str, Mapping[str, Pair]]],
    draws: Mapping[str, Mapping[str, Sequence[Draw]]],
) -> dict[str, list[str]]:
    """All tables that claims read, by the model that they are of, in order.

    Parameters
    ----------
    found, draws: as `claim_sources` and `control_draws` give them.
    """
    paths: dict[str, set[str]] = {}
    for models in found.values():
        for model, tables in models.items():
            paths.setdefault(model, set()).update(path for path, _ in tables.values() if path)
    for controls in draws.values():
        for control, read in chain.from_iterable(controls.values()):
            paths.setdefault(control, set()).update(read.values())
    return {model: sorted(read) for model, read in sorted(paths.items())}


def _about(names: Sequence[str] | None, models: Iterable[Model], config: Config) -> list[Model]:
    """Models that a claim or number is about: all of them, or those that it names."""
    named = None if names is None else single_models(names, config.replicates)
    return [model for model in models if named is None or model.name in named]


def _draws(claim: Claim, model: Model, config: Config) -> list[Draw]:
    formulas = claim.corrected_formulas().values()
    read = set().union(*(tables_of(sql, claim.where) for sql in formulas)) & claim.tables.keys()
    made = {name: _made(claim.tables[name], model, config) for name in sorted(read)}
    places = {name: found[1] for name, found in made.items() if found is not None}
    if len(places) < len(made) or any(p.checkpoint != model.reference for p in places.values()):
        return []
    controls = [each for each in config.models.values() if each.control_of == model.name]
    draws = [(control, draw) for control in controls for draw in control.checkpoints]
    first = [name for name in model.checkpoints if model.training and step_of(name) == 0]
    untrained = [(model, name) for name in first if name != model.reference]
    for candidates in (draws, untrained):
        if found := [each for pair in candidates if (each := _drawn(places, *pair, config))]:
            return found
    return []


def _drawn(
    places: Mapping[str, Spec], control: Model, checkpoint: str, config: Config
) -> Draw | None:
    """The same tables of a control; None where one of them is not made."""
    drawn = {name: replace(place, checkpoint=checkpoint) for name, place in places.items()}
    if not all(_place(place, control, config) for place in drawn.values()):
        return None
    return control.name, {name: _path(place, control, config) for name, place in drawn.items()}


def _made(specs: Sequence[Spec], model: Model, config: Config) -> tuple[Spec, Spec] | None:
    """The first candidate that is made, and which experiment and checkpoint it stands for."""
    places = ((spec, _place(spec, model, config)) for spec in specs)
    return next(((spec, place) for spec, place in places if place is not None), None)


def _place(spec: Spec, model: Model, config: Config) -> Spec | None:
    """The first experiment and the checkpoint that a candidate stands for; None: it is not made.

    What compares checkpoints is of none.
    """
    checkpoint = spec.checkpoint or model.reference
    table = config.catalogue.tables[spec.metric]
    for name, experiment in config.experiments.items():
        folder = "weights" if table.scope is Scope.WEIGHTS else name
        if spec.experiment not in ("*", folder) or model.name not in experiment.models:
            continue
        if checkpoint not in experiment.checkpoints_of(model):
            continue
        compared = table.scope is not Scope.ACROSS or (model, experiment) in config.across(table)
        if experiment.makes(table) and compared:
            return Spec(folder, spec.metric, None if table.scope is Scope.ACROSS else checkpoint)
    return None


def _path(place: Spec, model: Model, config: Config) -> str:
    names = {"model": model.name, "checkpoint": place.checkpoint, "experiment": place.experiment}
    return f"{config.catalogue.tables[place.metric].path.format(**names)}.parquet"


def _reason(specs: Sequence[Spec], model: Model, config: Config) -> str:
    lacking = [
        s.checkpoint for s in specs if s.checkpoint and s.checkpoint not in model.checkpoints
    ]
    if len(lacking) == len(specs):
        return f"the model has no checkpoint {lacking[0]} in this configuration"
    if len(model.checkpoints) == 1 and all(_compares_checkpoints(s, config) for s in specs):
        return "the model has one checkpoint"
    if any(spec.experiment == "*" for spec in specs):
        return f"no experiment of this configuration makes {specs[-1].metric} for this model"
    names = " or ".join(map(str, specs))
    return f"this configuration does not make {names} for this model"


def _compares_checkpoints(spec: Spec, config: Config) -> bool:
    analyses = config.catalogue.tables[spec.metric].analyses
    return any(config.catalogue.analyses[name].several_checkpoints for name in analyses)
