"""From a word list to token ids with marked words: drawing them, alone or in contexts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TokentrailsError
from ..settings import Experiment, Words
from .spans import NotAligned, Span, is_word
from .template import Template
from .tokenization import (
    SKIPPED,
    UNKNOWN,
    Encoded,
    TokenizerFiles,
    refuse_longer,
    refuse_unknown_words,
    token_row,
    tokens_table,
)
from .word_list import Entry, WordList

MEANINGS = {
    "rank": "line of the word in the word list, from 1",
    "variant": "base: a word in a context; P1: the same word in another context; P2: the same "
    "context with another word that ends in the same token; words cut up: see the table splits",
    "base": "occurrence that this one is compared with; its own index for a base, and bases of one "
    "word are compared with each other",
    "context": "index of the context in the experiment file, from 0",
    "sentence": "index of the sentence among those of the word, from 0",
}
"""What the columns mean that tokens of words have beyond those of prompts."""

_COLUMNS = {
    "rank": pa.int32(),
    "variant": pa.string(),
    "base": pa.int32(),
    "context": pa.int32(),
    "sentence": pa.int32(),
}
_WORDS_SKIPPED = SKIPPED.append(pa.field("rank", pa.int32()))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """A word in a text, cut into tokens: `ids` are those of the word alone."""

    entry: Entry
    text: str
    encoding: Encoded
    span: Span
    ids: tuple[int, ...]


class Cutter:
    """Puts words into the templates of an experiment and cuts the texts into tokens.

    These are its contexts, or its one template where it has none.

    Raises
    ------
    TokentrailsError: if a template asks for a BOS and the tokenizer has none.
    """

    def __init__(
        self, experiment: Experiment, files: TokenizerFiles, context_length: int, *, model: str
    ) -> None:
        sources = experiment.contexts or (experiment.template,)
        wheres = [f"{experiment.file}, contexts[{i}]" for i in range(len(sources))]
        if not experiment.contexts:
            wheres = [f"experiments.{experiment.name}.template"]
        self.templates = [Template.parse(*pair) for pair in zip(sources, wheres, strict=True)]
        self.files, self._context_length = files, context_length
        self.file, self.model = experiment.file, model
        if files.begins_with_space:  # two would be a token that no text of the model begins with
            self.templates = [
                replace(template, before=template.before.removeprefix(" "))
                for template in self.templates
            ]
        for source, template, where in zip(sources, self.templates, wheres, strict=True):
            if template.bos and files.bos_id is None:
                raise TokentrailsError(
                    f"the tokenizer of {model!r} has no beginning-of-sequence token, "
                    f"which the template {source!r} asks for",
                    where=where,
                    hint="leave {bos} out, or leave this model out of the experiment.",
                )

    def cut(self, entries: Sequence[Entry], context: int = 0) -> list[Cut | str]:
        """Each entry's tokens in one of the templates, or the reason why it has none of its own."""
        template = self.templates[context]
        texts = [template.fill(entry.text) for entry in entries]
        encodings = self.files.encode(texts, add_special_tokens=False, bos=template.bos)
        return [
            self._cut(entry, text, encoding, len(template.before))
            for entry, text, encoding in zip(entries, texts, encodings, strict=True)
        ]

    def _cut(self, entry: Entry, text: str, encoding: Encoded, start: int) -> Cut | str:
        try:
            refuse_longer(encoding.ids, self._context_length)
            span = self.files.span(text, encoding, start, start + len(entry.text))
        except NotAligned as reason:
            return str(reason)
        ids = tuple(encoding.ids[span.first : span.last + 1])
        return Cut(entry, text, encoding, span, ids)

    def cut_as(self, word: Cut, context: int) -> Cut | None:
        """A word in another context, if its tokens are the same there and the model takes it."""
        (cut,) = self.cut([word.entry], context)
        return cut if isinstance(cut, Cut) and cut.ids == word.ids else None

    def row(
        self, occurrence: int, label: str, cut: Cut, context: int = 0, **columns: object
    ) -> dict[str, Any]:
        """The row of a word in the tokens table."""
        row = token_row(occurrence, label, cut.entry.text, cut.text, cut.encoding, cut.span)
        return row | {"rank": cut.entry.rank, "context": context} | columns


