"""Hidden states on disk: one row group per (site, layer), read and written one layer at a time."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int, Shaped

from ..errors import TokentrailsError
from ..settings import SITES
from .atomic import replacing
from .tables import broken, describe

Place = tuple[str, int]
"""A site and a layer."""

# Most bytes of states that wait in memory for the last ones, and not in a file.
IN_MEMORY = 320 << 20


@dataclass(frozen=True)
class Layer:
    """The states of all occurrences at one place.

    Attributes
    ----------
    occurrence: which prompt each row belongs to, ascending.
    hidden: the states, float32 whatever they are stored as.
    """

    site: str
    layer: int
    occurrence: Int[np.ndarray, " n"]
    hidden: Float32[np.ndarray, "n d"]

    @property
    def place(self) -> Place:
        return self.site, self.layer


class StatesWriter:
    """Takes states batch by batch in any order, and writes them layer by layer.

    States come with all layers of a few texts, and are stored with all texts of one layer. Between
    the two, those of many texts lie in an unnamed file beside the output, so memory holds one batch
    or one layer of them, and a killed run leaves nothing behind.

    Parameters
    ----------
    path: of the Parquet file to write.
    places: the sites and layers, as `places` gives them.
    occurrences: the prompt of every row, ascending.
    d_model: width of the states.
    dtype: `float32` or `float16`, as stored.

    Raises
    ------
    TokentrailsError: before anything is computed, if the disk has too little room.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        places: Sequence[Place],
        occurrences: Sequence[int],
        d_model: int,
        dtype: str = "float32",
    ) -> None:
        self.path = Path(path)
        self.places = tuple(places)
        self._occurrences = np.asarray(occurrences, dtype=np.int32)
        self._order: list[np.ndarray] = []
        self._waiting: list[np.ndarray] = []
        self._written = 0
        self._d = d_model
        self._dtype = np.dtype(dtype)
        self.row_bytes = 4 * d_model * len(self.places)  # of one row at all places, while computed
        self._layer_bytes = len(self._occurrences) * d_model * self._dtype.itemsize
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._reserve()

    def _reserve(self) -> None:
        size = self._layer_bytes * len(self.places)
        needed, free = 2 * size, shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise _disk_full(self.path, needed, free)
        self._scratch = None
        if size <= IN_MEMORY:
            return
        self._scratch = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115
        try:
            # Room is taken now, since a disk that fills up later costs the work done by then.
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(self._scratch.fileno(), 0, size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _disk_full(self.path, needed, free) from error
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def add(self, rows: Int[np.ndarray, " m"], hidden: Shaped[np.ndarray, "places m d"]) -> None:
        """Take the states of some rows at all places.

        Parameters
        ----------
        rows: which rows of the table; every row comes exactly once in all.
        hidden: their states, in the order of `places`.

        Raises
        ------
        TokentrailsError: for a state beyond the range of the stored type.
        """
        block = as_stored(hidden, self._dtype, self.places, self.path)
        self._order.append(np.asarray(rows))
        if self._scratch is None:
            self._waiting.append(block)
            return
        start = self._written * self._d * self._dtype.itemsize
        for index, states in enumerate(block):
            self._scratch.seek(index * self._layer_bytes + start)
            self._scratch.write(states.data)
        self._written += len(rows)

    def finish(self, provenance: Mapping[str, str]) -> None:
        """Write the Parquet file, with the provenance in its metadata."""
        n = len(self._occurrences)
        if not each_once(self._order, n):
            raise ValueError(f"{sum(map(len, self._order))} rows were added, {n} were announced")
        tensor = tensor_type(self._dtype, self._d)
        write_layers(self.path, self.places, self._occurrences, tensor, self._layers(), provenance)

    def _layers(self) -> Iterator[Shaped[np.ndarray, "n d"]]:
        """The states of each place, by row of the table; until the next ones are asked for."""
        hidden = np.empty((len(self._occurrences), self._d), dtype=self._dtype)
        if self._scratch is None:
            for index in range(len(self.places)):
                for rows, block in zip(self._order, self._waiting, strict=True):
                    hidden[rows] = block[index]
                yield hidden
            return
        self._scratch.seek(0)
        for _ in self.places:
            for rows in self._order:
                batch = np.empty((len(rows), self._d), dtype=self._dtype)
                if self._scratch.readinto(batch.data) < batch.nbytes:
                    raise OSError(errno.EIO, "the scratch file is shorter than was written")
                hidden[rows] = batch
            yield hidden

    def close(self) -> None:
        """Let the room go that the states wait in."""
        if self._scratch is not None:
            self._scratch.close()

    def __enter__(self) -> StatesWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def as_stored(
    hidden: Shaped[np.ndarray, "places m d"],
    dtype: np.dtype[Any],
    places: Sequence[Place],
    path: Path,
) -> Shaped[np.ndarray, "places m d"]:
    """States in the type that is stored. Raises a `TokentrailsError` for one beyond its range."""
    with np.errstate(over="ignore"):  # refused below
        block = np.ascontiguousarray(hidden, dtype=dtype)
    if dtype == np.float16 and not np.isfinite(block).all():
        index = int(np.argwhere(~np.isfinite(block))[0, 0])
        site, layer = places[index]
        raise TokentrailsError(
            f"a state at site {site}, layer {layer} is too large for float16: "
            f"{np.abs(hidden[index]).max():.6g}",
            where=path,
            hint="use extract.store: float32.",
        )
    return block


def tensor_type(dtype: np.dtype[Any], d_model: int) -> pa.DataType:
    """What a column of states is made of."""
    return pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), [d_model])


