"""Hidden states of a part of an experiment's texts, batch by batch; and all parts as one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from .atomic import mixed_parts, replacing
from .states import Place, as_stored, each_once, tensor_type, write_layers
from .tables import broken, describe, provenance_of


class PartWriter:
    """Takes states batch by batch, and writes each as it comes, with a column for each place.

    The file is there once the block has ended without an error.

    Parameters
    ----------
    path: of the Arrow file to write.
    places: the sites and layers, as `places` gives them.
    d_model: width of the states.
    dtype: `float32` or `float16`, as stored.
    provenance: of the states.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        places: Sequence[Place],
        d_model: int,
        dtype: str,
        provenance: Mapping[str, str],
    ) -> None:
        self.path = Path(path)
        self.places = tuple(places)
        self.row_bytes = 4 * d_model * len(self.places)  # of one row at all places, while computed
        self._dtype = np.dtype(dtype)
        states = dict.fromkeys(map(_column, places), tensor_type(self._dtype, d_model))
        self._schema = describe(
            pa.schema({"row": pa.int32()} | states).empty_table(),
            title="hidden states of a part of the targets, a batch of texts at a time",
            provenance=provenance,
            meanings={"row": "of the tokens table"},
        ).schema

    def __enter__(self) -> PartWriter:
        with ExitStack() as stack:
            part = stack.enter_context(replacing(self.path))
            self._writer = stack.enter_context(pa.ipc.new_file(part, self._schema))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def add(self, rows: Int[np.ndarray, " m"], hidden: Shaped[np.ndarray, "places m d"]) -> None:
        """Write the states of some rows of the table at all places.

        Raises what `as_stored` raises.
        """
        block = as_stored(hidden, self._dtype, self.places, self.path)
        states = map(pa.FixedShapeTensorArray.from_numpy_ndarray, block)
        columns = [pa.array(rows, pa.int32()), *states]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))


def join_parts(
    parts: Sequence[str | os.PathLike[str]],
    occurrences: Int[np.ndarray, " n"],
    path: str | os.PathLike[str],
) -> None:
    """Write the states of all parts as those of one job; one layer of them is held at a time.

    Parameters
    ----------
    parts: files that `PartWriter` has written.
    occurrences: the prompt of every row of the tokens table, ascending.
    path: of the Parquet file to write.

    Raises
    ------
    TokentrailsError: for a part that is cut short, and for parts that are not of one table, or not
        run alike: where batches were cut in two ways, rows are missing.
    """
    schemas = [_open(part).schema for part in parts]
    # Copied, since an array that is left in its batch holds room for all of that.
    rows = [batch["row"].to_numpy().copy() for part in parts for batch in _read(part, "row")]
    alike = all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    if not alike or not each_once(rows, len(occurrences)):
        raise mixed_parts(parts)
    tensor = schemas[0].field(1).type

    def layers() -> Iterator[Shaped[np.ndarray, "n d"]]:
        hidden = np.empty((len(occurrences), *tensor.shape), tensor.value_type.to_pandas_dtype())
        for name in schemas[0].names[1:]:
            batches = chain.from_iterable(_read(part, name) for part in parts)
            for here, batch in zip(rows, batches, strict=True):
                hidden[here] = batch[name].to_numpy_ndarray()
            yield hidden

    places = [_place(name) for name in schemas[0].names[1:]]
    provenance = provenance_of(schemas[0])
    write_layers(Path(path), places, occurrences, tensor, layers(), provenance)


def _column(place: Place) -> str:
    return f"{place[0]} {place[1]}"


def _place(column: str) -> Place:
    site, layer = column.split()
    return site, int(layer)


def _open(part: str | os.PathLike[str], *fields: int) -> pa.RecordBatchFileReader:
    options = pa.ipc.IpcReadOptions(included_fields=list(fields))
    try:
        return pa.ipc.open_file(pa.OSFile(os.fspath(part)), options=options)
    except (pa.ArrowException, OSError) as error:
        raise broken(part, error) from error


def _read(part: str | os.PathLike[str], column: str) -> Iterator[pa.RecordBatch]:
    """One column of each batch of a part; the others are not read."""
    file = _open(part, _open(part).schema.get_field_index(column))
    try:
        for index in range(file.num_record_batches):
            yield file.get_batch(index)
    except (pa.ArrowException, OSError) as error:
        raise broken(part, error) from error
