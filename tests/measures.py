"""What tests of measures share: provenance, settings of statistics, and slow definitions."""

from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa

from tokentrails.files.siblings import Siblings
from tokentrails.files.states import Layer, StatesReader, StatesWriter
from tokentrails.metrics.columns.frame import with_classes
from tokentrails.statistics.bootstrap import DRAWS_AT_ONCE, Bootstrap
from tokentrails.statistics.permutation import Permutation
from tokentrails.statistics.settings import Statistics
from tokentrails.texts.word_classes import WordClasses, function_words

PROVENANCE = {"model": "m", "checkpoint": "main", "experiment": "e"}


def statistics(draws=DRAWS_AT_ONCE + 30, *, confidence=0.9, seed=4, few=10):
    """Settings with more draws than are held at once."""
    return Statistics(Bootstrap(draws, confidence, seed), Permutation(999, seed), few, {})


def frame(table):
    return pl.DataFrame(pl.from_arrow(table))


ENGLISH = WordClasses(function_words())


def classed(tokens):
    """A tokens table with the classes of English."""
    return with_classes(tokens, ENGLISH)


def tokens_table(words, ids, labels=None, **columns):
    """The table `tokens` of texts with one target each: its `ids` between two other tokens."""
    n = len(words)
    tokens = pa.table(
        {
            "occurrence": pa.array(range(n), pa.int32()),
            "label": labels or [f"l{i}" for i in range(n)],
            "word": words,
            "text": [f"text {i}" for i in range(n)],
            "token_ids": pa.array([[1, *own, 2] for own in ids], pa.list_(pa.int32())),
            "tokens": [["a", *(f"t{i}" for i in own), "b"] for own in ids],
            "first": [1] * n,
            "last": [len(own) for own in ids],
            "n_tokens": pa.array([len(own) for own in ids], pa.int32()),
            "special_tokens": [0] * n,
            "words_before": [1] * n,
            **columns,
        }
    )
    return classed(tokens)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def samples(bootstrap, n, *stream):
    """The units of every sample, from the same generator, a block of samples at a time."""
    rng = np.random.default_rng([bootstrap.seed, *stream])
    for start in range(0, bootstrap.draws, DRAWS_AT_ONCE):
        yield from rng.integers(n, size=(min(DRAWS_AT_ONCE, bootstrap.draws - start), n))


def crossed_samples(bootstrap, members):
    """How often each text, and each type of tokens that recurs, is drawn; others are always there.

    `members` are tokens, as (text, type).
    """
    types = {token for _, token in members}
    recurring = {t for t in types if len({text for text, token in members if token == t}) > 1}
    units = [sorted({text for text, _ in members}), sorted(recurring)]
    drawn = (samples(bootstrap, len(own), factor) for factor, own in enumerate(units))
    for chosen in zip(*drawn, strict=True):
        texts, tokens = (Counter(own[i] for i in of) for own, of in zip(units, chosen, strict=True))
        yield texts, tokens + Counter(types - recurring)


def siblings(folder, states, places, reference):
    """Checkpoints by name, from their states of shape (places, n, width)."""
    readers = {}
    for name, values in states.items():
        path = folder / f"{name}.parquet"
        _, n, width = values.shape
        with StatesWriter(path, places, range(n), width) as writer:
            writer.add(np.arange(n), values)
            writer.finish({})
        readers[name] = StatesReader(path)
    return Siblings(readers, reference)


def moved(layers, change):
    """The same places and occurrences with other states: `change` of each layer."""
    return [
        Layer(at.site, at.layer, at.occurrence, np.asarray(change(at), dtype=np.float32))
        for at in layers
    ]
