"""Models of the configuration: where they come from, and their checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from ..catalogue import MODEL_FOLDER, Kind
from ..errors import TokentrailsError, Where
from ..files.near import near_or_all, near_path
from ..network.lens_file import LensFile
from ..settings import Lens, Model, Replicates, Source, Training, build, step_of
from .experiments import load_experiment
from .trainings import SIZES, checkpoint_names


def load_model(name: str, entries: Mapping[str, dict[str, Any]], where: Where) -> Model:
    """A model from its keys in the configuration, with every default filled in.

    Parameters
    ----------
    entries: the keys of all models, by name.
    where: the list of models, for messages.

    Raises
    ------
    TokentrailsError: for keys that do not go together.
    """
    entry, models, where = entries[name], where, where / name
    kind, _, location = entry["source"].partition(":")
    location, _, version = location.partition("==") if kind == "package" else (location, "", "")
    listed = "checkpoints" in entry
    trained = [key for key, each in entries.items() if not each["source"].startswith("random:")]
    if kind == "random" and not listed:
        entry = entry | {"checkpoints": ["draw0"]}
    training = _training(entry, location, where) if kind == "train" else None
    checkpoints = _checkpoints(entry, training, where)
    reference = entry.get("reference", checkpoints[-1])
    _check_order(checkpoints, where)
    if reference not in checkpoints:
        raise (where / "reference").error(
            f"the reference {reference!r} is not one of the checkpoints",
            f"choose from {', '.join(checkpoints)}.",
        )
    if training is None and (given := [key for key in ("seed", "steps") if key in entry]):
        raise (where / given[0]).error(
            f"{given[0]!r} is a key of models that are trained here, not of {entry['source']!r}",
            "list draws as its checkpoints, such as draw1; their numbers are the seeds."
            if kind == "random"
            else f"remove {given[0]!r}, or use 'train:{next(iter(SIZES))}' as the source.",
        )
    if kind != "random" and "initializer_range" in entry:
        raise (where / "initializer_range").error(
            f"'initializer_range' is a key of random weights, not of {entry['source']!r}",
            "give it to a model whose source is 'random:MODEL'.",
        )
    if kind == "package" and listed:
        raise (where / "checkpoints").error(
            f"a package holds one checkpoint, but {', '.join(checkpoints)} are asked for",
            "remove 'checkpoints'; the one checkpoint of a package is named main.",
        )
    if not entry["keep_weights"] and not listed:
        raise (where / "keep_weights").error(
            "'keep_weights: false' is for models with a list of checkpoints",
            "remove it, or list the checkpoints.",
        )
    revision = entry["revision"]
    if kind == "random":
        _check_draws(checkpoints, where)
        original = _other(location, trained, entries, models, where / "source")
        revision = original.tokenizer_checkpoint
    base = None
    if "base" in entry:
        if kind not in ("hub", "path"):
            raise (where / "base").error(
                f"'base' is a key of adapters from a hub or a folder, not of {entry['source']!r}",
                "remove it, or name the adapter as the source.",
            )
        whole = [key for key in trained if "base" not in entries[key]]
        named = _other(entry["base"], whole, entries, models, where / "base")
        base = MODEL_FOLDER.format(model=named.name, checkpoint=named.reference)
    source = build(
        Source,
        entry,
        model=name,
        spec=entry["source"],
        kind=kind,
        location=location,
        version=version or None,
        revision=revision,
        has_checkpoints=listed,
        base=base,
    )
    return build(
        Model,
        entry,
        name=name,
        source=source,
        checkpoints=checkpoints,
        reference=reference,
        training=training,
        lenses=_lenses(entry["lenses"], where / "lenses"),
    )


def load_replicates(
    name: str, sets: Mapping[str, dict[str, Any]], models: Mapping[str, Model], where: Where
) -> Replicates:
    """A set of models that are trainings of one recipe.

    Parameters
    ----------
    sets: the keys of all sets in the configuration, by name.
    models: those of the configuration that are no sets.
    where: the list of models, for messages.

    Raises
    ------
    TokentrailsError: for other keys, and for members that are no models, come twice, or are no
        different trainings of one recipe with the same checkpoints.
    """
    entry, where = sets[name], where / name
    if extra := entry.keys() - {"replicates"}:
        raise (where / min(extra)).error(
            f"{min(extra)!r} is a key of single models, and {name!r} is a set of replicates",
            "give it to the models of the set.",
        )
    where, names = where / "replicates", entry["replicates"]
    for index, member in enumerate(names):
        here = where / index
        if member in sets:
            its_own = [each for each in sets[member]["replicates"] if each in models]
            raise here.error(
                f"{member!r} is a set of replicates itself, and a set holds single models",
                f"name models in its place: {', '.join(its_own or models)}.",
            )
        if member not in models:
            raise here.error(
                f"the model {member!r} is not in the configuration",
                f"name single models: {near_or_all(member, models)}.",
            )
        if member in names[:index]:
            raise here.error(f"the model {member!r} is listed twice", "remove one of them.")
    first, *others = members = tuple(models[member] for member in names)
    for other in others:
        for what, of in _ALIKE.items():
            if of(other) != of(first):
                raise where.error(
                    f"{first.name!r} and {other.name!r} have not the same {what}: "
                    f"{of(first)} and {of(other)}",
                    "replicates differ in their seeds alone; mend that, or take one off the list.",
                )
    for one, other in combinations(members, 2):
        if _weights(one) == _weights(other):
            raise where.error(
                f"{one.name!r} and {other.name!r} are the same training",
                "give one another 'seed'."
                if one.training
                else "name models with weights of their own.",
            )
    return Replicates(name, members)


_ALIKE: dict[str, Callable[[Model], object]] = {
    "kind of source": lambda model: model.source.kind,
    "size": lambda model: model.training and model.training.size,
    "number of steps": lambda model: model.training and model.training.steps,
    "checkpoints": lambda model: ", ".join(model.checkpoints),
    "reference": lambda model: model.reference,
}
"""What trainings of one recipe have in common; of weights made elsewhere, their tables say more."""


def _weights(model: Model) -> tuple[object, ...]:
    """What decides the weights of a model's checkpoints."""
    source = model.source
    return source.spec, source.revision, source.file, source.base, model.training


