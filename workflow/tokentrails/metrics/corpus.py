"""Tables of a running text of any size, from sums that were made while the model ran.

What is resampled are its documents, or, of a plain text, its pieces: tokens that stand together are
not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64, Int

from ..files.atomic import mixed_parts
from ..files.tables import read_frame, read_provenance, read_table
from ..statistics.baseline import Baseline
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS
from ..statistics.fixed_point import from_fixed
from ..statistics.ratio import ratio
from ..statistics.settings import Statistics
from ..statistics.spectrum import effective_rank, isoscore, participation_ratio, slope
from ..texts.word_groups import BAND_NAMES, CLASSES
from .columns.frame import run_table
from .columns.similarities import beyond_chance
from .own_token_by_layer import MEASURES as READ_OUT
from .own_token_by_layer import SPACE_MEANINGS

GROUPINGS: dict[str, Sequence[str]] = {
    "all": ["all"],
    "word_class": CLASSES,
    "frequency_band": BAND_NAMES,
}
ENDS = ("mean", "ci_low", "ci_high")
MEANINGS = {
    **SPACE_MEANINGS,
    "measure": "what the mean is of: identity, the cosine of the state with the token's own row of "
    "the input embedding matrix; identity_adjusted and identity_scaled, the same beyond the cosine "
    "of random pairs, b: c - b, and (c - b) / (1 - b); length of the state; neighbour, its cosine "
    "with the state one layer before; and, of some tokens of each piece, "
    + ", ".join(k if k == v else f"{k} ({v})" for k, v in READ_OUT.items()),
    "space": SPACE_MEANINGS["space"] + "; null: of the state itself",
    "grouping": "what tokens are grouped by; all: not at all",
    "group": "the tokens meant",
    "mean": "over the tokens of words, punctuation and other signs, without the first one of each "
    "piece",
    "ci_low": "lower end of its interval: percentile bootstrap over texts; null: under "
    f"{FEWEST_UNITS} texts{EQUALITY}",
    "ci_high": "upper end of it",
    "n": "how many tokens",
    "n_texts": "documents of a table, or pieces of a plain text, that they come from",
    "few": "whether these are fewer than statistics.few: too few to lean on",
}
TYPE_MEANINGS = {
    "token_id": "index in the vocabulary",
    "token": "the entry; each of its tokens counts, but for the first one of a piece",
    "cosine": "mean cosine of the states with the entry's own row of the input embedding matrix, "
    "of entries with at least statistics.few tokens; null: there is no direction",
    "n": "how many tokens",
}
GEOMETRY_MEANINGS = {
    "n": "how many states: of all tokens but the first one of each piece",
    "effective_rank": "exp of the entropy of the covariance's eigenvalues as shares: 1 to d_model",
    "participation_ratio": "(sum of the eigenvalues)^2 / sum of their squares: 1 to d_model",
    "isoscore": "(participation ratio - 1) / (d_model - 1): 0 to 1",
    "slope": "of log eigenvalue over log index, 11 to 100",
    "largest": "largest absolute value in any of the states",
    "largest_dimension": "its dimension, from 0",
    "largest_token": "the token that has it",
    "largest_position": "its position in its piece",
    "largest_piece": "number of that piece, from 0",
}
_KEYS = ("measure", "space", "site", "layer", "grouping", "group")
_UNITS = {
    **dict.fromkeys(ENDS, "that of the measure: cosine, model units, log10, 0 to 1, or nats"),
    "cosine": "cosine, -1 to 1",
    "largest": "model units",
}


def refuse_mixed(
    pieces: Sequence[Path], types: Sequence[Path], products: Sequence[Path], n_states: int
) -> None:
    """Refuse sums of shards that do not hold each piece of the text once.

    Parameters
    ----------
    pieces, types, products: sums of all shards.
    n_states: of all tokens of the text but the first one of each piece.

    Raises
    ------
    TokentrailsError: where shards ran on different devices, a piece is in two, or one is in none.
    """
    first, *others = map(read_provenance, (*pieces, *types, *products))
    parts = (pl.scan_parquet(path).select("occurrence").unique() for path in pieces)
    occurrences = pl.concat(parts).collect()["occurrence"]
    n = sum(read_table(path, ["n"])["n"][0].as_py() for path in products)
    if any(each != first for each in others) or not occurrences.is_unique().all() or n != n_states:
        raise mixed_parts(pieces)


def corpus_by_layer(
    paths: Sequence[Path],
    *,
    baseline: Baseline,
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `corpus_by_layer`.

    Parameters
    ----------
    paths: sums of all shards, in the order of the text. One place is in memory at a time.
    baseline: for what is beyond chance.
    """
    sums = pl.concat([pl.scan_parquet(path) for path in paths])
    documents = sums.select("document").unique().collect()["document"].sort().to_numpy()
    curves = sums.select("measure", "space").unique().collect().cast(pl.String)
    rows: list[dict[str, Any]] = []
    for measure, space in curves.sort("measure", "space").rows():
        of_space = pl.col("space").is_null() if space is None else pl.col("space") == space
        here = sums.filter(of_space, measure=measure).drop("measure", "space").collect()
        for row in _means(here, documents, statistics):
            row |= {"measure": measure, "space": space}
            rows.append(row)
            chance = baseline.chance_of("embedding", (row["site"], row["layer"]))
            if measure == "identity" and np.isfinite(chance):
                rows += _beyond(row, chance)
    types: dict[str, Any] = dict.fromkeys(("measure", "space", "site"), pl.String)
    types |= {"layer": pl.Int32} | dict.fromkeys(("grouping", "group"), pl.String)
    types |= dict.fromkeys(ENDS, pl.Float64) | {"n": pl.Int64, "n_texts": pl.Int32}
    frame = pl.DataFrame(rows, types | {"few": pl.Boolean}).sort(_KEYS, nulls_last=True)
    frame = frame.with_columns(pl.col(ENDS).cast(pl.Float32))
    title = "corpus: means over the tokens of a running text, by layer and group"
    return run_table(frame, title, dict(provenance) | statistics.provenance, MEANINGS, _UNITS)


