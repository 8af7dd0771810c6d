"""Which neurons fire on the tokens of a text, and which on the first token only.

Patterns and Messages, part 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float

from ..files.tables import describe
from ..network.parts import Parts
from ..network.trace import Trace
from ..texts.whole import WholeText
from .columns.frame import run_columns, token_keys
from .columns.whole_texts import traces

# How much more a neuron fires on the first token, to be said to fire there only.
FIRST_ONLY = 10.0
MEANINGS = {
    "position": "position of the token in the text, from 0",
    "token": "vocabulary entry at this position",
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP: those with the largest contribution_norm at "
    "this token and block",
    "activation": "what the neuron's output vector is multiplied by",
    "contribution_norm": "length of what the neuron adds: |activation| times the length of its "
    "output vector",
}
FIRST_MEANINGS = {
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP: those that are among the strongest of some "
    f"text's first token, and fire there {FIRST_ONLY:g} times as much as on any other token",
    "first": "mean activation on the first tokens of the texts",
    "elsewhere": "largest |activation| on all other tokens",
    "ratio": "|first| / elsewhere; null: elsewhere is 0",
}
FIRST = pa.schema(
    [
        ("layer", pa.int32()),
        ("neuron", pa.int32()),
        *((name, pa.float32()) for name in ("first", "elsewhere", "ratio")),
    ]
)


class _Fired(NamedTuple):
    """What the neurons of a block do on a text, and which are the strongest of each token."""

    activations: Float[np.ndarray, "t n"]
    contributions: Float[np.ndarray, "t n"]
    strongest: Bool[np.ndarray, "t n"]


class _OnFirst:
    """Over texts: activations on the first token, the largest elsewhere, and who is strongest."""

    def __init__(self, n: int) -> None:
        self.first: list[Float[np.ndarray, " n"]] = []
        self.elsewhere = np.zeros(n, dtype=np.float32)
        self.strongest = np.zeros(n, dtype=bool)

    def add(self, fired: _Fired) -> None:
        self.first.append(fired.activations[0].astype(np.float64))
        self.elsewhere = np.maximum(self.elsewhere, np.abs(fired.activations[1:]).max(axis=0))
        self.strongest |= fired.strongest[0]

    def rows(self) -> Iterator[dict[str, float | None]]:
        """The rows of the neurons that fire on the first token only."""
        first = np.mean(self.first, axis=0)
        only = self.strongest & (np.abs(first) >= FIRST_ONLY * self.elsewhere)
        for neuron in map(int, only.nonzero()[0]):
            here, elsewhere = float(first[neuron]), float(self.elsewhere[neuron])
            ratio = abs(here) / elsewhere if elsewhere else None
            yield {"neuron": neuron, "first": here, "elsewhere": elsewhere, "ratio": ratio}


@dataclass(frozen=True)
class ActivationTables:
    """Makes the tables of activations, one text after the other.

    Parameters
    ----------
    layers: which ones are looked at.
    strongest: how many neurons are listed for each token and layer.
    provenance: gives the key columns too.
    """

    parts: Parts
    layers: Sequence[int]
    strongest: int
    provenance: Mapping[str, str]
    _on_first: dict[int, _OnFirst] = field(default_factory=dict, init=False)

    def tables(
        self, texts: Sequence[WholeText], run: Callable[[list[int]], Trace]
    ) -> Iterator[pa.Table]:
        """The next part of the table `activations`, of one text.

        Parameters
        ----------
        run: traces a text's token ids.

        Raises
        ------
        TokentrailsError: if a state is not finite.
        """
        for text, traced in traces(texts, run, self.provenance):
            fired = [self._fired(traced, layer) for layer in self.layers]
            if len(text.token_ids) > 1:  # else there is nothing to compare with
                for layer, block in zip(self.layers, fired, strict=True):
                    n = len(block.strongest[0])
                    self._on_first.setdefault(layer, _OnFirst(n)).add(block)
            yield self._table(text, fired)

    def first_position_neurons(self) -> pa.Table:
        """The table of that name, of all texts of several tokens that there were tables of."""
        rows = [
            {"layer": layer} | row
            for layer, on_first in sorted(self._on_first.items())
            for row in on_first.rows()
        ]
        found = pa.Table.from_pylist(rows, schema=FIRST)
        columns = dict(zip(found.column_names, found.columns, strict=True))
        return describe(
            pa.table(run_columns(self.provenance, len(rows)) | columns),
            title="first_position_neurons: neurons that fire on the first token only",
            provenance=self.provenance,
            meanings=FIRST_MEANINGS,
            units={"first": "model units", "elsewhere": "model units"},
        )

    @torch.no_grad()
    def _fired(self, traced: Trace, layer: int) -> _Fired:
        block = self.parts.blocks[layer]
        device = block.mlp.W_out.device
        x_hat = block.mlp_input(traced.resid[layer].to(device), traced.resid_mid[layer].to(device))
        activations = block.mlp.activations(x_hat)
        contributions = activations.abs() * torch.linalg.vector_norm(block.mlp.W_out, dim=1)
        a, c = activations.cpu().numpy(), contributions.cpu().numpy()
        strongest = np.zeros(a.shape, dtype=bool)
        order = np.argsort(-c, axis=1, kind="stable")[:, : self.strongest]
        np.put_along_axis(strongest, order, True, axis=1)
        return _Fired(a, c, strongest)

    def _table(self, text: WholeText, fired: Sequence[_Fired]) -> pa.Table:
        """The strongest neurons of each token, layer by layer and by number."""
        k = int(fired[0].strongest[0].sum())
        t, depth = len(text.token_ids), len(fired)
        neuron = np.stack([np.nonzero(block.strongest)[1].reshape(t, k) for block in fired], axis=1)

        def picked(name: str) -> pa.Array:
            values = [
                np.take_along_axis(getattr(block, name), neuron[:, index], axis=1)
                for index, block in enumerate(fired)
            ]
            return pa.array(np.stack(values, axis=1).ravel(), pa.float32())

        columns = token_keys(self.provenance, text.label, text.tokens, depth * k) | {
            "layer": pa.array(np.tile(np.repeat(self.layers, k), t), pa.int32()),
            "neuron": pa.array(neuron.ravel(), pa.int32()),
            "activation": picked("activations"),
            "contribution_norm": picked("contributions"),
        }
        return describe(
            pa.table(columns),
            title="activations: the strongest neurons of each token",
            provenance=self.provenance,
            meanings=MEANINGS,
            units={"activation": "model units", "contribution_norm": "model units"},
        )
