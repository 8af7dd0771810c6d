"""The table of a training's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ..files.tables import describe

_TYPES = {"step": pa.int32(), "tokens": pa.int64()}
_MEANINGS = {
    "step": "updates before this one",
    "tokens": "tokens seen before this step",
    "train_loss": "mean cross-entropy of the tokens of this step's batch, before its update",
    "heldout_loss": "the same on text that is not trained on, at the steps that are saved",
    "learning_rate": "of this step's update; null after the last",
}
_COLUMNS = pa.schema([(name, _TYPES.get(name, pa.float64())) for name in _MEANINGS])


def loss_table(rows: Sequence[Mapping[str, Any]], *, provenance: Mapping[str, str]) -> pa.Table:
    """The rows of a training as a table, with what its columns mean."""
    table = pa.Table.from_pylist(rows, schema=_COLUMNS)
    units = {"train_loss": "nats per token", "heldout_loss": "nats per token"}
    return describe(table, "loss at every step of a training", provenance, _MEANINGS, units)
