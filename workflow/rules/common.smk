# Reads the configuration and answers what each rule needs to know of it.

import fcntl
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from snakemake.exceptions import WorkflowError

# The library lies beside the rules; the scripts find it through scripts/_job.py.
sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))

from tokentrails.config.load import load_config
from tokentrails.network.size import ModelSize
from tokentrails.running.cost import memory_mb, minutes, work
from tokentrails.errors import TokentrailsError
from tokentrails.running.fingerprint import fingerprint
from tokentrails.models.local import local_files
from tokentrails.models.source import FORM
from tokentrails.models.trained import FOLDER as TRAINED
from tokentrails.running.orphans import cancel_orphans
from tokentrails.settings import BASELINE, WORDFREQ

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
    label=r"[A-Za-z0-9][A-Za-z0-9._-]*",


WORD_LIST = "resources/words/wordfreq.txt"
PAGE_SCRIPT = local("resources/figures/page.js")
TOKENS = "results/tokens/{model}/{experiment}.parquet"
STATES = "results/hidden_states/{model}/{checkpoint}/{experiment}.parquet"
KEPT = "resources/models/{model}/{checkpoint}"
# Weights of a model with `keep_weights: false`, as long as they are there.
PASSING = "resources/models/{model}/{checkpoint}/for/{experiment}"
METRIC = "results/metrics/{model}/{checkpoint}/{experiment}/{metric}.{suffix}"
TRAINING_FIGURE = "results/figures/{model}/training.{suffix}"
FIGURE = "results/figures/{model}/{checkpoint}/{experiment}/{figure}.{suffix}"
DOCUMENT = "results/tables/{model}/{checkpoint}/{experiment}/{label}.{suffix}"
COMPOSITE = "results/composites/{experiment}_{composite}.{suffix}"

COSTS = ["results/costs.parquet", "results/costs.csv"]

PAPER = ("html", "svg", "png", "pdf", "json")


# Checkpoints whose weights are not kept, in the order in which they pass.
PASSING_TURNS = list(
    dict.fromkeys(
        (model.name, checkpoint)
        for model in SETUP.models.values()
        if not model.keep_weights
        for checkpoint in (model.tokenizer_checkpoint, *model.checkpoints)
    )
)
TURN_OF = {turn: number for number, turn in enumerate(PASSING_TURNS)}


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
    if workflow.executor_plugin.name == "slurm":
        try:
            orphans = cancel_orphans(Path.cwd())
        except TokentrailsError as error:
            raise WorkflowError(str(error)) from None
        if orphans:
            logger.warning(f"Cancelled jobs of a run that was killed: {', '.join(orphans)}")
    # Priorities order the jobs, but only this limit keeps the next fetch waiting.
    if PASSING_TURNS and "passing_weights" not in workflow.global_resources:
        raise WorkflowError(
            f"the weights of {PASSING_TURNS[0][0]} are not to be kept, but nothing limits how many "
            "lie on the disk at a time.\n"
            "Hint: add passing_weights=1 to --resources; the default profile says it otherwise."
        )


def where_weights_pass(otherwise):
    """A decorator: a plain value in place of a function, where all weights are kept.

    Snakemake inspects and calls each function of a rule for every job. In a plan of many thousand
    jobs that is a large part of the time that it takes to build.
    """
    return lambda function: function if PASSING_TURNS else otherwise


def get_turn(fetching=False):
    """A priority function: weights that are there are used before the next ones are fetched.

    What comes from a hub is fetched for all experiments before the first one uses it, so that they
    share one file; what lies on this disk anyway, for one after the other.
    """

    @where_weights_pass(otherwise=0)
    def priority(wildcards):
        model = SETUP.models[wildcards.model]
        if model.keep_weights:
            return 0
        turn = (model.name, wildcards.get("checkpoint", model.tokenizer_checkpoint))
        last_is_lowest = 3 * (len(PASSING_TURNS) - TURN_OF[turn])
        return last_is_lowest + fetching * (1 if model.source.kind == "hub" else -1)

    return priority


