"""Columns that many tables share, and how their frames become tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from ...files.tables import describe
from ...texts.word_classes import WordClasses

RUN = ("model", "checkpoint", "experiment")
"""The key columns that every table of a run begins with; provenance gives their values."""


def run_columns(
    provenance: Mapping[str, str], n: int, keys: Sequence[str] = RUN
) -> dict[str, pa.Array]:
    """The columns of the run in a table of n rows."""
    return {key: constant(provenance[key], n) for key in keys}


def constant(value: str | None, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), n)


def describe_frame(
    frame: pl.DataFrame,
    title: str,
    provenance: Mapping[str, str],
    meanings: Mapping[str, str],
    units: Mapping[str, str] | None = None,
) -> pa.Table:
    """The frame as a described table, with null in place of NaN; see `files.tables.describe`."""
    known = frame.with_columns(cs.float().fill_nan(None))
    table = known.to_arrow(compat_level=pl.CompatLevel.oldest())
    return describe(table, title, provenance, meanings, units)


def run_table(
    frame: pl.DataFrame,
    title: str,
    provenance: Mapping[str, str],
    meanings: Mapping[str, str],
    units: Mapping[str, str] | None = None,
) -> pa.Table:
    """The frame behind the columns of the run, as `describe_frame` describes it."""
    run = (pl.lit(provenance[name]).alias(name) for name in RUN)
    return describe_frame(frame.select(*run, pl.all()), title, provenance, meanings, units)


def sorted_parts(parts: Iterable[pa.Table], *keys: str) -> pa.Table:
    """Parts of a table below each other, in the order of the keys."""
    return pa.concat_tables(parts).sort_by([(key, "ascending") for key in keys])


def metric_table(
    provenance: Mapping[str, str],
    keys: pa.Table,
    site: str,
    layer: int,
    values: Mapping[str, np.ndarray],
    **about: str | None,
) -> pa.Table:
    """One place's rows: the run, the given keys, site, layer, values by name, and what all have."""
    n = len(keys)
    columns = run_columns(provenance, n) | {name: keys[name] for name in keys.column_names}
    columns |= {"site": constant(site, n), "layer": pa.array(np.full(n, layer), pa.int32())}
    for name, column in values.items():  # NaN becomes null
        columns[name] = pa.array(column.astype(np.float32), from_pandas=True)
    return pa.table(columns | {name: constant(value, n) for name, value in about.items()})


def with_classes(tokens: pa.Table, classes: WordClasses) -> pa.Table:
    """The tokens table with the column `word_class`, of its `word`."""
    words = tokens["word"].to_pylist()
    known = {word: classes.of(word) for word in set(words)}
    return tokens.append_column(
        "word_class", pa.array([known[word] for word in words], pa.string())
    )


def is_of_letters() -> pl.Expr:
    """Whether `word` is one of letters, from its `word_class`: other words are never without."""
    return pl.col("word_class").is_in(["function", "content"]).fill_null(pl.col("word") != "")


def target_keys(tokens: pa.Table, pooling: str, names: Iterable[str]) -> pa.Table:
    """Columns of the tokens table by name; `position` and `token` are those of the pooled token."""
    keys = {}
    for name in names:
        if name == "position":
            keys[name] = tokens[_pooled(pooling)]
        else:
            keys[name] = own_token(tokens, "tokens", pooling) if name == "token" else tokens[name]
    return pa.table(keys)


def own_token(tokens: pa.Table, column: str, pooling: str) -> pa.Array:
    """The entry of a list column at the position that stands for each target: first, or last."""
    positions = tokens[_pooled(pooling)].to_pylist()
    values = [row[i] for row, i in zip(tokens[column].to_pylist(), positions, strict=True)]
    return pa.array(values, tokens.schema.field(column).type.value_type)


def _pooled(pooling: str) -> str:
    return "first" if pooling == "first" else "last"


def token_keys(
    provenance: Mapping[str, str], label: str, tokens: Sequence[str], rows_each: int
) -> dict[str, pa.Array]:
    """The key columns of a table with some rows for each token of a text: run, label, position.

    Parameters
    ----------
    label, tokens: of the text.
    rows_each: how many rows a token has, all below each other.
    """
    n = len(tokens) * rows_each
    return run_columns(provenance, n) | {
        "label": constant(label, n),
        "position": pa.array(np.repeat(np.arange(len(tokens)), rows_each), pa.int32()),
        "token": pa.array(np.repeat(np.array(tokens, dtype=object), rows_each), pa.string()),
    }


def word_rows(table: pl.DataFrame, tokens: pa.Table) -> pl.DataFrame:
    """The rows of a table of tokens that are of words or punctuation, without position 0.

    Parameters
    ----------
    table: with the columns label and position.
    tokens: of the same texts.
    """
    words = pl.DataFrame(pl.from_arrow(tokens.select(["label", "first", "word"])))
    words = words.filter(pl.col("word").str.strip_chars() != "", pl.col("first") > 0)
    places = words.select("label", position=pl.col("first").cast(pl.Int32))
    return table.join(places, on=["label", "position"], how="semi", maintain_order="left")
