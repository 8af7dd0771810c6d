"""Which files a claim reads for a model, and why it cannot where there are none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ..settings import Config, Experiment, Model
from .file import Spec, Tables

Measured = tuple[Sequence[str], Sequence[str]]
"""The metrics of an analysis: at every checkpoint, and across the checkpoints of a model."""

OF_CHECKPOINTS = frozenset({"convergence", "convergence_by_group", "alignment"})
"""Metrics that need several checkpoints."""


@dataclass(frozen=True)
class Source:
    """A table of one model: its file, or why there is none.

    Attributes
    ----------
    path: None where it is not made.
    reason: in words; empty where it is made.
    """

    path: str | None
    reason: str = ""


def sources(
    tables: Tables,
    model: Model,
    config: Config,
    measured: Callable[[str, Experiment], Measured],
    path: Callable[[str, str, str, str], str],
) -> dict[str, Source]:
    """The file of each table for a model: of the first candidate that this configuration makes.

    Parameters
    ----------
    measured: what an analysis of an experiment measures.
    path: of a metric table: by model, checkpoint, experiment and metric.
    """
    found = {}
    for name, specs in tables.items():
        made = [file for spec in specs if (file := _file(spec, model, config, measured, path))]
        found[name] = Source(made[0]) if made else Source(None, _why(specs, model))
    return found


def known_metrics(measured: Iterable[Measured], *more: str) -> Collection[str]:
    """The names of all tables that there can be."""
    return {metric for pair in measured for part in pair for metric in part} | set(more)


def _file(
    spec: Spec,
    model: Model,
    config: Config,
    measured: Callable[[str, Experiment], Measured],
    path: Callable[[str, str, str, str], str],
) -> str | None:
    checkpoint = spec.checkpoint or model.reference
    if checkpoint not in model.checkpoints:
        return None
    for name, experiment in config.experiments.items():
        if model.name not in experiment.models:
            continue
        if spec.experiment == "weights":
            if spec.metric == "neurons" and "neurons" in experiment.analyses:
                return path(model.name, checkpoint, "weights", spec.metric)
            continue
        if spec.experiment not in ("*", name):
            continue
        for analysis in experiment.analyses:
            at_each, of_all = measured(analysis, experiment)
            if spec.metric in at_each:
                return path(model.name, checkpoint, name, spec.metric)
            if spec.metric in of_all and (model, experiment) in config.across(analysis):
                return path(model.name, "all", name, spec.metric)
    return None


def _why(specs: Sequence[Spec], model: Model) -> str:
    lacking = [
        s.checkpoint for s in specs if s.checkpoint and s.checkpoint not in model.checkpoints
    ]
    if len(lacking) == len(specs):
        return f"the model has no checkpoint {lacking[0]} in this configuration"
    if len(model.checkpoints) == 1 and all(s.metric in OF_CHECKPOINTS for s in specs):
        return "the model has one checkpoint"
    if any(spec.experiment == "*" for spec in specs):
        return f"no experiment of this configuration makes {specs[-1].metric} for this model"
    names = " or ".join(map(str, specs))
    return f"this configuration does not make {names} for this model"
