"""Where tensors are computed, and how exactly."""

from __future__ import annotations

import logging
import os
import time
from functools import cache

import torch

from ..errors import TokentrailsError
from .lease import Lease, lease

log = logging.getLogger(__name__)


def choose_device(device: str) -> torch.device:
    """The first of `choose_devices`."""
    return choose_devices(device)[0]


def choose_devices(device: str, n: int = 1) -> tuple[torch.device, ...]:
    """The CPU, or GPUs that are this process's alone until it ends.

    Of several GPUs the first free ones are taken; where too few are free, this waits. From then on
    float32 is multiplied as such, and a GPU gives the same bits for the same input.

    Parameters
    ----------
    device: `cpu`, `cuda`, or `auto`: GPUs where there are any.
    n: how many GPUs.

    Raises
    ------
    TokentrailsError: if `cuda` is asked for and there is none, and for more GPUs than there are.
    """
    multiply_exactly()
    if device != "cpu" and torch.cuda.is_available():
        return tuple(torch.device("cuda", index) for index in _own_gpus(n).indices)
    if device != "cpu" and n > 1:
        raise TokentrailsError(
            f"{n} GPUs were asked for, and there is none",
            where="extract.device_map.gpus",
            hint="leave it out, use extract.device: cpu, or run on a machine with GPUs.",
        )
    if device == "cuda":
        raise TokentrailsError(
            "device cuda was asked for, and there is none",
            where="extract.device",
            hint="use 'auto' or 'cpu', or run on a machine with a GPU.",
        )
    return (torch.device("cpu"),)


def multiply_exactly() -> None:
    """Multiply float32 as such, and sum products of half precision in float32.

    An environment may say otherwise (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE): TF32 has 10 of the 23 bits,
    and ranks are exact only if a score's rounding error is that of float32.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@cache  # a second lease in this process would wait for the first
def _own_gpus(n: int) -> Lease:
    """GPUs of those that CUDA shows this process, which CUDA_VISIBLE_DEVICES decides.

    Their numbers mean other GPUs in other processes, so locks have the names of their UUIDs.
    """
    count = torch.cuda.device_count()
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
    taken = lease(uuids, n=n)
    torch.cuda.set_device(taken.indices[0])  # also for what does not say which GPU it means
    for index in taken.indices:
        log.info("running on GPU %d of %d, %s", index, count, uuids[index])
    repeat_exactly()
    return taken


def repeat_exactly() -> None:
    """Take the deterministic way where torch has two."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # only costs time here


def seconds_of(operations: float, device: torch.device) -> float:
    """How long so many operations of large float32 products take, by the speed of a small one."""
    side = 1024
    factor = torch.ones(side, side, device=device)
    times = []
    for _ in range(3):  # the first one also sets the device up
        start = time.perf_counter()
        (factor @ factor)[0, 0].item()
        times.append(time.perf_counter() - start)
    return operations / (2 * side**3) * min(times)
