"""A model with parts set to something else: what heads and MLPs are for, by what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from .architectures import Architecture
from .spread import device_of

AT_ONCE = 4096
"""Most tokens that run together, those of a text once for each ablation."""


@dataclass(frozen=True, eq=False)
class Ablation:
    """One part of a block that gives something else than what the model computes.

    Attributes
    ----------
    layer: index of the block.
    head: in this block; None for its MLP.
    output: of a head before W_O, of an MLP what it adds to the stream; one for all tokens of a text
        but the first, or one for each of them.
    """

    layer: int
    head: int | None
    output: Float[Tensor, "*t n"]


class Ablated(NamedTuple):
    """States of a text without parts of the model.

    Attributes
    ----------
    after: after the block of each ablation, without it and with it.
    last: after the last block, without any ablation and then with each.
    """

    after: Float[Tensor, "n 2 t d"]
    last: Float[Tensor, "n+1 t d"]


def mean_outputs(
    model: nn.Module, architecture: Architecture, texts: Iterable[Sequence[int]]
) -> tuple[Float64[Tensor, "layers heads d_head"], Float64[Tensor, "layers d"]]:
    """What heads (before W_O) and MLPs give, as means over tokens, without those at position 0.

    Parameters
    ----------
    texts: token ids; at least one text has two tokens.
    """
    blocks = list(model.get_submodule(architecture.blocks))
    sums: dict[tuple[str, int], Tensor] = {}
    n = 0

    def add(key: tuple[str, int], length: int, x: Tensor) -> None:
        later = x.reshape(-1, length, x.shape[-1])[:, 1:]
        sums[key] = sums.get(key, 0) + later.double().sum(dim=(0, 1))

    for length, group in groupby(sorted(texts, key=len), key=len):
        ids, most = list(group), max(1, AT_ONCE // length)
        with ExitStack() as hooks:
            for layer, block in enumerate(blocks):
                heads, mlp = _parts(block, architecture)
                _change_input(hooks, heads, partial(add, ("heads", layer), length))
                _change_output(hooks, mlp, partial(add, ("mlp", layer), length))
            for start in range(0, len(ids), most):
                _run(model, ids[start : start + most])
        n += len(ids) * (length - 1)
    each, device = range(len(blocks)), device_of(model)
    heads, mlp = (
        torch.stack([(sums[part, layer] / n).to(device) for layer in each])
        for part in ("heads", "mlp")
    )
    return heads.unflatten(1, (_n_heads(model, architecture), -1)), mlp


@torch.inference_mode()
def ablated(
    model: nn.Module,
    architecture: Architecture,
    token_ids: Sequence[int],
    ablations: Sequence[Ablation],
) -> Ablated:
    """Run one text once for all ablations, each by itself; position 0 stays as it is.

    The text is a batch of one. Before the block of an ablation it gets a further row, a copy of the
    first: what lies before is computed once. BLOOM, which makes a bias for each row beforehand, has
    all rows from the start.

    Parameters
    ----------
    ablations: in the order of their layers.
    """
    blocks = list(model.get_submodule(architecture.blocks))
    length, n_heads = len(token_ids), _n_heads(model, architecture)
    bias, device = architecture.attention.position_bias, device_of(model)
    grows = bias is None or bias[1] != "rows"
    after: list[Tensor] = []
    last: list[Tensor] = []

    def grow(n: int, x: Tensor) -> Tensor:
        return torch.cat([x, x[:1].expand(n, *x.shape[1:])])

    def put(rows: Sequence[tuple[int, Ablation]], x: Tensor) -> Tensor:
        changed = x.reshape(-1, length, x.shape[-1]).clone()
        for row, ablation in rows:
            part = changed[row] if ablation.head is None else _head(changed[row], ablation, n_heads)
            part[1:] = ablation.output.to(x).expand(length, -1)[1:]
        return changed.view_as(x)

    def keep(rows: range, x: Tensor) -> None:
        intact = x[:1].expand(len(rows), -1, -1)
        pair = torch.stack([intact, x[rows.start : rows.stop]], dim=1)
        after.append(pair.float().to(device))

    first = 1
    with ExitStack() as hooks:
        for layer, group in groupby(ablations, key=lambda each: each.layer):
            here = list(enumerate(group, first))
            rows = range(first, first := first + len(here))
            heads, mlp = _parts(blocks[layer], architecture)
            if grows:
                _change_input(hooks, blocks[layer], partial(grow, len(here)))
            _change_input(hooks, heads, partial(put, [r for r in here if r[1].head is not None]))
            _change_output(hooks, mlp, partial(put, [r for r in here if r[1].head is None]))
            _change_output(hooks, blocks[layer], partial(keep, rows))
        _change_output(hooks, blocks[-1], lambda x: last.append(x.float().to(device)))
        _run(model, [token_ids] * (1 if grows else first))
    return Ablated(torch.cat(after), last[0])


def _head(row: Float[Tensor, "t n"], ablation: Ablation, n_heads: int) -> Float[Tensor, "t d_head"]:
    assert ablation.head is not None
    return row.unflatten(1, (n_heads, -1))[:, ablation.head]


def _n_heads(model: nn.Module, architecture: Architecture) -> int:
    return architecture.heads(model.config.to_dict())


def _parts(block: nn.Module, architecture: Architecture) -> tuple[nn.Module, nn.Module]:
    """The module that takes what the heads give, and that which gives what the MLP adds."""
    mlp = architecture.mlp
    return (
        block.get_submodule(architecture.attention.output),
        block.get_submodule(mlp.post_norm or mlp.output),
    )


def _run(model: nn.Module, ids: Sequence[Sequence[int]]) -> None:
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    with torch.inference_mode():
        model(input_ids=torch.tensor(ids, device=device_of(model)), **options)


Change = Callable[[Tensor], Tensor | None]
"""What takes a module's place of input or output; None leaves it as it is."""


def _change_input(hooks: ExitStack, module: nn.Module, change: Change) -> None:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = "hidden_states"
        new = change(args[0] if args else kwargs[name])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, kwargs | {name: new})

    hooks.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)


def _change_output(hooks: ExitStack, module: nn.Module, change: Change) -> None:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        new = change(output[0] if isinstance(output, tuple) else output)
        if new is None:
            return None
        return (new, *output[1:]) if isinstance(output, tuple) else new

    hooks.callback(module.register_forward_hook(hook).remove)
