"""GPUs for a machine that has none: what torch.cuda says of them. Tensors stay on the CPU.

The driver's part is played here: it shows what CUDA_VISIBLE_DEVICES lists, by number or by UUID, in
that order, up to the first entry that it does not know; all without it.
"""

import atexit
import os
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode


def visible(machine: list[str]) -> list[str]:
    """The UUIDs that a process sees, of those of the machine."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return machine
    shown = []
    for entry in filter(None, listed.split(",")):
        known = dict(enumerate(machine)) if entry.isdigit() else {f"GPU-{u}": u for u in machine}
        uuid = known.get(int(entry) if entry.isdigit() else entry)
        if uuid is None:
            break
        shown.append(uuid)
    return shown


class _OnTheCpu(TorchFunctionMode):
    """Puts on the CPU what is asked for on a GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args = [_cpu(value) for value in args]
        return func(*args, **{key: _cpu(value) for key, value in (kwargs or {}).items()})


def _cpu(value):
    is_gpu = isinstance(value, torch.device) and value.type == "cuda"
    return torch.device("cpu") if is_gpu else value


def plug_in(machine: list[str], record: Path) -> None:
    """Give this process GPUs, and write down which one it had, and from when to when."""
    shown = visible(machine)

    def set_device(index: int) -> None:
        start = time.monotonic_ns()

        @atexit.register
        def leave() -> None:
            name = f"{shown[index]}-{os.getpid()}"
            (record / name).write_text(f"{shown[index]} {start} {time.monotonic_ns()}")

    torch.cuda.is_available = lambda: bool(shown)
    torch.cuda.device_count = lambda: len(shown)
    torch.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=shown[index])
    torch.cuda.set_device = set_device
    torch.cuda.empty_cache = lambda: None
    _OnTheCpu().__enter__()


def turns(record: Path) -> dict[str, list[tuple[int, int]]]:
    """By GPU, from when to when processes had it, in order of their starts."""
    found: dict[str, list[tuple[int, int]]] = {}
    for file in record.iterdir():
        uuid, start, end = file.read_text().split()
        found.setdefault(uuid, []).append((int(start), int(end)))
    return {uuid: sorted(spans) for uuid, spans in found.items()}


def never_two_at_once(spans: list[tuple[int, int]]) -> bool:
    """Whether each of some spans of time, in order of their starts, ends before the next begins."""
    return all(end <= start for (_, end), (start, _) in pairwise(spans))
