"""Reading the residual stream of a running model, at the target rows only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from ..files.states import Place
from .architectures import Architecture


class StreamReader:
    """A context in which hooks gather rows of the stream at each place while the model runs.

    Only the gathered rows are kept, so memory does not grow with layers x batch x length. A row
    is a position of the batch, counted through: position t of text b, of T positions, is b T + t.

    Parameters
    ----------
    model: without unembedding, in eval mode.
    places: sites and layers to read, in the order of the result. Besides the sites of the stream,
        `attention_out` and `mlp_out`: what the branches of a block add to it.
    """

    def __init__(
        self, model: nn.Module, architecture: Architecture, places: Sequence[Place]
    ) -> None:
        self.model = model
        self.places = tuple(places)
        self._rows: Tensor | None = None
        self._out: Tensor | None = None
        self._block_input: Tensor | None = None
        blocks = list(model.get_submodule(architecture.blocks))
        self._factor = architecture.factor(model.config.to_dict(), "branch")
        self._hooks: list[Any] = []
        for slot, (site, layer) in enumerate(self.places):
            keep = partial(self._keep, slot)
            if site == "final_norm":
                assert architecture.final_norm is not None
                self._after(model.get_submodule(architecture.final_norm), keep)
            elif site == "resid" and layer < len(blocks):
                self._before(blocks[layer], keep)
            elif site == "resid":
                self._after(blocks[-1], keep)
            elif site in ("attention_out", "mlp_out"):
                branch = architecture.attention if site == "attention_out" else architecture.mlp
                last = branch.post_norm or branch.output
                self._after(blocks[layer].get_submodule(last), partial(self._keep_branch, slot))
            elif architecture.parallel_attention is None:
                self._before(blocks[layer].get_submodule(architecture.mid), keep)
            else:
                self._before(blocks[layer], self._remember_input)
                attention = blocks[layer].get_submodule(architecture.parallel_attention)
                self._after(attention, partial(self._keep_sum, slot))

    def __call__(
        self,
        input_ids: Int[Tensor, "batch position"],
        rows: Int[Tensor, " rows"],
        attention_mask: Int[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "places rows d"]:
        """Run the model and return the states of the rows, as float32 on the model's device."""
        options = {} if attention_mask is None else {"attention_mask": attention_mask}
        return self.run(input_ids, rows, **options)[0]

    def run(
        self, input_ids: Int[Tensor, "batch position"], rows: Int[Tensor, " rows"], **options: Any
    ) -> tuple[Float[Tensor, "places rows d"], Any]:
        """Run the model with further options, and return the states and the model's own output."""
        self._rows, self._out = rows, None
        if hasattr(self.model.config, "use_cache"):
            options["use_cache"] = False
        output = self.model(input_ids=input_ids, **options)
        assert self._out is not None
        return self._out, output

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _gather(self, stream: Tensor) -> Tensor:
        # OPT flattens the batch inside its blocks; counting rows through fits both forms.
        # The block of a model that is spread may run on another device than the rows are asked on.
        rows = self._rows
        assert rows is not None
        return stream.flatten(0, -2)[rows.to(stream.device)].float().to(rows.device)

    def _keep(self, slot: int, stream: Tensor) -> None:
        self._store(slot, self._gather(stream))

    def _keep_branch(self, slot: int, output: Tensor) -> None:
        self._store(slot, self._factor * self._gather(output))

    def _remember_input(self, stream: Tensor) -> None:
        self._block_input = self._gather(stream)

    def _keep_sum(self, slot: int, attention_output: Tensor) -> None:
        assert self._block_input is not None
        self._store(slot, self._block_input + self._factor * self._gather(attention_output))

    def _store(self, slot: int, rows: Tensor) -> None:
        if self._out is None:
            self._out = rows.new_empty((len(self.places), *rows.shape))
        self._out[slot] = rows

    def _before(self, module: nn.Module, keep: Callable[[Tensor], None]) -> None:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(args[0] if args else kwargs["hidden_states"])

        self._hooks.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _after(self, module: nn.Module, keep: Callable[[Tensor], None]) -> None:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            keep(output[0] if isinstance(output, tuple) else output)

        self._hooks.append(module.register_forward_hook(hook))
