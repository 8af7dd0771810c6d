# Reads the configuration and answers what each rule needs to know of it.

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The library lies beside the rules, or is installed; the scripts find it through scripts/_job.py.
sys.path.insert(0, os.path.dirname(str(workflow.current_basedir)))

from tokentrails.catalogue import (
    BASELINE,
    COMPARED,
    Category,
    MODEL_FOLDER,
    STATES,
    STATES_PART,
    SUMS,
    TEXTS,
    TOKENS,
    Kind,
    Scope,
)
from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.files.hashes import DATA_PROVENANCE
from tokentrails.files.locks import lock
from tokentrails.files.near import near_name
from tokentrails.models.source import files_of_all
from tokentrails.models.supported import refuse_analyses
from tokentrails.models.trained import FOLDER as TRAINED
from tokentrails.network.size import ModelSize
from tokentrails.running.cost import memory_mb, minutes, products_mb, shards_of_all, work
from tokentrails.running.failures import failures
from tokentrails.running.fingerprint import fingerprint
from tokentrails.running.fork_server import start_servers
from tokentrails.running.job_states import correct_job_states
from tokentrails.running.made import where_to_look
from tokentrails.running.orphans import cancel_orphans, refuse_orphans
from tokentrails.running.records import keep_records_of_failed_jobs
from tokentrails.running.report_size import embedded
from tokentrails.running.targets import DOCUMENT, Targets
from tokentrails.settings import ENGLISH, HUB_FOLDER, PLAYS, SOURCE_KINDS, WORDFREQ, local_path
from tokentrails.texts import word_classes
from tokentrails.texts.entries import target as target_of


def refuse(error):
    """End with one message, before there is a run.

    Snakemake would name the line of this file that refuses, and not the file that has to be mended, first.
    """
    sys.exit(f"\n{error}\n")


try:
    CONFIG = load_config(config, list(map(str, workflow.configfiles)))
    # Here and not in an input function, whose errors Snakemake shows with a traceback.
    SOURCE_FILES = files_of_all(CONFIG.models.values(), CONFIG.where)
    refuse_analyses(CONFIG)
    SHARDS = shards_of_all(CONFIG)
except TokentrailsError as error:
    refuse(error)

keep_records_of_failed_jobs()

CATALOGUE = CONFIG.catalogue
TARGETS = Targets(CONFIG)
# Only the process that was started by hand can write a report; the others need not look at what it would hold.
REPORTED = embedded(
    TARGETS.reported() if workflow.is_main_process else {}, CONFIG.report["megabytes"]
)
# Where a model runs, and how many GPUs a job takes for it.
DEVICES = {name: CONFIG.extract[name] for name in ("device", "device_map")}
GPUS = 0 if DEVICES["device"] == "cpu" else (DEVICES["device_map"] or {"gpus": 1})["gpus"]


def any_of(names):
    """A pattern of these names, and of nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


# A set of replicates is a model in tables and figures across checkpoints alone.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
SETS = any_of(CONFIG.replicates)


wildcard_constraints:
    model=rf"(?!(?:{SETS})/){NAME}",
    checkpoint=rf"(?!all/){NAME}",  # all/ holds what is across checkpoints
    experiment=NAME,
    label=NAME,


pathvars:
    logs="results/logs",
    run="{model}/{checkpoint}/{experiment}",
    across="{model}/{experiment}",


# Of the workflow, wherever it lies.
FUNCTION_WORDS = os.path.relpath(word_classes.FUNCTION_WORDS)

# Experiments whose states are summed up, and not stored.
STREAMED = [name for name, each in CONFIG.experiments.items() if each.kind is Kind.STREAMED]
# Experiments whose states are stored, and come from several jobs.
IN_PARTS = [name for name, shards in SHARDS.items() if shards > 1 and name not in STREAMED]

# Of a language; of English the file has no code in its name.
WORD_LIST = "resources/words/wordfreq{code}.txt"
HELD_OUT_PLAYS = "resources/texts/plays/held_out.txt"
PAGE_SCRIPT = "resources/figures/page.js"
KEPT = MODEL_FOLDER
# Weights of a model with `keep_weights: false`, as long as they are there.
PASSING = f"{MODEL_FOLDER}/for/{{experiment}}"
CHECKPOINT_FILES = {
    "weights": "model.safetensors",
    "config": "config.json",
    "tokenizer": "tokenizer.json",
    "tokenizer_config": "tokenizer_config.json",
    "provenance": "provenance.json",
}
COSTS = ["results/costs.parquet", "results/costs.csv"]


# Paths of tables and figures


def table(name, suffix="parquet"):
    """The pattern of a table's file."""
    row = CATALOGUE.tables[name]
    path = f"{row.path}.{suffix}"
    return local(path) if row.scope is Scope.TRAINING else path


