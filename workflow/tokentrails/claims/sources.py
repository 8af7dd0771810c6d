"""Which files a claim reads for a model, and why it cannot where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..catalogue import Scope
from ..settings import Config, Model, single_models
from .file import ClaimsFile, Spec, Tables


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


def claim_sources(
    file: ClaimsFile, config: Config
) -> dict[str, dict[str, dict[str, tuple[str | None, str]]]]:
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