@where_weights_pass(otherwise=0)
def get_passing(wildcards):
    """A resource function: 1 for a job that uses weights which are not kept."""
    return 0 if SETUP.models[wildcards.model].keep_weights else 1


SIZES = {}


def get_size(wildcards, input):
    """How large a model is. All its checkpoints are equally large, so one of them is read.

    Weights that cannot be read count as nothing: it is the job that says what is wrong with them.
    """
    if wildcards.model not in SIZES:
        try:
            SIZES[wildcards.model] = ModelSize.of(Path(input.weights).parent)
        except TokentrailsError:
            return ModelSize(0, 0, 0, 0)
    return SIZES[wildcards.model]


def needs_of(rule):
    """What a job that runs a model asks for: one GPU, memory and minutes, doubled at each retry.

    Unknown (to be determined) until the weights are there. The formulas are those of
    tokentrails/cost.py.
    """

    def mem_mb(wildcards, input, attempt):
        return memory_mb(get_size(wildcards, input).weights_mb, attempt)

    def runtime(wildcards, input, attempt):
        size = get_size(wildcards, input)
        experiment = SETUP.experiments.get(wildcards.get("experiment"))
        return minutes(*work(rule, experiment, size, SETUP.extract["store"]), attempt)

    return {
        "gpu": 0 if SETUP.extract["device"] == "cpu" else 1,
        "mem_mb": mem_mb,
        "runtime": runtime,
    }


def get_folder(model, checkpoint, experiment):
    """Where an experiment finds a checkpoint."""
    if model.keep_weights:
        return KEPT.format(model=model.name, checkpoint=checkpoint)
    return PASSING.format(model=model.name, checkpoint=checkpoint, experiment=experiment)


def get_checkpoint_file(name):
    """An input function: a file of the checkpoint that a job runs on."""

    @where_weights_pass(otherwise=local(f"{KEPT}/{name}"))
    def get(wildcards):
        model = SETUP.models[wildcards.model]
        folder = get_folder(model, wildcards.checkpoint, wildcards.experiment)
        return local(f"{folder}/{name}")

    return get


def get_models(wildcards):
    """The weights that are kept; the others are not fetched before they are used."""
    return [
        local(f"{get_folder(model, checkpoint, experiment.name)}/provenance.json")
        for model, checkpoint, experiment in SETUP.runs()
        if model.keep_weights
    ]


def get_users(model):
    """The names of the experiments that a model is used in; there must be one."""
    users = [e.name for e in SETUP.experiments.values() if model.name in e.models]
    if not users:
        raise WorkflowError(f"no experiment uses the model {model.name}.")
    return users


def get_provenances(wildcards):
    """What is known of each checkpoint of a model; all its experiments find the same."""
    model = SETUP.models[wildcards.model]
    user = get_users(model)[0]
    return [
        local(f"{get_folder(model, checkpoint, user)}/provenance.json")
        for checkpoint in model.checkpoints
    ]


def get_checkpoint_tables():
    """The tables of checkpoints of the models that have several and are used."""
    several = {model.name: None for model, _, _ in SETUP.runs() if len(model.checkpoints) > 1}
    return [
        f"results/metrics/{model}/all/checkpoints.{suffix}"
        for model in several
        for suffix in ("parquet", "csv")
    ]


def get_source_files(wildcards):
    """What a checkpoint is made from, where that lies on this disk."""
    if SETUP.models[wildcards.model].training:
        return local(TRAINED.format(model=wildcards.model))
    return local(LOCAL_FILES.get((wildcards.model, wildcards.checkpoint), []))


def get_tokenizer(wildcards):
    """The files of one checkpoint that tokenizing depends on; the weights are not among them."""
    model = SETUP.models[wildcards.model]
    folder = get_folder(model, model.tokenizer_checkpoint, wildcards.experiment)
    names = ("tokenizer.json", "tokenizer_config.json", "config.json")
    return [local(f"{folder}/{name}") for name in names]


def get_experiment(wildcards):
    return SETUP.experiments[wildcards.experiment]


