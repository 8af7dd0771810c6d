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
from ..figures.identity import identity_context
from ..figures.pieces.points import LINE
from ..figures.pieces.save import specification
from ..files.states import Layer
from ..metrics.context import context
from ..metrics.identity import identity, own_token_ids
from ..settings import Prompt
from ..texts.replacement import replaced
from ..texts.spans import NotAligned, Span, find_words, is_word, words_in
from ..texts.tokenization import Encoded
from ..texts.word_classes import plain
from .view import LABEL, View

_POOLING = "last"


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


def tables(pair: Pair, site: str, word: str) -> tuple[pa.Table, pa.Table]:
    """The tables `identity` and `context` of two tokens at a site, by the name `word`.

    Other than in the workflow the two may be different tokens.
    """
    views = [chosen.view for chosen in pair]
    rows = [chosen.view.tokens.slice(chosen.position, 1) for chosen in pair]
    columns = {
        "occurrence": pa.array([0, 1], pa.int32()),
        "label": pa.array(["text 1", "text 2"]),
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
    how: dict[str, Any] = {"pooling": _POOLING, "provenance": provenance}
    own = checkpoint.embedding_rows(own_token_ids(tokens, _POOLING))
    return (
        identity(layers, tokens, own, groups=["sense"], **how),
        context(layers, tokens, pairs=[(0, 1)], **how),
    )


def side_by_side(pairs: Mapping[str, Pair], site: str) -> dict[str, Any]:
    """The figure of identity and context similarity, a panel for each pair; and its table."""
    found = [tables(pair, site, word) for word, pair in pairs.items()]
    identities, contexts = (
        pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))) for tables in zip(*found, strict=True)
    )
    run = next(iter(pairs.values()))[0].view.run
    about: dict[str, Any] = {"title": f"{run}: two texts, at {site}", "confidence": 0.95}
    # The figure has lines of one site, and that is the one that was chosen.
    one, other = (frame.with_columns(site=pl.lit(LINE)) for frame in (identities, contexts))
    with debug_mode(False):
        spec = specification(identity_context(one, other, None, **about))
    measured = {"identity": identities, "context": contexts}
    named = [frame.select(pl.lit(n).alias("measure"), pl.all()) for n, frame in measured.items()]
    return {"spec": spec, "table": pl.concat(named, how="diagonal")}


def named(pair: Pair) -> str:
    """What the panel of a pair is called."""
    return " / ".join(dict.fromkeys(chosen.word for chosen in pair))
