"""Fitting a tuned lens, whose maps make of the stream what the head takes for the last state.

Belrose et al. (2023) descend on the divergence from the model's own output. Here each map begins at
the least squares that lead to the last state, which is most of the way, and descends from there.
The states of some `_TOKENS` tokens are there at a time, and the logits of a part of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from ..errors import TokentrailsError
from ..metrics.columns.frame import describe_frame
from ..metrics.own_token import Readout, groups, refuse_headless
from ..network.checkpoint import checkpoint_name
from ..network.lens import AffineLens
from ..progress import progress_bar
from ..settings import Experiment
from ..texts.whole import WholeText
from ..vocabulary.cosines import slices

log = logging.getLogger(__name__)

HELD_OUT = 5
"""One text in so many is held out, in turn to report on and to choose by."""

_TOKENS = 512  # of a step of the descent
_RATE = 1e-3  # its first one, with states as z-scores and maps in root mean squares of the last
_RIDGE = 1e-3  # as a share of each dimension's variance

_MEANINGS = {
    "layer": "blocks passed by the stream",
    "kl_plain": "mean Kullback-Leibler divergence from the head's distribution to the model's own "
    "output, without the lens, over the tokens of one half of the texts held out, without the "
    "first of each",
    "kl_fitted": "the same behind the map that was fitted",
    "kept": "whether the lens has this map; false: on the other half it is no better than none, "
    "and left out",
    "n": "how many tokens these are means over",
    "n_fit": "how many the maps are fitted to",
}


@dataclass
class _Moments:
    """Sums over tokens at one layer, each with a weight: of z z' and y z', with z = (x, 1)."""

    squares: Float64[Tensor, "d+1 d+1"]
    products: Float64[Tensor, "d d+1"]

    @classmethod
    def zeros(cls, width: int, device: torch.device) -> _Moments:
        empty = torch.zeros(2 * width + 1, width + 1, dtype=torch.float64, device=device)
        return cls(empty[width:], empty[:width])

    def add(self, x: Float64[Tensor, "n d"], y: Float64[Tensor, "n d"], weights: Tensor) -> None:
        z = torch.cat([x, torch.ones_like(weights)], dim=1)
        weighted = z * weights
        self.squares.addmm_(weighted.T, z)
        self.products.addmm_(y.T, weighted)


@dataclass
class _Map:
    """x + W x + b, with W and b as they began and what the descent adds to them.

    Attributes
    ----------
    mean, deviation: of the states, which the descent sees as z-scores.
    scale: root mean square of the last states, the unit of what it adds.
    """

    weight: Float32[Tensor, "d d"]
    bias: Float32[Tensor, " d"]
    mean: Float32[Tensor, " d"]
    deviation: Float32[Tensor, " d"]
    scale: float

    def __post_init__(self) -> None:
        self.added = [torch.zeros_like(part).requires_grad_() for part in (self.weight, self.bias)]

    @classmethod
    def least_squares(cls, moments: _Moments, n: int) -> _Map:
        """Ridge regression of y - x on x, each dimension with its own variance as the unit."""
        total = moments.squares[-1, -1]
        mean = moments.squares[-1, :-1] / total
        squares = moments.squares[:-1, :-1] / total - torch.outer(mean, mean)
        variance = squares.diagonal().clamp(min=0)
        variance = torch.where(variance > 0, variance, 1.0)
        target = moments.products[:, -1] / total
        products = moments.products[:, :-1] / total - torch.outer(target, mean) - squares
        weight = torch.linalg.solve(squares + _RIDGE * variance.diag(), products.T).T
        bias = target - mean - weight @ mean
        deviation, scale = variance.sqrt(), (n / total).sqrt().item()
        return cls(weight.float(), bias.float(), mean.float(), deviation.float(), scale)

    def now(self) -> tuple[Float32[Tensor, "d d"], Float32[Tensor, " d"]]:
        """W and b."""
        weight = self.added[0] / self.deviation
        bias = self.added[1] - weight @ self.mean
        return self.weight + self.scale * weight, self.bias + self.scale * bias


def refuse_few(texts: Sequence[WholeText], experiment: Experiment) -> None:
    """Raise for a running text with nothing to fit to, to choose by or to report on.

    Raises
    ------
    TokentrailsError: if the pieces for any of these have no token behind their first one.
    """
    if not all(map(_behind_first, _parts(texts))):
        assert experiment.corpus is not None
        raise TokentrailsError(
            f"with {experiment.corpus.length} tokens to a piece the running text has {len(texts)}, "
            f"and a lens takes at least {HELD_OUT + 1} of several tokens, two of them held out",
            where=f"{experiment.file}, corpus.length",
            hint="lower it, or raise corpus.tokens.",
        )


def _parts(texts: Sequence[WholeText]) -> tuple[Sequence[WholeText], ...]:
    """What is fitted to, what decides which maps are kept, and what is reported on."""
    held_out = texts[::HELD_OUT]
    fitted = [text for index, text in enumerate(texts) if index % HELD_OUT]
    return fitted, held_out[1::2], held_out[::2]


def _behind_first(texts: Sequence[WholeText]) -> int:
    """How many tokens are not the first of a text, whose state is like no other's."""
    return sum(len(text.token_ids) - 1 for text in texts)


