"""Decodability: whether a token can still be read from its state, however far that has turned.

States are mapped into the space of the embedding, by maps that are fitted on other types of tokens
than those that are tested (Voita et al. 2019; Brunner et al. 2020), and looked up among all rows.
Targets are the token itself, and the one before it in the text: where that can no longer be read it
is erased (Feucht et al. 2024). No map has seen the types that it is tested on, so none finds them
by having learned them by heart. The control is chance of the whole procedure: targets are shuffled
among the types, those that maps are fitted to and those that are looked up, each among themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from jaxtyping import Bool, Float32, Float64, Int, Shaped

from ..errors import TokentrailsError
from ..files.states import Layer
from ..statistics.bootstrap import Bootstrap, known_mean
from ..statistics.ratio import ratio
from ..vocabulary.maps import Fit, Rows
from ..vocabulary.ranks import closest
from .columns.frame import run_table
from .ranks import Vocabulary

TARGETS = ("own", "previous")
MAPS = ("none", "centred", "standardised", "orthogonal", "ridge")
FITTED = ("orthogonal", "ridge")
"""Maps that are fitted to targets, and so have a control, where these are other ones."""

LEAST, ENOUGH = 5_000, 20_000
"""Tokens without which maps are not fitted, and those from which on they are not called few."""
TYPES = 50
"""Types without which nothing is fitted: a fifth of them is tested."""
TESTED = 400
"""Most tokens that are looked up at one place, which is most of the work."""
HALF = 0.5
COLUMNS = ("first", "token_ids", "word")
"""The columns of the table of tokens that this module needs."""
SITE = "resid"
"""The site whose layer 0 is the embedding."""

MEANINGS = {
    "target": "what is to be read from the state: the token itself (own), or the one before it in "
    "the text (previous)",
    "map": "what is done to the states: none; centred: minus their mean, and the vocabulary's rows "
    "minus theirs; standardised: z-scores on both sides; orthogonal: the rotation of centred "
    "states that is nearest to the centred rows; ridge: ridge regression on these, of the strength "
    "that is best on a quarter of their types when fitted to the others. Means, deviations and "
    "maps are of types that are not tested; each type counts once, whatever the number of its "
    "tokens",
    "control": "whether targets were shuffled among the types that the map is fitted to, and among "
    "those that are looked up: chance of the whole procedure",
    "type": "vocabulary entry that is to be read",
    "top1": "share of the tested tokens whose target's row is the closest of all by cosine; here "
    "too each type counts once. Special tokens and those at position 0 are left out, as states and "
    "as targets",
    "ci_low": "lower end of the interval of top1: percentile bootstrap over types",
    "ci_high": "upper end of the same interval",
    "top10": "share of the tested tokens whose target's row is among the ten closest",
    "median_rank": "median number of rows that are closer than the target's, 0 for none",
    "cosine": "mean cosine of the mapped state with the target's row; by the map none, and of the "
    "token itself, that is identity. Without a direction a state or row takes no part; null: none "
    "has one",
    "n": "tested tokens: of each type one, then a second one, and so on, up to "
    f"{TESTED:,}, drawn by the seed",
    "n_types": "tested types",
    "n_fit": "tokens that maps are fitted on, of the other types",
    "few": f"whether the texts have fewer than {ENOUGH:,} tokens: too few to lean on",
    "measure": "top1, or the mean cosine",
    "half_life_layer": "first layer where the measure is below half of its value at layer 0; null: "
    "never, or nothing above 0 at layer 0",
    "half_life_low": "lower end of its interval: percentile bootstrap over types; null: never",
    "half_life_high": "upper end of the same interval; null: never",
}
UNITS = {
    **dict.fromkeys(("top1", "top10", "ci_low", "ci_high"), "0 to 1"),
    **{"cosine": "cosine, -1 to 1", "median_rank": "vocabulary rows"},
    **dict.fromkeys(("half_life_layer", "half_life_low", "half_life_high"), "layer"),
}


@dataclass(frozen=True)
class Tokens:
    """Tokens of which the states are looked at, with the vocabulary row that is their target.

    Attributes
    ----------
    rows: which states.
    types: the vocabulary rows there are, each once: the types.
    type: which of `types` is each token's target.
    shuffled: the same types in another order, as targets of the control.
    """

    rows: Int[np.ndarray, " n"]
    types: Int[np.ndarray, " types"]
    type: Int[np.ndarray, " n"]
    shuffled: Int[np.ndarray, " types"]

    @classmethod
    def of(cls, rows: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> Tokens:
        """Tokens by the number of their state, with their targets; `rng` shuffles the types."""
        types, which = np.unique(targets, return_inverse=True)
        return cls(rows, types, which, rng.permutation(types))


@dataclass(frozen=True)
class Sample:
    """What is fitted and what is tested for one target; no type is in both.

    Attributes
    ----------
    inner: which types of `fit` choose the strength of ridge.
    """

    fit: Tokens
    test: Tokens
    inner: Bool[np.ndarray, " types"]


def samples(tokens: pa.Table, seed: int) -> dict[str, Sample]:
    """What is fitted and what is tested for each target.

    Of the types one in five is tested, by those of its tokens that `MEANINGS` says. Maps are fitted
    to the other four, by all of their tokens. One of these four chooses the strength of ridge,
    which is first fitted to the other three.

    Parameters
    ----------
    tokens: the tokens table of whole texts.
    seed: decides which types are tested, and by which of their tokens.

    Raises
    ------
    TokentrailsError: if there are fewer than `LEAST` tokens, or `TYPES` types.
    """
    frame = pl.DataFrame(pl.from_arrow(tokens.select(COLUMNS)))
    position, is_word = frame["first"].to_numpy(), (frame["word"] != "").to_numpy()
    own = frame.select(pl.col("token_ids").list.get(pl.col("first"))).to_series().to_numpy()
    takes_part = (position > 0) & is_word
    kept = np.flatnonzero(takes_part)
    if len(tokens) < LEAST:
        raise TokentrailsError(
            f"the texts have {len(tokens):,} tokens, and maps of states are fitted on {LEAST:,} or "
            "more",
            where="the analysis decodability",
            hint=f"give the experiment file a longer text, such as 'corpus: {{tokens: {ENOUGH}}}'.",
        )
    behind = kept[takes_part[kept - 1]]
    targets = {"own": (kept, own[kept]), "previous": (behind, own[behind - 1])}
    types = np.unique(own[is_word])
    if len(types) < TYPES:
        raise TokentrailsError(
            f"the texts have {len(types)} different tokens, of which maps are fitted to some and "
            f"tested on others: {TYPES} or more are needed",
            where="the analysis decodability",
            hint="give the experiment file a text of more different words.",
        )
    part = np.full(types[-1] + 1, -1)
    part[np.random.default_rng([seed, 0]).permutation(types)] = np.arange(len(types)) % 5
    return {
        name: _sample(rows, target, part, np.random.default_rng([seed, number]))
        for number, (name, (rows, target)) in enumerate(targets.items(), start=1)
    }


def _sample(
    rows: np.ndarray, targets: np.ndarray, part: np.ndarray, rng: np.random.Generator
) -> Sample:
    """Test the types of part 0, and choose the strength by those of part 1."""
    fitted = part[targets] > 0
    fit = Tokens.of(rows[fitted], targets[fitted], rng)
    tested = rng.permutation(np.flatnonzero(~fitted))
    # The first token of every type in this random order, then the second ones.
    turns = pl.DataFrame({"type": targets[tested]}).select(pl.int_range(pl.len()).over("type"))
    tested = np.sort(tested[turns.to_series().to_numpy().argsort(kind="stable")[:TESTED]])
    test = Tokens.of(rows[tested], targets[tested], rng)
    return Sample(fit, test, part[fit.types] == 1)


@dataclass(frozen=True)
class Looked:
    """What one map finds at one place."""

    site: str
    layer: int
    target: str
    map: str
    control: bool
    rank: Int[np.ndarray, " n"]
    cosine: Float64[np.ndarray, " n"]


def looked_up(
    layers: Iterable[Layer], samples: Mapping[str, Sample], vocabulary: Vocabulary
) -> Iterator[Looked]:
    """The rank of each tested token's target, by every map at every place.

    Parameters
    ----------
    layers: the states of all tokens, one place at a time.
    vocabulary: on the device that is to compute.
    """
    spaces = {
        name: Rows.of(vocabulary.rows, torch.from_numpy(sample.fit.types))
        for name, sample in samples.items()
    }
    for place in layers:
        for target, sample in samples.items():
            found = _maps(place.hidden, sample, spaces[target], vocabulary.valid)
            for (name, control), (rank, cosine) in sorted(found.items(), key=_place):
                yield Looked(place.site, place.layer, target, name, control, rank, cosine)


_Found = dict[tuple[str, bool], tuple[Int[np.ndarray, " n"], Float64[np.ndarray, " n"]]]


def _place(found: tuple[tuple[str, bool], Any]) -> tuple[bool, int]:
    """Where a map stands in the table: controls behind the others."""
    (name, control), _ = found
    return control, MAPS.index(name)


def _maps(
    hidden: Float32[np.ndarray, "n d"], sample: Sample, rows: Rows, valid: torch.Tensor
) -> _Found:
    """The ranks and cosines by each map, and whether it is the control, at one place."""
    device = rows.rows.device
    fit = Fit(
        torch.from_numpy(hidden[sample.fit.rows]).to(device),
        torch.from_numpy(sample.fit.type).to(device),
        torch.from_numpy(sample.inner).to(device),
    )
    states = torch.from_numpy(hidden[sample.test.rows]).to(device)
    centred = states.double() - fit.mean
    own, shuffled = (
        torch.from_numpy(types[sample.test.type]).to(device)
        for types in (sample.test.types, sample.test.shuffled)
    )
    # Those that are looked up among the same rows together.
    mapped = {("centred", False): centred}
    for control, types in ((False, sample.fit.types), (True, sample.fit.shuffled)):
        targets = rows.centred(torch.from_numpy(types).to(device))
        mapped |= {(name, control): centred @ getattr(fit, name)(targets) for name in FITTED}
    several = torch.cat([*mapped.values()]).float()
    theirs = torch.cat([shuffled if control else own for _, control in mapped])
    z = (centred / fit.deviation).float()
    found: _Found = {}
    for keys, closest_rows in (
        ([("none", False)], closest(states, rows.rows, own, valid=valid)),
        ([("standardised", False)], closest(z, rows.standardised, own, valid=valid)),
        ([*mapped], closest(several, rows.rows, theirs, valid=valid, offset=-rows.mean.float())),
    ):
        rank, cosine = closest_rows.rank.cpu().numpy(), closest_rows.cosine.cpu().numpy()
        rank[rank < 0] = int(valid.sum())  # a state without a direction is behind all
        parts = zip(*(np.split(each, len(keys)) for each in (rank, cosine)), strict=True)
        found |= dict(zip(keys, parts, strict=True))
    return found


MEASURES = ("top1", "cosine")


@dataclass(frozen=True)
class Found:
    """What all maps find at all places.

    Attributes
    ----------
    rows: of the table, one for each map at each place.
    by_type: of each measure and row the mean over each type's tokens; NaN of the cosine where none
        has a direction.
    types: the vocabulary rows of the tested types, by target.
    """

    rows: list[dict[str, Any]]
    by_type: dict[str, list[Float64[np.ndarray, " types"]]]
    types: dict[str, Int[np.ndarray, " types"]]

    @classmethod
    def of(cls, looked: Iterable[Looked], samples: Mapping[str, Sample]) -> Found:
        """Take what is looked up, one place at a time."""
        types = {target: sample.test.types for target, sample in samples.items()}
        found = cls([], {measure: [] for measure in MEASURES}, types)
        for each in looked:
            sample = samples[each.target]
            test = sample.test.type
            size = np.bincount(test)
            order = each.rank.argsort(kind="stable")
            weight = (1 / size[test])[order].cumsum()
            values = {"top1": each.rank == 0, "top10": each.rank < 10, "cosine": each.cosine}
            by_type = {name: _type_means(value, test) for name, value in values.items()}
            for measure, kept in found.by_type.items():
                kept.append(by_type[measure])
            found.rows.append(
                {
                    **{key: getattr(each, key) for key in KEYS},
                    **{name: known_mean(value[None])[0] for name, value in by_type.items()},
                    "median_rank": each.rank[order][np.searchsorted(weight, len(size) / 2)],
                    "n": len(test),
                    "n_types": len(size),
                    "n_fit": len(sample.fit.rows),
                }
            )
        return found

    def draws(
        self, rows: Sequence[int], measure: str, bootstrap: Bootstrap
    ) -> Float64[np.ndarray, "draws rows"]:
        """The mean over resampled types of some rows of one target; the same types for all."""
        values = np.stack([self.by_type[measure][row] for row in rows])
        stream = (TARGETS.index(self.rows[rows[0]]["target"]),)
        return bootstrap.means(values, stream)


def _type_means(
    values: Shaped[np.ndarray, " n"], types: Int[np.ndarray, " n"]
) -> Float64[np.ndarray, " types"]:
    """Of each type the mean over its tokens, where a NaN takes no part."""
    known = ~np.isnan(values)
    return ratio(np.bincount(types, np.where(known, values, 0)), np.bincount(types, known))


KEYS = ("site", "layer", "target", "map", "control")


def decodability(
    found: Found, n_tokens: int, bootstrap: Bootstrap, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `decodability`.

    Parameters
    ----------
    n_tokens: of the texts.
    provenance: of the states; gives the key columns too.
    """
    ends = np.empty((2, len(found.rows)))
    for target in TARGETS:
        rows = [index for index, row in enumerate(found.rows) if row["target"] == target]
        draws = found.draws(rows, "top1", bootstrap)
        ends[:, rows] = bootstrap.interval(draws, found.rows[rows[0]]["n_types"])
    rank, share = pl.col("median_rank").cast(pl.Int32), pl.col("top1", "top10", "cosine")
    frame = pl.DataFrame(found.rows).select(
        *KEYS[:1],
        pl.col("layer").cast(pl.Int32),
        *KEYS[2:],
        share.cast(pl.Float32),
        rank,
        pl.Series("ci_low", ends[0], pl.Float32),
        pl.Series("ci_high", ends[1], pl.Float32),
        pl.col("n", "n_types", "n_fit").cast(pl.Int32),
        few=pl.lit(n_tokens < ENOUGH),
    )
    title = "decodability: whether tokens can be read from states by maps fitted on others"
    return run_table(frame, title, provenance, MEANINGS, UNITS)


