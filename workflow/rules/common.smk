# Reads the configuration and answers what each rule needs to know of it.

import fcntl
import os
import sys
from dataclasses import asdict
from typing import NamedTuple

from snakemake.exceptions import WorkflowError

# The library lies beside the rules; the scripts find it through scripts/_job.py.
sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))

from tokentrails.config import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.fingerprint import fingerprint
from tokentrails.models.local import local_files
from tokentrails.models.source import FORM
from tokentrails.models.trained import FOLDER as TRAINED

try:
    SETUP = load_config(config, list(map(str, workflow.configfiles)))
    # Here and not in an input function, whose errors Snakemake shows with a traceback.
    LOCAL_FILES = {
        (model.name, checkpoint): list(map(str, local_files(model.source, checkpoint)))
        for model in SETUP.models.values()
        if model.source.kind == "path"
        for checkpoint in model.checkpoints
    }
except TokentrailsError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    checkpoint=r"(?!all/)[A-Za-z0-9][A-Za-z0-9._-]*",  # all/ holds what is across checkpoints
    experiment=r"[A-Za-z0-9][A-Za-z0-9._-]*",


METRIC = "results/metrics/{model}/{checkpoint}/{experiment}/{metric}.{suffix}"
TRAINING_FIGURE = "results/figures/{model}/training.{suffix}"
FIGURE = "results/figures/{model}/{checkpoint}/{experiment}/{figure}.{suffix}"
COMPOSITE = "results/composites/{experiment}_{composite}.{suffix}"

PAPER = ("html", "svg", "png", "pdf", "json")


class CheckpointFigure(NamedTuple):
    """Which analysis a figure belongs to, its table, what draws it, and its options."""

    analysis: str
    table: str
    drawing: str
    options: dict


BAND = {"confidence": SETUP.statistics["confidence"]}
OF_GROUPS = ("convergence", "convergence_by_group", "figures.convergence", BAND)
OF_PERTURBATION = ("perturbation", "perturbation_by_group", "figures.perturbation", BAND)

CHECKPOINT_FIGURES = {
    "convergence": CheckpointFigure(*OF_GROUPS),
    "convergence_aggregate": CheckpointFigure(*OF_GROUPS),
    "convergence_slope": CheckpointFigure(*OF_GROUPS),
    "convergence_heatmap": CheckpointFigure(
        "convergence", "convergence_by_group", "figures.alignment", {}
    ),
    "alignment": CheckpointFigure("convergence", "alignment", "figures.alignment", {}),
    "perturbation": CheckpointFigure(*OF_PERTURBATION),
    "perturbation_steps": CheckpointFigure(*OF_PERTURBATION),
}


# One run at a time in a folder. The kernel drops this lock when its process dies, however it dies;
# Snakemake's own lock stays after a kill -9 and makes the same command fail, so the default profile
# turns that one off.
onstart:
    global RUN_LOCK
    RUN_LOCK = open(".snakemake/tokentrails.lock", "w")
    try:
        fcntl.flock(RUN_LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(
            "another tokentrails run is working in this folder.\n"
            "Hint: wait until it has ended, or stop it; then run the same command again."
        )


def get_models(wildcards):
    return [
        f"resources/models/{model.name}/{checkpoint}/provenance.json"
        for model, checkpoint, _ in SETUP.runs()
    ]


def get_source_files(wildcards):
    """What a checkpoint is made from, where that lies on this disk."""
    if SETUP.models[wildcards.model].training:
        return TRAINED.format(model=wildcards.model)
    return LOCAL_FILES.get((wildcards.model, wildcards.checkpoint), [])


def get_tokenizer(wildcards):
    """The files of the reference checkpoint that tokenizing depends on; the weights are not among them."""
    model = SETUP.models[wildcards.model]
    names = ("tokenizer.json", "tokenizer_config.json", "config.json")
    return [f"resources/models/{model.name}/{model.reference}/{name}" for name in names]


def get_experiment(wildcards):
    return SETUP.experiments[wildcards.experiment]


def get_context(wildcards):
    """The context table, where the experiment asks for one."""
    if "context" not in get_experiment(wildcards).analyses:
        return []
    return [METRIC.format(metric="context", suffix="parquet", **wildcards)]


def get_metric_names(experiment):
    wanted = {"identity": ["identity", "summary"], "context": ["identity", "context", "summary"]}
    return sorted({metric for analysis in experiment.analyses for metric in wanted[analysis]})


def get_run(model, checkpoint, experiment):
    """The wildcards of one run."""
    return {"model": model.name, "checkpoint": checkpoint, "experiment": experiment.name}


def get_metrics(wildcards):
    return [
        METRIC.format(metric=metric, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        for metric in get_metric_names(run[-1])
        for suffix in ("parquet", "csv")
    ]


def get_training_figures():
    trained = {model.name for model, _, _ in SETUP.runs() if model.training}
    return [
        TRAINING_FIGURE.format(model=model, suffix=suffix)
        for model in sorted(trained)
        for suffix in PAPER
    ]


def get_figures(wildcards):
    return get_training_figures() + [
        FIGURE.format(figure=figure, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        for figure in ("identity_context", "summary")
        for suffix in PAPER
    ]


def get_checkpoint_figures(wildcards):
    """The figures of models that have several checkpoints."""
    runs = {
        (model.name, experiment.name): experiment
        for model, _, experiment in SETUP.runs()
        if len(model.checkpoints) > 1
    }
    return [
        FIGURE.format(model=model, checkpoint="all", experiment=name, figure=figure, suffix=suffix)
        for (model, name), experiment in runs.items()
        for figure, about in CHECKPOINT_FIGURES.items()
        if about.analysis in experiment.analyses
        for suffix in PAPER
    ]


def get_checkpoint_figure(answer):
    """A function of wildcards: what `answer` says of their figure."""
    return lambda wildcards: answer(CHECKPOINT_FIGURES[wildcards.figure])


def get_checkpoint_figure_table(wildcards):
    """The table that a figure across checkpoints shows."""
    table = CHECKPOINT_FIGURES[wildcards.figure].table
    return METRIC.format(metric=table, suffix="parquet", **{**wildcards, "checkpoint": "all"})


def get_composites(wildcards):
    return [
        COMPOSITE.format(experiment=experiment, composite=composite, suffix=suffix)
        for experiment in SETUP.experiments
        for composite in ("senses", "depth")
        for suffix in PAPER
    ]


def get_of_all_models(metric):
    """An input function: one metric of an experiment at the reference checkpoint of each model."""

    def get(wildcards):
        experiment = get_experiment(wildcards)
        if metric not in get_metric_names(experiment):
            return []
        models = [SETUP.models[name] for name in experiment.models]
        return [
            METRIC.format(
                metric=metric, suffix="parquet", **get_run(model, model.reference, experiment)
            )
            for model in models
        ]

    return get


def get_title(figure):
    """A params function: the configured title of a figure, filled in."""

    def get(wildcards):
        return SETUP.figures[figure].format(
            **{"model": "", "checkpoint": "", "experiment": "", **wildcards}
        )

    return get
