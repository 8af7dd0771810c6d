"""A model over several devices: GPUs, the machine's memory, and the disk, in this order.

accelerate's hooks bring each module's weights to where they are needed, and take them away again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from accelerate.utils import align_module_device
from torch import nn

from .device import choose_devices

MostBytes = Mapping[int | str, int]
"""Most bytes of weights by device: by number of a GPU, and `cpu`. The rest is read from the disk
whenever it is needed."""

MB = 10**6
FREE = 0.9
"""Share of the free memory that weights may take; the rest is for what is computed."""

_HOOKED = ("forward", "_old_forward", "_hf_hook")
"""What accelerate puts into a module; without them its class's own `forward` is back."""


@dataclass(frozen=True)
class Placement:
    """Where models run, and where their weights lie.

    Attributes
    ----------
    devices: the first takes token ids.
    device_map: most megabytes of weights, `gpu_mb` and `cpu_mb`; None where all weights lie on the
        first device.
    """

    devices: tuple[torch.device, ...]
    device_map: Mapping[str, int] | None = None

    @classmethod
    def choose(cls, device: str, device_map: Mapping[str, int] | None) -> Placement:
        """By `extract.device` and `extract.device_map`; waits and raises as `choose_devices`."""
        return cls(choose_devices(device, (device_map or {"gpus": 1})["gpus"]), device_map)

    @property
    def device(self) -> torch.device:
        return self.devices[0]

    @property
    def spread(self) -> MostBytes | None:
        """Most bytes by device, of what is free now; None where a model is in one piece."""
        most = self.device_map
        if most is None:
            return None
        return most_bytes(self.devices, most.get("gpu_mb"), most.get("cpu_mb"))

    def __str__(self) -> str:
        spread = "" if self.device_map is None else f" x {len(self.devices)}, spread"
        return self.device.type + spread


def most_bytes(
    devices: Sequence[torch.device], gpu_mb: int | None, cpu_mb: int | None
) -> MostBytes:
    """How much of a model each device may hold; without a number, nine tenths of what is free."""
    most: dict[int | str, int] = {
        gpu.index: int(FREE * torch.cuda.mem_get_info(gpu)[0]) if gpu_mb is None else gpu_mb * MB
        for gpu in devices
        if gpu.type == "cuda"
    }
    free = int(FREE * psutil.virtual_memory().available)
    return most | {"cpu": free if cpu_mb is None else cpu_mb * MB}


def device_of(model: nn.Module) -> torch.device:
    """Where a model takes its token ids: one that is spread, at the first of its devices."""
    hook = _first_hook(model)
    if hook is None:
        return next(model.parameters()).device
    return torch.device(hook.execution_device)


def is_spread(model: nn.Module) -> bool:
    return _first_hook(model) is not None


def _first_hook(model: nn.Module) -> Any:
    """accelerate's, which not every module of a spread model has."""
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    return next((hook for hook in hooks if hook is not None), None)


def gathered(module: nn.Module, device: torch.device, apart: nn.Module | None = None) -> nn.Module:
    """A copy of a module of a spread model with all its weights on one device.

    Parameters
    ----------
    apart: a module within it that stays as it is.
    """
    if module is apart:
        return module
    whole = copy.copy(module)
    for name in _HOOKED:
        whole.__dict__.pop(name, None)
    with align_module_device(module, device):
        whole._parameters = dict(_frozen(module, device))
    whole._buffers = {k: b if b is None else b.to(device) for k, b in module._buffers.items()}
    whole._modules = {
        name: child if child is None else gathered(child, device, apart)
        for name, child in module._modules.items()
    }
    return whole


def _frozen(module: nn.Module, device: torch.device) -> Iterator[tuple[str, Any]]:
    for name, weight in module._parameters.items():
        held = None if weight is None else weight.detach().to(device)
        yield name, held if held is None else nn.Parameter(held, requires_grad=False)


def described(model: nn.Module) -> str:
    """Which devices hold how many modules of a model, for a log."""
    if not is_spread(model):
        return f"all of it is on {device_of(model)}"
    places = [str(place) for place in model.hf_device_map.values()]
    counts = {place: places.count(place) for place in dict.fromkeys(places)}
    return ", ".join(f"{n} module{'s' * (n > 1)} on {place}" for place, n in counts.items())
