"""Mean curves of words and their senses, with intervals from texts drawn again.

Texts are drawn within each sense of a word, so that a sample has as many texts of each as there
are. A pair of texts is not one more observation: it weighs the product of how often its two texts
are drawn, and a text drawn twice makes no pair with itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64, Int

from ..files.tables import describe
from ..statistics.bootstrap import Bootstrap, means
from .columns.similarities import MEASURES

IDENTITY = "identity"
PAIRS = {"between": "context_between", "within": "context_within", None: "context"}
FEWEST = {1: 2, 2: 3}
"""Texts of each sense that an interval needs: of means over texts, and over pairs of texts."""

AT_ONCE = 64
"""How many draws of all pairs are held."""

RUN = ("model", "checkpoint", "experiment")
KEYS = ("measure", "similarity", "word", "series", "site", "layer")
_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("measure", "similarity", "word", "series", "site"), pl.String),
    **{"layer": pl.Int32, "n": pl.Int32, "n_texts": pl.Int32, "few": pl.Boolean},
    **dict.fromkeys(("mean", "ci_low", "ci_high"), pl.Float32),
}
MEANINGS = {
    "word": "the target; null: the mean over words, each of which counts once",
    "series": "sense of the texts, or the label of a text without a sense; null: of pairs, and of "
    "means over words",
    "measure": "identity; context_between, context_within: similarity of texts of two senses, of "
    "one; context: of all pairs, where a word has no senses",
    "similarity": "cosine, or what the baseline makes of it: adjusted, standardised",
    "mean": "over texts, over pairs of texts, or over words",
    "ci_low": "lower end of the mean's interval: bootstrap over texts, of means over words over "
    "words with all their texts, with percentiles expanded by Student's t; null: one word, one "
    "text, or pairs of fewer than three texts of a sense",
    "ci_high": "upper end of it",
    "n": "how many texts, pairs or words the mean is over",
    "n_texts": "how many texts they come from",
    "few": "whether these texts, or words, are fewer than statistics.few: too few to lean on",
}


@dataclass(frozen=True)
class Curve:
    """What one mean is over: a value for each member and place, and the texts it comes from.

    Attributes
    ----------
    key: measure, similarity, word and series.
    places: site and layer of each place.
    values: NaN where there is none.
    texts: the texts of each member by their number: one, or the two of a pair.
    """

    key: dict[str, object]
    places: list[tuple[str, int]]
    values: Float64[np.ndarray, "places members"]
    texts: Int[np.ndarray, "members some"]


def curves(
    identity: pa.Table,
    context: pa.Table | None,
    *,
    bootstrap: Bootstrap,
    few: int,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `curves`.

    Parameters
    ----------
    identity, context: the tables of these names; None where context was not asked for.
    bootstrap: how texts and words are drawn again.
    few: means over fewer texts or words are marked.
    provenance: of the identity table.
    """
    frame = _of_texts(identity)
    texts = frame.select("word", "sense", "label").unique().sort("word", "sense", "label")
    counts, sizes = _draw(texts.select("word", "sense").rows(), bootstrap)
    number = {label: at for at, label in enumerate(texts["label"])}
    made = [*_curves(frame, "series", ["label"], number)]
    if context is not None:
        made += _curves(_of_pairs(context), "relation", ["label_a", "label_b"], number)
    rows = [row for curve in made for row in _rows(curve, counts, sizes, bootstrap, few)]
    rows += _rows_of_words(made, bootstrap, few)
    table = (
        pl.DataFrame(rows, schema=_COLUMNS)
        .with_columns(pl.col(pl.Float32).fill_nan(None))
        .sort(KEYS, nulls_last=True)
        .select(*(pl.lit(provenance[name]).alias(name) for name in RUN), pl.all())
    )
    return describe(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        title="mean identity and context similarity, with intervals",
        provenance=provenance,
        meanings=MEANINGS,
        units=dict.fromkeys(("mean", "ci_low", "ci_high"), "cosine"),
    )


def _of_texts(identity: pa.Table) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(identity)).with_columns(pl.col("sense").cast(pl.String))
    series = pl.coalesce("sense", "label")
    frame = frame.with_columns(series=series, sense=pl.col("sense").fill_null(""))
    return _long(frame, ["word", "series", "sense", "label"])


def _of_pairs(context: pa.Table) -> pl.DataFrame:
    """Pairs of senses, or all pairs of a word that has none."""
    frame = pl.DataFrame(pl.from_arrow(context))
    senses = pl.col("relation").is_not_null()
    frame = frame.filter(senses | ~senses.any().over("word"))
    return _long(frame, ["word", "relation", "label_a", "label_b"])


