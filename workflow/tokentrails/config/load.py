"""Reading and checking the configuration and the experiment files."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import TokentrailsError
from ..files.schema import check, closest, schema, with_defaults
from ..files.yaml_file import KeyPath, YamlFile, show_keys
from ..project import PROJECT
from ..settings import (
    BASELINE,
    BASELINE_TEXTS,
    CIRCUITS,
    SIMILARITIES,
    WORDFREQ,
    Circuits,
    Config,
    Experiment,
    ExperimentFile,
    Model,
    Prompt,
    Ranks,
    Source,
    Training,
    Words,
    step_of,
)
from ..texts.template import Template
from .senses import check_senses
from .trainings import SIZES, checkpoint_names

# Names that no experiment may have.
_TAKEN = {
    "weights": "results of the weights alone",
    BASELINE: "results of random pairs, which others are compared with,",
}

# Columns that tables have anyway; a group column may not take their place.
RESERVED = frozenset(
    {
        *("model", "checkpoint", "experiment", "site", "layer", "depth"),
        *("text", "token_ids", "tokens", "first", "last", "n_tokens", "special_tokens", "hidden"),
        *("label_a", "label_b", "sense_a", "sense_b", "relation"),
        *("cosine", "adjusted", "standardised", "half_life_adjusted"),
        *("step", "reference", "position"),
        *("half_life_layer", "half_life_threshold", "context_dominance_layer"),
        *("final_similarity", "final_norm_similarity"),
        *("word_part", "word_class", "positional", "rank", "nearest", "nearest_cosine"),
        *("cosine_as_published", "rank_as_published"),
    }
)


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
    yamls = [YamlFile(file) for file in files]

    def where(keys: KeyPath) -> str:
        for file in reversed(yamls):
            if _holds(file.data, keys):
                return file.where(keys)
        return f"{', '.join(map(str, files)) or 'config'}, {show_keys(keys) or 'top level'}"

    check(data, "config", where)
    filled = with_defaults(data, schema("config"))
    models = {
        name: _model(name, entry, where(("models", name)))
        for name, entry in filled["models"].items()
    }
    experiments = {}
    for name, entry in data["experiments"].items():
        if name in _TAKEN:
            raise TokentrailsError(
                f"the name {name!r} is taken: {_TAKEN[name]} lie under it",
                where=where(("experiments", name)),
                hint="call the experiment otherwise.",
            )
        for chosen in entry.get("models", ()):
            if chosen not in models:
                guess = closest(chosen, list(models)) or ", ".join(models)
                raise TokentrailsError(
                    f"the model {chosen!r} is not in the configuration",
                    where=where(("experiments", name, "models")),
                    hint=f"add it under 'models', or name one of them: {guess}.",
                )
        experiments[name] = load_experiment(name, entry, tuple(models), where)
        _check_checkpoints(experiments[name], models, where(("experiments", name)))
    _check_neurons(experiments, where)
    if filled["baseline"]["enabled"]:
        experiments |= _baseline(filled["baseline"]["file"], experiments, models, where)
    for figure, title in filled["figures"].items():
        _check_title(title, where(("figures", figure)))
    filled["claims"] = {"file": _claims_file()} | filled["claims"]
    sections = ("extract", "summary", "statistics", "figures", "claims", "paper")
    return Config(models, experiments, *(filled[section] for section in sections))


def _claims_file() -> str:
    """That of the working directory, or the one that comes with the workflow."""
    here = "config/claims.yaml"
    return here if Path(here).is_file() else str(PROJECT / here)


def load_experiment(
    name: str,
    entry: dict[str, Any],
    models: tuple[str, ...] = (),
    where: Callable[[KeyPath], str] = show_keys,
) -> Experiment:
    """An experiment of the configuration, with its file.

    Parameters
    ----------
    name: of the experiment.
    entry: its keys in the configuration; those that are not there have their defaults.
    models: the models it runs on, if `entry` names none.
    where: says where a key path is, for messages.

    Raises
    ------
    TokentrailsError: for the first thing that is wrong here or in the file.
    """

    def refuse(key: str, problem: str, hint: str) -> TokentrailsError:
        return TokentrailsError(problem, where=where(("experiments", name, key)), hint=hint)

    rules = schema("config")["properties"]["experiments"]["additionalProperties"]
    filled = with_defaults(entry, rules)
    content = load_experiment_file(entry["file"])
    if name == BASELINE:
        content = _only_baseline(content, entry["file"], where)
    if (
        not set(content.analyses) <= {"ranks", BASELINE, *CIRCUITS}
        and "resid" not in filled["sites"]
    ):
        raise refuse(
            "sites",
            f"the sites {filled['sites']} lack resid, which the summary and the figures show",
            "add resid.",
        )
    if "template" in entry and (not content.words or content.contexts):
        what = "contexts of its own" if content.words else "prompts and no words"
        raise refuse("template", f"the file {entry['file']} has {what}", "remove 'template'.")
    if "special_tokens" in entry and content.words:
        raise refuse(
            "special_tokens",
            f"the file {entry['file']} has words, to which no special tokens are added",
            "remove 'special_tokens'; {bos} in the template or the contexts puts a BOS in front.",
        )
    if "ranks" in entry and "ranks" not in content.analyses:
        raise refuse(
            "ranks",
            f"the file {entry['file']} does not ask for the analysis ranks",
            "add ranks to the analyses of the file, or remove 'ranks' here.",
        )
    looks_inside = not set(CIRCUITS).isdisjoint(content.analyses)
    if "circuits" in entry and not looks_inside:
        raise refuse(
            "circuits",
            f"the file {entry['file']} asks for none of the analyses {', '.join(CIRCUITS)}",
            "add one of them to the analyses of the file, or remove 'circuits' here.",
        )
    Template.parse(filled["template"], where(("experiments", name, "template")))
    return Experiment(
        name=name,
        file=entry["file"],
        models=tuple(entry.get("models", models)),
        pooling=filled["pooling"],
        special_tokens=filled["special_tokens"],
        sites=tuple(sorted(filled["sites"])),
        analyses=content.analyses,
        prompts=content.prompts,
        words=content.words,
        template=filled["template"],
        contexts=content.contexts,
        others=content.others,
        ranks=_ranks(name, filled, content.prompts, where) if "ranks" in content.analyses else None,
        circuits=_circuits(name, filled, content.prompts, where) if looks_inside else None,
    )


def load_experiment_file(path: str) -> ExperimentFile:
    """What an experiment file says, with every default filled in.

    Raises
    ------
    TokentrailsError: if the file breaks its schema, a label is used twice, or keys and analyses do
        not go together.
    """
    file = YamlFile(_found(path))
    data = file.data
    key = "prompts"
    if isinstance(data, dict) and "experiments" in data and "prompts" not in data:
        key = "experiments"  # the published format
        data = {"prompts" if k == key else k: v for k, v in data.items()}

    def where(keys: KeyPath) -> str:
        return file.where((key, *keys[1:]) if keys[:1] == ("prompts",) else keys)

    check(data, "experiment", where)
    assert isinstance(data, dict)
    if "prompts" in data and (beside := data.keys() & {"words", "contexts", "others"}):
        raise TokentrailsError(
            f"the file has {key}, and {min(beside)!r} goes with words",
            where=where((min(beside),)),
            hint="write two files, one of prompts and one of words.",
        )
    if "others" in data and "contexts" not in data:
        raise TokentrailsError(
            "'others' says how many contexts and words to compare with, but there are no contexts",
            where=where(("others",)),
            hint="remove 'others', or give 'contexts'.",
        )
    filled = with_defaults(data, schema("experiment"))
    prompts = _prompts(data.get("prompts", ()), where)
    analyses = _analyses(data, prompts, where)
    if "senses" in analyses:
        check_senses(prompts, where)
    return ExperimentFile(
        analyses=analyses,
        prompts=prompts,
        words=_words(filled["words"], where(("words", "list"))) if "words" in data else None,
        contexts=_contexts(data.get("contexts", ()), where),
        others=int(filled["others"]),
    )


def _found(path: str) -> str | Path:
    """Where a file is: in the working directory; the default texts are in the project, too."""
    own = PROJECT / path
    return own if path == BASELINE_TEXTS and not Path(path).exists() else path


def _baseline(
    file: str,
    experiments: dict[str, Experiment],
    models: dict[str, Model],
    where: Callable[[KeyPath], str],
) -> dict[str, Experiment]:
    """The experiment that random pairs come from, where a similarity is measured.

    It runs on the models, and at the sites, of the experiments that measure one.
    """
    measuring = [e for e in experiments.values() if not set(SIMILARITIES).isdisjoint(e.analyses)]
    if not measuring:
        return {}
    used = {name for experiment in measuring for name in experiment.models}
    sites = sorted({site for experiment in measuring for site in experiment.sites})
    entry = {"file": file, "models": [name for name in models if name in used], "sites": sites}
    return {BASELINE: load_experiment(BASELINE, entry, where=where)}


def _only_baseline(
    content: ExperimentFile, file: str, where: Callable[[KeyPath], str]
) -> ExperimentFile:
    """Whole texts without the analyses that their file asks for."""
    if not content.prompts or not content.prompts[0].is_whole:
        raise TokentrailsError(
            f"the baseline is made of whole texts, but the file {file} has "
            f"{'prompts with targets' if content.prompts else 'words'}",
            where=where((BASELINE, "file")),
            hint="name a file of prompts without 'word' and 'token'.",
        )
    return replace(content, analyses=(BASELINE,))


_ANALYSES = {
    "prompts with targets": ("identity", "context", "senses", "convergence", "ranks"),
    "whole texts": ("identity", "ranks", *CIRCUITS),
    "words without contexts": ("convergence",),
    "words in contexts": ("perturbation",),
}
_DEFAULT = {"prompts with targets": ("identity", "context"), "whole texts": ("ranks",)}


def _analyses(
    data: dict[str, Any], prompts: Sequence[Prompt], where: Callable[[KeyPath], str]
) -> tuple[str, ...]:
    """The analyses of a file, by default those that were there first."""
    if prompts:
        kind = "whole texts" if prompts[0].is_whole else "prompts with targets"
    else:
        kind = "words in contexts" if "contexts" in data else "words without contexts"
    allowed = _ANALYSES[kind]
    why = "only words in contexts are perturbed"
    if kind == "whole texts":
        why = "others need a target, the 'word' or the 'token' of every prompt"
    for index, analysis in enumerate(data.get("analyses", ())):
        if analysis not in allowed:
            raise TokentrailsError(
                f"{analysis!r} is not an analysis of {kind}",
                where=where(("analyses", index)),
                hint=f"choose from {', '.join(allowed)}; {why}.",
            )
    return tuple(data.get("analyses", _DEFAULT.get(kind, allowed)))


def _prompts(
    entries: Sequence[dict[str, Any]], where: Callable[[KeyPath], str]
) -> tuple[Prompt, ...]:
    known = list(schema("experiment")["properties"]["prompts"]["items"]["properties"])
    for index, entry in enumerate(entries):
        for name in entry.keys() - set(known):
            _check_group(name, known, where(("prompts", index, name)))
    labels = Counter(entry["label"] for entry in entries)
    for index, entry in enumerate(entries):
        if labels[entry["label"]] > 1:
            raise TokentrailsError(
                f"the label {entry['label']!r} is used {labels[entry['label']]} times",
                where=where(("prompts", index, "label")),
                hint="give every prompt a label of its own.",
            )
    _check_targets(entries, where)
    return tuple(
        Prompt(
            label=entry["label"],
            prompt=entry["prompt"],
            token=entry.get("token"),
            word=entry.get("word"),
            occurrence=int(entry.get("occurrence", 1)),
            groups={k: v for k, v in entry.items() if k not in known},
        )
        for entry in entries
    )


def _check_targets(entries: Sequence[dict[str, Any]], where: Callable[[KeyPath], str]) -> None:
    """Refuse a file of which some prompts have targets, and others are whole texts."""
    marked = ["token" in entry or "word" in entry for entry in entries]
    example = entries[marked.index(True)]["label"] if any(marked) else None
    for index, entry in enumerate(entries):
        if not marked[index] and example:
            raise TokentrailsError(
                f"the prompt {entry['label']!r} has no target, and {example!r} has one",
                where=where(("prompts", index)),
                hint="give it a 'word' or a 'token'; whole texts, which have neither, go into a "
                "file of their own.",
            )
        if not marked[index] and "occurrence" in entry:
            raise TokentrailsError(
                "'occurrence' says which target is meant, but the prompt has none",
                where=where(("prompts", index, "occurrence")),
                hint="remove it, or give every prompt a 'word' or a 'token'.",
            )


def _ranks(
    name: str,
    entry: dict[str, Any],
    prompts: Sequence[Prompt],
    where: Callable[[KeyPath], str],
) -> Ranks:
    """The settings of the analysis `ranks`, checked against the texts and the sites."""
    given, file = entry["ranks"], entry["file"]

    def refuse(key: str, problem: str, hint: str) -> TokentrailsError:
        return TokentrailsError(
            problem, where=where(("experiments", name, "ranks", key)), hint=hint
        )

    for site in given["sites"]:
        if site not in entry["sites"]:
            raise refuse(
                "sites",
                f"the ranks are read at {site}, which the experiment's sites {entry['sites']} lack",
                f"add {site} to experiments.{name}.sites, or choose other ranks.sites.",
            )
    if given["as_published"]:
        if not prompts[0].is_whole:
            raise refuse(
                "as_published",
                "the published formula needs the states of all tokens of a text, but the prompts "
                f"of the file {file} have single targets",
                "remove it, or make them whole texts: without 'word' and 'token'.",
            )
        if "resid" not in entry["sites"]:
            raise refuse(
                "as_published",
                "the published formula begins with the states at resid, which the experiment's "
                f"sites {entry['sites']} lack",
                f"add resid to experiments.{name}.sites, or remove it.",
            )
        if "resid_mid" not in given["sites"]:
            raise refuse(
                "as_published",
                "the published formula is one for resid_mid, which ranks.sites "
                f"{given['sites']} lack",
                "add resid_mid to ranks.sites, or remove it.",
            )
    return Ranks(
        sites=tuple(sorted(given["sites"])),
        nearest=int(given["nearest"]),
        positional=given["positional"],
        as_published=given["as_published"],
        show=_shown(given, file, prompts, where(("experiments", name, "ranks", "show"))),
    )


def _circuits(
    name: str,
    entry: dict[str, Any],
    prompts: Sequence[Prompt],
    where: Callable[[KeyPath], str],
) -> Circuits:
    """The settings of the analyses of heads and neurons; whether these exist, the model says."""
    given = entry["circuits"]
    return Circuits(
        top=int(given["top"]),
        whole_words=given["whole_words"],
        high_bias=float(given["high_bias"]),
        layers=_numbers(given["layers"]),
        heads=_numbers(given["heads"]),
        strongest=int(given["strongest"]),
        show=_shown(
            given, entry["file"], prompts, where(("experiments", name, "circuits", "show"))
        ),
    )


def _numbers(given: str | list[int]) -> tuple[int, ...] | None:
    """Numbers in rising order; None for `all`."""
    return None if given == "all" else tuple(sorted(map(int, given)))


def _shown(given: dict[str, Any], file: str, prompts: Sequence[Prompt], where: str) -> str:
    """The label of the text that figures draw, by default the first."""
    labels = [prompt.label for prompt in prompts]
    show = given.get("show", labels[0])
    if show not in labels:
        guess = closest(show, labels)
        hint = f"did you mean {guess!r}?" if guess else f"give one of them, such as {labels[0]!r}."
        problem = f"no text of the file {file} has the label {show!r}"
        raise TokentrailsError(problem, where=where, hint=hint)
    return show


def _words(entry: dict[str, Any], where: str) -> Words:
    if entry["list"] != WORDFREQ and not Path(entry["list"]).is_file():
        raise TokentrailsError(
            f"there is no word list {entry['list']!r}",
            where=where,
            hint=f"write {WORDFREQ}, or a file; its name is relative to the working directory.",
        )
    return Words(
        list=entry["list"],
        top=int(entry["top"]),
        n_tokens=tuple(sorted(map(int, entry["n_tokens"]))),
        per_group=int(entry["per_group"]),
        seed=int(entry["seed"]),
    )


def _contexts(sources: Sequence[str], where: Callable[[KeyPath], str]) -> tuple[str, ...]:
    seen: dict[Template, int] = {}
    for index, source in enumerate(sources):
        here = where(("contexts", index))
        template = Template.parse(source, here)
        if template in seen:
            raise TokentrailsError(
                f"the context {source!r} is the same as contexts[{seen[template]}]",
                where=here,
                hint="remove one of them.",
            )
        seen[template] = index
    return tuple(sources)


def _model(name: str, entry: dict[str, Any], where: str) -> Model:
    kind, _, location = entry["source"].partition(":")
    location, _, version = location.partition("==") if kind == "package" else (location, "", "")
    training = _training(entry, location, where) if kind == "train" else None
    checkpoints = _checkpoints(entry, training, where)
    reference = entry.get("reference", checkpoints[-1])
    repeated = [c for c, n in Counter(checkpoints).items() if n > 1]
    if repeated:
        raise TokentrailsError(
            f"the checkpoint {repeated[0]!r} is listed twice",
            where=where,
            hint="remove one of them.",
        )
    _check_order(checkpoints, where)
    if reference not in checkpoints:
        raise TokentrailsError(
            f"the reference {reference!r} is not one of the checkpoints",
            where=where,
            hint=f"choose from {', '.join(checkpoints)}.",
        )
    if training is None and (given := [key for key in ("seed", "steps") if key in entry]):
        raise TokentrailsError(
            f"{given[0]!r} is a key of models that are trained here, not of {entry['source']!r}",
            where=where,
            hint=f"remove {given[0]!r}, or use 'train:{next(iter(SIZES))}' as the source.",
        )
    if kind == "package" and "checkpoints" in entry:
        raise TokentrailsError(
            f"a package holds one checkpoint, but {', '.join(checkpoints)} are asked for",
            where=where,
            hint="remove 'checkpoints'; the one checkpoint of a package is named main.",
        )
    if not entry["keep_weights"] and "checkpoints" not in entry:
        raise TokentrailsError(
            "'keep_weights: false' is for models with a list of checkpoints",
            where=where,
            hint="remove it, or list the checkpoints.",
        )
    source = Source(
        model=name,
        spec=entry["source"],
        kind=kind,
        location=location,
        version=version or None,
        revision=entry["revision"],
        has_checkpoints="checkpoints" in entry,
        sha256=entry.get("sha256"),
        file=entry.get("file"),
        allow_pickle=entry["allow_pickle"],
    )
    return Model(
        name,
        source,
        checkpoints,
        reference,
        training,
        keep_weights=entry["keep_weights"],
        strict_checkpoints=entry["strict_checkpoints"],
        threads=entry["threads"],
    )


def _training(entry: dict[str, Any], size: str, where: str) -> Training:
    if size not in SIZES:
        raise TokentrailsError(
            f"no model of the size {size!r} can be trained",
            where=where,
            hint=f"choose from {', '.join(f'train:{known}' for known in SIZES)}.",
        )
    training = Training(size, entry.get("seed", 0), entry.get("steps", SIZES[size].steps))
    saved = checkpoint_names(training.steps)
    if f"step{training.steps}" not in saved:
        raise TokentrailsError(
            f"the last of {training.steps} steps would not be saved",
            where=where,
            hint=f"end at a step of the schedule, such as {saved[-1].removeprefix('step')}: "
            "a power of two up to 512, or a multiple of 512.",
        )
    return training


def _checkpoints(entry: dict[str, Any], training: Training | None, where: str) -> tuple[str, ...]:
    """The names of a model's checkpoints, with `all` spelt out."""
    if "checkpoints" not in entry:
        return ("main",)
    listed = entry["checkpoints"]
    if "all" in listed and listed != "all":
        raise TokentrailsError(
            "no checkpoint can be named 'all': results across checkpoints go by this name",
            where=where,
            hint="write 'checkpoints: all', without brackets, for every checkpoint of a model that "
            "is trained here; else give the checkpoint another name.",
        )
    if training is None:
        if listed == "all":
            raise TokentrailsError(
                f"'checkpoints: all' is for models that are trained here, not {entry['source']!r}",
                where=where,
                hint="list the names of the checkpoints.",
            )
        return tuple(listed)
    saved = checkpoint_names(training.steps)
    if listed == "all":
        return tuple(saved)
    unknown = [name for name in listed if name not in saved]
    if unknown:
        raise TokentrailsError(
            f"the training saves no checkpoint {unknown[0]!r}",
            where=where,
            hint=f"choose from {', '.join(saved)}, or say all.",
        )
    return tuple(listed)


