"""Which files a claim reads for a model, and why it cannot where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..catalogue import Scope
from ..settings import Config, Model, single_models
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
        made = [(spec, path) for spec in specs if (path := _path(spec, model, config))]
        if not made:
            found[name] = Source(None, _reason(specs, model, config))
            continue
        spec, path = made[0]
        stands_in = f"{Path(path).parent.name}/{spec.metric} for lack of {specs[0]}"
        found[name] = Source(path, "" if spec is specs[0] else stands_in)
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
            for model in about
            if models is None or model.name in single_models(models, config.replicates)
        }
        for name, tables, models, about in entries
    }


def control_draws(
    file: ClaimsFile, config: Config, found: Mapping[str, Mapping[str, Mapping[str, Pair]]]
) -> dict[str, dict[str, list[Draw]]]:
    """By claim and model: the draws of its controls that have all that the corrected formula reads.

    Parameters
    ----------
    found: as `claim_sources` gives it.
    """
    return {
        claim.id: {
            name: _draws(claim, files, config.models[name], config)
            for name, files in found[claim.id].items()
        }
        for claim in file.claims
    }


def _draws(claim: Claim, files: Mapping[str, Pair], model: Model, config: Config) -> list[Draw]:
    formulas = claim.corrected_formulas().values()
    read = set().union(*(tables_of(sql, claim.where) for sql in formulas)) & files.keys()
    controls = (each for each in config.models.values() if each.control_of == model.name)
    draws = []
    for control, draw in ((each, draw) for each in controls for draw in each.checkpoints):
        paths = {name: _drawn(files[name][0], model, control, draw, config) for name in read}
        known = {name: path for name, path in sorted(paths.items()) if path}
        if len(known) == len(read):
            draws.append((control.name, known))
    return draws


def _drawn(path: str | None, model: Model, control: Model, draw: str, config: Config) -> str | None:
    """The same table of a control, of the same experiment; of the model's reference alone.

    What compares checkpoints has none: those of a control are draws.
    """
    if path is None or Path(path).parts[-3] != model.reference:
        return None
    return _path(Spec(Path(path).parent.name, Path(path).stem, draw), control, config)


def _path(spec: Spec, model: Model, config: Config) -> str | None:
    checkpoint = spec.checkpoint or model.reference
    table = config.catalogue.tables[spec.metric]
    for name, experiment in config.experiments.items():
        wanted = "weights" if table.scope is Scope.WEIGHTS else name
        if spec.experiment not in ("*", wanted) or model.name not in experiment.models:
            continue
        if checkpoint not in experiment.checkpoints_of(model):
            continue
        compared = table.scope is not Scope.ACROSS or (model, experiment) in config.across(table)
        if experiment.makes(table) and compared:
            place = {"model": model.name, "checkpoint": checkpoint, "experiment": name}
            return f"{table.path.format(**place)}.parquet"
    return None


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
