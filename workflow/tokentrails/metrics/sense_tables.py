"""The tables of senses: by word, over words by layer, and at which layer senses part best.

Intervals over words resample words with all of their texts. To resample the texts of a drawn word,
too, would count the noise of texts twice, since the values of words hold it already: such intervals
are too wide (Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64

from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS, are_equal, known_mean
from ..statistics.permutation import holm, p_values
from ..statistics.settings import Statistics
from .columns.frame import run_table
from .columns.groups import single
from .senses import CONTROL_COLUMNS, CONTROLLED, MEASURES, STATISTICS, WORD_COLUMNS, Senses, Word

MEANINGS = {
    "measure": f"the form of the similarity: {', '.join(MEASURES)}; null without a baseline, but "
    "for the cosine and matched",
    "sense_a": "the sense that comes first in the alphabet",
    "sense_b": "the other sense; null: no text of it is left",
    "n_a": "texts of sense_a",
    "n_b": "texts of sense_b",
    "within": "mean similarity of two texts of one sense: the mean of the two senses' own means",
    "between": "mean similarity of two texts of different senses",
    "gap": "within minus between; scaled: divided by 1 minus the cosine of random pairs",
    "auc": "probability that two texts of one sense are more alike than two of different senses of "
    "the same word, ties half: 0.5 is chance, 1 is perfect; both senses weigh the same",
    **{
        f"{name}_control": f"{name} of the control, the same texts with another word in the word's "
        "place, of words that both have; null: no experiment has them"
        for name in CONTROLLED
    },
    **{
        difference: f"{name} minus {name}_control, word by word: what is of the word"
        for name, difference in CONTROLLED.items()
    },
    "p": "permutation of the senses of each word's texts, one-sided, (1 + b) / (1 + draws): how "
    "often the gap is then at least as large. Where both senses of a word have their targets at "
    "the same places (words_before), senses are permuted among the texts of each place",
    "p_holm": "p after Holm's correction over the layers of the site",
    "n": "how many words",
    "n_texts": "how many texts they have together",
    "few": "whether there are fewer words than statistics.few: too few to lean on",
    "criterion": "what is largest at the best layer: gap or auc, as means over words",
    "best_layer": "the layer where it is largest, the first of several",
    "best_low": "lower end of the interval of the best layer: percentiles over samples of words; "
    f"null: under {FEWEST_UNITS} words, a layer that is alone at its site, or all words are equal",
    "best_high": "upper end of it",
    "value": "the largest gap or auc",
}

_MEANS = (*STATISTICS, *CONTROL_COLUMNS)
_WORDS = 3  # stream of draws
_ENDS = ("low", "high")
_COLUMNS = [f"{name}{end}" for name in _MEANS for end in ("", "_low", "_high")]

Values = dict[str, Float64[np.ndarray, " curves"]]


def senses(separated: Senses, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `senses`: a row per word, place and measure.

    A word with less than two texts of a sense has rows with its numbers of texts, and nulls.
    """
    keys = separated.keys
    unknown = dict.fromkeys((*WORD_COLUMNS, *CONTROL_COLUMNS), np.full(len(keys), np.nan))
    frames = [_word_frame(found.word, keys, found.values) for found in separated.words]
    frames += [_word_frame(word, keys, unknown) for word in separated.left_out]
    return _described(
        pl.concat(frames).sort("word", "site", "layer", "measure"),
        title="senses: how alike a word's texts are within and between its two senses",
        over="the texts of each sense",
        provenance=provenance,
    )


class OverWords:
    """Means over words at every curve, with their draws: the same words for all of them.

    Attributes
    ----------
    counts: by statistic, how many words have a value.
    n: those that have a gap.
    means: by statistic.
    draws: by statistic, over resampled words, which bring their controls.
    """

    def __init__(self, separated: Senses, statistics: Statistics) -> None:
        self.separated = separated
        self.bootstrap, self.few = statistics.bootstrap, statistics.few
        values = {name: separated.values(name) for name in _MEANS}
        self.counts = {name: (~np.isnan(value)).sum(axis=1) for name, value in values.items()}
        self.n = self.counts["gap"]
        self.means = {name: known_mean(value) for name, value in values.items()}
        drawn = self.bootstrap.means(np.concatenate([*values.values()]), (_WORDS,))
        self.draws = dict(zip(values, np.split(drawn, len(values), axis=1), strict=True))

    @property
    def ends(self) -> Values:
        """The lower and the upper ends, such as `gap_low`."""
        ends = {
            name: self.bootstrap.interval(draws, self.counts[name])
            for name, draws in self.draws.items()
        }
        return {
            f"{name}_{end}": values
            for name, both in ends.items()
            for end, values in zip(_ENDS, both, strict=True)
        }


