"""What the baseline's texts say of a checkpoint: chance, and the forms that leave it out.

It takes seconds, once for each checkpoint, and is computed in pieces, so that other questions are
answered in between.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Int

from ..errors import TokentrailsError
from ..files.states import Layer, Place, StatesReader, StatesWriter, places
from ..metrics.baseline import Chance as RandomPairs
from ..metrics.baseline import Sample, chances
from ..metrics.geometry import lengths_of
from ..metrics.ranks import Vocabulary
from ..settings import Experiment
from ..statistics.baseline import EMBEDDING, NO_BASELINE, Baseline, moments
from ..statistics.bootstrap import Bootstrap
from ..statistics.forms import MATCHED, SOUND
from ..statistics.similarity import z_scores
from ..texts.tokenization import tokenize
from .models import Loaded
from .run import run

PAIRS = 64
"""Tokens that are each compared with another one."""
MIDDLE = (0.1, 0.5, 0.9)
"""Between the outer two lie what the band has, the other is its line."""
_PLACES_AT_ONCE = 2
_NO_INTERVALS = Bootstrap(draws=1, confidence=0.95, seed=0)  # of means, which nothing here shows

FORMS = tuple(form for form in SOUND if form != MATCHED)
TURNED = ("centred", "standardised")
"""Forms in which states and rows are other vectors: ranks and nearest entries differ too."""


class Chance:
    """What random pairs of the baseline's texts give at the layers of a site.

    Attributes
    ----------
    baseline: as the workflow's tables have it, but of rows of the chosen matrix; nothing so far
        where it is not computed yet.
    doing: what is computed now, in words.
    """

    def __init__(
        self, loaded: Loaded, name: str, site: str, matrix: str, texts: Experiment
    ) -> None:
        self.loaded, self.name, self.site, self.texts = loaded, name, site, texts
        self.vocabulary = loaded.matrices[matrix]
        self.baseline, self.doing = NO_BASELINE, "texts"
        self._depth: int = loaded.checkpoint.facts["depth"]
        self._states: dict[Place, Float32[np.ndarray, "pairs d"]] = {}
        self._others: Int[np.ndarray, " pairs"] = np.empty(0, int)
        self._lengths: list[dict[str, Any]] = []
        self._turned: tuple[str, Vocabulary] | None = None
        self._bands: dict[str, pl.DataFrame] = {}
        self._problem: TokentrailsError | None = None
        self._work: dict[str, Iterator[None]] = {"moments": self._compute()}

    def piece(self, form: str, *, bands: bool = True) -> bool:
        """Compute a piece of what a form needs, with or without bands; whether there was one.

        Raises
        ------
        TokentrailsError: if the model can be given too few of the texts.
        """
        if self._problem is not None:
            raise self._problem
        form = form if form in TURNED else "cosine"
        if bands:
            self._work.setdefault(form, self._compare(form))
        names = ("moments", form) if bands else ("moments",)
        try:
            return any(next(self._work[name], self) is None for name in names)
        except TokentrailsError as error:
            self._problem = error
            raise

    def close(self) -> None:
        """Stop what is under way, which refers back to this."""
        self._work.clear()

    def bands(self, form: str) -> pl.DataFrame | None:
        """Layer, measure, and low, value and high of its band; None if it is not computed yet."""
        found = self._bands.get(form if form in TURNED else "cosine")
        if found is None or form != "scaled":
            return found
        ends = {name: self.scaled(pl.col(name)) for name in _ENDS}
        cosine = found.filter(measure="cosine").with_columns(**ends)
        return pl.concat([cosine, found.filter(pl.col("measure") != "cosine")])

    def scaled(self, cosine: pl.Expr) -> pl.Expr:
        """(c - b) / (1 - b) with chance b of the layer."""
        chance = pl.col("layer").replace_strict(
            {layer: b for (_, (_, layer)), b in self.baseline.chance.items()},
            return_dtype=pl.Float64,
        )
        return (cosine - chance) / (1 - chance)

    def turned(self, form: str) -> tuple[Baseline, Vocabulary]:
        """The baseline of a form, whose moments turn states, and the rows as it has them."""
        shape = self.baseline
        if form == "centred":
            ones = {p: (mean, np.ones_like(mean)) for p, (mean, _) in shape.moments.items()}
            shape = replace(shape, moments=ones)
        if self._turned is None or self._turned[0] != form:
            self._turned = None  # before the next one is made, so that there is room
            vocabulary = self.vocabulary.standardised(shape)
            assert vocabulary is not None
            self._turned = form, vocabulary
        return shape, self._turned[1]

    def _compute(self) -> Iterator[None]:
        """The baseline, a batch of texts and then a layer at a time."""
        loaded, experiment = self.loaded, self.texts
        tokens, _ = tokenize(experiment, loaded.files, loaded.context_length, model=self.name)
        sample = Sample.from_tokens(tokens, experiment.file)
        own, others = _pairs(tokens["label"].to_numpy()[sample.rows], sample.token_ids)
        self._others = sample.token_ids[others]
        ids = torch.from_numpy(sample.token_ids).to(self.vocabulary.rows.device)
        rows = self.vocabulary.rows[ids].cpu().numpy()
        read = places(sorted({self.site, "resid"}), self._depth)
        found: list[RandomPairs] = []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "states.parquet"
            with StatesWriter(
                path, read, tokens["occurrence"].to_pylist(), rows.shape[1]
            ) as writer:
                for numbers, hidden in run(loaded, tokens, read, self.name, at_once=64):
                    writer.add(numbers, hidden)
                    yield
                writer.finish({})
            states = StatesReader(path)
            for place in read:
                layer = states.layer(*place)
                here = layer.hidden[sample.rows]
                self._states[place] = here[own]
                if place[0] == self.site:
                    self.doing = f"random pairs, layer {place[1]} of {self._depth}"
                    found += chances([layer], sample, rows, _NO_INTERVALS)
                    self._lengths.append(_band(place[1], "length", lengths_of(here)))
                    yield
        self.baseline = Baseline(
            {("embedding", chance.place): chance.cosine["embedding"][0] for chance in found},
            {EMBEDDING: moments(rows)} | {chance.place: chance.moments for chance in found},
        )

    def _compare(self, form: str) -> Iterator[None]:
        """The bands, some layers at a time."""
        shape, vocabulary = self.turned(form) if form in TURNED else (NO_BASELINE, self.vocabulary)
        rows = [*self._lengths]
        here = [place for place in self._states if place[0] == self.site]
        for part in (here[i : i + _PLACES_AT_ONCE] for i in range(0, len(here), _PLACES_AT_ONCE)):
            self.doing = f"ranks by chance, layer {part[0][1]} of {self._depth}"
            states = [turn(Layer(*p, np.arange(0), self._states[p]), shape).hidden for p in part]
            found = vocabulary.rank(np.concatenate(states), np.tile(self._others, len(part)))
            for i, (_, layer) in enumerate(part):
                mine = slice(i * len(self._others), (i + 1) * len(self._others))
                rank = np.where(found.rank[mine] < 0, np.nan, found.rank[mine])
                rows.append(_band(layer, "cosine", found.cosine[mine]))
                rows.append(_band(layer, "rank", rank))
            yield
        if self.loaded.readout.parts.unembedding is not None:
            for layer in range(self._depth + 1):
                self.doing = f"log-probabilities by chance, layer {layer} of {self._depth}"
                rows.append(_band(layer, "own_logprob", self._logprobs(layer)))
                yield
        self._bands[form] = pl.DataFrame(rows, _BANDS)

    @torch.inference_mode()
    def _logprobs(self, layer: int) -> np.ndarray:
        readout = self.loaded.readout
        device = readout.parts.embedding.device
        states = torch.from_numpy(self._states["resid", layer]).to(device)
        return readout.logprob(states, torch.from_numpy(self._others).to(device)).cpu().numpy()


_ENDS = ("low", "value", "high")
_BANDS: dict[str, Any] = {
    **{"layer": pl.Int32, "measure": pl.String},
    **dict.fromkeys(_ENDS, pl.Float64),
}


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
