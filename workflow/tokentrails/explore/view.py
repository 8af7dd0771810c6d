"""One text in one checkpoint: its tokens, its states, and what the page shows of them.

Every number comes from the functions that make the workflow's tables, every figure from those of
`figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from altair.utils.schemapi import debug_mode
from jaxtyping import Float32

from ..errors import TokentrailsError
from ..figures.pieces.save import specification
from ..figures.pieces.text import readable
from ..figures.pieces.text_tokens import text_tokens
from ..figures.ranks import rank_layers, similarity_layers, token_layers
from ..files.states import Layer, Place, places, refuse_non_finite
from ..metrics.geometry import lengths_of
from ..metrics.ranks import ranks
from ..network.batches import texts_to_run
from ..network.checkpoint import checkpoint_name
from ..network.extract import run_batch
from ..network.stream import StreamReader
from ..settings import Experiment, Prompt
from ..statistics.baseline import NO_BASELINE
from ..texts.tokenization import NO_TOKEN, cut
from ..texts.word_classes import word_class
from .models import Loaded

LABEL = "text"
MOST_TOKENS = 256
"""Tokens of a text, so that its states stay small."""
MOST_SHOWN = 6
"""Tokens that are compared."""
NEAREST = 10
_OWN_TOKEN, _LENGTH = {"value": "own_logprob_nats"}, {"value": "length_model_units"}


@dataclass(frozen=True, eq=False)
class View:
    """A text in a checkpoint.

    Attributes
    ----------
    name: of the model.
    tokens: the tokens table; every token is a target.
    states: of every token at each place, as the workflow stores them.
    """

    loaded: Loaded
    name: str
    tokens: pa.Table
    states: dict[Place, Float32[np.ndarray, "t d"]]
    _kept: dict[tuple[int, str, str], pl.DataFrame] = field(default_factory=dict)
    _logprobs: dict[int, Float32[np.ndarray, " layers"]] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: Loaded, name: str, text: str, special_tokens: str) -> View:
        """Cut a text and run the model once.

        Raises
        ------
        TokentrailsError: for a text that the model cannot take, and for a state that is not finite.
        """
        if special_tokens == "bos" and loaded.files.bos_id is None:
            raise TokentrailsError(
                f"the tokenizer of {name!r} has no beginning-of-sequence token",
                hint="choose other special tokens.",
            )
        experiment = Experiment(
            name=LABEL,
            file="the text",
            models=(name,),
            pooling="last",
            special_tokens=special_tokens,
            sites=tuple(loaded.sites),
            analyses=(),
            prompts=(Prompt(LABEL, text),),
        )
        longest = min(MOST_TOKENS, loaded.context_length)
        tokens, skipped = cut(experiment, loaded.files, longest, model=name)
        if not len(tokens):
            reason = skipped["reason"][0].as_py()
            raise TokentrailsError(
                reason if reason == NO_TOKEN else f"the text has more than {longest} tokens",
                hint="change it; an experiment of the workflow takes longer ones.",
            )
        return cls(loaded, name, tokens, _states(loaded, tokens, name))

    @property
    def depth(self) -> int:
        return self.loaded.checkpoint.facts["depth"]

    @property
    def run(self) -> str:
        """The model and its checkpoint, as titles name them."""
        return checkpoint_name(self.loaded.checkpoint.provenance)

    @property
    def ids(self) -> list[int]:
        return self.tokens["token_ids"][0].as_py()

    def token_list(self) -> list[dict[str, Any]]:
        """Each token: its entry, how people read it, its word, and whether it is a special one."""
        entries = self.tokens["tokens"][0].as_py()
        words = self.tokens["word"].to_pylist()
        return [
            {
                "position": position,
                "id": index,
                "entry": entry,
                "readable": readable(entry),
                "word": word,
                "special": index in self.loaded.special_ids,
            }
            for position, (index, entry, word) in enumerate(
                zip(self.ids, entries, words, strict=True)
            )
        ]

    def ranks(self, positions: Sequence[int], site: str, matrix: str) -> pl.DataFrame:
        """Rows of the table `ranks` for some tokens at a site, against one of `MATRICES`."""
        new = [p for p in positions if (p, site, matrix) not in self._kept]
        if new:
            found = self._rank(new, site, matrix).partition_by("position", as_dict=True)
            self._kept.update({(p, site, matrix): rows for (p,), rows in found.items()})
        return pl.concat(self._kept[p, site, matrix] for p in positions)

    def _rank(self, positions: Sequence[int], site: str, matrix: str) -> pl.DataFrame:
        rows = np.array(positions)
        layers = (
            Layer(*place, rows, states[rows])
            for place, states in self.states.items()
            if place[0] == site
        )
        tokens = self.tokens.take(rows)
        table = ranks(
            layers,
            tokens,
            self.loaded.matrices[matrix],
            word_classes=[word_class(word) for word in tokens["word"].to_pylist()],
            nearest=NEAREST,
            baseline=NO_BASELINE,
            offsets=None,
            published=None,
            pooling="last",
            groups=[],
            provenance=self.loaded.checkpoint.provenance | {"experiment": LABEL},
        )
        return pl.DataFrame(pl.from_arrow(table))

    @torch.inference_mode()
    def own_logprob(self, positions: Sequence[int]) -> pl.DataFrame | None:
        """The column `own_logprob` of the table `own_token`, in nats; None without a head."""
        readout = self.loaded.readout
        if readout.parts.unembedding is None:
            return None
        layers = range(self.depth + 1)
        if new := [p for p in positions if p not in self._logprobs]:
            hidden = np.stack([self.states["resid", layer][new] for layer in layers])
            device = readout.parts.embedding.device
            states = torch.from_numpy(hidden).to(device).flatten(0, 1)
            own = torch.tensor([self.ids[p] for p in new], device=device).repeat(len(layers))
            found = readout.logprob(states, own).view(len(layers), len(new)).cpu().numpy()
            self._logprobs.update(zip(new, found.T, strict=True))
        values = np.stack([self._logprobs[p] for p in positions], axis=1)
        return self._numbers(positions, layers, values.ravel())

    def ahead(self, site: str, matrix: str) -> bool:
        """Compute a piece of what other tokens need; whether there was one."""
        every = range(len(self.ids))
        if ranks := [p for p in every if (p, site, matrix) not in self._kept]:
            self.ranks(ranks[:1], site, matrix)
        elif logprobs := [p for p in every if p not in self._logprobs]:
            return self.own_logprob(logprobs[:1]) is not None
        return bool(ranks)

    def lengths(self, positions: Sequence[int], site: str) -> pl.DataFrame:
        """Euclidean lengths of the states, in model units."""
        layers = [layer for place, layer in self.states if place == site]
        values = [lengths_of(self.states[site, layer][positions]) for layer in layers]
        return self._numbers(positions, layers, np.concatenate(values))

    def _numbers(
        self, positions: Sequence[int], layers: Sequence[int], values: np.ndarray
    ) -> pl.DataFrame:
        """A value for each layer and, within it, each token."""
        keys = [(position, layer) for layer in layers for position in positions]
        frame = pl.DataFrame(keys, {"position": pl.Int32, "layer": pl.Int32}, orient="row")
        return frame.with_columns(value=pl.Series(values.astype(np.float64)))

    def figures(self, positions: Sequence[int], site: str, matrix: str) -> list[dict[str, Any]]:
        """Identity, rank, own-token log-probability and length by layer, each with its table."""
        ranks = self.ranks(positions, site, matrix)
        tokens = text_tokens(ranks, LABEL)
        own = self.ranks(positions, "resid", matrix)
        run = self.run
        keys = ["position", "layer"]
        with debug_mode(False):  # Altair checks what this project wrote, at every step: for tests
            how: dict[str, Any] = {"show": LABEL, "row": matrix}
            drawn = {
                "similarity": similarity_layers(ranks, title=f"{run}: identity", **how),
                "rank": rank_layers(ranks, title=f"{run}: rank", **how),
            }
            logprob = self.own_logprob(positions)
            if logprob is not None:
                drawn["own_token"] = token_layers(
                    text_tokens(own, LABEL)
                    .join(logprob, on=keys, how="left")
                    .rename({"value": "own_logprob"}),
                    "own_logprob",
                    name="log-probability (nats)",
                    notes=["Of the token itself, read through the final norm and the unembedding."],
                    title=f"{run}: own token",
                )
            lengths = self.lengths(positions, site)
            drawn["length"] = token_layers(
                tokens.join(lengths, on=keys, how="left").rename({"value": "length"}),
                "length",
                name="length (model units)",
                notes=[f"Euclidean length of the state at {site}."],
                title=f"{run}: length",
            )
            specs = {name: specification(chart) for name, chart in drawn.items()}
        columns = ["site", "layer", "position", "token", "word", "word_class"]
        against = ranks.select(*columns, pl.lit(matrix).alias("matrix"), "cosine", "rank")
        tables = {
            "similarity": against.drop("rank"),
            "rank": against.drop("cosine"),
            "length": ranks.select(*columns).join(lengths, on=keys).rename(_LENGTH),
        }
        if logprob is not None:
            read = own.select(*columns, pl.lit("unembedding").alias("matrix"))
            tables["own_token"] = read.join(logprob, on=keys).rename(_OWN_TOKEN)
        return [
            {"name": name, "spec": spec, "table": tables[name].sort("position", "layer")}
            for name, spec in specs.items()
        ]


def nearest_lists(ranks: pl.DataFrame) -> list[dict[str, Any]]:
    """By token, its layers with cosine, rank and the nearest entries as people read them."""
    found = []
    for (position, token), rows in ranks.group_by("position", "token", maintain_order=True):
        layers = [
            {
                "layer": row["layer"],
                "cosine": row["cosine"],
                "rank": row["rank"],
                "nearest": [
                    [readable(entry), cosine]
                    for entry, cosine in zip(
                        row["nearest"] or [], row["nearest_cosine"] or [], strict=True
                    )
                ],
            }
            for row in rows.iter_rows(named=True)
        ]
        found.append({"position": position, "readable": readable(str(token)), "layers": layers})
    return found


@torch.inference_mode()
def _states(loaded: Loaded, tokens: pa.Table, name: str) -> dict[Place, Float32[np.ndarray, "t d"]]:
    architecture = loaded.readout.architecture
    read = places(loaded.sites, loaded.checkpoint.facts["depth"])
    positions = [(position,) for position in tokens["last"].to_pylist()]
    texts = texts_to_run(tokens["token_ids"].to_pylist(), positions, causal=architecture.causal)
    with StreamReader(loaded.readout.model, architecture, read) as reader:
        rows, wait = run_batch(reader, texts, causal=architecture.causal)
        hidden = wait()
    refuse_non_finite(hidden, rows, read, tokens["label"].to_pylist(), name)
    back = np.argsort(rows)
    return {place: hidden[index][back] for index, place in enumerate(read)}
