"""Several trainings of one recipe as one model: means over them, with a training as the unit.

What trainings share, such as their words, counts as known: intervals tell of other trainings, which
no number of words does (van der Wal et al. 2025, "PolyPythias").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from ..errors import TokentrailsError
from ..files.siblings import provenance_of_all
from ..files.tables import provenance_of
from ..statistics.settings import Statistics
from ..statistics.student import t_interval
from .columns.frame import describe_frame
from .columns.groups import INTERVAL, single

MEANINGS = {
    "n": "how many words, the same in all trainings",
    "n_trainings": "how many trainings the means are over",
    "few": "whether these, or the words, are fewer than statistics.few: too few to lean on",
}
_END = "of its interval over trainings, by Student's t; null: one has no value, or all are equal"
_ALIKE = ("architecture", "tokenizer_sha256")


def over_trainings(
    tables: Mapping[str, pa.Table], *, model: str, statistics: Statistics
) -> pa.Table:
    """A table of means over words, as that of their means over trainings.

    Every number becomes its mean over the trainings, and the ends of its interval, if it has one,
    become those of this mean.

    Parameters
    ----------
    tables: `convergence_by_group`, `alignment` or `perturbation_by_group` of two trainings or more,
        by the names of their models.
    model: the name of all together.

    Raises
    ------
    TokentrailsError: if the trainings have other layers, checkpoints or words, or are not of one
        architecture and tokenizer.
    """
    _refuse_unlike(tables, model)
    frames = [pl.DataFrame(pl.from_arrow(table)) for table in tables.values()]
    first, n = frames[0], len(frames)
    columns: dict[str, pl.Series] = {}
    meanings: dict[str, str] = {}
    for name in first.select(cs.float()).columns:
        if name.endswith(INTERVAL):
            continue
        values = np.stack([frame[name].cast(pl.Float64).to_numpy() for frame in frames])
        columns[name] = single(values.mean(axis=0))
        if ends := _ends(name, first.columns):
            low, high = t_interval(values, statistics.bootstrap.confidence)
            if not name.startswith("per_"):  # similarities end at 1, their changes nowhere
                high = np.minimum(high, 1.0)
            columns |= dict(zip(ends, map(single, (low, high)), strict=True))
            meanings |= dict(zip(ends, (f"lower end {_END}", "upper end of it"), strict=True))
    frame = first.with_columns(
        pl.lit(model).alias("model"), pl.col("few") | (n < statistics.few), **columns
    )
    frame.insert_column(frame.columns.index("few"), pl.lit(n, pl.Int32).alias("n_trainings"))
    shared = next(iter(tables.values()))
    about = shared.schema.metadata
    return describe_frame(
        frame,
        title=f"{about[b'title'].decode()}, mean over trainings",
        provenance=provenance_of_all(tables)
        | statistics.provenance
        | {
            "model": model,
            "checkpoints": provenance_of(shared)["checkpoints"],
            "replicates": json.dumps(list(tables)),
            "intervals": f"Student's t over {n} trainings; the words count as known",
        },
        meanings=json.loads(about[b"definitions"]) | MEANINGS | meanings,
        units=json.loads(about[b"units"]),
    )


def _ends(name: str, columns: Sequence[str]) -> tuple[str, str] | None:
    """The columns of a number's interval; None where it has none."""
    for prefix in ("ci" if name == "mean" else name, f"{name}_ci"):
        low, high = (f"{prefix}{end}" for end in INTERVAL)
        if low in columns:
            return low, high
    return None


def _refuse_unlike(tables: Mapping[str, pa.Table], model: str) -> None:
    """Raise where trainings differ in more than their numbers."""
    (name, first), *others = tables.items()
    for other, table in others:
        facts, theirs = provenance_of(first), provenance_of(table)
        unlike = [key.removesuffix("_sha256") for key in _ALIKE if facts[key] != theirs[key]]
        if not _keys(first).equals(_keys(table)):
            unlike.append("checkpoints, layers or words")
        if unlike:
            raise TokentrailsError(
                f"{name!r} and {other!r} are no trainings of one recipe: other {unlike[0]}",
                where=f"models.{model}.replicates",
                hint="take one off the list.",
            )


def _keys(table: pa.Table) -> pl.DataFrame:
    """The columns that hold no numbers, without the name of the model."""
    return pl.DataFrame(pl.from_arrow(table)).select(~cs.float()).drop("model")
