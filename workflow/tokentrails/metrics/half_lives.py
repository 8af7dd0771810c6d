"""Half-lives of many tokens: at which layer identity falls below a threshold, and how that is
distributed.

A token whose identity never does is censored at the model's depth: all that is known is that its
half-life lies beyond. No token is censored earlier, so 1 - Kaplan-Meier is the plain share of
tokens that have fallen by each layer, and the median is the first layer by which half of them have.
Neither needs a value for the others. Whether a token that has fallen is lost is another question,
which `decodability` answers; the column `lost` has its name from before that measure. Intervals are
over resampled texts and types of tokens, since neither the tokens of one text are independent of
each other, nor those of one type in several texts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float64

from ..statistics.bootstrap import (
    EQUAL_MEDIANS,
    EQUALITY,
    FEWEST_UNITS,
    Bootstrap,
    cluster_means,
    codes,
)
from ..statistics.forms import FORMS
from ..statistics.settings import Statistics
from ..texts.word_classes import FrequencyBands
from ..texts.word_groups import BAND_NAMES
from ..texts.word_list import WordList
from .columns.frame import is_of_letters, run_table

SITE = "resid"
GROUPINGS = {
    "all": ["all words"],
    "word_class": ["function", "content"],
    "frequency_band": [*BAND_NAMES],
    "word_class_in_band": [f"{n}, {band}" for band in BAND_NAMES for n in ("function", "content")],
    "word_part": ["whole", "first", "later"],
}
"""What tokens are grouped by, and the groups in the order of figures."""

BY_THRESHOLD = ("all", "word_class")
"""The groupings whose medians are given over thresholds."""

COLUMNS = ("label", "position", "token", "word", "site", "layer", *FORMS)
"""The columns of the table `identity` that this module needs."""

MEANINGS = {
    "word_class": "function (closed classes), content (all other alphabetic words), punctuation, "
    "other; null: a special token, or a word of no known class",
    "frequency_band": "place of the word among the most frequent ones of the language; words that "
    "are not listed are the rarest; unknown: there is no list, or it lacks the word and has fewer "
    "than 10,000 lines, or it lacks a run of letters of a script without spaces; null: no word of "
    "letters",
    "counted": "whether the token takes part in groups: it belongs to a function word, a content "
    "word or one of no known class, and does not stand at position 0",
    "measure": f"the column of identity that is meant: {', '.join(FORMS)}",
    "half_life_layer": "first layer of resid where the measure is below the threshold; null: never",
    "grouping": "what tokens are grouped by; word_class_in_band: class and frequency band",
    "group": "the tokens meant; all words: all that are counted, so neither numbers nor "
    "punctuation nor signs",
    "threshold": "what identity falls below at the half-life",
    "n": "how many tokens",
    "n_texts": "how many texts they come from",
    "n_types": "how many different tokens they are",
    "few": "whether the texts or the types are fewer than statistics.few: too few to lean on",
    "reached": "share of the tokens that have a half-life, at the last layer or before",
    "median_layer": "first layer by which the identity of half of the tokens or more has been "
    "below the threshold; null: never",
    "lost": "share of the tokens whose identity has been below the threshold at the layer or "
    "before: 1 - Kaplan-Meier, with tokens of which it never is as censored after the last layer; "
    "not whether they can still be decoded",
    **{
        f"{name}_{end}": f"{which} end of its interval: percentile bootstrap over texts crossed "
        f"with types, the different tokens; {null}"
        for name, null in (
            ("reached", f"null: under {FEWEST_UNITS} of either{EQUALITY}"),
            ("median_layer", f"null: under {FEWEST_UNITS} of either{EQUAL_MEDIANS}, or never"),
            ("lost", f"null: under {FEWEST_UNITS} of either{EQUALITY}"),
        )
        for end, which in (("low", "lower"), ("high", "upper"))
    },
}
UNITS = {
    **dict.fromkeys(("half_life_layer", "median_layer"), "layer"),
    **dict.fromkeys(("reached", "lost"), "0 to 1"),
}


def half_lives(
    identity: pa.Table,
    tokens: pa.Table,
    words: WordList | None,
    *,
    threshold: float,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `half_lives`: every token of whole texts, in each measure that it has.

    Parameters
    ----------
    identity: the table of that name, or its `COLUMNS`.
    tokens: the tokens table, with classes; gives the part of its word that each token is, too.
    words: the most frequent words first; None without a list.
    threshold: a cosine; below it identity has fallen.
    provenance: of the identity table.
    """
    keys = ["label", "position", "token", "word"]
    stream = pl.DataFrame(pl.from_arrow(identity)).filter(pl.col("site") == SITE)
    frame = _first_below(stream, keys, threshold)
    columns = ["label", "first", "word_part", "word_class"]
    parts = pl.DataFrame(pl.from_arrow(tokens.select(columns)))
    frequency = FrequencyBands(words)
    bands = [(word, frequency.of(word)) for word in frame["word"].unique().sort()]
    types = dict.fromkeys(("word", "frequency_band"), pl.String)
    table = (
        frame.join(parts, left_on=["label", "position"], right_on=["label", "first"], how="left")
        .join(pl.DataFrame(bands, types, orient="row"), on="word", how="left")
        .sort("measure", "label", "position")
        .select(
            *keys,
            "word_class",
            "frequency_band",
            "word_part",
            counted=is_of_letters() & (pl.col("position") > 0),
            site=pl.lit(SITE),
            measure="measure",
            half_life_layer="half_life_layer",
            depth=pl.lit(stream["layer"].max(), pl.Int32),
        )
    )
    return _described(table, "half-life of every token", provenance, threshold)


