# Reads the configuration and answers what each rule needs to know of it.

import fcntl
import os
import sys
from dataclasses import asdict

from snakemake.exceptions import WorkflowError

# The library lies beside the rules; the scripts are started by Snakemake and find it the same way.
sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [sys.path[0], os.environ.get("PYTHONPATH")])
)

from tokentrails.config import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.fingerprint import fingerprint
from tokentrails.models.local import local_files

try:
    SETUP = load_config(config, list(map(str, workflow.configfiles)))
except TokentrailsError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    checkpoint=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    experiment=r"[A-Za-z0-9][A-Za-z0-9._-]*",


MODEL = "resources/models/{model}/{checkpoint}/"
TOKENS = "results/tokens/{model}/{experiment}"
STATES = "results/hidden_states/{model}/{checkpoint}/{experiment}"
METRICS = "results/metrics/{model}/{checkpoint}/{experiment}/"
FIGURES = "results/figures/{model}/{checkpoint}/{experiment}/"
COMPOSITES = "results/composites/{experiment}_"
LOGS = "results/logs/"
BENCHMARKS = "results/benchmarks/"

PAPER = ("html", "svg", "png", "pdf", "json")


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
    model = SETUP.models[wildcards.model]
    if model.source.kind != "path":
        return []
    try:
        return list(map(str, local_files(model.source, wildcards.checkpoint)))
    except TokentrailsError as error:
        raise WorkflowError(str(error)) from None


def get_tokenizer(wildcards):
    """The files of the reference checkpoint that tokenizing depends on; the weights are not among them."""
    model = SETUP.models[wildcards.model]
    folder = f"resources/models/{model.name}/{model.reference}"
    return multiext(folder + "/", "tokenizer.json", "tokenizer_config.json", "config.json")


def get_experiment(wildcards):
    return SETUP.experiments[wildcards.experiment]


def get_context(wildcards):
    """The context table, where the experiment asks for one."""
    asked = "context" in get_experiment(wildcards).analyses
    return [METRICS + "context.parquet"] if asked else []


def get_metric_names(experiment):
    wanted = {"identity": ["identity", "summary"], "context": ["identity", "context", "summary"]}
    return sorted({metric for analysis in experiment.analyses for metric in wanted[analysis]})


def get_metrics(wildcards):
    return [
        METRICS.format(model=model.name, checkpoint=checkpoint, experiment=experiment.name)
        + f"{metric}.{suffix}"
        for model, checkpoint, experiment in SETUP.runs()
        for metric in get_metric_names(experiment)
        for suffix in ("parquet", "csv")
    ]


def get_figures(wildcards):
    return [
        FIGURES.format(model=model.name, checkpoint=checkpoint, experiment=experiment.name)
        + f"{figure}.{suffix}"
        for model, checkpoint, experiment in SETUP.runs()
        for figure in ("identity_context", "summary")
        for suffix in PAPER
    ]


def get_composites(wildcards):
    return [
        COMPOSITES.format(experiment=experiment) + f"{composite}.{suffix}"
        for experiment in SETUP.experiments
        for composite in ("senses", "depth")
        for suffix in PAPER
    ]


def get_of_all_models(metric):
    """An input function: one metric of an experiment for the reference checkpoint of every model."""

    def get(wildcards):
        experiment = get_experiment(wildcards)
        if metric not in get_metric_names(experiment):
            return []
        return [
            METRICS.format(
                model=name, checkpoint=SETUP.models[name].reference, experiment=experiment.name
            )
            + f"{metric}.parquet"
            for name in experiment.models
        ]

    return get


def get_title(figure):
    """A params function: the configured title of a figure, filled in."""

    def get(wildcards):
        return SETUP.figures[figure].format(
            **{"model": "", "checkpoint": "", "experiment": "", **wildcards}
        )

    return get
