"""Two texts side by side: a token of each by layer, and a control word in the place of a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from altair.utils.schemapi import debug_mode

from ..errors import TokentrailsError
from ..figures.pieces.points import LINE
from ..figures.pieces.save import specification
from ..figures.pieces.text import shorten
from ..figures.two_texts import Tables, two_texts
from ..files.states import Layer
from ..metrics.context import context
from ..metrics.identity import identity, own_token_ids
from ..settings import Prompt
from ..statistics.baseline import NO_BASELINE, Baseline
from ..texts.replacement import replaced
from ..texts.spans import NotAligned, Span, find_words, is_word, words_in
from ..texts.tokenization import Encoded
from ..texts.word_classes import plain
from .chance import Chance
from .look import Look
from .view import LABEL, View

_POOLING = "last"
LABELS = ("text 1", "text 2")
_TEXT = 160  # most characters in a figure


@dataclass(frozen=True, eq=False)
class Chosen:
    """A token of a text."""

    view: View
    position: int

    @property
    def text(self) -> str:
        return self.view.tokens["text"][0].as_py()

    @property
    def word(self) -> str:
        """The word that it is part of, or what it is itself."""
        tokens = self.view.tokens.slice(self.position, 1)
        return tokens["word"][0].as_py() or tokens["tokens"][0].as_py()[self.position]

    @property
    def said(self) -> str:
        """The token and its text, as figures name them."""
        entry = self.view.tokens["tokens"][0].as_py()[self.position]
        token = self.view.loaded.readable(entry)
        return f"{token} (position {self.position}) in “{shorten(self.text, _TEXT)}”"

    def replaced(self, control: str, special_tokens: str) -> tuple[str, int]:
        """The text with another word in the place of the token's own, and the position of that.

        Raises
        ------
        TokentrailsError: if the control is not one word, or is this one; for a token of no word;
            and for a word that the tokenizer does not separate from its neighbours.
        """
        word = self.text[slice(*self._word(special_tokens))]
        if not is_word(control) or plain(control) == plain(word):
            raise TokentrailsError(
                f"{control!r} cannot stand in the place of {word!r}",
                hint="take another word, of letters alone, such as thing, one or place.",
            )
        (new,) = replaced([self.prompt(special_tokens)], [control])
        assert new is not None
        start, _ = self._word(special_tokens)
        span = self._span(new.prompt, start, start + len(control), special_tokens)
        return new.prompt, span.last

    def prompt(self, special_tokens: str, label: str = LABEL) -> Prompt:
        """The text with the token's word as its target.

        Raises
        ------
        TokentrailsError: for a token of no word, and a word that is not found as one.
        """
        start, end = self._word(special_tokens)
        word = self.text[start:end]
        places = find_words(self.text, word)
        if (start, end) not in places:
            raise _unseparated(word, "it is a part of what is one word elsewhere")
        return Prompt(label, self.text, word=word, occurrence=places.index((start, end)) + 1)

    def span(self, special_tokens: str) -> Span:
        """The tokens of its word; raises as `prompt` does."""
        return self._span(self.text, *self._word(special_tokens), special_tokens)

    def _span(self, text: str, start: int, end: int, special_tokens: str) -> Span:
        cut = self._encoded(text, special_tokens)
        try:
            return self.view.loaded.files.span(text, cut, start, end)
        except NotAligned as error:
            raise _unseparated(text[start:end], str(error)) from error

    def _word(self, special_tokens: str) -> tuple[int, int]:
        """The characters of the word that most of the token is in."""
        first, last = self._encoded(self.text, special_tokens).offsets[self.position]
        words = [(min(b, last) - max(a, first), a, b) for a, b in words_in(self.text)]
        shared, start, end = max(words, key=lambda word: word[0], default=(0, 0, 0))
        if shared <= 0:
            raise TokentrailsError(
                "the token is part of no word", hint="choose one in which there is a letter."
            )
        return start, end

    def _encoded(self, text: str, special_tokens: str) -> Encoded:
        added = {"add_special_tokens": special_tokens != "none", "bos": special_tokens == "bos"}
        return self.view.loaded.files.encode([text], **added)[0]


Pair = tuple[Chosen, Chosen]


def _unseparated(word: str, reason: str) -> TokentrailsError:
    return TokentrailsError(
        f"{word!r} cannot be a target: {reason}",
        hint="take another word, or separate it from its neighbours by spaces.",
    )


def pooling(pair: Pair, special_tokens: str) -> str:
    """Which token of its word both are, as `pooling` of experiments says it.

    Raises
    ------
    TokentrailsError: if that is not the same, or neither the first nor the last; and as `Chosen`.
    """
    spans = [chosen.span(special_tokens) for chosen in pair]
    for name in ("last", "first"):
        if all(c.position == getattr(span, name) for c, span in zip(pair, spans, strict=True)):
            return name
    raise TokentrailsError(
        "the tokens are not both the first of their words, or both the last",
        hint="choose others; the workflow compares words by one of these.",
    )


def is_one_token(pair: Pair, special_tokens: str) -> bool:
    """Whether both words are the very same tokens, which alone the table `context` compares."""
    spans = [(chosen.view.ids, chosen.span(special_tokens)) for chosen in pair]
    first, second = (ids[span.first : span.last + 1] for ids, span in spans)
    return first == second


def tables(
    pair: Pair, site: str, word: str, baseline: Baseline = NO_BASELINE
) -> tuple[pa.Table, pa.Table]:
    """The tables `identity` and `context` of two tokens at a site, by the name `word`.

    Other than in the workflow the two may be different tokens.
    """
    views = [chosen.view for chosen in pair]
    rows = [chosen.view.tokens.slice(chosen.position, 1) for chosen in pair]
    columns = {
        "occurrence": pa.array([0, 1], pa.int32()),
        "label": pa.array(LABELS),
        "word": pa.array([word] * 2),
        "sense": pa.nulls(2, pa.string()),
    }
    every = pa.concat_tables(rows)
    kept = {name: every[name] for name in every.column_names if name not in columns}
    tokens = pa.table(columns | kept)
    layers = [
        Layer(*place, np.arange(2), np.stack([c.view.states[place][c.position] for c in pair]))
        for place in views[0].states
        if place[0] == site
    ]
    checkpoint = views[0].loaded.checkpoint
    provenance = checkpoint.provenance | {"experiment": LABEL}
    how: dict[str, Any] = {"baseline": baseline, "pooling": _POOLING, "provenance": provenance}
    own = checkpoint.embedding_rows(own_token_ids(tokens, _POOLING))
    return (
        identity(layers, tokens, own, groups=["sense"], **how),
        context(layers, tokens, pairs=[(0, 1)], **how),
    )


def measured(pairs: Mapping[str, Pair], look: Look, chance: Chance | None) -> Tables:
    """Both tables of several pairs, in every form if the texts of chance have run."""
    baseline = NO_BASELINE if chance is None else chance.baselines["embedding"]
    found = [tables(pair, look.site, word, baseline) for word, pair in pairs.items()]
    one, other = (
        pl.DataFrame(pl.from_arrow(pa.concat_tables(t))) for t in zip(*found, strict=True)
    )
    return one, other


def side_by_side(
    pairs: Mapping[str, Pair],
    look: Look,
    chance: Chance | None = None,
    bands: pl.DataFrame | None = None,
    control: Tables | None = None,
) -> dict[str, Any]:
    """The figure of identity and context similarity, a panel for each pair; and its table.

    Parameters
    ----------
    chance: of another form than the cosine.
    bands: those of chance that are shown.
    control: what `measured` gives of the same in the model with random weights.
    """
    found = measured(pairs, look, chance)
    first = next(iter(pairs.values()))
    title = f"{first[0].view.run}: two texts, at {look.site}"
    # The figure has lines of one site, and that is the one that was chosen.
    drawn = _at_line(found)
    with debug_mode(False):
        spec = specification(
            two_texts(
                drawn,
                form=look.form,
                texts=[f"{n}: {chosen.said}" for n, chosen in zip(LABELS, first, strict=True)],
                chance=bands,
                control=None if control is None else _at_line(control),
                title=title,
            )
        )
    table = _table(found, pairs, look.form)
    keys = ["measure", "word", "label", "layer"]
    if bands is not None:
        names = {"value": "chance", "low": "chance_low", "high": "chance_high"}
        measure = pl.col("measure").replace({"cosine": "identity"})
        of_chance = bands.rename(names).with_columns(measure)
        table = table.join(of_chance, on=["measure", "layer"], how="left", maintain_order="left")
    if control is not None:
        of_control = _table(control, pairs, look.form).select(*keys, control=look.form)
        table = table.join(of_control, on=keys, how="left", maintain_order="left")
    return {"spec": spec, "table": table}


def _at_line(tables: Tables) -> Tables:
    one, other = (frame.with_columns(site=pl.lit(LINE)) for frame in tables)
    return one, other


def _table(tables: Tables, pairs: Mapping[str, Pair], form: str) -> pl.DataFrame:
    """Rows of both, of context with both texts and positions."""
    texts = pl.DataFrame(
        {
            "word": word,
            "text": one.text,
            "position": one.position,
            "other_text": other.text,
            "other_position": other.position,
        }
        for word, (one, other) in pairs.items()
    )
    identities, contexts = tables
    contexts = contexts.rename({"label_a": "label", "label_b": "other_label"})
    both = {
        "identity": identities,
        "context": contexts.join(texts, on="word", maintain_order="left"),
    }
    parts = [frame.select(pl.lit(name).alias("measure"), pl.all()) for name, frame in both.items()]
    rows = pl.concat(parts, how="diagonal_relaxed").drop(
        "chance", "sense", "n_tokens", strict=False
    )
    return rows.with_columns(form=pl.lit(form))


def named(pair: Pair) -> str:
    """What the panel of a pair is called."""
    return " / ".join(dict.fromkeys(chosen.word for chosen in pair))