def get_word_list(wildcards):
    """The list that the experiment's words are drawn from; prompts need none."""
    words = get_experiment(wildcards).words
    if words is None:
        return []
    return [local(WORD_LIST if words.list == WORDFREQ else words.list)]


def get_context(wildcards):
    """The context table, where the experiment asks for one."""
    if "context" not in get_experiment(wildcards).analyses:
        return []
    return [METRIC.format(metric="context", suffix="parquet", **wildcards)]


def get_neurons_of(wildcards):
    """The first experiment that asks for the neurons of a model; all agree on how they are listed."""
    for experiment in SETUP.experiments.values():
        if wildcards.model in experiment.models and "neurons" in experiment.analyses:
            return experiment
    raise WorkflowError(f"no experiment asks for the neurons of {wildcards.model}.")


def get_weights_file(name):
    """An input function: a file of a checkpoint whose neurons are listed."""

    def get(wildcards):
        model, experiment = SETUP.models[wildcards.model], get_neurons_of(wildcards)
        return local(f"{get_folder(model, wildcards.checkpoint, experiment.name)}/{name}")

    return get


def get_baseline(wildcards):
    """The tables of random pairs at the same checkpoint, by name; {} where there is no baseline."""
    experiment = SETUP.experiments.get(BASELINE)
    if experiment is None or wildcards.model not in experiment.models:
        return {}
    run = {**wildcards, "experiment": BASELINE, "suffix": "parquet"}
    return {name: METRIC.format(metric=name, **run) for name in MEASURED[BASELINE][0]}


# What each analysis measures: at every checkpoint, and across the checkpoints of a model.
MEASURED = {
    "baseline": (["baseline", "baseline_dimensions"], []),
    "identity": (["identity", "summary", "curves"], []),
    "context": (["identity", "context", "summary", "curves"], []),
    "senses": (["senses", "senses_by_layer", "senses_best"], []),
    "convergence": ([], ["convergence", "convergence_by_group", "alignment"]),
    "perturbation": (["perturbation"], ["perturbation_by_group"]),
    "ranks": (["ranks", "ranks_by_class", "ranks_gap", "ranks_summary"], []),
    "heads": (["attention", "heads", "head_summary"], []),
    "neurons": (["activations", "first_position_neurons"], []),
    "evolution": (["evolution", "predictions"], []),
    "attribution": (["attribution", "attribution_sum"], []),
}


# The same of whole texts, where it differs.
MEASURED_IN_WHOLE_TEXTS = {
    "identity": (["identity", "half_lives", "half_lives_by_group", "half_life_curve"], []),
}


def get_measured(analysis, experiment):
    """The tables of an analysis: at every checkpoint, and across the checkpoints of a model."""
    if experiment.has_whole_texts and analysis in MEASURED_IN_WHOLE_TEXTS:
        return MEASURED_IN_WHOLE_TEXTS[analysis]
    return MEASURED[analysis]


def get_metric_names(experiment):
    """The tables of an experiment at every checkpoint."""
    return sorted({m for a in experiment.analyses for m in get_measured(a, experiment)[0]})


def get_run(model, checkpoint, experiment):
    """The wildcards of one run."""
    return {"model": model.name, "checkpoint": checkpoint, "experiment": experiment.name}


def get_metrics(wildcards):
    """Every table of every experiment."""
    measured = [path for analysis in MEASURED for path in get_tables_of(analysis)(wildcards)]
    return [
        *get_checkpoint_tables(),
        *measured,
        *get_scaling_tables(wildcards),
        *get_neuron_tables(wildcards),
        *get_predictions(wildcards),
    ]


def get_tables_of(analysis):
    """An input function: the tables of an analysis, of every experiment that asks for it."""

    def get(wildcards):
        places = [
            METRIC.format(metric=metric, suffix="{suffix}", **get_run(*run))
            for run in SETUP.runs()
            if analysis in run[-1].analyses
            for metric in get_measured(analysis, run[-1])[0]
        ] + [
            METRIC.format(metric=metric, suffix="{suffix}", **get_run(model, "all", experiment))
            for model, experiment in SETUP.across(analysis)
            for metric in get_measured(analysis, experiment)[1]
        ]
        return [place.format(suffix=suffix) for place in places for suffix in ("parquet", "csv")]

    return get