def senses_by_layer(over: OverWords, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `senses_by_layer`: means over words, a row per place and measure."""
    texts = np.array([len(found.word.rows) for found in over.separated.words])
    known = ~np.isnan(over.separated.values("gap"))
    p = p_values(over.means["gap"], over.separated.null)
    values = over.means | over.ends | {"p": p, "p_holm": np.full(len(p), np.nan)}
    for _, rows in _families(over.separated.keys):
        values["p_holm"][rows] = holm(p[rows])
    frame = over.separated.keys.with_columns(
        pl.Series("n", over.n, pl.Int32),
        pl.Series("n_texts", known @ texts, pl.Int32),
        pl.Series("few", over.n < over.few),
        *(single(values[name]).alias(name) for name in (*_COLUMNS, "p", "p_holm")),
    )
    return _described(
        frame.sort("site", "layer", "measure"),
        title="senses: how alike texts are within and between senses, means over words",
        over="words",
        provenance=provenance,
    )


def senses_best(over: OverWords, *, provenance: Mapping[str, str]) -> pa.Table:
    """The table `senses_best`: at which layer of a site the gap and the AUC are largest."""
    depth = max(layer for site, layer in over.separated.places if site == "resid")
    rows = []
    for (site, measure), family in _families(over.separated.keys):
        layers = over.separated.keys["layer"].to_numpy()[family]
        for criterion in ("auc", "gap"):
            means = over.means[criterion][family]
            row: dict[str, Any] = {"site": site, "measure": measure, "criterion": criterion}
            row |= {"depth": depth, "n": len(over.separated.words)}
            if not np.isnan(means).all():
                best = _first_largest(means[None])[0]
                row |= {"best_layer": layers[best], "value": means[best]}
                row |= _best_ends(over, criterion, family, best)
            rows.append(row)
    integers = ("best_layer", "best_low", "best_high", "depth", "n")
    types = {"site": pl.String, "measure": pl.String, "criterion": pl.String, "value": pl.Float32}
    frame = pl.DataFrame(rows, schema=types | dict.fromkeys(integers, pl.Int32))
    order = ("site", "measure", "criterion", *integers[:3], "value", "depth", "n")
    return _described(
        frame.select(order).sort("site", "measure", "criterion"),
        title="senses: at which layer of each site they are separated best",
        over="words",
        provenance=provenance,
    )


def _best_ends(over: OverWords, criterion: str, family: np.ndarray, largest: int) -> dict[str, int]:
    """The interval of the best layer: the layers at the percentiles of that of every sample.

    There is none of a layer that stands alone, nor where all words are equal at the best one, as
    before the first block of a rotary model.
    """
    draws = over.draws[criterion][:, family]
    if len(over.separated.words) < FEWEST_UNITS or len(family) == 1 or are_equal(draws[:, largest]):
        return {}
    layers = over.separated.keys["layer"].to_numpy()[family]
    best = layers[_first_largest(draws)]
    tail = (1 - over.bootstrap.confidence) / 2
    return {
        "best_low": int(np.quantile(best, tail, method="lower")),
        "best_high": int(np.quantile(best, 1 - tail, method="higher")),
    }


def _first_largest(values: Float64[np.ndarray, "samples layers"]) -> np.ndarray:
    """Where each row is largest, the first of several; a NaN never is."""
    return np.where(np.isnan(values), -np.inf, values).argmax(axis=1)


def _families(keys: pl.DataFrame) -> list[tuple[tuple[str, str], np.ndarray]]:
    """The curves of every site and measure, by layer."""
    rows = keys.with_row_index("row").sort("site", "measure", "layer")
    groups = rows.group_by("site", "measure", maintain_order=True)
    return [((str(site), str(m)), group["row"].to_numpy()) for (site, m), group in groups]


def _word_frame(word: Word, keys: pl.DataFrame, values: Values) -> pl.DataFrame:
    own = {"word": word.word, "sense_a": word.senses[0], "sense_b": word.senses[1]}
    counts = {"n_a": word.pairs.n_a, "n_b": word.pairs.n_b}
    return keys.select(
        *(pl.lit(value, pl.String).alias(name) for name, value in own.items()),
        *keys.columns,
        *(pl.lit(value, pl.Int32).alias(name) for name, value in counts.items()),
    ).with_columns(single(value).alias(name) for name, value in values.items())


def _described(
    frame: pl.DataFrame, *, title: str, over: str, provenance: Mapping[str, str]
) -> pa.Table:
    ends = {
        f"{name}_{end}": f"{side} end of its interval: bootstrap over {over}, percentiles expanded "
        f"by Student's t; null: under {FEWEST_UNITS} of them{EQUALITY}"
        for name in _MEANS
        for end, side in zip(_ENDS, ("lower", "upper"), strict=True)
    }
    units = {name: "probability" if name.startswith("auc") else "cosine" for name in _COLUMNS}
    units |= dict.fromkeys(("p", "p_holm"), "probability")
    units |= dict.fromkeys(("best_layer", "best_low", "best_high"), "layer")
    return run_table(frame, title, provenance, MEANINGS | ends, units)
