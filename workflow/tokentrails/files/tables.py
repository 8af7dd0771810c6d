"""The one way to write and to read a table: Parquet with its meaning inside, and a CSV twin."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from .. import __version__
from ..errors import TokentrailsError
from ..settings import OWN
from .atomic import replacing
from .meanings import MEANINGS

Path = str | os.PathLike[str]


def describe(
    table: pa.Table,
    title: str,
    provenance: Mapping[str, str],
    meanings: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> pa.Table:
    """The same table with its title, provenance and column meanings in the schema metadata.

    Parameters
    ----------
    provenance: model, checkpoint, source revision, experiment hash and what else it came from.
    meanings, units: by column, beyond `MEANINGS`.
    """
    known = {k: v for k, v in (MEANINGS | dict(meanings or {})).items() if k in table.column_names}
    own = (name for name in table.column_names if name.startswith(OWN))
    known |= {name: f"the experiment file's {name.removeprefix(OWN)!r}" for name in own}
    units = units or {}
    fields = []
    for field in table.schema:
        about = {"description": known.get(field.name), "unit": units.get(field.name)}
        fields.append(field.with_metadata({k: v for k, v in about.items() if v} or None))
    metadata = {
        "title": title,
        "definitions": json.dumps(known, sort_keys=True, ensure_ascii=False),
        "units": json.dumps({k: v for k, v in units.items() if k in known}, sort_keys=True),
        "tokentrails_version": __version__,
        **{key: str(value) for key, value in sorted(provenance.items())},
    }
    return table.cast(pa.schema(fields, metadata=metadata))


def provenance_of(table: pa.Table | pa.Schema) -> dict[str, str]:
    """The provenance that `describe` put into a table's metadata."""
    own = ("title", "definitions", "units", "tokentrails_version", "ARROW:schema")
    schema = table.schema if isinstance(table, pa.Table) else table
    metadata = schema.metadata or {}
    return {k.decode(): v.decode() for k, v in metadata.items() if k.decode() not in own}


def read_provenance(path: Path) -> dict[str, str]:
    """The provenance of a table, of which nothing else is read. Raises what `read_table` raises."""
    try:
        return provenance_of(pq.read_schema(path))
    except (pa.ArrowException, OSError) as error:
        raise broken(path, error) from error


def write_table(table: pa.Table, path: Path, csv: Path | None = None) -> None:
    """Write a table, whole or not at all.

    In the CSV twin lists become JSON, and a text that a spreadsheet would run as a formula gets an
    apostrophe in front.
    """
    write_parts([table], path, csv)


def write_parts(parts: Iterable[pa.Table], path: Path, csv: Path | None = None) -> None:
    """Write at least one table, all of one schema, below each other; one is held at a time."""
    with writing_parts(path, csv) as write:
        for table in parts:
            write(table)


@contextmanager
def writing_parts(path: Path, csv: Path | None = None) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes the next part, for tables that are made side by side.

    Nothing is there unless at least one part was written, and the block has ended without an error.
    """
    with ExitStack() as stack:
        part_csv = None if csv is None else stack.enter_context(replacing(csv))
        part = stack.enter_context(replacing(path))
        lines = None if part_csv is None else stack.enter_context(part_csv.open("wb"))
        writer: pq.ParquetWriter | None = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            first = writer is None
            if writer is None:
                writer = pq.ParquetWriter(part, table.schema, compression="zstd")
                stack.enter_context(writer)
            writer.write_table(table)
            if lines is not None:
                for_spreadsheets(table).write_csv(lines, include_header=first)

        yield write


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table.

    Raises
    ------
    TokentrailsError: if the file is cut short or is no Parquet file.
    """
    try:
        with pq.ParquetFile(path) as file:  # and not pq.read_table, which loads pandas first
            return file.read(columns)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise broken(path, error) from error


def broken(path: Path, error: Exception) -> TokentrailsError:
    """The error for a file of a table that cannot be read."""
    return TokentrailsError(
        f"the file cannot be read, it may be cut short: {error}",
        where=path,
        hint=f"delete it (rm '{path}') and run the same command again; it will be made again.",
    )


def for_spreadsheets(table: pa.Table) -> pl.DataFrame:
    """A frame of plain values that no spreadsheet program takes for formulas."""
    frame = pl.DataFrame(pl.from_arrow(table))
    columns = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.List):
            column = column.map_elements(
                lambda values: json.dumps(list(values), ensure_ascii=False), return_dtype=pl.String
            )
            dtype = pl.String()
        if dtype == pl.String:
            risky = column.str.contains(r"^[=+\-@＝＋－＠\t\r\n]")
            column = pl.when(risky).then(pl.concat_str(pl.lit("'"), column)).otherwise(column)
        columns.append(column.alias(name))
    return frame.select(columns)


def read_frame(path: Path) -> pl.DataFrame:
    """Read a table as a Polars frame. Raises what `read_table` raises."""
    return pl.DataFrame(pl.from_arrow(read_table(path)))


def read_frames(paths: Sequence[Path]) -> pl.DataFrame | None:
    """Read tables of one kind below each other; None if there are none.

    A column that only some of them have is null in the others.
    """
    frames = [read_frame(path) for path in paths]
    return pl.concat(frames, how="diagonal_relaxed") if frames else None
