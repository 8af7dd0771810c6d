"""What a job needs, before it starts: memory, time and disk, from sizes of models and texts.

Slurm kills a job that takes more than it asked for, and lets one wait that asks for too much. These
are upper bounds for the machines named below, in plain formulas; what was not enough is doubled at
each retry. The planner adds up the same formulas, with the tokens themselves where they are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..catalogue import ANALYSES, Extra, Kind
from ..network.size import ModelSize
from ..settings import Config, Experiment, TextTable, local_path
from ..texts.corpus import SPARE

START_MINUTES = 10
"""Asked for whatever a job does: starting, importing, opening files over a network."""

BASE_MB = 2_000
"""Memory of a process that has loaded torch and transformers, and its buffers: the largest are the
states of one batch, and those that wait to be written (`IN_MEMORY`)."""

READ_MB_PER_SECOND = 100.0
"""A busy file system that many nodes share."""

FLOP_PER_SECOND = 2e12
"""What is left of a small GPU in float32 with short texts: about a quarter of a T4's 8e12."""

BYTES_PER_TOKEN = 3
"""UTF-8 bytes of a text per token; four to five in English, so the count is an upper bound."""

SPECIAL_TOKENS = 2
"""Special tokens that a tokenizer puts around a text."""

MESSAGE_TOKENS = 10
"""Tokens that a chat template puts around a message."""

CHAT_TOKENS = 100
"""Tokens that a chat template puts around all of them, such as a system message of its own."""

MOST_LEFT = 100
"""Tokens left of a word in a sentence of a text: it is at most some fifty words."""

MOST_ENDING = 8
"""Tokens by which a word of a list may be longer than what it replaces, and all behind that."""

ROW_BYTES = 60, 1_000
"""Bytes of a row of a table: at least, in the mean, and at most, in the mean of those drawn."""

READ_OUT = 3
"""Products with the vocabulary at each layer where a token is read out."""

IN_PARTS = ("corpus_sums", "partial_states")
"""Rules of which a job runs a model on a part of an experiment's texts."""

MOST_SHARDS = 10_000
"""Parts that are planned of one experiment: with as many jobs, planning takes a minute."""

COMPRESSION = 5
"""How much larger a compressed table is than its file; two to four for sentences."""


class Counts(NamedTuple):
    """Tokens that a model is run on, and rows of states at each place."""

    tokens: int
    occurrences: int


def bounds(experiment: Experiment) -> Counts:
    """Upper bounds, before tokenizing."""
    return Counts(tokens_of(experiment), occurrences_of(experiment))


def tokens_of(experiment: Experiment) -> int:
    """An upper bound of the tokens that an experiment runs a model on, before tokenizing."""
    if corpus := experiment.corpus:
        return math.ceil(corpus.tokens * corpus.length / (corpus.length - SPARE)) + corpus.length
    if experiment.words is None:
        around = MESSAGE_TOKENS if experiment.chat_template else SPECIAL_TOKENS
        if experiment.table:
            n, size = _of_table(experiment.table)
            text = math.ceil(size / BYTES_PER_TOKEN) + around * n
        else:
            n = len(experiment.prompts)
            contents = [message.content for each in experiment.prompts for message in each.chat]
            text = sum(math.ceil(len(c.encode()) / BYTES_PER_TOKEN) + around for c in contents)
        if experiment.chat_template:
            text += CHAT_TOKENS * n
        if experiment.splits:
            return (text + MOST_ENDING * n) * experiment.splits.texts
        return text
    words = experiment.words
    if experiment.contexts_from:
        return occurrences_of(experiment) * (MOST_LEFT + MOST_ENDING + SPECIAL_TOKENS)
    if experiment.sentences:
        text = sum(
            math.ceil(len(sentence.encode()) / BYTES_PER_TOKEN) + SPECIAL_TOKENS
            for each in experiment.sentences
            for sentence in each.sentences
        )
        return (text + MOST_ENDING * _sentences(experiment)) * (1 + experiment.others)
    if not experiment.contexts:
        return sum((n + SPECIAL_TOKENS) * words.per_group for n in words.n_tokens)
    longest = max(len(context.encode()) for context in experiment.contexts)
    text = math.ceil(longest / BYTES_PER_TOKEN)
    # A word in its context, and at most `others` each of other contexts and of other words.
    texts = words.per_group * (1 + 2 * experiment.others)
    return sum((n + text) * texts for n in words.n_tokens)


def occurrences_of(experiment: Experiment) -> int:
    """An upper bound of the rows of its states at each place."""
    if experiment.kind is Kind.STREAMED:
        return 0
    if experiment.has_whole_texts:
        return tokens_of(experiment)
    if experiment.words is None:
        n = _of_table(experiment.table)[0] if experiment.table else len(experiment.prompts)
        return n * (experiment.splits.texts if experiment.splits else 1)
    if experiment.kind is Kind.SENTENCES:
        return _sentences(experiment) * (1 + experiment.others)
    each = 1 + 2 * experiment.others if experiment.contexts else 1
    return len(experiment.words.n_tokens) * experiment.words.per_group * each


def _of_table(table: TextTable) -> tuple[int, int]:
    """Most texts of a table, and their bytes, from the size of its file: no row is read.

    Of one of the hub, from how many rows are asked for: the same before and after it is fetched.

    Raises
    ------
    FileNotFoundError: for one of the hub that is not fetched, and of which all rows are asked for.
    """
    if table.on_hub and table.most_rows is not None:
        return table.most_rows * len(table.text), table.most_rows * ROW_BYTES[1]
    path = Path(local_path(table.file))
    size = path.stat().st_size * (COMPRESSION if path.suffix in (".gz", ".parquet") else 1)
    rows = size // ROW_BYTES[0] + 1
    rows = rows if table.most_rows is None else min(rows, table.most_rows)
    return rows * len(table.text), min(size, rows * ROW_BYTES[1])