def _first_below(stream: pl.DataFrame, keys: Sequence[str], threshold: float) -> pl.DataFrame:
    """The half-life of every token in each measure that it has; null where it has none."""
    return pl.concat(
        stream.drop_nulls(form)
        .group_by(keys)
        .agg(half_life_layer=pl.col("layer").filter(pl.col(form) < threshold).min())
        .with_columns(measure=pl.lit(form))
        for form in FORMS
    )


@dataclass(frozen=True)
class Group:
    """The tokens of one group in one measure, and how many of them have fallen by every layer.

    Attributes
    ----------
    key: measure, grouping, group, n, n_texts, n_types and few.
    lost: share by each layer, from 0 to the model's depth.
    draws: the same of resampled texts and types, without samples that hold no token of the group.
    units: texts or types, of which there are fewer.
    """

    key: dict[str, object]
    lost: Float64[np.ndarray, " layers"]
    draws: Float64[np.ndarray, "draws layers"]
    units: int
    bootstrap: Bootstrap

    def interval(
        self, draws: Float64[np.ndarray, " draws *rest"], *, discrete: bool = False
    ) -> Float64[np.ndarray, " two *rest"]:
        """Both ends, of values that are drawn as they are: a median of layers is a layer."""
        return np.stack(
            self.bootstrap.interval(
                draws, self.units, method="inverted_cdf", expanded=False, discrete=discrete
            )
        )


def half_life_groups(
    half_lives: pa.Table, statistics: Statistics, groupings: Collection[str] = GROUPINGS
) -> list[Group]:
    """Every group that has tokens, in the order of measures and groupings.

    Parameters
    ----------
    half_lives: the table of that name.
    groupings: out of `GROUPINGS`.
    """
    frame = pl.DataFrame(pl.from_arrow(half_lives))
    if frame.is_empty():
        return []
    layers = np.arange(frame["depth"][0] + 1)
    tokens = frame.filter("counted").with_columns(
        pl.col("label", "token").rank("dense"),  # numbers are sorted sooner than names
        pl.col("half_life_layer").fill_null(len(layers)).cast(pl.Float64),
        all=pl.lit("all words"),
        word_class_in_band=pl.format("{}, {}", "word_class", "frequency_band"),
    )
    asked = [name for name in GROUPINGS if name in groupings]
    tokens = tokens.pivot(
        "measure", index=["label", "position", "token", *asked], values="half_life_layer"
    )
    measures, found = [form for form in FORMS if form in tokens.columns], []
    for grouping, group in ((name, group) for name in asked for group in GROUPINGS[name]):
        here = tokens.filter(pl.col(grouping) == group)
        if here.is_empty():
            continue
        lives = here.select(measures).to_numpy().T[:, None]
        lost = np.where(np.isnan(lives), np.nan, lives <= layers[:, None])
        factors = [codes(here[unit]) for unit in ("label", "token")]
        curves = lost.reshape(-1, len(here))
        draws = statistics.bootstrap.resample_members(cluster_means, curves, factors, ())
        draws = draws.reshape(-1, *lost.shape[:2])
        for index, measure in enumerate(measures):
            known = ~np.isnan(lives[index, 0])
            if not known.any():
                continue
            n_texts, n_types = (len(np.unique(factor[known])) for factor in factors)
            units = min(n_texts, n_types)
            key = {"measure": measure, "grouping": grouping, "group": group, "n": int(known.sum())}
            key |= {"n_texts": n_texts, "n_types": n_types, "few": units < statistics.few}
            share, drawn = lost[index][:, known].mean(axis=1), draws[:, index]
            drawn = drawn[~np.isnan(drawn[:, 0])]
            found.append(Group(key, share, drawn, units, statistics.bootstrap))
    return sorted(found, key=lambda group: measures.index(str(group.key["measure"])))