def _long(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """A row for each similarity that is there; sorted, so that sums do not depend on an order."""
    there = [name for name in MEASURES if name in frame.columns]
    return (
        frame.select(*keys, "site", "layer", *(pl.col(name).cast(pl.Float64) for name in there))
        .unpivot(there, index=[*keys, "site", "layer"], variable_name="similarity")
        .drop_nulls("value")
        .sort("similarity", *keys, "site", "layer", nulls_last=True)
    )


def _draw(
    strata: list[tuple[str, str]], bootstrap: Bootstrap
) -> tuple[Float64[np.ndarray, "draws texts"], Int[np.ndarray, " texts"]]:
    """How often each text is in each sample, and of how many it was drawn: those of its sense."""
    sizes = Counter(strata)
    drawn = [
        bootstrap.redraw(lambda counts: counts, size, (stratum,))
        for stratum, size in enumerate(sizes.values())
    ]
    return np.hstack(drawn), np.array([sizes[stratum] for stratum in strata])


def _curves(
    frame: pl.DataFrame, kind: str, ends: list[str], number: Mapping[str, int]
) -> Iterator[Curve]:
    """The curves of texts, by series, or of pairs of texts, by relation."""
    for (similarity, word, group), here in frame.group_by(
        "similarity", "word", kind, maintain_order=True
    ):
        members = here.select(ends).unique(maintain_order=True).rows()
        places = here.select("site", "layer").unique().sort("site", "layer").rows()
        row = {place: index for index, place in enumerate(places)}
        column = {member: index for index, member in enumerate(members)}
        values = np.full((len(places), len(members)), np.nan)
        values[
            [row[place] for place in here.select("site", "layer").rows()],
            [column[member] for member in here.select(ends).rows()],
        ] = here["value"]
        is_identity = kind == "series"
        yield Curve(
            key={
                "measure": IDENTITY if is_identity else PAIRS[group],
                "similarity": similarity,
                "word": word,
                "series": group if is_identity else None,
            },
            places=places,
            values=values,
            texts=np.array([[number[label] for label in member] for member in members]),
        )


def _rows(
    curve: Curve,
    counts: Float64[np.ndarray, "draws texts"],
    sizes: Int[np.ndarray, " texts"],
    bootstrap: Bootstrap,
    few: int,
) -> Iterator[dict[str, object]]:
    """The mean at every place, with its interval where every sense has texts enough for one."""
    low = high = np.full(len(curve.places), np.nan)
    if (fewest := sizes[curve.texts].min()) >= FEWEST[curve.texts.shape[1]]:
        over_members = means(curve.values)
        draws = np.concatenate(
            [
                over_members(counts[start : start + AT_ONCE, curve.texts].prod(axis=2))
                for start in range(0, len(counts), AT_ONCE)
            ]
        )
        low, high = _interval(draws, bootstrap, fewest)
    n_texts = len(np.unique(curve.texts))
    about = curve.key | {"n": curve.values.shape[1], "n_texts": n_texts, "few": n_texts < few}
    mean = _mean(curve.values)
    for at, (site, layer) in enumerate(curve.places):
        ends = {"mean": mean[at], "ci_low": low[at], "ci_high": high[at]}
        yield about | {"site": site, "layer": layer} | ends


def _rows_of_words(
    made: list[Curve], bootstrap: Bootstrap, few: int
) -> Iterator[dict[str, object]]:
    """Means over words, of which each has the mean of its series: words are drawn again."""
    kinds = dict.fromkeys((c.key["measure"], c.key["similarity"]) for c in made)
    for measure, similarity in kinds:
        parts = [
            c for c in made if (c.key["measure"], c.key["similarity"]) == (measure, similarity)
        ]
        words = sorted({str(c.key["word"]) for c in parts})
        places = sorted({place for c in parts for place in c.places})
        values = np.full((len(places), len(words)), np.nan)
        for at, word in enumerate(words):
            of_word = [c for c in parts if c.key["word"] == word]
            means_there = np.full((len(places), len(of_word)), np.nan)
            for column, c in enumerate(of_word):
                rows = [places.index(place) for place in c.places]
                means_there[rows, column] = _mean(c.values)
            values[:, at] = _mean(means_there)
        low = high = np.full(len(places), np.nan)
        if len(words) > 1:
            low, high = _interval(bootstrap.means(values, ()), bootstrap, len(words))
        n_texts = len(np.unique(np.concatenate([c.texts.ravel() for c in parts])))
        about = {"measure": measure, "similarity": similarity, "word": None, "series": None}
        about |= {"n": len(words), "n_texts": n_texts, "few": len(words) < few}
        mean = _mean(values)
        for at, (site, layer) in enumerate(places):
            ends = {"mean": mean[at], "ci_low": low[at], "ci_high": high[at]}
            yield about | {"site": site, "layer": layer} | ends


def _mean(values: Float64[np.ndarray, "rows n"]) -> Float64[np.ndarray, " rows"]:
    """Over what is known; NaN where nothing is."""
    return means(values)(np.ones((1, values.shape[1])))[0]


def _interval(
    draws: Float64[np.ndarray, "draws places"], bootstrap: Bootstrap, units: int
) -> tuple[Float64[np.ndarray, " places"], Float64[np.ndarray, " places"]]:
    """Of draws that hold a value: one of texts that make no pair has none.

    Parameters
    ----------
    units: texts of the smallest sense, or words; see `Bootstrap.interval`.
    """
    known = draws[~np.isnan(draws).any(axis=1)]
    if not len(known):
        return (np.full(draws.shape[1], np.nan),) * 2
    return bootstrap.interval(known, int(units))
