"""Mean curves of words and their senses, with intervals from resampled texts.

Texts are resampled within each sense of a word, so that a sample has as many texts of each as there
are. A pair of texts is not one more observation: it weighs the product of how often its two texts
are drawn, and a text drawn twice makes no pair with itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64, Int

from ..errors import TokentrailsError
from ..network.checkpoint import checkpoint_name
from ..statistics.bootstrap import (
    DRAWS_AT_ONCE,
    EQUALITY,
    FEWEST_UNITS,
    Bootstrap,
    known_mean,
    means,
)
from ..statistics.forms import FORMS, RESAMPLED
from ..statistics.settings import Statistics
from .columns.frame import run_table
from .columns.means import MEAN_TYPES, Group, groups, place_rows
from .columns.similarities import beyond_chance

IDENTITY = "identity"
PAIRS = {"between": "context_between", "within": "context_within", None: "context"}

MEANS = ("mean", "ci_low", "ci_high")
KEYS = ("measure", "similarity", "word", "series", "site", "layer")
MEANINGS = {
    "word": "the target; null: the mean over words, each of which counts once",
    "series": "sense of the texts, or the label of a text without a sense; null: of pairs, and of "
    "means over words",
    "measure": "identity; context_between, context_within: similarity of texts of two senses, of "
    "one; context: of all pairs, where a word has no senses",
    "similarity": f"the column of identity or context that is meant: {', '.join(FORMS)}",
    "mean": "over texts, over pairs of texts, or over words",
    "ci_low": "lower end of the mean's interval: bootstrap over texts, of means over words over "
    "words with all their texts, with percentiles expanded by Student's t; null: under "
    f"{FEWEST_UNITS} words, or texts of a sense{EQUALITY}",
    "ci_high": "upper end of it",
    "n": "how many texts, pairs or words the mean is over",
    "n_texts": "how many texts they come from",
    "few": "whether these texts, or words, are fewer than statistics.few: too few to lean on",
}


@dataclass(frozen=True)
class Curve:
    """What one mean of a word is over.

    Attributes
    ----------
    texts: of each member of the group by their number: one, or the two of a pair.
    """

    measure: str
    group: Group
    texts: Int[np.ndarray, "members ends"]

    @property
    def mean(self) -> Float64[np.ndarray, " places"]:
        return known_mean(self.group.values)

    def fewest(self, senses: Int[np.ndarray, " texts"]) -> Int[np.ndarray, " places"]:
        """How many texts of the sense with the fewest of them have a value at each place."""

        def smallest(held: np.ndarray) -> int:
            texts = np.bincount(senses[np.unique(self.texts[held])])
            return int(texts[texts > 0].min())

        return self.group.counted(smallest)


def curves(
    identity: pa.Table,
    context: pa.Table | None,
    *,
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `curves`.

    Parameters
    ----------
    context: None where it was not asked for.
    provenance: of the identity table.

    Raises
    ------
    TokentrailsError: if no text has an identity.
    """
    frame = pl.DataFrame(pl.from_arrow(identity)).with_columns(pl.col("sense").cast(pl.String))
    series = pl.coalesce("sense", "label")
    frame = frame.with_columns(series=series, sense=pl.col("sense").fill_null(""))
    known = frame.filter(pl.any_horizontal(pl.col("^(" + "|".join(RESAMPLED) + ")$").is_not_null()))
    if known.is_empty():
        raise TokentrailsError(
            "no text has an identity: its states, or the embeddings of its words, have no length",
            where=checkpoint_name(provenance),
            hint="look at its weights: are those of the embedding all zero?",
        )
    texts = known.select("word", "sense", "label").unique().sort("word", "sense", "label")
    number = {label: i for i, label in enumerate(texts["label"])}
    made = _curves(frame, "series", ["label"], number)
    chances = [_chance(frame).with_columns(measure=pl.lit(IDENTITY))]
    if context is not None:
        pairs = pl.DataFrame(pl.from_arrow(context))
        senses = pl.col("relation").is_not_null()
        pairs = pairs.filter(senses | ~senses.any().over("word"))  # or all pairs of the word
        made += _curves(pairs, "relation", ["label_a", "label_b"], number)
        chances += [_chance(pairs).with_columns(measure=pl.lit(name)) for name in PAIRS.values()]
    sense_of = texts.select(pl.struct("word", "sense").rle_id()).to_series().to_numpy()
    counts = _draw(sense_of, statistics.bootstrap)
    rows = [row for curve in made for row in _rows(curve, counts, sense_of, statistics)]
    rows += _word_rows(made, statistics)
    types = dict.fromkeys(("measure", "similarity", "word", "series"), pl.String) | MEAN_TYPES
    table = pl.DataFrame(rows, types | dict.fromkeys(MEANS, pl.Float64))
    table = pl.concat([table, *_beyond_chance(table, pl.concat(chances))])
    table = table.with_columns(pl.col(MEANS).cast(pl.Float32)).sort(KEYS, nulls_last=True)
    title = "mean identity and context similarity, with intervals"
    return run_table(table, title, provenance, MEANINGS, dict.fromkeys(MEANS, "cosine"))