def decodability_half_lives(
    found: Found, bootstrap: Bootstrap, *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `decodability_half_lives`: where half of what is there at layer 0 is gone.

    Of the token itself, by each map: as top1, and as the cosine.

    Parameters
    ----------
    provenance: of the states; gives the key columns too.
    """
    frames = []
    for name in MAPS:
        wanted = {"site": SITE, "target": "own", "map": name, "control": False}
        rows = [i for i, row in enumerate(found.rows) if wanted.items() <= row.items()]
        for measure in MEASURES if rows else ():
            values = np.array([[found.rows[row][measure] for row in rows]])
            draws = found.draws(rows, measure, bootstrap)
            depth, n_types = found.rows[rows[-1]]["layer"], found.rows[rows[0]]["n_types"]
            ends = bootstrap.interval(
                *(_half_life(draws), n_types),
                method="inverted_cdf",
                expanded=False,
                discrete=True,
            )
            reached = (each if np.isfinite(each) else None for each in (*_half_life(values), *ends))
            frames.append([name, measure, *reached, depth, n_types])
    layers = ("half_life_layer", "half_life_low", "half_life_high", "depth", "n_types")
    types: dict[str, Any] = {"map": pl.String, "measure": pl.String}
    types |= dict.fromkeys(layers, pl.Float64)
    frame = pl.DataFrame(frames, types, orient="row").with_columns(pl.col(layers).cast(pl.Int32))
    title = "half-lives of decodability: the first layer of resid below half of layer 0"
    return run_table(frame, title, provenance, MEANINGS, UNITS)


def decodability_types(
    found: Found, entries: Sequence[str | None], *, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `decodability_types`: what the shares are means of.

    Parameters
    ----------
    entries: the vocabulary's entry of each row.
    provenance: of the states; gives the key columns too.
    """
    frames = [
        pl.DataFrame({measure: means[row] for measure, means in found.by_type.items()}).select(
            *(pl.lit(keys[key]).alias(key) for key in KEYS),
            type=pl.Series(
                [entries[number] for number in found.types[keys["target"]]], dtype=pl.String
            ),
            **{measure: pl.col(measure).cast(pl.Float32) for measure in MEASURES},
        )
        for row, keys in enumerate(found.rows)
    ]
    frame = pl.concat(frames).with_columns(pl.col("layer").cast(pl.Int32))
    title = "types that are decoded from states: means over the tested tokens of each"
    return run_table(frame, title, provenance, MEANINGS, UNITS)


def _half_life(values: Float64[np.ndarray, "curves layers"]) -> Float64[np.ndarray, " curves"]:
    """The first layer below half of layer 0; infinite if never, or if nothing is there at all."""
    first = values[:, :1]
    gone = (values < HALF * first) & (first > 0)
    return np.where(gone.any(axis=1), gone.argmax(axis=1), np.inf)