def _means(
    sums: pl.DataFrame, documents: Int[np.ndarray, " texts"], statistics: Statistics
) -> Iterator[dict[str, Any]]:
    """The means of one measure in one space at every place, by group, with intervals."""
    keys: list[dict[str, Any]] = []
    curves: list[tuple[np.ndarray, np.ndarray]] = []
    in_order = sums.cast({"site": pl.String}).sort("site", "layer", "occurrence")
    for (site, layer), here in in_order.group_by("site", "layer", maintain_order=True):
        text = np.searchsorted(documents, here["document"].to_numpy())
        for grouping, names in GROUPINGS.items():
            code = np.zeros(len(here), dtype=np.int64)
            if grouping != "all":
                code = here.select(_number_of(grouping, names)).to_series().to_numpy()
            slot = (code * len(documents) + text)[code >= 0]
            size = len(names) * len(documents)
            total, n = (
                np.bincount(slot, here[column].to_numpy()[code >= 0], size).reshape(len(names), -1)
                for column in ("sum", "n")
            )
            for index in np.flatnonzero(n.any(axis=1)).tolist():
                curves.append((total[index], n[index]))
                key = {"site": site, "layer": layer, "grouping": grouping}
                keys.append(key | {"group": names[index]})
    totals, sizes = (np.array(each) for each in zip(*curves, strict=True))
    found = statistics.bootstrap.ratios(totals, sizes)
    for curve, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        ends = dict(zip(ENDS, (float(values[curve]) for values in found), strict=True))
        n_texts = int((size > 0).sum())
        few = {"few": n_texts < statistics.few}
        yield key | ends | {"n": int(size.sum()), "n_texts": n_texts} | few