def labels(scope, **first):
    """What the report lists a file of a scope by."""
    names = {
        Scope.RUN: ["experiment", "model", "checkpoint"],
        Scope.ACROSS: ["experiment", "model"],
        Scope.MODELS: ["experiment"],
        Scope.ALL: [],
    }
    found = first | {name: f"{{{name}}}" for name in names.get(scope, ["model"])}
    return found | ({"checkpoint": "all"} if scope is Scope.ACROSS else {})


def reported(path, caption, **listed):
    """An output that the report shows, where it has room for all files of the kind."""
    shown = path in REPORTED.kinds
    return report(path, caption=f"../report/{caption}", **listed) if shown else path


def outputs(alone=None, **named):
    """Outputs of a rule: tables with their CSV twins, which the report shows if the catalogue says so.

    A table alone is called `table` and its twin `csv`; others by their keyword and `_csv`.
    """
    found = {}
    for key, name in (({"table": alone} if alone else {}) | named).items():
        row = CATALOGUE.tables[name]
        path = table(name, "csv")
        if row.reported:
            path = reported(
                path,
                f"tables/{row.caption or name}.rst",
                category=Category.TABLES,
                subcategory=name.replace("_", " "),
                labels=labels(row.scope),
            )
        found[key] = table(name)
        found["csv" if key == "table" else f"{key}_csv"] = path
    return found


def get_all_checkpoints(pattern):
    """An input function: a file of an experiment at every checkpoint of a model, in their order."""

    def get(wildcards):
        checkpoints = get_experiment(wildcards).checkpoints_of(get_model(wildcards))
        return [pattern.format(checkpoint=checkpoint, **wildcards) for checkpoint in checkpoints]

    return get


def get_steps(wildcards):
    """The training step of each checkpoint of a model that an experiment runs on, in their order."""
    model = get_model(wildcards)
    return {name: model.steps[name] for name in get_experiment(wildcards).checkpoints_of(model)}


def get_member_tables(row):
    """An input function: a table of every model of a set of replicates."""
    return lambda wildcards: TARGETS.member_tables(row, wildcards)


def get_baseline(wildcards, names=("baseline", "baseline_dimensions")):
    """Tables of the baseline's texts at the same checkpoint, by name; {} without a baseline."""
    experiment = CONFIG.experiments.get(BASELINE)
    if experiment is None or wildcards.model not in experiment.models:
        return {}
    run = {**wildcards, "experiment": BASELINE}
    return {name: table(name).format(**run) for name in names}


def get_other_tokens(wildcards):
    """The tokens of the baseline's texts, or, without a baseline, those of the experiment itself."""
    experiment = BASELINE if get_baseline(wildcards) else wildcards.experiment
    return TOKENS.format(model=wildcards.model, experiment=experiment)


def get_context(wildcards):
    """The context table, where the experiment asks for one."""
    if not get_experiment(wildcards).makes(CATALOGUE.tables["context"]):
        return []
    return [table("context").format(**wildcards)]


def get_parts(pattern, **more):
    """An input function: a file of each part of an experiment's texts."""

    def get(wildcards):
        shards = SHARDS[get_experiment(wildcards).name]
        numbers = range(1, shards + 1)
        return [pattern.format(**wildcards, shard=n, shards=shards, **more) for n in numbers]

    return get


def get_compared(wildcards):
    """The tables in which groups of words are compared, those of the experiment's analyses."""
    names = [name for name in COMPARED if name in get_experiment(wildcards).analyses]
    return {name: table(name).format(**wildcards) for name in names}


def get_replaced(name):
    """An input function: the table of the same texts with other words in the targets' place; none without them."""

    def get(wildcards):
        control = CONFIG.replaced(wildcards.model, get_experiment(wildcards))
        if control is None:
            return []
        return [table(name).format(**{**wildcards, "experiment": control.name})]

    return get


def get_measure_baseline(name):
    """An input function: the measure's table of the baseline's texts; none there, or without a baseline."""

    def get(wildcards):
        if wildcards.experiment == BASELINE:
            return []
        return list(get_baseline(wildcards, [name]).values())

    return get