def fit_lens(
    texts: Sequence[WholeText], readout: Readout, *, seed: int, provenance: Mapping[str, str]
) -> tuple[AffineLens, pa.Table]:
    """A tuned lens, and how far from the model's output the head is without and with it.

    The same seed, device and number of threads give the same bytes.

    Parameters
    ----------
    texts: as many as `refuse_few` takes; one in `HELD_OUT` is not fitted to.
    seed: of the order of the others.
    provenance: names the model and the checkpoint.

    Raises
    ------
    TokentrailsError: if the weights have no head, or a state is not finite.
    """
    refuse_headless(readout, provenance)
    fitted, choosing, reported = _parts(texts)
    order = np.random.default_rng(seed).permutation(len(fitted))
    shuffled = [fitted[index] for index in order]
    n_all, n_fit = (sum(len(text.token_ids) for text in part) for part in (texts, fitted))
    with progress_bar(n_all + n_fit, f"{checkpoint_name(provenance)}, lens") as bar:

        def states_of(
            texts: Sequence[WholeText], *, first: bool = True
        ) -> Iterator[Float32[Tensor, "layers+1 n d"]]:
            for group in groups(texts, _TOKENS):
                with torch.no_grad():
                    states = readout.streams(group, provenance)
                places = torch.cat([torch.arange(len(text.token_ids)) for text in group])
                yield states if first else states[:, places > 0]
                bar.update(len(places))

        maps = _least_squares(states_of(fitted), n_fit)
        steps = len(list(groups(shuffled, _TOKENS)))
        _descend(maps, states_of(shuffled), steps, readout)
        with torch.no_grad():
            weights, biases = map(torch.stack, zip(*(each.now() for each in maps), strict=True))
            lens = AffineLens(weights, biases, "tuned")
            without, behind = _divergences(states_of(choosing, first=False), lens, readout)
            sums = _divergences(states_of(reported, first=False), lens, readout)
    kept, n = behind < without, _behind_first(reported)
    for layer in (~kept).nonzero()[:, 0].tolist():
        log.warning("layer %d: the map is no better than none, and is left out", layer)
    lens.weights[~kept], lens.biases[~kept] = 0, 0
    rows = pl.DataFrame(
        {
            "model": provenance["model"],
            "checkpoint": provenance["checkpoint"],
            "layer": range(len(maps)),
            "kl_plain": (sums[0] / n).tolist(),
            "kl_fitted": (sums[1] / n).tolist(),
            "kept": kept.tolist(),
            "n": n,
            "n_fit": n_fit,
        }
    ).cast({pl.Int64: pl.Int32, pl.Float64: pl.Float32})
    return lens, describe_frame(
        rows,
        title="lens: how far the head is from the model's output, without and with the lens",
        provenance=dict(provenance) | {"seed": str(seed), "steps": str(steps)},
        meanings=_MEANINGS,
        units=dict.fromkeys(("kl_plain", "kl_fitted"), "nats"),
    )


def _least_squares(every: Iterator[Float32[Tensor, "layers+1 n d"]], n: int) -> list[_Map]:
    """The map of each layer to the last state.

    The head sees a state through its norm, so that an error counts as a share of the state's
    length: else the few longest states would decide.
    """
    moments: list[_Moments] = []
    for states in every:
        *before, last = states.double()
        moments = moments or [_Moments.zeros(last.shape[1], last.device) for _ in before]
        weights = 1 / last.square().mean(dim=1, keepdim=True).clamp(min=1e-12)
        for x, sums in zip(before, moments, strict=True):
            sums.add(x, last, weights)
    return [_Map.least_squares(sums, n) for sums in moments]


def _descend(
    maps: Sequence[_Map],
    every: Iterator[Float32[Tensor, "layers+1 n d"]],
    steps: int,
    readout: Readout,
) -> None:
    """One pass of Adam on the divergence of each layer, at a rate that falls to 0."""
    optimizer = torch.optim.Adam([part for each in maps for part in each.added])
    for step, states in enumerate(every):
        n = states.shape[1]
        for part in slices(n, readout.at_once):
            with torch.no_grad():
                output = readout.logprobs(states[-1, part]).exp()
            for layer, each in enumerate(maps):
                weight, bias = each.now()
                lens = AffineLens(weight[None], bias[None], "tuned")
                logprobs = readout.logprobs(lens(states[layer, part], 0))
                (-(output * logprobs).sum() / n).backward()
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()


def _divergences(
    every: Iterator[Float32[Tensor, "layers+1 n d"]], lens: AffineLens, readout: Readout
) -> Float64[Tensor, "2 layers"]:
    """The sum over all tokens at each layer, without and with the lens."""
    sums = torch.zeros(2, len(lens.weights), dtype=torch.float64)
    for states in every:
        for part in slices(states.shape[1], readout.at_once):
            *before, last = states[:, part]
            output = readout.logprobs(last)
            p = output.exp()
            for layer, x in enumerate(before):
                for which, seen in enumerate((x, lens(x, layer))):
                    sums[which, layer] += (p * (output - readout.logprobs(seen))).sum().item()
    return sums
