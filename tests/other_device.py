"""A second device for a machine that has only the CPU, to find tensors that are on the wrong one.

It goes by the name of `meta`, whose own tensors hold nothing; these hold their values on the CPU.
As on a GPU, an operation on tensors of both devices is an error, but for single numbers, copies
from one to the other and CPU tensors that index others. Only to be used within `other_device`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

OTHER = torch.device("meta")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


class Held(Tensor):
    """A tensor that says it is on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=OTHER,
            dispatch_sizes_strides_policy="sizes",  # its shape is that of what is held
        )
        made.held = held
        return made

    def __getitem__(self, key):
        return super().__getitem__(_without_lists(key))

    def __setitem__(self, key, value):
        super().__setitem__(_without_lists(key), value)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _without_lists(key):
    """Lists as tensors of the CPU; torch would put them where nothing is held."""
    if isinstance(key, tuple):
        return tuple(map(_without_lists, key))
    return torch.tensor(key) if isinstance(key, list) else key


class _Creating(TorchDispatchMode):
    """Sees what makes tensors of none, such as `torch.zeros(3, device=...)`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    flat, _ = tree_flatten((args, kwargs))
    others = [value for value in flat if isinstance(value, Held)]
    plain = [v for v in flat if isinstance(v, Tensor) and not isinstance(v, Held)]
    mixed = others and any(tensor.dim() for tensor in plain)
    of_the_cpu = func in INDEXING and not isinstance(args[0], Held)
    if mixed and func not in COPIES and (func not in INDEXING or of_the_cpu):
        raise RuntimeError(f"{func} on tensors of two devices")
    device = kwargs.get("device")
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    by_held = {id(tensor.held): tensor for tensor in others}
    args, kwargs = tree_map(lambda v: v.held if isinstance(v, Held) else v, (args, kwargs))
    result = func(*args, **kwargs)
    if func is aten.copy_.default:
        to_other = id(args[0]) in by_held
    else:
        to_other = bool(others) if device is None else torch.device(device) == OTHER
    if not to_other:
        return result

    def hold(value):
        if not isinstance(value, Tensor):
            return value
        return by_held[id(value)] if id(value) in by_held else Held(value)

    return tree_map(hold, result)


def move(module: nn.Module) -> nn.Module:
    """Put a module's parameters and buffers on the other device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                held = Held(parameter.detach())
                part._parameters[name] = nn.Parameter(held, requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Held(buffer)
    return module


@contextmanager
def other_device() -> Iterator[torch.device]:
    """The other device, as long as this lasts."""
    of_data = torch.tensor

    def tensor(data, *, dtype=None, device=None):  # torch's own passes the mode by
        return of_data(data, dtype=dtype).to(device)

    with (
        patch.object(torch, "tensor", tensor),
        # Tensors of the inference mode cannot be held.
        patch.object(torch.inference_mode, "__enter__", lambda self: None),
        patch.object(torch.inference_mode, "__exit__", lambda self, *exception: None),
        torch.no_grad(),
        _Creating(),
    ):
        yield OTHER
