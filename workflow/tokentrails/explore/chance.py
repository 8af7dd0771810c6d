"""What the baseline's texts say of a checkpoint: chance, and the forms that leave it out.

The texts run once for each checkpoint, which takes seconds; what is kept are chance and moments of
every place, and the states of some pairs. All is computed in pieces, so that other questions are
answered in between.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from jaxtyping import Float32, Int

from ..errors import TokentrailsError
from ..files.states import Layer, Place, StatesReader, StatesWriter, places
from ..metrics.as_published import position_rows
from ..metrics.baseline import Sample
from ..metrics.columns.similarities import Side, similarities
from ..metrics.geometry import lengths_of
from ..metrics.ranks import Vocabulary
from ..settings import Experiment
from ..statistics.baseline import EMBEDDING, NO_BASELINE, Baseline, moments
from ..statistics.pairs import Pairs
from ..statistics.similarity import Moments, row_cosine, unit, z_scores
from ..texts.tokenization import tokenize
from .look import FORMS, TURNED, Look
from .models import Loaded, Recent
from .run import run

PAIRS = 64
"""Tokens that are each compared with another one."""
MIDDLE = (0.1, 0.5, 0.9)
"""Between the outer two lie what the band has, the other is its line."""
_TOKENS_AT_ONCE = 128
_STATES_AT_ONCE = 128

_Key = tuple[str | bool, ...]
"""What a band or a piece of work is of, the measure first."""


class Chance:
    """What random pairs of the baseline's texts give at every place of a checkpoint.

    Attributes
    ----------
    baselines: by matrix, as the workflow's tables have it, but of the rows of that one; none until
        the texts have run.
    doing: what is computed now, in words.
    """

    def __init__(self, loaded: Loaded, name: str, texts: Experiment) -> None:
        self.loaded, self.name, self.texts = loaded, name, texts
        self.baselines: dict[str, Baseline] = {}
        self.doing = "texts"
        self._depth: int = loaded.checkpoint.facts["depth"]
        self._states: dict[Place, Float32[np.ndarray, "pairs d"]] = {}
        self._others: Int[np.ndarray, " pairs"] = np.empty(0, int)
        self._positions: Int[np.ndarray, " pairs"] = np.empty(0, int)
        self._turned: Recent[tuple[str, str], Vocabulary] = Recent(len(TURNED))
        self._bands: dict[_Key, list[dict[str, Any]]] = {}
        self._problem: TokentrailsError | None = None
        self._work: dict[_Key, Iterator[None]] = {}

    def piece(self, look: Look, *, bands: bool = True) -> bool:
        """Compute a piece of what a look needs, with or without bands; whether there was one.

        Raises
        ------
        TokentrailsError: if the model can be given too few of the texts.
        """
        if self._problem is not None:
            raise self._problem
        wanted: dict[_Key, Iterator[None]] = {("texts",): self._run()}
        if bands:
            wanted |= {_ranks(look): self._rank(look), _LOGPROB: self._read_out()}
        work = (self._work.setdefault(key, made) for key, made in wanted.items())
        try:
            return any(next(each, self) is None for each in work)
        except TokentrailsError as error:
            self._problem = error
            raise

    def close(self) -> None:
        """Stop what is under way, which refers back to this."""
        self._work.clear()

    def bands(self, look: Look) -> pl.DataFrame:
        """Layer, measure, and low, value and high of its band, of what is computed so far."""
        return self._frame(_cosines(look), _ranks(look), ("length", look.site), _LOGPROB)

    def pair_bands(self, look: Look) -> pl.DataFrame:
        """The same of identity, as `cosine`, and of context similarity."""
        return self._frame(_cosines(look), ("context", look.site, look.form))

    def _frame(self, *keys: _Key) -> pl.DataFrame:
        return pl.DataFrame([row for key in keys for row in self._bands.get(key, ())], _BANDS)

    def scaled(self, look: Look, cosine: pl.Expr) -> pl.Expr:
        """(c - b) / (1 - b) with chance b of the layer."""
        known = self.baselines[look.matrix].chance
        chance = pl.col("layer").replace_strict(
            {
                layer: b
                for (kind, (site, layer)), b in known.items()
                if (kind, site) == ("embedding", look.site)
            },
            return_dtype=pl.Float64,
        )
        return (cosine - chance) / (1 - chance)

    def turned(self, form: str, matrix: str) -> tuple[Baseline, Vocabulary]:
        """The baseline of a form, whose moments turn states, and the rows as it has them."""
        shape = self.baselines[matrix]
        if form == "centred":
            ones = {p: (mean, np.ones_like(mean)) for p, (mean, _) in shape.moments.items()}
            shape = replace(shape, moments=ones)

        def make() -> Vocabulary:
            vocabulary = self.loaded.matrices[matrix].standardised(shape)
            assert vocabulary is not None
            return vocabulary

        return shape, self._turned.get((form, matrix), make)

    def _run(self) -> Iterator[None]:
        """The baselines and the bands of cosines, a batch of texts and then a place at a time."""
        loaded, experiment = self.loaded, self.texts
        tokens, _ = tokenize(experiment, loaded.files, loaded.context_length, model=self.name)
        sample = Sample.from_tokens(tokens, experiment.file)
        tokens, ids = tokens.filter(sample.rows), sample.token_ids
        # Of one kind, since the mean over all of them is what is wanted.
        pairs = Pairs(sample.pairs.kind, ids, np.zeros_like(ids))
        own, others = compared = _pairs(tokens["label"].to_numpy(), ids)
        self._others, self._positions = ids[others], tokens["last"].to_numpy()[own]
        index, rows = torch.from_numpy(ids), {}
        for name, vocabulary in loaded.matrices.items():
            of_ids = vocabulary.rows[index.to(vocabulary.rows.device)].cpu().numpy()
            rows[name] = Side(of_ids, moments(of_ids)), pairs.cells(unit(of_ids))
        alike: dict[str, dict[tuple[str, Place], float]] = {name: {} for name in rows}
        spread: dict[Place, Moments] = {}
        bands: dict[_Key, list[dict[str, Any]]] = defaultdict(list)
        unmatched = np.full(len(own), np.nan)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "states.parquet"
            yield from self._store(tokens, path)
            states = StatesReader(path)
            for site, layer in states.places:
                self.doing = f"random pairs, {site}, layer {layer} of {self._depth}"
                place, here = (site, layer), states.layer(site, layer).hidden
                self._states[place], spread[place] = here[own], moments(here)
                side, cells = Side(here, spread[place]), pairs.cells(unit(here))
                mean = pairs.mean(cells, cells)
                forms = similarities(side, side, mean, unmatched, compared)
                for form in FORMS:
                    bands["context", site, form].append(_band(layer, "context", forms[form]))
                for name, (of_ids, of_rows) in rows.items():
                    chance = pairs.mean(cells, of_rows)
                    alike[name] |= {("states", place): mean, ("embedding", place): chance}
                    forms = similarities(side, of_ids, chance, unmatched, compared)
                    looks = {Look(site, name, form): forms[form] for form in FORMS}
                    if loaded.has_positions:
                        moved = of_ids.rows[others] + self._offsets
                        looks[Look(site, name, positional=True)] = row_cosine(here[own], moved)
                    for look, cosine in looks.items():
                        bands[_cosines(look)].append(_band(layer, "cosine", cosine))
                bands["length", site].append(_band(layer, "length", lengths_of(here)))
                yield
        self._bands |= bands
        self.baselines = {
            name: Baseline(alike[name], {EMBEDDING: moments(of_ids.rows)} | spread)
            for name, (of_ids, _) in rows.items()
        }

    def _store(self, tokens: pa.Table, path: Path) -> Iterator[None]:
        """Write the states of all sites, a batch of texts at a time."""
        facts = self.loaded.checkpoint.facts
        read, numbers = places(self.loaded.sites, self._depth), range(len(tokens))
        with StatesWriter(path, read, numbers, facts["d_model"]) as writer:
            for found in run(self.loaded, tokens, read, self.name, at_once=_TOKENS_AT_ONCE):
                writer.add(*found)
                yield
            writer.finish({})

    @property
    def _offsets(self) -> Float32[np.ndarray, "pairs d"]:
        return position_rows(self.loaded.checkpoint, self._positions.tolist())

    def _rank(self, look: Look) -> Iterator[None]:
        """The band of ranks, some states at a time; of one position where its row is added."""
        shape, vocabulary = NO_BASELINE, self.loaded.matrices[look.matrix]
        if look.form in TURNED:
            shape, vocabulary = self.turned(look.form, look.matrix)
        read = [place for place in self._states if place[0] == look.site]
        layers = [turn(Layer(*p, np.arange(PAIRS), self._states[p]), shape).hidden for p in read]
        states, own = np.concatenate(layers), np.tile(self._others, len(read))
        offsets, part = None, np.arange(len(own)) // _STATES_AT_ONCE
        if look.positional:
            offsets, part = (
                np.tile(self._offsets, (len(read), 1)),
                np.tile(self._positions, len(read)),
            )
        ranks = np.empty(len(own))
        for index, number in enumerate(numbers := np.unique(part)):
            self.doing = f"ranks by chance, part {index + 1} of {len(numbers)}"
            mine = part == number
            moved = None if offsets is None else offsets[mine]
            ranks[mine] = vocabulary.rank(states[mine], own[mine], 0, moved).rank
            yield
        ranks[ranks < 0] = np.nan
        by_layer = ranks.reshape(len(read), -1)
        self._bands[_ranks(look)] = [
            _band(layer, "rank", of_layer)
            for (_, layer), of_layer in zip(read, by_layer, strict=True)
        ]

    @torch.inference_mode()
    def _logprobs(self, layer: int) -> np.ndarray:
        readout = self.loaded.readout
        device = readout.parts.embedding.device
        states = torch.from_numpy(self._states["resid", layer]).to(device)
        return readout.logprob(states, torch.from_numpy(self._others).to(device)).cpu().numpy()

    def _read_out(self) -> Iterator[None]:
        """The band of log-probabilities, which are the same of every look, a layer at a time."""
        found = []
        if self.loaded.readout.parts.unembedding is not None:
            for layer in range(self._depth + 1):
                self.doing = f"log-probabilities by chance, layer {layer} of {self._depth}"
                found.append(_band(layer, "own_logprob", self._logprobs(layer)))
                yield
        self._bands[_LOGPROB] = found


_LOGPROB = ("own_logprob",)
_ENDS = ("low", "value", "high")
_BANDS: dict[str, Any] = {
    **{"layer": pl.Int32, "measure": pl.String},
    **dict.fromkeys(_ENDS, pl.Float64),
}


def _cosines(look: Look) -> _Key:
    return "cosine", look.site, look.matrix, look.form, look.positional


def _ranks(look: Look) -> _Key:
    return "rank", look.site, look.matrix, look.shape, look.positional


def turn(layer: Layer, shape: Baseline) -> Layer:
    """States as z-scores by the moments of a baseline; as they are without one."""
    if layer.place not in shape.moments:
        return layer
    return replace(layer, hidden=z_scores(layer.hidden, shape.moments[layer.place]))


def _band(layer: int, measure: str, values: np.ndarray) -> dict[str, Any]:
    ends = map(float, np.nanquantile(values, MIDDLE))
    return {"layer": layer, "measure": measure, **dict(zip(_ENDS, ends, strict=True))}


def _pairs(
    labels: np.ndarray, ids: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """Tokens over all texts, and for each another one of another text."""
    n = len(ids)
    own = np.linspace(0, n - 1, min(n, PAIRS)).round().astype(int)
    others = []
    for i in own:
        after = (i + n // 2 + np.arange(n)) % n
        others.append(after[((labels[after] != labels[i]) & (ids[after] != ids[i])).argmax()])
    return own, np.array(others)