def _training(entry: dict[str, Any], size: str, where: Where) -> Training:
    if size not in SIZES:
        raise (where / "source").error(
            f"no model of the size {size!r} can be trained",
            f"choose from {', '.join(f'train:{known}' for known in SIZES)}.",
        )
    training = Training(size, entry.get("seed", 0), entry.get("steps", SIZES[size].steps))
    saved = checkpoint_names(training.steps)
    if f"step{training.steps}" not in saved:
        raise (where / "steps").error(
            f"the last of {training.steps} steps would not be saved",
            f"end at a step of the schedule, such as {saved[-1].removeprefix('step')}: a power of "
            "two up to 512, or a multiple of 512.",
        )
    return training


def _lenses(entries: Mapping[str, dict[str, Any]], where: Where) -> tuple[Lens, ...]:
    """The lenses of a model, of which at most one is fitted here."""
    fitted = [name for name, entry in entries.items() if "train" in entry]
    if len(fitted) > 1:
        raise (where / fitted[1] / "train").error(
            f"{fitted[0]!r} is fitted here already, and a model has one such lens",
            "remove one of them.",
        )
    return tuple(_lens(name, entry, where / name) for name, entry in entries.items())


def _lens(name: str, entry: dict[str, Any], where: Where) -> Lens:
    if "train" in entry:
        if extra := entry.keys() & {"file", "kind"}:
            raise (where / min(extra)).error(
                f"{min(extra)!r} is a key of lenses from files, and {name!r} is fitted here",
                "remove it, or 'train': what is fitted is a tuned lens.",
            )
        of_file = {"file": entry["train"], "analyses": []}
        texts = load_experiment(name, of_file, named=where / "train")
        if texts.kind is not Kind.CORPUS:
            raise (where / "train").error(
                f"the experiment file {entry['train']!r} has no corpus to fit a lens to, but "
                f"{texts.kind}",
                "name one of a running text, such as config/experiments/plays.yaml.",
            )
        return Lens(name, "tuned", texts=texts)
    file, where = Path(entry["file"]), where / "file"
    if file.suffix != ".safetensors":
        raise where.error(
            f"the lens {str(file)!r} is no .safetensors file, and nothing else is read",
            "convert a pickle: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            f"{str(file.with_suffix('.safetensors'))!r}).",
        )
    if not file.is_file():
        raise where.error(
            f"there is no lens {str(file)!r}",
            f"{near_path(file)}give a file; its name is relative to the working directory.",
        )
    kind = entry.get("kind", "tuned")
    try:
        LensFile.of(file, kind)
    except TokentrailsError as error:
        raise where.error(f"{error.where}: {error.problem}", error.hint) from None
    return Lens(name, kind, file=entry["file"])