def half_lives_by_group(
    groups: list[Group], *, threshold: float, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `half_lives_by_group`: how many tokens of each fall, and the median half-life.

    Parameters
    ----------
    provenance: of the table `half_lives`.
    """
    return _described(_medians(groups), "half-lives by group", provenance, threshold)


def half_lives_by_threshold(
    identity: pa.Table,
    half_lives: pa.Table,
    statistics: Statistics,
    *,
    thresholds: Iterable[float],
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `half_lives_by_threshold`: the median half-life, wherever the threshold is.

    Parameters
    ----------
    identity: as for `half_lives`.
    half_lives: the table of that name; says which tokens there are, and of which class.
    thresholds: cosines, as identity is compared with; each has rows of its own.
    provenance: of the table `half_lives`.
    """
    stream = pl.DataFrame(pl.from_arrow(identity)).filter(pl.col("site") == SITE)
    tokens, frames = pl.DataFrame(pl.from_arrow(half_lives)).drop("half_life_layer"), []
    for threshold in thresholds:
        lost = _first_below(stream, ["label", "position"], threshold)
        here = tokens.join(lost, on=["label", "position", "measure"])
        medians = _medians(half_life_groups(here.to_arrow(), statistics, BY_THRESHOLD))
        frames.append(medians.select(pl.lit(threshold).alias("threshold"), pl.all()))
    depth = tokens["depth"].head(1)
    frame = pl.concat(frames).join(depth.to_frame(), how="cross")
    title = "half-lives by threshold: the first layer of resid where identity is below it"
    return run_table(frame, title, provenance, MEANINGS, UNITS)


def _medians(groups: Iterable[Group]) -> pl.DataFrame:
    """A row per group: the share that ever falls, and the median half-life."""
    rows = []
    for group in groups:
        reached = group.lost[-1], *group.interval(group.draws[:, -1])
        layers = _median(group.lost), *group.interval(_median(group.draws), discrete=True)
        medians = [int(layer) if np.isfinite(layer) else None for layer in layers]
        rows.append([*group.key.values(), *reached, *medians])
    types = {**KEYS, **_ends("reached", pl.Float32), **_ends("median_layer", pl.Int32)}
    return pl.DataFrame(rows, types, orient="row")


def half_life_curve(
    groups: list[Group], *, threshold: float, provenance: Mapping[str, str]
) -> pa.Table:
    """The table `half_life_curve`: the share of each group's tokens that fell by each layer."""
    rows = [
        [*group.key.values(), layer, *values]
        for group in groups
        for layer, values in enumerate(zip(group.lost, *group.interval(group.draws), strict=True))
    ]
    types = {**KEYS, "layer": pl.Int32, **_ends("lost", pl.Float32)}
    frame = pl.DataFrame(rows, types, orient="row")
    return _described(frame, "tokens below the threshold by layer", provenance, threshold)


def _median(lost: Float64[np.ndarray, "*draws layers"]) -> Float64[np.ndarray, " *draws"]:
    """The first layer by which half of the tokens have fallen; infinite if never."""
    half = lost >= 0.5
    return np.where(half.any(axis=-1), half.argmax(axis=-1), np.inf)


KEYS: dict[str, Any] = {
    **dict.fromkeys(("measure", "grouping", "group"), pl.String),
    **dict.fromkeys(("n", "n_texts", "n_types"), pl.Int32),
    "few": pl.Boolean,
}


def _ends(name: str, dtype: type[pl.DataType]) -> dict[str, Any]:
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), dtype)


def _described(
    frame: pl.DataFrame, title: str, provenance: Mapping[str, str], threshold: float
) -> pa.Table:
    title = f"{title}: the first layer of resid where identity is below {threshold:g}"
    provenance = {**provenance, "half_life_threshold": f"{threshold:g}"}
    return run_table(frame, title, provenance, MEANINGS, UNITS)
