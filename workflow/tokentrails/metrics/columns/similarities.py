"""A similarity in all its forms: one function for every table that has them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32, Float64, Int

from ...files.states import Layer
from ...statistics.baseline import EMBEDDING, Baseline
from ...statistics.forms import FORMS
from ...statistics.matched import Kinds, Matched
from ...statistics.ratio import ratio
from ...statistics.similarity import Moments, pair_cosines, unit
from .frame import own_token, target_keys

Similarities = dict[str, Float[np.ndarray, " p"]]
"""By form; NaN where there is no direction, no baseline, or nothing to scale by."""


class Side(NamedTuple):
    """Rows that pairs take one end from, and the moments of the sample of such rows, if known."""

    rows: Float[np.ndarray, "n d"]
    moments: Moments | None


def similarities(
    left: Side,
    right: Side,
    chance: float,
    matched: Float[np.ndarray, " p"],
    pairs: tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]] | None = None,
) -> Similarities:
    """Of the rows of two sides, pair by pair.

    Parameters
    ----------
    chance: the cosine of random pairs, NaN if unknown.
    matched: that of pairs of each one's own kind.
    pairs: indices into `left` and into `right`; by default each row with the same one.
    """
    a, b = pairs or [np.arange(len(left.rows))] * 2
    moments = None
    if left.moments is not None and right.moments is not None:
        moments = left.moments, right.moments
    cosine, centred, standardised = pair_cosines(left.rows, right.rows, a, b, moments)
    _, beyond_matched = beyond_chance(cosine, matched)
    adjusted, scaled = beyond_chance(cosine, np.array(chance))
    forms = (cosine, adjusted, scaled, beyond_matched, centred, standardised)
    return dict(zip(FORMS, forms, strict=True))


def beyond_chance(
    cosine: Float[np.ndarray, "*n"], chance: Float[np.ndarray, "*#n"]
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """`adjusted` and `scaled` of a cosine, or of means and ends of intervals at one place.

    c - b, and (c - b) / (1 - b), which is 0 as in random pairs and 1 in equal directions; NaN where
    random pairs have 1.
    """
    adjusted = cosine.astype(np.float64) - chance
    return adjusted, ratio(adjusted, 1 - chance)


def matched_pairs(tokens: pa.Table, pooling: str) -> Matched:
    """The pairs that make the chance of an experiment's own occurrences.

    Words that share a context, or the sentence that they replace another one in, are of one text.

    Parameters
    ----------
    tokens: the tokens table, with classes. Words without one are of a kind, which special tokens
        are not of.
    pooling: which token stands for a target of several.
    """
    text = next(name for name in ("context", "base", "label") if name in tokens.column_names)
    keys = target_keys(tokens, pooling, [text, "position"])
    _, texts = np.unique(list(map(str, keys[text].to_pylist())), return_inverse=True)
    words, known = (tokens[name].to_pylist() for name in ("word", "word_class"))
    classes = [c or ("word" if word.strip() else "") for word, c in zip(words, known, strict=True)]
    ids = own_token(tokens, "token_ids", pooling).to_numpy(zero_copy_only=False)
    return Matched(texts, ids, Kinds.of(classes, keys["position"].to_numpy()))


def embedding_similarities(
    states: Layer,
    embedding: Float32[np.ndarray, "n d"],
    directions: Float64[np.ndarray, "n d"],
    baseline: Baseline,
    matched: Matched,
) -> Similarities:
    """Of each state with the same row of `embedding`, which has moments of its own.

    Parameters
    ----------
    directions: of `embedding`, which are the same at all places.
    """
    return similarities(
        Side(states.hidden, baseline.moments.get(states.place)),
        Side(embedding, baseline.moments.get(EMBEDDING)),
        baseline.chance_of("embedding", states.place),
        matched.of_embeddings(unit(states.hidden), directions),
    )


def pair_similarities(
    states: Layer,
    a: Int[np.ndarray, " n"],
    b: Int[np.ndarray, " n"],
    baseline: Baseline,
    matched: Matched,
) -> Similarities:
    """Of state a[i] with state b[i], for every i."""
    side, directions = Side(states.hidden, baseline.moments.get(states.place)), unit(states.hidden)
    chance = matched.of_states(directions, directions, (a, b))
    return similarities(side, side, baseline.chance_of("states", states.place), chance, (a, b))