def _checkpoints(entry: dict[str, Any], training: Training | None, where: Where) -> tuple[str, ...]:
    """The names of a model's checkpoints, with `all` spelt out."""
    listed, where = entry.get("checkpoints", ["main"]), where / "checkpoints"
    if listed != "all" and "all" in listed:
        raise (where / listed.index("all")).error(
            "no checkpoint can be named 'all': results across checkpoints go by this name",
            "write 'checkpoints: all', without brackets, for every checkpoint of a model that is "
            "trained here; else give the checkpoint another name.",
        )
    if listed == "all" and training is None:
        raise where.error(
            f"'checkpoints: all' is for models that are trained here, not {entry['source']!r}",
            "list the names of the checkpoints.",
        )
    if training is not None and "checkpoints" in entry:
        saved = checkpoint_names(training.steps)
        listed = saved if listed == "all" else listed
        if unknown := [name for name in listed if name not in saved]:
            raise (where / listed.index(unknown[0])).error(
                f"the training saves no checkpoint {unknown[0]!r}",
                f"choose from {', '.join(saved)}, or say all.",
            )
    for index, name in enumerate(listed):
        if name in listed[:index]:
            raise (where / index).error(
                f"the checkpoint {name!r} is listed twice", "remove one of them."
            )
    return tuple(listed)


def _check_order(checkpoints: tuple[str, ...], where: Where) -> None:
    """Refuse steps that do not ascend; names without a step may stand anywhere."""
    steps = {name: step for name in checkpoints if (step := step_of(name)) is not None}
    ascending = sorted(steps, key=steps.__getitem__)
    where = where / "checkpoints"
    for first, second in pairwise(ascending):
        if steps[first] == steps[second]:
            raise (where / checkpoints.index(second)).error(
                f"the checkpoints {first!r} and {second!r} are the same step, {steps[first]}",
                "remove one of them.",
            )
    for before, after in pairwise(steps):
        if steps[before] > steps[after]:
            in_turn = iter(ascending)
            right = [next(in_turn) if name in steps else name for name in checkpoints]
            raise (where / checkpoints.index(after)).error(
                f"the checkpoint {after!r} stands behind {before!r}, but its step is smaller",
                f"list them in this order: {', '.join(right)}.",
            )


def _other(
    name: str,
    known: Collection[str],
    entries: Mapping[str, dict[str, Any]],
    models: Where,
    key: Where,
) -> Model:
    """Another model, which one is made of.

    Parameters
    ----------
    known: names of those that it may be.
    models, key: the list of models, and what names this one, for messages.
    """
    if name not in known:
        wrong = "has no weights of its own" if name in entries else "is not in the configuration"
        guess = near_or_all(name, known) or "add it under 'models'"
        raise key.error(
            f"the model {name!r}, which this one is made of, {wrong}",
            f"name one that has weights of its own: {guess}.",
        )
    other = load_model(name, entries, models)
    if not other.keep_weights:
        raise key.error(
            f"the weights of {name!r}, which this model is made of, are not kept",
            "add a model of the same source with one checkpoint, and name that one.",
        )
    return other


def _check_draws(checkpoints: tuple[str, ...], where: Where) -> None:
    for index, name in enumerate(checkpoints):
        if not re.fullmatch(r"draw(0|[1-9][0-9]{0,8})", name):
            raise (where / "checkpoints" / index).error(
                f"random weights have no checkpoint {name!r}",
                "name draws, whose numbers are their seeds: [draw0, draw1, draw2].",
            )