def get_figure_tables(figure):
    """An input function: the tables of a figure, by name."""

    def get(wildcards):
        refuse_unknown(wildcards)
        tables = TARGETS.figure_inputs(figure, wildcards)
        return {
            name: local(paths) if figure.scope is Scope.TRAINING else paths
            for name, paths in tables.items()
        }

    return get


def get_document_tables(wildcards):
    """The tables that a text's document shows, by name."""
    refuse_unknown(wildcards)
    try:
        return TARGETS.document_inputs(wildcards)
    except TokentrailsError as error:
        refuse(error)


def figure_experiments(figure):
    """The pattern of the experiments of a figure.

    Of all models, exactly those that have it: in `a_b_ranks` the experiment is `a_b`, or `a` where
    there is a figure `b_ranks`.
    """
    if figure.name == BASELINE:
        return BASELINE
    if figure.scope is not Scope.MODELS:
        return NAME
    return any_of(TARGETS.figure_experiments(figure))


def get_title(figure):
    """A params function: the configured title of a figure, filled in."""
    empty = dict.fromkeys(["model", "checkpoint", "experiment"], "")
    return lambda wildcards: CONFIG.figures.get(figure.name, figure.title).format(
        **{**empty, **wildcards}
    )


def get_options(figure):
    """A params function: the settings that a figure depends on."""
    settings = {
        "confidence": CONFIG.statistics["confidence"],
        "threshold": CONFIG.summary["half_life_threshold"],
        "controls": {n: m.control_of for n, m in CONFIG.models.items() if m.control_of},
    }
    if figure.target in CONFIG.measures:
        settings["unit"] = CONFIG.measures[figure.target].unit
    options = {name: settings[name] for name in figure.options}
    if not figure.show:
        return options
    return lambda wildcards: options | {"show": experiment_setting(figure.show, "show")(wildcards)}


# Settings of models and experiments


def refuse_unknown(wildcards):
    """End with one message where a target on the command line has a name that nothing here has."""
    try:
        TARGETS.refuse_unknown(wildcards)
    except TokentrailsError as error:
        refuse(error)


def refuse_misplaced(wildcards):
    """An input function of no job: end with one message on a table that cannot be where it is asked for."""
    try:
        TARGETS.refuse_misplaced(f"results/metrics/{wildcards.model}/{wildcards.misplaced}")
    except TokentrailsError as error:
        refuse(error)


def refuse_unmade(path, where):
    """End with one message where a file that the configuration names is of no rule above.

    With a storage provider the rules have other paths, and Snakemake says it in its own words.
    """
    if workflow.storage_settings.default_storage_provider is not None:
        return
    if not any(each.is_producer(path) for each in workflow.rules) and not Path(path).exists():
        known = [*TARGETS.tables(), *TARGETS.figures(), *TARGETS.documents()]
        hint = "name a file that 'snakemake --cores 1 --dry-run' lists."
        refuse(where.error(f"no rule makes {path}", near_name(path, known, hint)))


def get_experiment(wildcards):
    refuse_unknown(wildcards)
    return CONFIG.experiments[wildcards.experiment]


def get_model(wildcards):
    refuse_unknown(wildcards)
    return CONFIG.models[wildcards.model]


def get_threads(wildcards):
    return get_model(wildcards).threads


def experiment_setting(*keys):
    """A params function: a setting of the job's experiment, such as `ranks`, `table_settings`."""

    def get(wildcards):
        value = get_experiment(wildcards)
        for key in keys:
            value = getattr(value, key)
        return value

    return get


def model_setting(key):
    """A params function: a setting of the job's model."""
    return lambda wildcards: getattr(get_model(wildcards), key)


def get_lenses(wildcards):
    """The lenses of a model; each is fitted to one checkpoint, the reference."""
    model = get_model(wildcards)
    return model.lenses if wildcards.checkpoint == model.reference else ()


def get_lens_texts(wildcards):
    """What the lens is fitted to that is fitted here."""
    model = get_model(wildcards)
    if not any(lens.texts for lens in model.lenses):
        refuse(
            f"no lens of {model.name} is fitted here\n"
            "Hint: give it one among its 'lenses' with 'train', an experiment file with a corpus."
        )
    return model.lens_texts


def get_lens_files(wildcards):
    """A file of each lens; that which is fitted here is a result."""
    fitted = table("lens", "safetensors").format(**wildcards)
    return [local(lens.file) if lens.file else fitted for lens in get_lenses(wildcards)]


