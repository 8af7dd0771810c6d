"""Token evolution: which words the stream is closest to before each block, and what it predicts.

Patterns and Messages, part 6. In the embedding space words are compared by cosine. Through the
final norm and the unembedding (of encoders: through the masked-token head) they get the
probabilities that the model would give them if it ended there, the "logit lens".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..files.states import places
from ..files.tables import describe
from ..network.architectures import Architecture
from ..network.stream import StreamReader
from ..texts.whole import WholeText
from ..vocabulary.cosines import slices
from ..vocabulary.nearest import nearest
from ..vocabulary.spaces import Spaces
from .columns.frame import token_keys
from .columns.whole_texts import each_text, refuse_stream

MEANINGS = {
    "token": "vocabulary entry at this position",
    "layer": "blocks passed by the stream",
    "space": "embedding: words by cosine of the stream with their rows of the input embedding "
    "matrix; unembedding: words by probability, after the final norm and the unembedding (of "
    "encoders: the masked-token head)",
    "top": "the vocabulary entries that score highest, the highest first; those predicted are from "
    "all entries, the others from whole words alone unless the configuration asks for all",
    "top_score": "their cosines (embedding) or probabilities among all entries (unembedding)",
    "predicted": "whether the list comes from the model's own logits",
    "most_probable": "of all entries the most probable one; null: embedding",
    "probability": "that of most_probable among all entries; null: embedding",
}
PREDICTION_MEANINGS = {
    "token": MEANINGS["token"],
    "prefix": "the text up to this token, and with it",
    "predicted": "the vocabulary entry that the model itself finds most probable: after the "
    "prefix; of encoders: at this position",
    "probability": "its probability among the tokenizer's entries",
    "top": "the most probable entries, the most probable first",
    "top_probability": "their probabilities",
}

# Most bytes of the logits of one block of states.
LOGITS_BYTES = 256 << 20
# How far logits may be from the model's own: absolute, and relative to them.
TOLERANCE = 1e-3


class Listed(NamedTuple):
    """The entries that score highest for each state, the highest first, and their scores.

    `most_probable` is the one entry of all, listed or not, with its probability; None in the
    embedding space.
    """

    entries: Int[np.ndarray, "n k"]
    scores: Float[np.ndarray, "n k"]
    most_probable: Int[np.ndarray, " n"] | None = None
    probability: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True, eq=False)
class Lens:
    """A model as one that says words: its own logits, and those of its stream.

    Parameters
    ----------
    model: with its unembedding, as `load_language_model` gives it.
    spaces: of its `base_model`, whose unembedding must be there.
    name: of the model and checkpoint, for messages.
    """

    model: nn.Module
    architecture: Architecture
    spaces: Spaces
    name: str

    @torch.inference_mode()
    def stream(self, text: WholeText) -> Float32[Tensor, "layers+1 t d"]:
        """The stream of a text before each block and after the last, on the model's device."""
        resid = places(["resid"], len(self.spaces.parts.blocks))
        with StreamReader(self.model.base_model, self.architecture, resid) as reader:
            return reader(self._input(text), torch.arange(len(text.token_ids), device=self.device))

    @torch.inference_mode()
    def top(self, states: Float32[Tensor, "n d"], k: int) -> Listed:
        """The most probable of the listed entries, had the model ended with these states."""
        return _joined(
            _most_probable(self._logits(states[part]), self.spaces.entries, k)
            for part in self._blocks(len(states))
        )

    @torch.inference_mode()
    def predictions(self, text: WholeText, last: Float32[Tensor, "t d"], k: int) -> Listed:
        """The entries that the model itself finds most probable, at each position.

        Parameters
        ----------
        last: the stream after the last block.
        k: how many.

        Raises
        ------
        TokentrailsError: if the logits of `last` are not the model's own.
        """
        every, found = self.spaces.known.nonzero()[:, 0], []
        for part in self._blocks(len(last)):
            logits = self._own_logits(text, part)
            self._refuse_other(logits, self._logits(last[part]), text)
            found.append(_most_probable(logits, every, k))
        return _joined(found)

    @property
    def device(self) -> torch.device:
        return self.spaces.parts.embedding.device

    def _input(self, text: WholeText) -> Int[Tensor, "1 t"]:
        return torch.tensor([text.token_ids], device=self.device)

    def _blocks(self, n: int) -> Iterator[slice]:
        return slices(n, LOGITS_BYTES // (4 * len(self.spaces.names)))

    def _logits(self, states: Float32[Tensor, "n d"]) -> Float32[Tensor, "n v"]:
        """Logits of the tokenizer's entries; of padded rows -inf."""
        logits = self.spaces.parts.logits(states)
        assert logits is not None
        return logits.masked_fill(~self.spaces.known, -torch.inf)

    def _own_logits(self, text: WholeText, part: slice) -> Float32[Tensor, "n v"]:
        """The same as the model itself gives them, at a part of a text's positions."""
        if not self.architecture.causal:
            logits = self.model(self._input(text)).logits[0, part]
        else:
            keep = torch.arange(part.start, part.stop, device=self.device)
            logits = self.model(self._input(text), use_cache=False, logits_to_keep=keep).logits[0]
        return logits.float().masked_fill(~self.spaces.known, -torch.inf)

    def _refuse_other(self, own: Tensor, rebuilt: Tensor, text: WholeText) -> None:
        own, rebuilt = own[:, self.spaces.known], rebuilt[:, self.spaces.known]
        difference = (rebuilt - own).abs()
        if not (difference <= TOLERANCE * own.abs().clamp_min(1)).all():
            raise TokentrailsError(
                f"the parts do not rebuild the model: its logits differ by up to "
                f"{float(difference.max()):.3g} from those of its stream (label {text.label!r})",
                where=self.name,
                hint="the model has a part that is not known here; please report it with its name.",
            )


def _most_probable(
    logits: Float32[Tensor, "n v"], listed: Int64[Tensor, " e"], k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The k most probable of the listed entries, and the one of all; of equal ones the first."""
    every = logits.softmax(dim=1)
    most, probabilities = logits.argmax(dim=1), every[:, listed]
    best = probabilities.topk(min(k, len(listed)), dim=1).indices.sort(dim=1).values
    scores = probabilities.gather(1, best)
    order = scores.argsort(dim=1, descending=True, stable=True)
    found = listed[best.gather(1, order)], scores.gather(1, order)
    return *found, most, every.gather(1, most[:, None])[:, 0]


def _joined(parts: Iterable[tuple[Tensor, ...]]) -> Listed:
    return Listed(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def _by_layer(listed: Listed, layers: int) -> list[Listed]:
    """Lists of all layers below each other, those of each layer apart."""
    columns = (np.split(column, layers) for column in listed if column is not None)
    return [Listed(*layer) for layer in zip(*columns, strict=True)]


def evolution(
    texts: Sequence[WholeText],
    lens: Lens,
    *,
    top: int,
    prefix: Callable[[list[int]], str],
    provenance: Mapping[str, str],
) -> tuple[pa.Table, pa.Table]:
    """The tables `evolution` and `predictions`.

    Parameters
    ----------
    top: how many words are listed.
    prefix: the text of token ids.
    provenance: gives the key columns too.

    Raises
    ------
    TokentrailsError: if a state is not finite, or the parts do not rebuild the model's own logits.
    """
    entries = np.array(lens.spaces.names, dtype=object)
    evolved, predicted = [], []
    for text in each_text(texts, provenance):
        stream = lens.stream(text)
        refuse_stream(stream.cpu().numpy(), text, provenance)
        found = nearest(stream.flatten(0, 1), lens.spaces.embedding, top)
        spaces = (Listed(found.entries, found.cosines), lens.top(stream.flatten(0, 1), top))
        pairs = zip(*(_by_layer(space, len(stream)) for space in spaces), strict=True)
        own = lens.predictions(text, stream[-1], top)
        lists = [listed for pair in pairs for listed in pair] + [own]
        evolved.append(_evolution_table(lists, entries, text, provenance))
        predicted.append(_predictions_table(own, entries, text, prefix, provenance))
    title = "evolution: which words the stream is closest to before each block"
    units = {"top_score": "cosine, -1 to 1, or probability"}
    table = describe(pa.concat_tables(evolved), title, provenance, MEANINGS, units)
    title = "predictions: what the model itself predicts at each position"
    units = dict.fromkeys(("probability", "top_probability"), "probability")
    of_model = pa.concat_tables(predicted)
    return table, describe(of_model, title, provenance, PREDICTION_MEANINGS, units)


def _evolution_table(
    lists: Sequence[Listed],
    entries: np.ndarray,
    text: WholeText,
    provenance: Mapping[str, str],
) -> pa.Table:
    """Of each token all lists: two for each layer, and what is predicted at last."""
    n, each = len(text.tokens), len(lists)
    layers = [*np.repeat(np.arange(each // 2), 2), each // 2 - 1]
    spaces = ["embedding", "unembedding"] * (each // 2) + ["unembedding"]
    words = [entries[listed.entries].tolist() for listed in lists]
    scores = [listed.scores.tolist() for listed in lists]
    nothing = np.full(n, None)
    best = [nothing if x.most_probable is None else entries[x.most_probable] for x in lists]
    their = [nothing if x.probability is None else x.probability for x in lists]
    return pa.table(
        token_keys(provenance, text.label, text.tokens, each)
        | {
            "layer": pa.array(layers * n, pa.int32()),
            "space": pa.array(spaces * n, pa.string()),
            "top": pa.array([top[t] for t in range(n) for top in words], pa.list_(pa.string())),
            "top_score": pa.array(
                [top[t] for t in range(n) for top in scores], pa.list_(pa.float32())
            ),
            "predicted": pa.array(([False] * (each - 1) + [True]) * n),
            "most_probable": pa.array(np.stack(best, axis=1).ravel(), pa.string()),
            "probability": pa.array(np.stack(their, axis=1).ravel(), pa.float32()),
        }
    )


def _predictions_table(
    own: Listed,
    entries: np.ndarray,
    text: WholeText,
    prefix: Callable[[list[int]], str],
    provenance: Mapping[str, str],
) -> pa.Table:
    words, n = entries[own.entries], len(text.tokens)
    keys = token_keys(provenance, text.label, text.tokens, 1)
    token = keys.pop("token")
    prefixes = [prefix(text.token_ids[: position + 1]) for position in range(n)]
    return pa.table(
        keys
        | {
            "prefix": pa.array(prefixes, pa.string()),
            "token": token,
            "predicted": pa.array(words[:, 0], pa.string()),
            "probability": pa.array(own.scores[:, 0], pa.float32()),
            "top": pa.array(words.tolist(), pa.list_(pa.string())),
            "top_probability": pa.array(own.scores.tolist(), pa.list_(pa.float32())),
        }
    )