def _number_of(column: str, names: Sequence[str]) -> pl.Expr:
    """The numbers of a column's names; -1 for null."""
    numbers = {name: index for index, name in enumerate(names)}
    return pl.col(column).cast(pl.String).replace_strict(numbers, default=-1, return_dtype=pl.Int64)


def _beyond(row: Mapping[str, Any], chance: float) -> Iterator[dict[str, Any]]:
    """The same rows beyond the cosine of random pairs."""
    values = beyond_chance(np.array([row[name] for name in ENDS]), np.array(chance))
    for form, beyond in zip(("adjusted", "scaled"), values, strict=True):
        yield {
            **row,
            "measure": f"identity_{form}",
            **dict(zip(ENDS, beyond.tolist(), strict=True)),
        }


def corpus_types(paths: Sequence[Path], few: int, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `corpus_types`.

    Parameters
    ----------
    paths: sums of the types of all shards.
    few: least tokens of an entry.
    """
    keys = ("token_id", "token", "site", "layer")
    sums = pl.concat([read_frame(path) for path in paths]).group_by(keys).agg(pl.all().sum())
    sums = sums.filter(pl.col("n") >= few)
    cosine = ratio(from_fixed(sums["fixed"].to_numpy()), sums["n_known"].to_numpy())
    frame = (
        sums.with_columns(cosine=pl.Series(cosine, dtype=pl.Float32))
        .select(*keys, "cosine", "n")
        .sort("token_id", "site", "layer")
    )
    title = "corpus: identity of each vocabulary entry in a running text"
    return run_table(frame, title, provenance, TYPE_MEANINGS, _UNITS)


def corpus_geometry(paths: Sequence[Path], *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `corpus_geometry`: the shape of the states at `resid`, a row for each layer.

    Parameters
    ----------
    paths: sums of states and of their products, of all shards.
    """
    rows = []
    files = [pq.ParquetFile(path) for path in paths]
    for layer in range(files[0].num_row_groups):
        shards = pl.DataFrame(
            pl.from_arrow(pa.concat_tables(file.read_row_group(layer) for file in files))
        )
        n = int(shards["n"].sum())
        total, scatter = (_sum_of(shards, name) for name in ("total", "scatter"))
        d = len(total)
        covariance = scatter.reshape(d, d) - np.outer(total, total) / max(n, 1)
        eigenvalues = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0) / max(n - 1, 1)
        largest = shards.row(int(shards["largest"].to_numpy().argmax()), named=True)
        rows.append(
            {
                **{"site": "resid", "layer": layer, "n": n},
                "effective_rank": effective_rank(eigenvalues),
                "participation_ratio": participation_ratio(eigenvalues),
                "isoscore": isoscore(eigenvalues, d),
                "slope": slope(eigenvalues[: n - 1], n),
                **{k: largest[k] for k in ("largest", "largest_dimension", "largest_token")},
                "largest_position": largest["largest_position"],
                "largest_piece": largest["largest_occurrence"],
            }
        )
    floats = ("effective_rank", "participation_ratio", "isoscore", "slope", "largest")
    columns: dict[Any, Any] = {"layer": pl.Int32, "n": pl.Int64}
    columns |= dict.fromkeys(floats, pl.Float32)
    numbers = ("largest_dimension", "largest_position", "largest_piece")
    frame = pl.DataFrame(rows).cast(columns | dict.fromkeys(numbers, pl.Int32))
    title = "corpus: the shape of the states of a running text"
    return run_table(frame, title, provenance, GEOMETRY_MEANINGS, _UNITS)


def _sum_of(shards: pl.DataFrame, name: str) -> Float64[np.ndarray, " k"]:
    """The sum over shards, to the last digit whatever their number."""
    parts = [
        np.frombuffer(content, np.float64)
        for part in ("high", "low")
        for content in shards[f"{name}_{part}"]
    ]
    return np.array(parts).astype(np.longdouble).sum(axis=0).astype(np.float64)