def get_lens_facts(wildcards):
    """What is said of lenses beside their files, where it is."""
    given = [Path(lens.file) for lens in get_lenses(wildcards) if lens.file]
    beside = dict.fromkeys(file.with_name(CHECKPOINT_FILES["config"]) for file in given)
    return local([str(file) for file in beside if file.exists()])


def get_own_columns(wildcards):
    """The columns by which an experiment's own texts are grouped."""
    experiment = get_experiment(wildcards)
    return ["rank"] if experiment.words else experiment.group_columns


def get_token_counts(wildcards):
    """The groups of words that an experiment asks for; [] for those that its prompts have."""
    words = get_experiment(wildcards).words
    return list(words.n_tokens) if words else []


def get_text(name):
    """The file of a running text."""
    return local([HELD_OUT_PLAYS if name == PLAYS else local_path(name)])


def get_word_list(wildcards):
    """The list that the experiment's words are sampled from, and the text that has them, or that is cut; prompts need none."""
    experiment = get_experiment(wildcards)
    if experiment.corpus:
        text = get_text(experiment.corpus.text)
        return [*text, *get_frequency_list(wildcards)] if experiment.name in STREAMED else text
    words, text = experiment.words or experiment.splits, experiment.contexts_from
    if words is None:
        return []
    return [*named_list(experiment, words.list), *(local([text]) if text else [])]


def named_list(experiment, name):
    """The file of a word list; none without a name."""
    if name == WORDFREQ:
        code = "" if experiment.language == ENGLISH else f".{experiment.language}"
        name = WORD_LIST.format(code=code)
    return local([name]) if name else []


def get_frequency_list(wildcards):
    """The list that bands of frequency are of, if there is one of the experiment's language."""
    experiment = get_experiment(wildcards)
    return named_list(experiment, experiment.frequency_list)


def get_function_words(wildcards):
    """The words of the closed classes of the experiment's language, if they are known."""
    experiment = get_experiment(wildcards)
    known = experiment.function_words or FUNCTION_WORDS
    return local([known]) if experiment.has_classes else []


def get_texts(wildcards):
    """The prompts that were read from the experiment's table."""
    return [TEXTS.format(**wildcards)] if get_experiment(wildcards).table else []


# Checkpoints: where their weights lie, and when those that are not kept pass

# Checkpoints whose weights are not kept, in the order in which they pass.
PASSING_TURNS = list(
    dict.fromkeys(
        (model.name, checkpoint)
        for model in CONFIG.models.values()
        if not model.keep_weights
        for checkpoint in (model.tokenizer_checkpoint, *model.checkpoints)
    )
)
TURNS = {turn: number for number, turn in enumerate(PASSING_TURNS)}


def constant_if_all_are_kept(value):
    """A decorator: a plain value in place of a function, where all weights are kept.

    Snakemake inspects and calls each function of a rule for every job. In a plan of many thousand
    jobs that is a large part of the time that it takes to build.
    """
    return lambda function: function if PASSING_TURNS else value


# Which of the jobs that could start does so: what people look at as soon as it can be drawn, each
# experiment's models and tables before the next one's, and what takes long at the end.
SHOWN, LIGHT, RUN, HEAVY = 4000, 3000, 2000, 0
FIRST = {name: -number for number, name in enumerate(CONFIG.experiments)} | {BASELINE: 1}


def get_turn(priority=RUN, fetching=False):
    """A priority function of a job that uses a model's weights, or gets them.

    Weights that are there and are not kept are used before the next ones are fetched. A hub's are
    fetched for all experiments before the first one uses them, so that they share one file; what
    lies on this disk anyway, for one after the other.
    """

    def get(wildcards):
        model = get_model(wildcards)
        if model.keep_weights:
            return priority + FIRST[wildcards.get("experiment") or get_user(wildcards)]
        turn = (model.name, wildcards.get("checkpoint", model.tokenizer_checkpoint))
        last_is_lowest = 3 * (len(PASSING_TURNS) - TURNS[turn])
        waits = fetching * (-1 if SOURCE_KINDS[model.source.kind].on_disk else 1)
        return SHOWN + last_is_lowest + waits

    return get


@constant_if_all_are_kept(0)
def get_passing(wildcards):
    """A resource function: 1 for a job that uses weights which are not kept."""
    return 0 if get_model(wildcards).keep_weights else 1


def get_folder(model, checkpoint, experiment):
    """Where an experiment finds a checkpoint."""
    if model.keep_weights:
        return KEPT.format(model=model.name, checkpoint=checkpoint)
    return PASSING.format(model=model.name, checkpoint=checkpoint, experiment=experiment)


