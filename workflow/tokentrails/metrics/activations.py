"""Which neurons fire on the tokens of a text, and which on the first token only.

Patterns and Messages, part 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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

# A neuron fires on the first token only if it fires there so much more than anywhere else.
FIRST_ONLY = 10.0
MEANINGS = {
    "token": "vocabulary entry at this position",
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP: those with the largest contribution_norm at "
    "this token and block",
    "activation": "what the neuron's output vector is multiplied by",
    "contribution_norm": "length of what the neuron adds to the stream: |activation| times the "
    "length of its output vector, behind the norm of the MLP's output where a block has one",
}
FIRST_MEANINGS = {
    "layer": "index of the block",
    "neuron": "index of the neuron in the block's MLP: those that are among the strongest of some "
    f"text's first token, and fire there {FIRST_ONLY:g} times as much as on any other token",
    "first": "mean activation on the first tokens of the texts",
    "elsewhere": "largest |activation| on all other tokens",
    "ratio": "|first| / elsewhere; null: elsewhere is 0",
}


@dataclass
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
    # Over texts: activations on the first token, the largest elsewhere, and who is strongest there.
    _first: list[Float[np.ndarray, "layers n"]] = field(default_factory=list, init=False)
    _elsewhere: Float[np.ndarray, "layers n"] | float = field(default=0.0, init=False)
    _strongest_on_first: Bool[np.ndarray, "layers n"] | bool = field(default=False, init=False)

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
            by_layer = [self._activations(traced, layer) for layer in self.layers]
            activations, contributions = map(np.stack, zip(*by_layer, strict=True))
            strongest = np.zeros(activations.shape, dtype=bool)
            order = np.argsort(-contributions, axis=2, kind="stable")[..., : self.strongest]
            np.put_along_axis(strongest, order, True, axis=2)
            if len(text.token_ids) > 1:  # else there is nothing to compare with
                largest = np.abs(activations[:, 1:]).max(axis=1)
                self._first.append(activations[:, 0].astype(np.float64))
                self._elsewhere = np.maximum(self._elsewhere, largest)
                self._strongest_on_first = self._strongest_on_first | strongest[:, 0]
            yield self._table(text, activations, contributions, strongest)

    def first_position_neurons(self) -> pa.Table:
        """The table of that name, of all texts of several tokens that there were tables of."""
        first = np.mean(self._first or [np.zeros((len(self.layers), 0))], axis=0)
        elsewhere = np.broadcast_to(self._elsewhere, first.shape)
        only = self._strongest_on_first & (np.abs(first) >= FIRST_ONLY * elsewhere)
        index, neuron = only.nonzero()
        with np.errstate(divide="ignore"):
            ratio = np.abs(first[only]) / elsewhere[only].astype(np.float64)
        columns = run_columns(self.provenance, len(neuron)) | {
            "layer": pa.array(np.array(self.layers)[index], pa.int32()),
            "neuron": pa.array(neuron, pa.int32()),
            "first": pa.array(first[only], pa.float32()),
            "elsewhere": pa.array(elsewhere[only], pa.float32()),
            "ratio": pa.array(ratio, pa.float32(), mask=elsewhere[only] == 0),
        }
        title = "first_position_neurons: neurons that fire on the first token only"
        units = {"first": "model units", "elsewhere": "model units"}
        return describe(pa.table(columns), title, self.provenance, FIRST_MEANINGS, units)

    @torch.no_grad()
    def _activations(self, traced: Trace, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each neuron of a block at each token, and the lengths of what they add."""
        block = self.parts.blocks[layer]
        device = block.mlp.W_out.device
        x_hat = block.mlp_input(traced.resid[layer].to(device), traced.resid_mid[layer].to(device))
        activations = block.mlp.activations(x_hat)
        return activations.cpu().numpy(), block.contributions(activations).cpu().numpy()

    def _table(
        self,
        text: WholeText,
        activations: Float[np.ndarray, "layers t n"],
        contributions: Float[np.ndarray, "layers t n"],
        strongest: Bool[np.ndarray, "layers t n"],
    ) -> pa.Table:
        """The strongest neurons of each token, layer by layer and by number."""
        depth, t, _ = strongest.shape
        neuron = strongest.nonzero()[2].reshape(depth, t, -1)
        k = neuron.shape[2]

        def by_token(values: np.ndarray, kind: pa.DataType) -> pa.Array:
            return pa.array(values.swapaxes(0, 1).ravel(), kind)

        columns = token_keys(self.provenance, text.label, text.tokens, depth * k) | {
            "layer": pa.array(np.tile(np.repeat(self.layers, k), t), pa.int32()),
            "neuron": by_token(neuron, pa.int32()),
        }
        for name, values in (("activation", activations), ("contribution_norm", contributions)):
            columns[name] = by_token(np.take_along_axis(values, neuron, axis=2), pa.float32())
        title = "activations: the strongest neurons of each token"
        units = {"activation": "model units", "contribution_norm": "model units"}
        return describe(pa.table(columns), title, self.provenance, MEANINGS, units)