def each_once(rows: Sequence[Int[np.ndarray, " m"]], n: int) -> bool:
    """Whether these are all of n rows, in any order."""
    order = np.concatenate(rows) if rows else np.empty(0, dtype=int)
    return np.array_equal(np.sort(order), np.arange(n))


def write_layers(
    path: Path,
    places: Sequence[Place],
    occurrences: Int[np.ndarray, " n"],
    tensor: pa.DataType,
    layers: Iterable[Shaped[np.ndarray, "n d"]],
    provenance: Mapping[str, str],
) -> None:
    """Write the states of an experiment, whole or not at all; one layer of them is held at a time.

    Parameters
    ----------
    tensor: type of the states, as `tensor_type` gives it.
    layers: the states at each of the places.
    """
    n = len(occurrences)
    columns = {"occurrence": pa.int32(), "site": pa.string(), "layer": pa.int32()}
    schema = describe(
        pa.schema(columns | {"hidden": tensor}).empty_table(),
        title="hidden states of the targets, one row group per site and layer",
        provenance=provenance,
        units={"hidden": "model units"},
    ).schema
    with (
        replacing(path) as part,
        pq.ParquetWriter(
            part,
            schema,
            compression="none",
            use_dictionary=["site"],
            write_statistics=["site", "layer"],
        ) as writer,
    ):
        for (site, layer), hidden in zip(places, layers, strict=True):
            table = pa.table(
                [
                    pa.array(occurrences),
                    pa.array([site] * n),
                    pa.array(np.full(n, layer, dtype=np.int32)),
                    pa.FixedShapeTensorArray.from_numpy_ndarray(hidden),
                ],
                schema=schema,
            )
            writer.write_table(table, row_group_size=max(n, 1))


class StatesReader:
    """The states of one (model, checkpoint, experiment).

    Raises
    ------
    TokentrailsError: if the file is missing or cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
            raise broken(path, error) from error
        schema = self._file.schema_arrow
        self.metadata = schema.empty_table()
        self.d_model = schema.field("hidden").type.shape[0]
        names = self._file.schema.names
        site, layer = names.index("site"), names.index("layer")
        self.places: tuple[Place, ...] = tuple(
            (group.column(site).statistics.min, group.column(layer).statistics.min)
            for group in (
                self._file.metadata.row_group(i) for i in range(self._file.num_row_groups)
            )
        )

    def layer(self, site: str, layer: int) -> Layer:
        """The states at one place."""
        try:
            table = self._file.read_row_group(
                self.places.index((site, layer)), columns=["occurrence", "hidden"]
            )
        except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
            raise broken(self.path, error) from error
        hidden = table["hidden"].combine_chunks()
        if isinstance(hidden, pa.ChunkedArray):
            hidden = hidden.chunk(0)
        return Layer(
            site,
            layer,
            table["occurrence"].to_numpy(),
            hidden.to_numpy_ndarray().astype(np.float32, copy=False),
        )

    def __iter__(self) -> Iterator[Layer]:
        for site, layer in self.places:
            yield self.layer(site, layer)


def places(sites: Sequence[str], depth: int) -> list[Place]:
    """The places to read in a model of `depth` blocks, in the order of the tables."""
    layers = {"resid": range(depth + 1), "resid_mid": range(depth), "final_norm": [depth]}
    return [(site, layer) for site in SITES if site in sites for layer in layers[site]]


def refuse_non_finite(
    hidden: Shaped[np.ndarray, "places m d"],
    rows: Int[np.ndarray, " m"],
    places: Sequence[Place],
    labels: Sequence[str],
    name: str,
) -> None:
    """Raise for a state with a NaN or an infinity, at the first place that the model comes to.

    Parameters
    ----------
    rows: which of the labels each state belongs to.
    name: of the model and checkpoint.
    """
    # A sum is finite exactly when all is, unless it overflows; only then look closer.
    if np.isfinite(hidden.sum(dtype=np.float64)):
        return
    broken = ~np.isfinite(hidden).all(axis=2)
    in_order = sorted(
        places, key=lambda p: (p[1], ("resid", "resid_mid", "final_norm").index(p[0]))
    )
    site, layer = first = next(place for place in in_order if broken[places.index(place)].any())
    row = rows[broken[places.index(first)].argmax()]
    raise TokentrailsError(
        f"the state is not finite at site {site}, layer {layer}, label {labels[row]!r}",
        where=name,
        hint="in half precision, use extract.dtype: float32; otherwise the weights are broken.",
    )


def _disk_full(path: Path, needed: int, free: int) -> TokentrailsError:
    return TokentrailsError(
        f"the states need {needed / 1e9:.2f} GB for the file and its scratch copy, "
        f"{free / 1e9:.2f} GB are free",
        where=path,
        hint="make room, read fewer sites (experiments.NAME.sites), or use extract.store: float16.",
    )
