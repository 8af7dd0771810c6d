"""The states of one experiment at several checkpoints of a model, one place at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float32

from ..errors import TokentrailsError
from ..states import Place, StatesReader


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

    def __init__(self, readers: Mapping[str, StatesReader], reference: str) -> None:
        self.readers = readers
        self.reference = reference
        at = readers[reference]
        self.places: tuple[Place, ...] = at.places
        for name, reader in readers.items():
            own, wanted = (_shape(r) for r in (reader, at))
            if own != wanted:
                raise TokentrailsError(
                    f"the states of {name} are {own}, those of {reference} are {wanted}",
                    where=reader.path,
                    hint="these are not checkpoints of one model; list those that are.",
                )

    @property
    def names(self) -> list[str]:
        return list(self.readers)

    def states(
        self, place: Place
    ) -> tuple[Float32[np.ndarray, "n d"], Iterator[Float32[np.ndarray, "n d"]]]:
        """The reference's states at a place, and those of each checkpoint, read one by one."""
        hidden = (reader.layer(*place).hidden for reader in self.readers.values())
        return self.readers[self.reference].layer(*place).hidden, hidden


def _shape(reader: StatesReader) -> str:
    return f"{reader.d_model} wide at {len(reader.places)} places"
