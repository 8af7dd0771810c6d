"""Quantised weights as plain numbers: FP8 with scales of blocks, and MXFP4 as gpt-oss packs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32, Shaped
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from ..errors import TokentrailsError, one_line
from ..network.weights import Weights
from .convert import Check, model_tensors, shards_of
from .fit import TYPES, Read
from .names import Rename

_SCALE, _OF_ACTIVATIONS = "_scale_inv", (".activation_scale", ".input_scale")
"""Endings of FP8: of a weight's scales, and of what quantises states and no weight."""

_BLOCKS, _SCALES = "_blocks", "_scales"
"""Endings of MXFP4, of the two tensors that stand in the place of one."""


def dequantise(
    folder: Path,
    quantisation: dict[str, Any],
    target: Path,
    *,
    check: Check,
    rename: Rename,
) -> dict[str, int]:
    """Write quantised safetensors as plain ones.

    FP8 becomes float32, the product of each number and its block's scale; MXFP4 becomes bfloat16,
    which has all of its values. Tensors that are not quantised keep their type.

    Parameters
    ----------
    folder: with the weights, one file or several.
    quantisation: `quantization_config` of the model.
    check, rename: as of `convert.merge_shards`.

    Returns
    -------
    How many tensors were quantised, by method.

    Raises
    ------
    TokentrailsError: if scales are missing or do not fit, or the tensors are not the model's.
    """
    files = {name: path for path in shards_of(folder) for name in Weights(path).entries}

    def read(name: str) -> Shaped[Tensor, ...]:
        with safe_open(files[name], framework="pt") as file:
            return file.get_tensor(name)

    method, count = quantisation["quant_method"], 0
    state: dict[str, Tensor] = {}
    try:
        for own, tensor, was_quantised in _PLAIN[method](files, read, quantisation):
            count += was_quantised
            if was_quantised and not tensor.isfinite().all():
                raise ValueError(f"{own} is not finite")
            state[own] = tensor
    except Exception as error:  # whatever is made of shapes and types that do not fit
        raise TokentrailsError(
            f"its weights are no {method} as its quantization_config says: {one_line(error)}",
            where=folder,
            hint="fetch it again, or take the model as it was before it was quantised.",
        ) from error
    state = model_tensors(state, check=check, rename=rename)
    save_file({k: v.contiguous() for k, v in state.items()}, target, {"format": "pt"})
    return {method: count}


_Plain = Iterator[tuple[str, Shaped[Tensor, "..."], bool]]
"""Names and plain values of tensors, and whether they were quantised."""


def _fp8(names: Collection[str], read: Read, quantisation: dict[str, Any]) -> _Plain:
    block = quantisation.get("weight_block_size")
    for name in names:
        if name.endswith((_SCALE, *_OF_ACTIVATIONS)):
            continue
        value, scale = read(name), f"{name}{_SCALE}"
        if scale not in names:
            if value.dtype.is_floating_point and value.element_size() == 1:
                raise ValueError(f"{scale} is missing")
            yield name, value, False
            continue
        scales = read(scale)
        if not scales.float().isfinite().all():
            raise ValueError(f"{scale} is not finite")
        yield name, by_block(value, scales, block), True


def _mxfp4(names: Collection[str], read: Read, quantisation: dict[str, Any]) -> _Plain:
    for name in names:
        if name.endswith(_SCALES):
            continue
        packed = name.endswith(_BLOCKS)
        stem = name.removesuffix(_BLOCKS)
        value = read(name)
        if packed:
            value = convert_moe_packed_tensors(value, read(f"{stem}{_SCALES}"))
        yield stem, value, packed


_PLAIN: dict[str, Callable[[Collection[str], Read, dict[str, Any]], _Plain]] = {
    "fp8": _fp8,
    "mxfp4": _mxfp4,
}


def by_block(
    value: Shaped[Tensor, "n m"], scales: Shaped[Tensor, ...], block: list[int] | None
) -> Float32[Tensor, "n m"]:
    """A matrix of FP8 times the scales of its blocks; those at its ends may be cut off.

    Parameters
    ----------
    scales: one for each block, or a single number.
    block: rows and columns of a block; None for one scale of all.

    Raises
    ------
    ValueError: if there are other numbers of scales than blocks, or of another type.
    """
    if not (value.dtype.is_floating_point and value.element_size() == 1):
        raise ValueError(f"a weight is {value.dtype}, not of eight bits with a point")
    if scales.dtype not in (*TYPES.values(), torch.float8_e8m0fnu):
        raise ValueError(f"scales are {scales.dtype}")
    plain = value.float()
    if block is None:
        return plain * scales.float().reshape(())
    (rows, columns), (n, m) = block, plain.shape
    wanted = (-(-n // rows), -(-m // columns))
    if tuple(scales.shape) != wanted:
        raise ValueError(f"{tuple(scales.shape)} scales are there for {wanted} blocks")
    spread = scales.float().repeat_interleave(rows, 0)[:n]
    return plain * spread.repeat_interleave(columns, 1)[:, :m]