def _chance(table: pl.DataFrame) -> pl.DataFrame:
    """The cosine of random pairs at every place that has a baseline."""
    difference = pl.col("cosine").cast(pl.Float64) - pl.col("adjusted").cast(pl.Float64)
    # All rows of a place have the same, but for rounding.
    return table.group_by("site", "layer").agg(chance=difference.fill_nan(None).median())


def _beyond_chance(table: pl.DataFrame, chances: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of `adjusted` and `scaled`, from those of the cosine."""
    cosine = table.filter(similarity="cosine").join(
        chances.drop_nulls(), on=["measure", "site", "layer"], maintain_order="left"
    )
    values, chance = (cosine.select(names).to_numpy() for names in (MEANS, ["chance"]))
    for form, beyond in zip(("adjusted", "scaled"), beyond_chance(values, chance), strict=True):
        columns = dict(zip(MEANS, map(pl.Series, beyond.T), strict=True))
        rows = cosine.select(table.columns).with_columns(similarity=pl.lit(form), **columns)
        yield rows.filter(pl.col("mean").is_not_nan())


def _curves(
    frame: pl.DataFrame, kind: str, ends: list[str], number: Mapping[str, int]
) -> list[Curve]:
    """The curves of texts, by series, or of pairs of texts, by relation."""
    values = [name for name in RESAMPLED if name in frame.columns]
    return [
        Curve(
            IDENTITY if kind == "series" else PAIRS[group.key[kind]],
            group,
            np.array([[number[label] for label in member] for member in group.members]),
        )
        for group in groups(frame, values, ["word", kind], ends)
    ]


def _draw(
    senses: Int[np.ndarray, " texts"], bootstrap: Bootstrap
) -> Float64[np.ndarray, "draws texts"]:
    """How often each text is in each sample of those of its sense."""
    drawn = [
        bootstrap.resample(lambda counts: counts, int(size), (sense,))
        for sense, size in enumerate(np.bincount(senses))
    ]
    return np.hstack(drawn)


def _rows(
    curve: Curve,
    counts: Float64[np.ndarray, "draws texts"],
    senses: Int[np.ndarray, " texts"],
    statistics: Statistics,
) -> list[dict[str, Any]]:
    """The mean at every place, with its interval where every sense has texts enough for one."""
    ends = None
    fewest = curve.fewest(senses)
    if fewest.max() >= FEWEST_UNITS:
        over_members = means(curve.group.values)
        draws = [
            over_members(counts[start : start + DRAWS_AT_ONCE, curve.texts].prod(axis=2))
            for start in range(0, len(counts), DRAWS_AT_ONCE)
        ]
        ends = statistics.bootstrap.interval(np.concatenate(draws), fewest)
    sizes = curve.group.sizes(statistics.few, curve.texts)
    about = _about(curve, curve.group.key["word"], curve.group.key.get("series"))
    return list(place_rows(about, curve.group.places, sizes, curve.mean, ends))


def _word_rows(made: Sequence[Curve], statistics: Statistics) -> list[dict[str, Any]]:
    """Means over words, of which each has the mean of its series: words are resampled."""
    kinds: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in made:
        kinds[curve.measure, curve.group.value].append(curve)
    rows: list[dict[str, Any]] = []
    for parts in kinds.values():
        words = sorted({curve.group.key["word"] for curve in parts})
        places = sorted({place for curve in parts for place in curve.group.places})
        values = np.full((len(places), len(words)), np.nan)
        texts = np.zeros((len(places), 1 + max(curve.texts.max() for curve in parts)), np.int64)
        for column, word in enumerate(words):
            own = [curve for curve in parts if curve.group.key["word"] == word]
            series = np.full((len(places), len(own)), np.nan)
            for i, curve in enumerate(own):
                lines = np.array([places.index(place) for place in curve.group.places])
                series[lines, i] = curve.mean
                for end in curve.texts.T:
                    np.add.at(texts, (lines[:, None], end), curve.group.known)
            values[:, column] = known_mean(series)
        n, ends = (~np.isnan(values)).sum(axis=1), None
        if n.max() >= FEWEST_UNITS:
            bootstrap = statistics.bootstrap
            ends = bootstrap.interval(bootstrap.means(values, ()), n)
        sizes = {"n": n, "n_texts": (texts > 0).sum(axis=1), "few": n < statistics.few}
        rows += place_rows(_about(parts[0]), places, sizes, known_mean(values), ends)
    return rows


def _about(curve: Curve, word: str | None = None, series: str | None = None) -> dict[str, Any]:
    key = {"measure": curve.measure, "similarity": curve.group.value}
    return {**key, "word": word, "series": series}
