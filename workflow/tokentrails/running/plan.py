"""What a run will take, before it starts: jobs, GPU time, downloads and disk.

Out of the outputs that Snakemake lists, with those that are to be made, and of the sizes of models.
What is not known is said to be so; nothing is guessed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from ..config.trainings import checkpoint_names
from ..errors import TokentrailsError
from ..models.size import Expected
from ..network.batches import texts_to_run
from ..network.size import ModelSize
from ..settings import Config, Model
from .cost import IN_PARTS, Counts, minutes, seconds, shards_of, size_in_words, states_mb, work

MODELS, TRAININGS = "resources/models/", "resources/training/"
HIDDEN_STATES = "results/hidden_states/"


@dataclass(frozen=True)
class Output:
    """One line of `snakemake --summary`.

    Attributes
    ----------
    pending: whether its job is to run.
    current: whether it is there and as the configuration wants it, though its job may have to run
        because that of its input does.
    """

    file: str
    rule: str
    pending: bool
    current: bool = False


@dataclass(frozen=True)
class Rule:
    """What is known of a rule of the workflow.

    Attributes
    ----------
    stage: the file of rules that it is in.
    outputs: how many files one of its jobs makes.
    local: whether it runs where Snakemake runs, whatever the profile.
    gpu: whether it asks for a GPU.
    """

    stage: str
    outputs: int
    local: bool
    gpu: bool


@dataclass
class Stage:
    """Jobs of one stage: those that are to run, by where they do, and those that are done."""

    local: int = 0
    cpu: int = 0
    gpu: int = 0
    done: int = 0

    @property
    def pending(self) -> int:
        return self.local + self.cpu + self.gpu


@dataclass
class Need:
    """What one model takes from now on. Disk and downloads in MB.

    Attributes
    ----------
    checkpoints: to fetch, to convert or to train.
    weights_mb: of checkpoints that are kept; of one, where they are not.
    gpu_jobs, work_hours, asked_hours: jobs on a GPU, how long they work, and what they ask for.
    bounded: GPU jobs on texts that are not tokenized yet, of which the work is an upper bound.
    unknown: why the numbers are not known; empty where they are.
    """

    checkpoints: int = 0
    download_mb: float = 0.0
    weights_mb: float = 0.0
    states_mb: float = 0.0
    gpu_jobs: int = 0
    work_hours: float = 0.0
    asked_hours: float = 0.0
    bounded: int = 0
    unknown: str = ""


@dataclass
class Tables:
    """Disk of all other outputs that are to be made, as large as those of the same rule are.

    Attributes
    ----------
    files: how many are to be made.
    unknown: rules of which there is none yet, and how many files of each are to be made.
    """

    files: int = 0
    mb: float = 0.0
    unknown: dict[str, int] = field(default_factory=dict)


def counted(tokens: Path, size: ModelSize) -> Counts:
    """What a model is run on, out of its table of tokens: each text once, and to its last target.

    Raises
    ------
    FileNotFoundError: if the table is not there.
    """
    table = pl.read_parquet(tokens, columns=["token_ids", "last"])
    last = [[position] for position in table["last"]]
    texts = texts_to_run(table["token_ids"].to_list(), last, causal=size.causal)
    return Counts(sum(len(text.token_ids) for text in texts), len(table))


def read_summary(text: str) -> list[Output]:
    """The outputs out of what `snakemake --summary` prints."""
    outputs = []
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) == 6 and columns[0] != "output_file":
            pending, current = columns[5] == "update pending", columns[4] == "ok"
            outputs.append(Output(columns[0], columns[2], pending, current))
    return outputs


def stages(outputs: Iterable[Output], rules: Mapping[str, Rule]) -> dict[str, Stage]:
    """The jobs of each stage, in the order of `rules`."""
    files = Counter((output.rule, output.pending) for output in outputs)
    found: dict[str, Stage] = {}
    for name, rule in rules.items():
        pending, done = (files[name, state] // rule.outputs for state in (True, False))
        if not pending + done:
            continue
        stage = found.setdefault(rule.stage, Stage())
        where = "local" if rule.local else "gpu" if rule.gpu else "cpu"
        setattr(stage, where, getattr(stage, where) + pending)
        stage.done += done
    return found


def needs(
    outputs: Iterable[Output],
    rules: Mapping[str, Rule],
    config: Config,
    expected: Callable[[Model], Expected],
    counted: Callable[[str, str, ModelSize], Counts | None] = lambda *_: None,
) -> dict[str, Need]:
    """What each model takes.

    Parameters
    ----------
    expected: the size of a model's checkpoints; it is asked where something is to be done.
    counted: the texts of a model's experiment, by their names; None where they are not tokenized.
    """
    todo: dict[str, _Todo] = defaultdict(_Todo)
    for output in outputs:
        if not output.pending:
            continue
        parts = Path(output.file).parts
        if output.file.startswith(TRAININGS):  # MODEL/…
            todo[parts[2]].training = True
        elif output.file.startswith(MODELS):  # MODEL/CHECKPOINT/…
            todo[parts[2]].checkpoints.add(parts[3])
        elif rules[output.rule].gpu:  # results/STAGE/MODEL/CHECKPOINT/EXPERIMENT[.parquet]
            shard = parts[5].partition(".")[0] if output.rule in IN_PARTS else ""
            job = (output.rule, parts[3], parts[4].removesuffix(".parquet"), shard)
            todo[parts[2]].on_gpu.add(job)
    return {
        name: _need(model, todo[name], config, expected, counted)
        for name, model in config.models.items()
    }


@dataclass
class _Todo:
    """What is to be done for a model: checkpoints, and jobs on a GPU.

    Of a job its rule, checkpoint, experiment, and which part of its texts it is about.
    """

    training: bool = False
    checkpoints: set[str] = field(default_factory=set)
    on_gpu: set[tuple[str, str, str, str]] = field(default_factory=set)


def _need(
    model: Model,
    todo: _Todo,
    config: Config,
    expected: Callable[[Model], Expected],
    counted: Callable[[str, str, ModelSize], Counts | None],
) -> Need:
    need = Need(checkpoints=len(todo.checkpoints), gpu_jobs=len(todo.on_gpu))
    if todo == _Todo():
        return need
    try:
        known = expected(model)
    except TokentrailsError as error:
        need.unknown = str(error).splitlines()[0]
        return need
    size = known.size
    need.download_mb = known.download_mb * need.checkpoints
    kept = need.checkpoints if model.keep_weights else min(1, need.checkpoints)
    if model.training is not None and todo.training:
        kept += len(checkpoint_names(model.training.steps))
    need.weights_mb = size.weights_mb * kept
    of_texts = {
        name: counted(model.name, name, size)
        for name in {name for _, _, name, _ in todo.on_gpu}
        if name in config.experiments
    }
    for rule, _, name, _ in todo.on_gpu:
        # None has the weights alone.
        experiment = model.lens_texts if rule == "lens" else config.experiments.get(name)
        counts = of_texts.get(name)
        try:
            if experiment is not None:
                need.bounded += counts is None
                if rule in ("hidden_states", "partial_states"):
                    jobs = shards_of(experiment, config.extract["shard_tokens"])
                    states = states_mb(experiment, size, config.extract["store"], counts)
                    need.states_mb += states / jobs
            of_job = work(rule, experiment, size, config.extract, counts)
            asked = minutes(*work(rule, experiment, size, config.extract))
        except FileNotFoundError:
            unknown = f"the table of {name} is not fetched yet, and has no 'limit'"
            return Need(need.checkpoints, gpu_jobs=need.gpu_jobs, unknown=unknown)
        need.work_hours += seconds(*of_job) / 3600
        need.asked_hours += asked / 60
    return need


def tables(outputs: Sequence[Output], size_of: Callable[[str], int | None]) -> Tables:
    """The disk of tables and figures that are to be made.

    Parameters
    ----------
    size_of: bytes of a file; None where there is none.
    """
    others = [
        output
        for output in outputs
        if not output.file.startswith((MODELS, TRAININGS, HIDDEN_STATES))
    ]
    sizes: dict[str, list[int]] = defaultdict(list)
    for output in others:
        if (size := size_of(output.file)) is not None:
            sizes[output.rule].append(size)
    found = Tables()
    for rule, files in Counter(output.rule for output in others if output.pending).items():
        found.files += files
        if sizes[rule]:
            found.mb += files * sum(sizes[rule]) / len(sizes[rule]) / 1e6
        else:
            found.unknown[rule] = files
    return found


def total(needs: Mapping[str, Need], config: Config) -> Need:
    """The sum of the models whose sizes are known.

    Of weights that are not kept, no more than one checkpoint is on the disk, whichever model's.
    """
    added = Need()
    for key in (
        "checkpoints",
        "download_mb",
        "states_mb",
        "gpu_jobs",
        "work_hours",
        "asked_hours",
        "bounded",
    ):
        setattr(added, key, sum(getattr(need, key) for need in needs.values()))
    kept = [n.weights_mb for name, n in needs.items() if config.models[name].keep_weights]
    passing = [n.weights_mb for name, n in needs.items() if not config.models[name].keep_weights]
    added.weights_mb = sum(kept) + max(passing, default=0.0)
    return added


def page(
    stages: Mapping[str, Stage],
    needs: Mapping[str, Need],
    all_of: Need,
    tables: Tables,
    free: int,
    *,
    gpu_here: bool,
) -> str:
    """The plan as text.

    Parameters
    ----------
    free: bytes of the disk.
    gpu_here: whether this machine has a GPU.
    """
    whole = Stage()
    for stage in stages.values():
        for key in ("local", "cpu", "gpu", "done"):
            setattr(whole, key, getattr(whole, key) + getattr(stage, key))
    jobs = [
        (name.replace("_", " "), s.pending, s.local, s.cpu, s.gpu, s.done)
        for name, s in {**stages, "total": whole}.items()
    ]
    unknown = {name: need.unknown for name, need in needs.items() if need.unknown}
    if unknown and len(unknown) == len(needs):
        all_of = replace(all_of, unknown="all of it")
    models = [(name, n.checkpoints, *_numbers(n), n.gpu_jobs) for name, n in needs.items()]
    sums = _numbers(all_of)
    if unknown and not all_of.unknown:
        sums = tuple(f"≥ {number}" for number in sums)
    models.append(("total", all_of.checkpoints, *sums, all_of.gpu_jobs))
    least = "at least " if unknown else ""
    least_mb = "at least " if tables.unknown else least
    most = least or ("at most " if all_of.bounded else "about ")
    on_disk = all_of.weights_mb + all_of.states_mb + tables.mb
    lines = [
        *_aligned(("stage", "jobs", "local", "CPU", "GPU", "done already"), jobs),
        "",
        f"On Slurm the CPU and GPU jobs are submitted, {whole.cpu + whole.gpu:,} at most: tables "
        "of one run may share a job.",
        "Without Slurm all run here"
        + ("." if gpu_here else ", GPU jobs on the CPU: there is no GPU. They take longer there."),
        "",
        *_aligned(
            ("model", "checkpoints", "download", "weights", "states", "GPU time", "GPU jobs"),
            models,
        ),
        "",
        f"Tables and figures: {tables.files:,} files"
        + (f", {size_in_words(tables.mb)} if they are as large as those there" if tables.mb else "")
        + (_unknown(tables.unknown) if tables.unknown else "")
        + ".",
        f"Disk: {f'{least_mb}{size_in_words(on_disk)}' if on_disk or not least_mb else 'unknown'} "
        f"more, {size_in_words(free / 1e6)} free."
        + (" NOT ENOUGH." if on_disk * 1e6 > free else ""),
        "GPU: unknown."
        if all_of.unknown
        else f"GPU: {most}{_time(all_of.work_hours)} of work on a small GPU; jobs ask for "
        f"{_time(all_of.asked_hours)} together, with time to start.",
    ]
    if all_of.bounded:
        lines.append(
            f"Texts of {all_of.bounded:,} GPU jobs are not tokenized, so their states and time are "
            "upper bounds: the option --until tokens makes what they are counted from."
        )
    if unknown:
        about = [f"  {name}: {reason}" for name, reason in unknown.items()]
        lines += ["", "Unknown, and in no sum above:", *about]
    return "\n".join(lines)


def _numbers(need: Need) -> tuple[str, ...]:
    if need.unknown:
        return ("unknown",) * 4
    disk = (need.download_mb, need.weights_mb, need.states_mb)
    return (*map(size_in_words, disk), _time(need.work_hours))


def _unknown(files: Mapping[str, int]) -> str:
    """Of rules without a file yet: how many files have no known size."""
    rules = ", ".join(files) if len(files) < 6 else f"{len(files)} rules"
    return f"; no file is there of {rules}, so the size of {sum(files.values()):,} is unknown"


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{math.ceil(60 * hours)} min"


def _aligned(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns under their names; the first one to the left, the others to the right."""
    cells = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