def _sentences(experiment: Experiment) -> int:
    words = experiment.words
    if experiment.contexts_from and words:
        return len(words.n_tokens) * words.per_group * (1 + experiment.others)
    return sum(len(each.sentences) for each in experiment.sentences)


def states_mb(
    experiment: Experiment,
    size: ModelSize,
    store: str = "float32",
    counts: Counts | None = None,
) -> float:
    """Disk of an experiment's states, in MB: occurrences x places x width x bytes.

    Parameters
    ----------
    counts: of its texts; the upper bounds where they are not given.
    """
    places = {"resid": size.depth + 1, "resid_mid": size.depth, "final_norm": 1}
    n = sum(places[site] for site in experiment.sites)
    occurrences = (counts or bounds(experiment)).occurrences
    return occurrences * n * size.d_model * (4 if store == "float32" else 2) / 1e6


def shards_of(experiment: Experiment, shard_tokens: int) -> int:
    """How many jobs run a model on an experiment's texts, by what is known before they are read."""
    corpus, table = experiment.corpus, experiment.table
    if table and table.on_hub and table.most_rows is None:
        return 1
    return math.ceil((corpus.tokens if corpus else tokens_of(experiment)) / shard_tokens) or 1


def shards_of_all(config: Config) -> dict[str, int]:
    """By experiment, what `shards_of` says. Raises a `TokentrailsError` above `MOST_SHARDS`."""
    shard_tokens = config.extract["shard_tokens"]
    shards = {name: shards_of(each, shard_tokens) for name, each in config.experiments.items()}
    for name, n in shards.items():
        if n > MOST_SHARDS:
            raise (config.where / "experiments" / name).error(
                f"{n:,} parts of {shard_tokens:,} tokens each are more than {MOST_SHARDS:,}",
                "raise extract.shard_tokens, or take fewer texts.",
            )
    return shards


def products_mb(size: ModelSize) -> float:
    """Memory of the sums of products of states, and of what rounding takes from them."""
    return 2 * 8 * (size.depth + 1) * size.d_model**2 / 1e6


def flop(
    rule: str, experiment: Experiment | None, size: ModelSize, counts: Counts | None = None
) -> float:
    """Floating-point operations on all texts: passes of the model, products with the vocabulary.

    A pass takes 2 operations for each parameter of the blocks (Kaplan et al. 2020), and attention
    to short texts little beside that. A mixture of experts is taken as if it ran them all.

    Parameters
    ----------
    rule: of the job.
    experiment: of a lens, what it is fitted to; None for what is done to the weights alone.
    counts: of its texts; the upper bounds where they are not given.
    """
    read_out = 2.0 * size.vocabulary * size.d_model
    if experiment is None:  # the MLP of a block has at most some 12 vectors per dimension
        return read_out * 12 * size.d_model * size.depth
    tokens, occurrences = counts or bounds(experiment)
    extra = next((row.extra for row in ANALYSES if row.gpu_rule == rule), Extra())
    vectors: float = extra.per_head * size.heads * size.depth
    vectors += extra.per_layer * (size.depth + 1) + extra.constant
    vectors *= occurrences
    if (corpus := experiment.corpus) and experiment.kind is Kind.STREAMED:
        vectors += tokens * READ_OUT * (size.depth + 1) * corpus.readout / corpus.length
    passes = 1 + extra.passes_per_layer * size.depth
    if rule == "lens":
        # It runs for the least squares and for the descent, which goes through the head and back.
        passes, vectors = 2, READ_OUT * tokens * size.depth
    return 2.0 * size.in_blocks * tokens * passes + read_out * vectors


def work(
    rule: str,
    experiment: Experiment | None,
    size: ModelSize,
    extract: Mapping[str, Any],
    counts: Counts | None = None,
) -> tuple[float, float]:
    """The operations of a job, and the MB that it reads and writes: its weights and states.

    Parameters
    ----------
    extract: that section of the configuration.
    counts: of the experiment's texts; the upper bounds where they are not given.
    """
    operations = flop(rule, experiment, size, counts)
    if experiment is None or rule == "lens":  # without states
        return operations, size.weights_mb
    shards = shards_of(experiment, extract["shard_tokens"]) if rule in IN_PARTS else 1
    states = states_mb(experiment, size, extract["store"], counts)
    return operations / shards, size.weights_mb + states / shards


def seconds(operations: float, traffic_mb: float) -> float:
    """How long a job works: it computes, and it reads and writes."""
    return operations / FLOP_PER_SECOND + traffic_mb / READ_MB_PER_SECOND


def size_in_words(mb: float) -> str:
    """A size in MB as people read it: in GB, MB or kB."""
    if mb >= 10_000:
        return f"{mb / 1000:,.0f} GB"
    if mb >= 1:
        return f"{mb:,.0f} MB" if mb >= 10 else f"{mb:.1f} MB"
    return f"{1000 * mb:,.0f} kB"


def minutes(operations: float, traffic_mb: float, attempt: int = 1) -> int:
    """Minutes to ask for.

    Parameters
    ----------
    operations: as `flop` counts them.
    traffic_mb: what is read and written.
    attempt: 1 for the first; each further one asks for twice as much.
    """
    return math.ceil(START_MINUTES + seconds(operations, traffic_mb) / 60) * 2 ** (attempt - 1)


def memory_mb(weights_mb: float, attempt: int = 1) -> int:
    """Memory of the machine to ask for, in MB: the file, and its parameters in float32.

    A file in half precision takes twice its size then.
    """
    return math.ceil(BASE_MB + 3 * weights_mb) * 2 ** (attempt - 1)