Skipped = list[tuple[Entry, str]]
"""What is left out, with the reasons."""


def tokenize_words(
    experiment: Experiment,
    word_list: WordList,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> tuple[pa.Table, pa.Table]:
    """Draw words of each token count from a list, and tokenize them.

    Without contexts, every drawn word is one occurrence, in the experiment's template. With
    contexts it is the base of several, after "Token Representation Evolution": P1, the same word in
    other contexts; P2, other words of the list in its context, of as many tokens and with the same
    last one. The bases of a group go through the contexts in turn.

    Parameters
    ----------
    context_length: most tokens that the model takes.
    model: named in messages.

    Returns
    -------
    The table `tokens`, with the columns of `MEANINGS`, sorted by token count and rank; and the
    table `skipped` (occurrence, label, reason, rank) of those entries that are no words, are not
    separated from their neighbours by this tokenizer, fit in no group, or make a text too long for
    the model. Words that were only not drawn are not in it.

    Raises
    ------
    TokentrailsError: if no word fits in any group, or a BOS is asked for where there is none.
    """
    words = experiment.words
    if words is None:
        raise ValueError(f"the experiment {experiment.name!r} has no words")
    cutter = Cutter(experiment, files, context_length, model=model)
    skipped: Skipped = []
    groups = grouped(word_list, words, cutter, skipped)
    if experiment.contexts:
        rows = _perturbations(cutter, groups, experiment, words, skipped)
        names = ["rank", "variant", "base", "context"]
    else:
        drawn = (word for n, group in groups.items() for word in draw(group, n, words))
        rows = [cutter.row(i, word.entry.text, word) for i, word in enumerate(drawn)]
        names = ["rank"]
    skipped.sort(key=lambda each: each[0].rank)
    if not rows:
        entry, reason = skipped[0]
        raise TokentrailsError(
            f"none of the first {words.top} entries of the word list is a word of "
            f"{' or '.join(map(str, words.n_tokens))} tokens for {model!r}; "
            f"{entry.text!r}: {reason}",
            where=f"{experiment.file}, words",
            hint="raise 'top', ask for other 'n_tokens', or leave this model out.",
        )
    tokens = words_table(rows, experiment, names)
    reasons = [{"label": e.text, "reason": reason, "rank": e.rank} for e, reason in skipped]
    return tokens, pa.Table.from_pylist(reasons, schema=_WORDS_SKIPPED)


def words_table(
    rows: Sequence[dict[str, Any]], experiment: Experiment, names: Iterable[str]
) -> pa.Table:
    """The table `tokens` with some of the columns of `MEANINGS`."""
    tokens = tokens_table(rows, experiment.group_columns)
    for name in names:
        tokens = tokens.append_column(name, pa.array([r[name] for r in rows], _COLUMNS[name]))
    return tokens


def grouped(
    word_list: WordList, words: Words, cutter: Cutter, skipped: Skipped
) -> dict[int, list[Cut]]:
    """The words of each token count that is asked for, in the order of the list.

    Raises
    ------
    TokentrailsError: if the tokenizer does not know most words of the list.
    """
    entries = _words_among(word_list.entries[: words.top], skipped)
    cuts = cutter.cut(entries)
    unknown = [e.text for e, cut in zip(entries, cuts, strict=True) if cut == UNKNOWN]
    refuse_unknown_words(unknown, len(entries), cutter.model, f"{cutter.file}, words")
    groups: dict[int, list[Cut]] = {n: [] for n in words.n_tokens}
    seen: dict[tuple[int, ...], Entry] = {}
    for entry, cut in zip(entries, cuts, strict=True):
        if isinstance(cut, str):
            skipped.append((entry, cut))
        elif len(cut.ids) not in groups:
            skipped.append((entry, f"cut into {len(cut.ids)} tokens, no group asks for that"))
        elif cut.ids in seen:  # to the model it is the same word, as in lower-casing tokenizers
            first = seen[cut.ids]
            skipped.append((entry, f"the same tokens as {first.text!r} on line {first.rank}"))
        else:
            seen[cut.ids] = entry
            groups[len(cut.ids)].append(cut)
    return groups


def _words_among(entries: Sequence[Entry], skipped: Skipped) -> list[Entry]:
    first: dict[str, Entry] = {}
    for entry in entries:
        if not is_word(entry.text):
            reason = "no word: letters, with apostrophes or hyphens between them"
            skipped.append((entry, reason))
        elif entry.text in first:
            skipped.append((entry, f"listed before, on line {first[entry.text].rank}"))
        else:
            first[entry.text] = entry
    return list(first.values())


def draw(group: Sequence[Cut], n_tokens: int, words: Words) -> list[Cut]:
    """Some words of one token count, by rank. What other groups hold makes no difference."""
    size = min(words.per_group, len(group))
    chosen = np.random.default_rng((words.seed, n_tokens)).choice(len(group), size, replace=False)
    log.info("n_tokens %d: %d words, drawn: %d of %d", n_tokens, len(group), size, words.per_group)
    return [group[i] for i in sorted(chosen)]


def _perturbations(
    cutter: Cutter,
    groups: dict[int, list[Cut]],
    experiment: Experiment,
    words: Words,
    skipped: Skipped,
) -> list[dict[str, Any]]:
    """The rows of all bases, each followed by its P1, by context, and its P2, by rank."""
    rows: list[dict[str, Any]] = []
    for n, group in groups.items():
        families: dict[int, list[Cut]] = defaultdict(list)  # by their last token
        for word in group:
            families[word.ids[-1]].append(word)
        pool = []
        for word in group:
            if n == 1 or len(families[word.ids[-1]]) > 1:
                pool.append(word)
            else:
                end = cutter.files.surface(word.encoding.tokens[word.span.last])
                skipped.append((word.entry, f"no other word of {n} tokens ends in {end!r}"))
        for turn, word in enumerate(draw(pool, n, words)):
            rng = np.random.default_rng((words.seed, n, word.entry.rank))
            family = [other for other in families[word.ids[-1]] if other is not word]
            base, context, partners = _base(cutter, word, family, turn, experiment.others, rng)
            elsewhere = _elsewhere(cutter, word, context, experiment.others, rng)
            if not partners and not elsewhere:
                skipped.append(
                    (word.entry, "cut into other tokens, or too long, in every other context")
                )
                continue
            text, number = word.entry.text, len(rows)
            rows.append(cutter.row(number, text, base, context, variant="base", base=number))
            for c, cut in elsewhere:
                more = {"variant": "P1", "base": number}
                rows.append(cutter.row(len(rows), f"{text}~c{c}", cut, c, **more))
            for cut in partners:
                label, more = f"{text}~{cut.entry.text}", {"variant": "P2", "base": number}
                rows.append(cutter.row(len(rows), label, cut, context, **more))
    return rows


def _base(
    cutter: Cutter,
    word: Cut,
    family: Sequence[Cut],
    turn: int,
    others: int,
    rng: np.random.Generator,
) -> tuple[Cut, int, list[Cut]]:
    """A word in its base context, and its partners there.

    The base context is the one whose turn it is; or the next in which the word's tokens, and those
    of a partner, are those that they have in the first context.
    """
    shuffled = [family[i] for i in rng.permutation(len(family))]
    n = len(cutter.templates)
    for context in ((turn + step) % n for step in range(n)):
        base = cutter.cut_as(word, context)
        if base is None:
            continue
        alike = (cut for other in shuffled if (cut := cutter.cut_as(other, context)) is not None)
        partners = list(islice(alike, others))
        if partners or not family:
            return base, context, sorted(partners, key=lambda cut: cut.entry.rank)
    raise AssertionError("a word and its family come from the first context")


def _elsewhere(
    cutter: Cutter, word: Cut, base_context: int, others: int, rng: np.random.Generator
) -> list[tuple[int, Cut]]:
    """A word in some other contexts that leave its tokens as they are, by context."""
    contexts = (int(c) for c in rng.permutation(len(cutter.templates)) if c != base_context)
    found = ((c, cut) for c in contexts if (cut := cutter.cut_as(word, c)) is not None)
    return sorted(islice(found, others), key=lambda pair: pair[0])