def _check_order(checkpoints: tuple[str, ...], where: str) -> None:
    """Refuse steps that do not ascend; names without a step may stand anywhere."""
    steps = {name: step for name in checkpoints if (step := step_of(name)) is not None}
    ascending = sorted(steps, key=steps.__getitem__)
    for first, second in itertools.pairwise(ascending):
        if steps[first] == steps[second]:
            raise TokentrailsError(
                f"the checkpoints {first!r} and {second!r} are the same step, {steps[first]}",
                where=where,
                hint="remove one of them.",
            )
    for before, after in itertools.pairwise(steps):
        if steps[before] > steps[after]:
            in_turn = iter(ascending)
            right = [next(in_turn) if name in steps else name for name in checkpoints]
            raise TokentrailsError(
                f"the checkpoint {after!r} stands behind {before!r}, but its step is smaller",
                where=where,
                hint=f"list them in this order: {', '.join(right)}.",
            )


def _check_group(name: Any, known: list[str], where: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise TokentrailsError(
            f"{name!r} cannot be the name of a group column",
            where=where,
            hint="use letters, digits and '_', beginning with a letter.",
        )
    if name in RESERVED:
        raise TokentrailsError(
            f"{name!r} is a column that every table has",
            where=where,
            hint="give the group column another name.",
        )
    guess = closest(name, known)
    if guess:
        raise TokentrailsError(
            f"unknown key {name!r}",
            where=where,
            hint=f"did you mean {guess!r}? If it is a group column, choose a name less alike.",
        )


def _check_checkpoints(experiment: Experiment, models: dict[str, Model], where: str) -> None:
    """Refuse convergence where no model has several checkpoints; the others are left out of it."""
    several = [name for name in experiment.models if len(models[name].checkpoints) > 1]
    if "convergence" in experiment.analyses and not several:
        raise TokentrailsError(
            f"convergence compares checkpoints, but {', '.join(experiment.models)} "
            f"{'has' if len(experiment.models) == 1 else 'have'} one each",
            where=where,
            hint="give a model a list of 'checkpoints', or leave 'convergence' out of the analyses "
            f"of {experiment.file}.",
        )


def _check_neurons(experiments: dict[str, Experiment], where: Callable[[KeyPath], str]) -> None:
    """Refuse experiments that would list neurons differently: a checkpoint has one list."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, experiment in experiments.items():
        if experiment.circuits is None or "neurons" not in experiment.analyses:
            continue
        listing = experiment.circuits.listing
        for model in experiment.models:
            other, theirs = first.setdefault(model, (name, listing))
            for key in (key for key in listing if listing[key] != theirs[key]):
                raise TokentrailsError(
                    f"the neurons of {model!r} are listed once for all experiments, but {key} is "
                    f"{listing[key]} here and {theirs[key]} in {other!r}",
                    where=where(("experiments", name, "circuits", key)),
                    hint="give both the same value, or leave neurons out of the analyses of one.",
                )


def _check_title(title: str, where: str) -> None:
    try:
        title.format(model="", checkpoint="", experiment="")
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise TokentrailsError(
            f"the title {title!r} cannot be filled in: {error!r}",
            where=where,
            hint="use only {model}, {checkpoint} and {experiment} in braces.",
        ) from error


def _holds(data: Any, keys: KeyPath) -> bool:
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True
