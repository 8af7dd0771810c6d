"""How well the states of words separate their senses: within against between, word by word.

For two texts of one word, cos(x_l in text A, x_l in text B); *within* is its mean over the pairs of
texts of one sense (of the two senses' means), *between* that over pairs of different senses, and
the gap is within minus between. What chance gives is the same in both, but it leaves a gap less
room; `scaled` gaps are of the room that is left.

Sentences of two senses differ by more than the sense of the word in them. The control is what the
same sentences give with another word in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float, Float32, Float64, Int

from ..errors import TokentrailsError
from ..files.states import Layer, Place
from ..statistics.baseline import Baseline
from ..statistics.forms import RESAMPLED, SOUND
from ..statistics.matched import Matched
from ..statistics.permutation import p_values
from ..statistics.ratio import ratio
from ..statistics.separability import Pairs
from ..statistics.settings import Statistics
from .columns.similarities import beyond_chance, matched_pairs, pair_similarities

MEASURES = SOUND  # the gap of `adjusted` is that of the cosine
STATISTICS = ("within", "between", "gap", "auc")
WORD_COLUMNS = (*STATISTICS[:3], "gap_low", "gap_high", "auc", "auc_low", "auc_high", "p")
"""What a single word has; p is of the gap."""
CONTROLLED = {"gap": "difference", "auc": "auc_difference"}
"""What the control has too, and the column of what a word has beyond that."""
CONTROL_COLUMNS = tuple(f"{name}_control" for name in CONTROLLED) + tuple(CONTROLLED.values())
"""What the control has of these, and what a word has beyond that; NaN where either lacks it."""

_TEXTS, _LABELS = 1, 2  # streams of draws


@dataclass(frozen=True)
class Word:
    """The texts of one word.

    Attributes
    ----------
    senses: the two, in the order of the alphabet; None for one without texts.
    rows: of its texts in the table of tokens, those of the first sense before those of the second.
    strata: of these texts; a permutation keeps to them.
    """

    word: str
    senses: tuple[str, str | None]
    rows: Int[np.ndarray, " texts"]
    strata: Int[np.ndarray, " texts"]
    pairs: Pairs

    @property
    def is_measured(self) -> bool:
        """Whether there are two texts at least of each sense."""
        return min(self.pairs.n_a, self.pairs.n_b) >= 2


@dataclass(frozen=True)
class Separated:
    """One word at every curve: `WORD_COLUMNS` and `CONTROL_COLUMNS`.

    NaN where a state has no direction.
    """

    word: Word
    values: dict[str, Float64[np.ndarray, " curves"]]


@dataclass(frozen=True)
class Senses:
    """Every word at every curve: places by measures, in this order.

    Attributes
    ----------
    words: those that were measured, and `left_out` those with less than two texts of a sense.
    null: the mean gap over words with senses at random.
    """

    places: tuple[Place, ...]
    words: tuple[Separated, ...]
    left_out: tuple[Word, ...]
    null: Float64[np.ndarray, "draws curves"]

    @cached_property
    def keys(self) -> pl.DataFrame:
        """Site, layer and measure of every curve."""
        rows = [(*place, measure) for place in self.places for measure in MEASURES]
        types = {"site": pl.String, "layer": pl.Int32, "measure": pl.String}
        return pl.DataFrame(rows, schema=types, orient="row")

    def values(self, statistic: str) -> Float64[np.ndarray, "curves words"]:
        """One statistic of every word."""
        nothing = np.empty((len(self.places) * len(MEASURES), 0))
        return np.column_stack([nothing, *(word.values[statistic] for word in self.words)])


def sense_words(tokens: pa.Table) -> list[Word]:
    """The words of a table of tokens, in the order of the alphabet.

    Texts are strata by the place of the target where both senses have theirs at the same places, so
    that senses are permuted as the texts were balanced; else all texts are one stratum.
    """
    frame = pl.DataFrame(pl.from_arrow(tokens.select(["word", "words_before", "sense"])))
    frame = frame.with_row_index("row").with_columns(
        pl.col("word").str.normalize("NFC"), pl.col("sense").cast(pl.String)
    )
    words = []
    for (word,), texts in frame.sort("word", "sense", "row").group_by("word", maintain_order=True):
        names = texts["sense"].unique(maintain_order=True).to_list()
        if len(names) > 2:
            raise ValueError(f"{word!r} has the senses {names}; the configuration refuses this")
        n_a = int((texts["sense"] == names[0]).sum())
        senses = (names[0], names[1] if len(names) > 1 else None)
        at = texts["words_before"].to_numpy()
        is_balanced = np.array_equal(np.sort(at[:n_a]), np.sort(at[n_a:]))
        strata = at if is_balanced else np.zeros_like(at)
        rows = texts["row"].to_numpy().astype(np.int64)
        words.append(Word(str(word), senses, rows, strata, Pairs(n_a, len(texts) - n_a)))
    return words


def separate(
    layers: Iterable[Layer],
    tokens: pa.Table,
    baseline: Baseline,
    statistics: Statistics,
    pooling: str,
    control: pl.DataFrame | None = None,
) -> Senses:
    """Measure every word at every place.

    The texts of a word are resampled, and their senses permuted, the same way at all places.

    Parameters
    ----------
    layers: the states, one place at a time, with the rows of `tokens`.
    control: the table `senses` of the control, if there is one.

    Raises
    ------
    TokentrailsError: if no word has two texts of each sense.
    """
    words = sense_words(tokens)
    measured = [word for word in words if word.is_measured]
    left_out = tuple(word for word in words if not word.is_measured)
    for word in left_out:
        has = f"{word.pairs.n_a} and {word.pairs.n_b} texts of its two senses"
        if word.senses[1] is None:
            has = "no texts of a second sense"
        logging.info(f"left out: {word.word!r} has {has}; it takes two of each")
    if not measured:
        raise TokentrailsError(
            "no word has two texts of each of its senses left",
            where="the tokens of the experiment",
            hint="see the reasons in results/tokens/MODEL/EXPERIMENT.skipped.csv.",
        )
    places, cosines = _cosines(layers, measured, baseline, matched_pairs(tokens, pooling))
    chance = np.array([baseline.chance_of("states", place) for place in places])
    separated: list[Separated] = []
    null = np.zeros((statistics.permutation.draws, len(places) * len(MEASURES)))
    for number, (word, cosine) in enumerate(zip(measured, cosines, strict=True)):
        values, word_null = _separate(word, cosine, number, statistics)
        values = {name: _with_scaled(name, value, chance) for name, value in values.items()}
        separated.append(Separated(word, values))
        null += np.nan_to_num(_with_scaled("gap", word_null, chance))
    known = sum(~np.isnan(found.values["p"]) for found in separated)
    senses = Senses(places, tuple(separated), left_out, null / np.maximum(known, 1))
    for found in senses.words:
        found.values.update(_beyond(found, senses.keys, control))
    return senses


def _with_scaled(
    name: str, values: Float64[np.ndarray, "*rows curves"], chance: Float64[np.ndarray, " places"]
) -> Float64[np.ndarray, "*rows more"]:
    """One of `WORD_COLUMNS` in all `MEASURES`, from those of `RESAMPLED`."""
    by_place = values.reshape(*values.shape[:-1], len(chance), len(RESAMPLED))
    found = dict(zip(RESAMPLED, np.moveaxis(by_place, -1, 0), strict=True))
    if name in ("within", "between"):
        _, scaled = beyond_chance(found["cosine"], chance)
    elif name.startswith("gap"):
        scaled = ratio(found["cosine"], 1 - chance)
    else:  # an order, which is the same
        scaled = np.where(chance < 1, found["cosine"], np.nan)
    found["scaled"] = scaled
    return np.stack([found[measure] for measure in MEASURES], -1).reshape(*values.shape[:-1], -1)


def _beyond(
    found: Separated, keys: pl.DataFrame, control: pl.DataFrame | None
) -> dict[str, Float64[np.ndarray, " curves"]]:
    """`CONTROL_COLUMNS` of one word, from its row of the control's table at every curve.

    Of numbers as tables hold them: what is the same in both leaves exactly 0.
    """
    if control is None:
        return dict.fromkeys(CONTROL_COLUMNS, np.full(len(keys), np.nan))
    own = control.filter(word=found.word.word).select(*keys.columns, *CONTROLLED)
    own = keys.join(own, on=keys.columns, how="left", maintain_order="left")
    columns = {}
    for name, beyond in CONTROLLED.items():
        values = found.values[name].astype(np.float32).astype(np.float64)
        other = own[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        columns[f"{name}_control"] = np.where(np.isnan(values), np.nan, other)
        columns[beyond] = values - other
    return columns


def _cosines(
    layers: Iterable[Layer], words: Sequence[Word], baseline: Baseline, matched: Matched
) -> tuple[tuple[Place, ...], list[Float32[np.ndarray, "curves pairs"]]]:
    """The similarity of every pair of every word, at every place in each of `RESAMPLED`."""
    a, b = (np.concatenate([w.rows[w.pairs.texts[end]] for w in words]) for end in (0, 1))
    places, curves = [], []
    for states in layers:
        places.append(states.place)
        found = pair_similarities(states, a, b, baseline, matched)
        curves += [found[form] for form in RESAMPLED]
    ends = np.cumsum([len(word.pairs.texts[0]) for word in words])[:-1]
    return tuple(places), np.split(np.stack(curves), ends, axis=1)


def _separate(
    word: Word,
    cosine: Float32[np.ndarray, "curves pairs"],
    number: int,
    statistics: Statistics,
) -> tuple[dict[str, Float64[np.ndarray, " curves"]], Float64[np.ndarray, "draws curves"]]:
    """`WORD_COLUMNS` of one word, and its gap with permuted senses.

    `number` makes its draws its own.
    """
    pairs = word.pairs
    known = ~np.isnan(cosine).any(axis=1)
    kept = np.ascontiguousarray(cosine[known])

    def measures(counts: np.ndarray) -> list[np.ndarray]:
        within, between = pairs.within_between(kept, counts)
        return [within, between, within - between, pairs.auc(kept, counts)]

    def spread(values: Float[np.ndarray, "*rows known"]) -> Float64[np.ndarray, "*rows curves"]:
        every = np.full((*values.shape[:-1], len(cosine)), np.nan)
        every[..., known] = values
        return every

    within, between, gap, auc = (value[0] for value in measures(pairs.all))
    draws = statistics.bootstrap.resample_strata(
        lambda counts: np.hstack(measures(counts)[2:]), (pairs.n_a, pairs.n_b), (_TEXTS, number)
    )
    low, high = statistics.bootstrap.interval(draws, min(pairs.n_a, pairs.n_b))
    (gap_low, auc_low), (gap_high, auc_high) = (np.split(end, 2) for end in (low, high))
    labels = statistics.permutation.labels(pairs.n_a, word.strata, (_LABELS, number))
    null = pairs.gaps(kept, labels)
    p = p_values(gap, null)
    columns = (within, between, gap, gap_low, gap_high, auc, auc_low, auc_high, p)
    return dict(zip(WORD_COLUMNS, map(spread, columns), strict=True)), spread(null)