def get_neuron_tables(wildcards):
    """The words of the neurons, of every model for which an experiment asks for them."""
    return [
        METRIC.format(metric="neurons", suffix=suffix, **get_run(*run) | {"experiment": "weights"})
        for run in SETUP.runs()
        if "neurons" in run[-1].analyses
        for suffix in ("parquet", "csv")
    ]


def get_predictions(wildcards):
    """What is predicted after each prefix, as plain text."""
    return [
        METRIC.format(metric="predictions", suffix="txt", **get_run(*run))
        for run in SETUP.runs()
        if "evolution" in run[-1].analyses
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
        for figure in get_identity_figures(run[-1])
        if figure != BASELINE or run[1] == run[0].reference  # one of random pairs is enough
        for suffix in PAPER
    ]


def get_half_life_figures(wildcards):
    return [
        FIGURE.format(figure="half_life", suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        if "half_life" in get_identity_figures(run[-1])
        for suffix in PAPER
    ]


def get_identity_figures(experiment):
    """The figures of one model and checkpoint that show identity, or random pairs."""
    if experiment.name == BASELINE:
        return (BASELINE,)
    if "identity" not in get_metric_names(experiment):
        return ()
    return ("half_life",) if experiment.has_whole_texts else ("identity_context", "summary")


# Which tables of an analysis people read, in a workbook and in a page for each text.
READ = {
    "heads": ["attention", "heads"],
    "neurons": ["activations"],
    "evolution": ["evolution", "predictions"],
    "attribution": ["attribution"],
}


def get_documents(*analyses):
    """An input function: the workbook and the page of every text that one of these runs on."""
    return lambda wildcards: [
        DOCUMENT.format(label=prompt.label, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        if set(analyses) & set(run[-1].analyses)
        for prompt in run[-1].prompts
        for suffix in ("xlsx", "html")
    ]


def get_document_tables(wildcards):
    """The tables that a text's document shows, by name."""
    place = {"model": wildcards.model, "checkpoint": wildcards.checkpoint}
    analyses = get_experiment(wildcards).analyses
    names = [name for analysis in READ if analysis in analyses for name in READ[analysis]]
    run = place | {"experiment": wildcards.experiment, "suffix": "parquet"}
    tables = {name: METRIC.format(metric=name, **run) for name in names}
    if "neurons" in analyses:  # of the weights alone
        tables["neurons"] = METRIC.format(metric="neurons", **run | {"experiment": "weights"})
    return tables


SENSE_FIGURES = ("senses_by_layer", "senses_words")


def get_sense_figures(wildcards):
    """How well senses are told apart, of every model and checkpoint."""
    return [
        FIGURE.format(figure=figure, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        if "senses" in run[-1].analyses
        for figure in SENSE_FIGURES
        for suffix in PAPER
    ]


# The figures of one text, and what draws each.
TEXT_FIGURES = {
    "similarity_layers": "figures.ranks",
    "rank_layers": "figures.ranks",
    "rank_heatmap": "figures.rank_heatmap",
}


def get_vocabulary_figures(wildcards):
    """Where tokens are in the vocabulary: every text shown, and every comparison of classes."""
    return [
        FIGURE.format(figure=figure, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        if "ranks" in run[-1].analyses
        for figure in (*TEXT_FIGURES, "rank_classes")
        for suffix in PAPER
    ]


class CircuitFigure(NamedTuple):
    """Which analysis a figure belongs to, its tables, what draws it, and whether of one text."""

    analysis: str
    tables: list
    drawing: str
    of_text: bool = True


CIRCUIT_FIGURES = {
    "attention": CircuitFigure("heads", ["attention", "head_summary"], "figures.attention"),
    "head_summary": CircuitFigure("heads", ["head_summary"], "figures.head_summary", False),
    "evolution": CircuitFigure("evolution", ["evolution"], "figures.evolution"),
    "attribution": CircuitFigure(
        "attribution", ["attribution", "attribution_sum"], "figures.attribution"
    ),
}


def get_circuit_figures(*analyses):
    """An input function: what heads do, what the stream says, and what moves it, as figures."""
    return lambda wildcards: [
        FIGURE.format(figure=figure, suffix=suffix, **get_run(*run))
        for run in SETUP.runs()
        for figure, about in CIRCUIT_FIGURES.items()
        if about.analysis in analyses and about.analysis in run[-1].analyses
        for suffix in PAPER
    ]


def get_circuit_tables(wildcards):
    """The tables of a figure of heads or of the stream, by name."""
    figure, at = wildcards.figure, {k: v for k, v in wildcards.items() if k != "figure"}
    return {
        metric: METRIC.format(metric=metric, suffix="parquet", **at)
        for metric in CIRCUIT_FIGURES[figure].tables
    }


def get_shown(wildcards):
    """The text that a figure of heads or of the stream is about; {} for all of them."""
    if not CIRCUIT_FIGURES[wildcards.figure].of_text:
        return {}
    return {"show": get_experiment(wildcards).circuits.show}


class Composite(NamedTuple):
    """A figure across models: its tables, of which context may be missing, and what draws it."""

    tables: list
    drawing: str
    options: dict


BAND = {"confidence": SETUP.statistics["confidence"]}

OF_HALF_LIVES = {"threshold": SETUP.summary["half_life_threshold"], **BAND}

COMPOSITES = {
    "senses": Composite(["identity", "context", "curves"], "figures.identity", BAND),
    "depth": Composite(["identity", "context", "curves"], "figures.identity", BAND),
    "half_lives": Composite(["half_life_curve"], "figures.half_lives", OF_HALF_LIVES),
    "ranks": Composite(["ranks_by_class"], "figures.rank_classes", BAND),
    "separability": Composite(["senses_by_layer", "senses_best"], "figures.separability", BAND),
}


def get_composites(*composites):
    """An input function: these composites, of every experiment that has their tables."""

    def get(wildcards):
        return [
            COMPOSITE.format(experiment=experiment.name, composite=composite, suffix=suffix)
            for experiment in SETUP.experiments.values()
            for composite in composites
            if {*COMPOSITES[composite].tables} - {"context"} <= {*get_metric_names(experiment)}
            for suffix in PAPER
        ]

    return get


def get_composite(answer):
    """A function of wildcards: what `answer` says of their composite."""
    return lambda wildcards: answer(COMPOSITES[wildcards.composite])


def get_composite_tables(wildcards):
    """The tables of a composite, by name."""
    return {
        metric: get_of_all_models(metric)(wildcards)
        for metric in COMPOSITES[wildcards.composite].tables
    }


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


def get_of_all_checkpoints(pattern):
    """An input function: a file of an experiment at every checkpoint of a model, in their order."""

    def get(wildcards):
        checkpoints = SETUP.models[wildcards.model].checkpoints
        return [pattern.format(checkpoint=checkpoint, **wildcards) for checkpoint in checkpoints]

    return get


def get_own_columns(wildcards):
    """What an experiment's own texts are told apart by."""
    experiment = get_experiment(wildcards)
    return ["rank"] if experiment.words else experiment.group_columns


def get_token_counts(wildcards):
    """The groups of words that an experiment asks for; [] for those that its prompts have."""
    words = get_experiment(wildcards).words
    return list(words.n_tokens) if words else []


def get_title(figure):
    """A params function: the configured title of a figure, filled in."""

    def get(wildcards):
        return SETUP.figures[figure].format(
            **{"model": "", "checkpoint": "", "experiment": "", **wildcards}
        )

    return get


class CheckpointFigure(NamedTuple):
    """Which analysis a figure belongs to, its table, what draws it, and its options."""

    analysis: str
    table: str
    drawing: str
    options: dict


OF_GROUPS = ("convergence", "convergence_by_group", "figures.convergence", BAND)
OF_PERTURBATION = ("perturbation", "perturbation_by_group", "figures.perturbation", BAND)

CHECKPOINT_FIGURES = {
    "convergence": CheckpointFigure(*OF_GROUPS),
    "convergence_aggregate": CheckpointFigure(*OF_GROUPS),
    "convergence_slope": CheckpointFigure(*OF_GROUPS),
    "convergence_heatmap": CheckpointFigure(
        "convergence", "convergence_by_group", "figures.convergence_heatmap", {}
    ),
    "alignment": CheckpointFigure("convergence", "alignment", "figures.alignment", BAND),
    "perturbation": CheckpointFigure(*OF_PERTURBATION),
    "perturbation_steps": CheckpointFigure(*OF_PERTURBATION),
}


def get_checkpoint_figures(*analyses):
    """An input function: the figures across checkpoints of these analyses.

    What is drawn over training steps needs several checkpoints.
    """

    def get(wildcards):
        return [
            FIGURE.format(figure=figure, suffix=suffix, **get_run(model, "all", experiment))
            for figure, about in CHECKPOINT_FIGURES.items()
            if about.analysis in analyses
            for model, experiment in SETUP.across(about.analysis)
            if figure != "perturbation_steps" or len(model.checkpoints) > 1
            for suffix in PAPER
        ]

    return get


def get_checkpoint_figure(answer):
    """A function of wildcards: what `answer` says of their figure."""
    return lambda wildcards: answer(CHECKPOINT_FIGURES[wildcards.figure])


def get_checkpoint_figure_table(wildcards):
    """The table that a figure across checkpoints shows."""
    table = CHECKPOINT_FIGURES[wildcards.figure].table
    return METRIC.format(metric=table, suffix="parquet", **{**wildcards, "checkpoint": "all"})


# What is compared over the sizes of models; tables that no analysis makes are left out.
SCALED = ("half_lives_by_group", "senses_by_layer", "senses_best", "ranks")


def get_scaled_runs():
    """The runs whose tables are compared over the sizes of models: at each reference checkpoint."""
    return [
        (model, checkpoint, experiment)
        for model, checkpoint, experiment in SETUP.runs()
        if checkpoint == model.reference and set(SCALED) & set(get_metric_names(experiment))
    ]


def get_scaled_tables(wildcards):
    """The tables of every model, by name; and how large each model is."""
    runs = get_scaled_runs()
    tables = {
        metric: [
            METRIC.format(metric=metric, suffix="parquet", **get_run(*run))
            for run in runs
            if metric in get_metric_names(run[-1])
        ]
        for metric in SCALED
    }
    of_weights = {"metric": "parameters", "suffix": "parquet", "experiment": "weights"}
    sizes = {METRIC.format(**get_run(*run) | of_weights): None for run in runs}
    return tables | {"parameters": list(sizes)}


def get_sized_file(name):
    """An input function: a file of a checkpoint whose size is compared."""

    def get(wildcards):
        model = SETUP.models[wildcards.model]
        user = get_users(model)[0]
        return local(f"{get_folder(model, wildcards.checkpoint, user)}/{name}")

    return get


def get_scaling_tables(wildcards):
    """What changes with the size of models, where anything is measured that may."""
    return [f"results/scaling.{suffix}" for suffix in ("parquet", "csv") if get_scaled_runs()]


def get_scaling_figure(wildcards):
    return [f"results/composites/scaling.{suffix}" for suffix in PAPER if get_scaled_runs()]


def get_rules(wildcards):
    """By name of each rule with outputs, what tokentrails.plan.Rule says of it."""
    return {
        each.name: (
            Path(str(each.snakefile)).stem,
            len(each.output),
            each.name in workflow._localrules,
            "gpu" in each.resources and SETUP.extract["device"] != "cpu",
        )
        for each in workflow.rules
        if each.output
    }


def get_everything(wildcards):
    """What `all` makes, without the table of what that cost; of a job with many files, some."""
    made = [path for get in rules.all.input if callable(get) for path in get(wildcards)]
    return [path for path in made if not path.endswith((".csv", ".png", ".pdf", ".json"))]
