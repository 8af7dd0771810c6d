"""The columns that every table of similarities has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from .similarities import Similarities


def metric_table(
    provenance: Mapping[str, str],
    keys: pa.Table,
    site: str,
    layer: int,
    values: Similarities,
) -> pa.Table:
    """One place's rows: the run, the given keys, site, layer, cosine, adjusted, standardised."""
    n = len(values.cosine)
    columns = {
        name: pa.array([provenance[name]] * n, pa.string())
        for name in ("model", "checkpoint", "experiment")
    }
    columns |= {name: keys[name] for name in keys.column_names}
    columns |= {
        "site": pa.array([site] * n, pa.string()),
        "layer": pa.array(np.full(n, layer), pa.int32()),
    }
    for name, column in values._asdict().items():  # NaN becomes null
        columns[name] = pa.array(column.astype(np.float32), from_pandas=True)
    return pa.table(columns)


def own_token(tokens: pa.Table, column: str, pooling: str) -> pa.Array:
    """The entry of a list column at the position that stands for each target: first, or last."""
    at = tokens["first" if pooling == "first" else "last"].to_pylist()
    values = [row[i] for row, i in zip(tokens[column].to_pylist(), at, strict=True)]
    return pa.array(values, tokens.schema.field(column).type.value_type)


def token_keys(
    provenance: Mapping[str, str], label: str, tokens: Sequence[str], rows_each: int
) -> dict[str, pa.Array]:
    """The key columns of a table with some rows for each token of a text: run, label, position.

    Parameters
    ----------
    provenance: gives model, checkpoint and experiment.
    label, tokens: of the text.
    rows_each: how many rows a token has, all below each other.
    """
    n = len(tokens) * rows_each
    run = {name: provenance[name] for name in ("model", "checkpoint", "experiment")}
    return {
        **{name: pa.array([value] * n, pa.string()) for name, value in run.items()},
        "label": pa.array([label] * n, pa.string()),
        "position": pa.array(np.repeat(np.arange(len(tokens)), rows_each), pa.int32()),
        "token": pa.array(np.repeat(np.array(tokens, dtype=object), rows_each), pa.string()),
    }