def get_own_name(wildcards):
    return wildcards.experiment


def checkpoint_files(*keys, user=get_own_name):
    """Inputs: files of the checkpoint that a job runs on, by the names in `CHECKPOINT_FILES`.

    `user` is a function of wildcards: the name of the experiment that finds them.
    """

    def file(name):
        @constant_if_all_are_kept(local(f"{KEPT}/{name}"))
        def get(wildcards):
            folder = get_folder(get_model(wildcards), wildcards.checkpoint, user(wildcards))
            return local(f"{folder}/{name}")

        return get

    return {key: file(CHECKPOINT_FILES[key]) for key in keys}


def get_user(wildcards):
    """The name of the first experiment that a model is used in, or else one that is made of it."""
    models = {wildcards.model}
    for _ in range(3):  # random weights of an adapter of a base
        for experiment in CONFIG.experiments.values():
            if not models.isdisjoint(experiment.models):
                return experiment.name
        models |= {each.name for each in CONFIG.models.values() if each.made_of in models}
    refuse(f"no experiment uses the model {wildcards.model}\nHint: name it in one's 'models'.")


def get_neurons_user(wildcards):
    """The first experiment that asks for a model's neurons; all agree on how they are listed."""
    model = get_model(wildcards).name
    for experiment in CONFIG.experiments.values():
        if model in experiment.models and "neurons" in experiment.analyses:
            return experiment.name
    refuse(f"no experiment asks for the neurons of {model}\nHint: add them to one's 'analyses'.")


def get_neuron_settings(wildcards):
    """What the table of a model's neurons depends on."""
    get_neurons_user(wildcards)
    return CONFIG.neuron_settings(wildcards.model)


def get_training(wildcards):
    """How a model is trained."""
    if (training := get_model(wildcards).training) is None:
        refuse(
            f"{wildcards.model} is not trained here\nHint: the source of one that is begins with 'train:'."
        )
    return asdict(training)


def get_models(wildcards):
    """The weights that are kept; the others are not fetched before they are used."""
    folders = {
        get_folder(model, checkpoint, experiment.name)
        for model, checkpoint, experiment in CONFIG.runs()
        if model.keep_weights
    }
    return [local(f"{folder}/provenance.json") for folder in sorted(folders)]


def get_folders(wildcards):
    """By model and checkpoint, the folder of the weights that experiments use and that are kept."""
    folders = {}
    for model, checkpoint, experiment in CONFIG.runs():
        if model.keep_weights:
            folder = local(get_folder(model, checkpoint, experiment.name))
            folders.setdefault(model.name, {})[checkpoint] = folder
    return folders


def get_prompts(wildcards):
    """By experiment, its special tokens, and of its prompts label, text and which word is meant.

    A chat format is of a model, which is chosen later: of chats it is the message with the target.
    """
    return {
        f"{name} (without its chat format)" if experiment.chat_template else name: (
            experiment.special_tokens,
            [
                (each.label, each.prompt, target_of(each), each.occurrence)
                for each in experiment.prompts
            ],
        )
        for name, experiment in CONFIG.experiments.items()
        if name != BASELINE
    }


def get_baseline_texts(wildcards):
    """The entry of the baseline's texts; None without them."""
    baseline = CONFIG.experiments.get(BASELINE)
    return baseline.token_settings if baseline and baseline.prompts else None


def get_controls(wildcards):
    """By model, that of the same architecture with random weights."""
    return {model.control_of: model.name for model in CONFIG.models.values() if model.control_of}


def get_provenances(wildcards):
    """What is known of each checkpoint of a model; all its experiments find the same."""
    model, user = get_model(wildcards), get_user(wildcards)
    return [
        local(f"{get_folder(model, checkpoint, user)}/provenance.json")
        for checkpoint in model.checkpoints
    ]


def get_source(wildcards):
    """Where a model comes from; without 'base' where there is none, as it was before that key."""
    keys = asdict(get_model(wildcards).source)
    return {key: value for key, value in keys.items() if (key, value) != ("base", None)}


def get_source_files(wildcards):
    """What a checkpoint is made from, where that lies on this disk."""
    return local(SOURCE_FILES[get_model(wildcards).name, wildcards.checkpoint])


