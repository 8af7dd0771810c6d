"""Reading single tensors from a safetensors file, without torch and without the rest of the model.

The format: eight bytes with the length of a JSON header, the header with each tensor's type, shape
and place, then the tensors' bytes (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType

import numpy as np
from jaxtyping import Float32

from ..errors import TokentrailsError
from ..files.lfs import refuse_pointer

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
_CHUNK = 1 << 22
_EXPONENTS = {
    "F64": ("<u8", 0x7FF << 52),
    "F32": ("<u4", 0xFF << 23),
    "F16": ("<u2", 0x1F << 10),
    "BF16": ("<u2", 0xFF << 7),
}
"""Bits that are all set in NaN and in infinite numbers alone."""

_MOST_HEADER = 100_000_000
"""Bytes of a header, by the format."""


@dataclass(frozen=True)
class Entry:
    """A tensor's type and shape, and its bytes' place behind the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Weights:
    """The tensors of one safetensors file.

    Attributes
    ----------
    path: of the file.
    entries: what the header says of each tensor.
    start: where the tensors' bytes begin in the file.

    Raises
    ------
    TokentrailsError: if the file is missing, cut short, or no safetensors file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        refuse_pointer(self.path)
        try:
            found = self.path.stat()
            size = found.st_size
            if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                raise self._broken("it is no regular file")
            with self.path.open("rb") as file:
                header_size = int.from_bytes(file.read(8), "little")
                if not 2 <= header_size <= min(size - 8, _MOST_HEADER):
                    raise self._broken(f"its header should have {header_size} bytes")
                header = json.loads(file.read(header_size))
            self.entries = {
                name: Entry(str(e["dtype"]), tuple(e["shape"]), *map(int, e["data_offsets"]))
                for name, e in header.items()
                if name != "__metadata__"
            }
        except OSError as error:
            raise self._broken(str(error.strerror)) from error
        except (ValueError, OverflowError, RecursionError) as error:
            raise self._broken(str(error)) from error
        except (AttributeError, KeyError, TypeError) as error:
            raise self._broken("its header does not describe tensors") from error
        self.start = 8 + header_size
        self._refuse_other_sizes(size)

    def _refuse_other_sizes(self, size: int) -> None:
        """Raise unless the tensors lie one behind the other, each as large as its shape says."""
        last = 0
        for name, entry in sorted(
            self.entries.items(), key=lambda item: (item[1].begin, item[1].end)
        ):
            length = entry.end - entry.begin
            if entry.begin != last or length < 0:
                raise self._broken(f"{name!r} does not lie behind the tensor before it")
            if not all(type(n) is int and n >= 0 for n in entry.shape):
                raise self._broken(f"{name!r} has the shape {list(entry.shape)!r:.80}")
            width = _BYTES.get(entry.dtype)
            if width is not None and math.prod(entry.shape) * width != length:
                raise self._broken(f"the shape of {name!r} does not fit its bytes")
            last = entry.end
        if self.start + last != size:
            raise self._broken(
                f"it has {size:,} bytes where its header announces {self.start + last:,}"
            )

    def find(self, module: str, parameter: str = "weight") -> str:
        """The full name of a module's weight, whatever prefix the file was saved with.

        Raises
        ------
        TokentrailsError: unless there is exactly one.
        """
        ending = f"{module}.{parameter}"
        found = [n for n in self.entries if n == ending or n.endswith(f".{ending}")]
        if len(found) != 1:
            raise TokentrailsError(
                f"{len(found)} tensors are named {ending!r}, one was expected",
                where=self.path,
                hint="the weights do not fit the architecture named in config.json.",
            )
        return found[0]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.entries[name].shape

    def content_sha256(self) -> str:
        """A hash of the tensors' names, types, shapes and bytes, whatever their order in the file.

        Two files with the same weights have the same hash though their headers differ.
        """
        digest = hashlib.sha256()
        for name in sorted(self.entries):
            entry = self.entries[name]
            length = entry.end - entry.begin
            digest.update(json.dumps([name, entry.dtype, entry.shape, length]).encode())
            for chunk in self._chunks(entry):
                digest.update(chunk)
        return digest.hexdigest()

    def not_finite(self, name: str) -> int:
        """How many numbers of a tensor are NaN or infinite."""
        entry = self.entries[name]
        if entry.dtype not in _EXPONENTS:
            return 0
        dtype, mask = _EXPONENTS[entry.dtype]
        bits = (np.frombuffer(chunk, dtype) for chunk in self._chunks(entry))
        return sum(int(np.count_nonzero((part & mask) == mask)) for part in bits)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        left = entry.end - entry.begin
        with self.path.open("rb") as file:
            file.seek(self.start + entry.begin)
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                yield chunk
                left -= len(chunk)

    def rows(self, name: str, index: np.ndarray) -> Float32[np.ndarray, "n d"]:
        """Rows of a matrix by their numbers, as float32."""
        return self._read(name, index)

    def tensor(self, name: str) -> Float32[np.ndarray, "*shape"]:
        """A whole tensor, as float32, in the shape that it has in the file."""
        return self._read(name, ...)

    def _read(self, name: str, index: np.ndarray | EllipsisType) -> Float32[np.ndarray, "*shape"]:
        entry = self.entries[name]
        if entry.dtype not in _TYPES:
            raise TokentrailsError(
                f"the tensor {name!r} has type {entry.dtype}",
                where=self.path,
                hint=f"supported types are {', '.join(_TYPES)}.",
            )
        dtype = np.dtype(_TYPES[entry.dtype])
        offset = self.start + entry.begin
        matrix = np.memmap(self.path, dtype, mode="r", offset=offset, shape=entry.shape)
        picked = np.asarray(matrix[index])
        if entry.dtype == "BF16":  # the upper half of a float32
            return (picked.astype(np.uint32) << 16).view(np.float32)
        return picked.astype(np.float32)

    def _broken(self, detail: str) -> TokentrailsError:
        return TokentrailsError(
            f"the weights file is missing, cut short or not safetensors: {detail}",
            where=self.path,
            hint=f"delete the folder '{self.path.parent}' and run again to fetch it anew."
            if self.path.is_relative_to("resources")
            else "save the model again, or copy the file again from where it is whole.",
        )
