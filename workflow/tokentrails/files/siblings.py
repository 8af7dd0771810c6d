"""The states of one experiment at several checkpoints of a model, one place at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from ..errors import TokentrailsError
from .states import Place, StatesReader
from .tables import provenance_of


class Siblings:
    """Checkpoints of one model, to be compared with one of them.

    Parameters
    ----------
    readers: by the name of the checkpoint, in the order of the configuration.
    reference: the name of one of them.

    Raises
    ------
    TokentrailsError: if a checkpoint has another width or other layers than the reference.
    """

    @classmethod
    def open(cls, names: Iterable[str], paths: Iterable[str], reference: str) -> Siblings:
        """Read the states of checkpoints by their names and files, both in one order."""
        readers = map(StatesReader, paths)
        return cls(dict(zip(names, readers, strict=True)), reference)

    def __init__(self, readers: Mapping[str, StatesReader], reference: str) -> None:
        self.readers = readers
        self.reference = reference
        self.places: tuple[Place, ...] = readers[reference].places
        wanted = _shape(readers[reference])
        for name, reader in readers.items():
            if _shape(reader) != wanted:
                raise TokentrailsError(
                    f"the states of {name} are {_shape(reader)}, those of {reference} are {wanted}",
                    where=reader.path,
                    hint="these are not checkpoints of one model; list those that are.",
                )

    @property
    def provenance(self) -> dict[str, str]:
        """What the states of all checkpoints came from."""
        return provenance_of_all({name: r.metadata for name, r in self.readers.items()})

    def states(
        self, place: Place
    ) -> tuple[Float32[np.ndarray, "n d"], Iterator[Float32[np.ndarray, "n d"]]]:
        """The reference's states at a place, and those of each checkpoint, read one by one."""
        hidden = (reader.layer(*place).hidden for reader in self.readers.values())
        return self.readers[self.reference].layer(*place).hidden, hidden


def provenance_of_all(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """The provenance that tables of several checkpoints share; what differs, by checkpoint."""
    by_checkpoint = {name: provenance_of(table) for name, table in tables.items()}
    shared = {}
    for key in next(iter(by_checkpoint.values())):
        values = {name: own.get(key, "") for name, own in by_checkpoint.items()}
        first, *others = set(values.values())
        shared[key] = json.dumps(values) if others else first
    return shared | {"checkpoint": "all", "checkpoints": json.dumps(list(by_checkpoint))}


def _shape(reader: StatesReader) -> str:
    return f"{reader.d_model} wide at {len(reader.places)} places"