def get_tokenizer(wildcards):
    """The files of one checkpoint that tokenizing depends on; the weights are not among them."""
    model = get_model(wildcards)
    folder = get_folder(model, model.tokenizer_checkpoint, wildcards.experiment)
    names = (CHECKPOINT_FILES[key] for key in ("tokenizer", "tokenizer_config", "config"))
    return [local(f"{folder}/{name}") for name in names]


# What jobs that run a model ask for

SIZES = {}


def get_size(wildcards, input):
    """How large a model is. All its checkpoints are equally large, so one of them is read.

    Weights that cannot be read count as nothing: it is the job that says what is wrong with them.
    """
    if wildcards.model not in SIZES:
        try:
            SIZES[wildcards.model] = ModelSize.from_folder(Path(input.weights).parent)
        except TokentrailsError:
            return ModelSize(0, 0, 0, 0, 0, tied=True, causal=True)
    return SIZES[wildcards.model]


def gpu_needs(rule, gpus=None):
    """Resources of a job that runs a model: GPUs, memory and minutes, doubled at each retry.

    Unknown (to be determined) until the weights are there. The formulas are those of
    tokentrails/running/cost.py.
    """

    def mem_mb(wildcards, input, attempt):
        size = get_size(wildcards, input)
        return memory_mb(size.weights_mb, attempt) + (
            products_mb(size) if rule == "corpus_sums" else 0
        )

    def runtime(wildcards, input, attempt):
        size = get_size(wildcards, input)
        of_lens = get_lens_texts(wildcards) if rule == "lens" else None
        experiment = of_lens or CONFIG.experiments.get(wildcards.get("experiment"))
        try:
            return minutes(*work(rule, experiment, size, CONFIG.extract), attempt)
        except FileNotFoundError as error:  # the table is not fetched, nor cut yet
            raise FileNotFoundError(*error.args, input[0]) from None

    return {
        "gpu": GPUS if gpus is None else gpus,
        "mem_mb": mem_mb,
        "runtime": runtime,
        "passing_weights": get_passing,
    }


# What belongs to all of a run


def get_rules(wildcards):
    """By name of each rule with outputs, what tokentrails.running.plan.Rule says of it."""
    return {
        each.name: (
            Path(str(each.snakefile)).stem,
            len(each.output),
            each.name in workflow._localrules,
            "gpu" in each.resources and each.resources["gpu"].value != 0,
        )
        for each in workflow.rules
        if each.output
    }


def get_everything(wildcards):
    """What `all` makes, without the table of what that cost; of a job with many files, some."""
    made = [
        *TARGETS.tables(),
        *TARGETS.figures(),
        *TARGETS.documents(),
        *CLAIM_TARGETS,
        *PAPER_TARGETS,
    ]
    return [path for path in made if not path.endswith((".csv", ".png", ".pdf", ".json"))]


# One run at a time in a folder. The kernel drops this lock when its process dies, however it dies;
# Snakemake's own lock stays after a kill -9 and makes the same command fail, so the default profile
# turns that one off.
onstart:
    global RUN_LOCK
    RUN_LOCK = open(".snakemake/tokentrails.lock", "w")
    try:
        alone = lock(RUN_LOCK)
    except TokentrailsError as error:
        logger.warning(f"{error.problem}. Start no other run in this folder.")
        alone = None  # nobody knows
    if alone is False:
        raise WorkflowError(
            "another tokentrails run is working in this folder.\n"
            "Hint: wait until it has ended, or stop it; then run the same command again."
        )
    if workflow.executor_plugin.name == "local":
        start_servers()
        # To keep to a number of jobs a second, which only a cluster needs, Snakemake 9.27 looks at
        # all that could start once a second more for each time that it has started something.
        workflow.scheduler.job_rate_limiter = None
    elif workflow.executor_plugin.name == "slurm":
        correct_job_states()
        try:
            orphans = cancel_orphans(Path.cwd()) if alone else refuse_orphans(Path.cwd())
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


# What else is done at the end of a run, whether it failed or not. A second handler would take the
# place of the first.
AT_END = []


onsuccess:
    made = [str(path) for job in workflow.dag.finished_jobs for path in job.output]
    if messages := where_to_look(made):
        logger.info("\n".join(messages))
    for each in AT_END:
        each()


# What failed may have scrolled out of sight while the other jobs went on.
onerror:
    said = [Path(file).read_text(encoding="utf-8", errors="replace") for file in log]
    if messages := failures("".join(said)):
        logger.error("\n".join(["Failed, and what rests on it was not made:", *messages]))
    for each in AT_END:
        each()
