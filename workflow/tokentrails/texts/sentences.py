"""Words in sentences of their own, cut behind the word: bases, and other words in their place.

Only what stands left of a word can reach its states in a causal model. Encoders are given the same
texts, so that the two read one experiment.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TokentrailsError
from ..settings import Experiment, Sentences
from .spans import NotAligned, Span, find_words, is_word, words_in
from .tokenization import (
    SKIPPED,
    UNKNOWN,
    Encoded,
    TokenizerFiles,
    encode_as_asked,
    refuse_longer,
    refuse_unknown_words,
    token_row,
)
from .word_list import WordList
from .words import words_table

Skipped = list[tuple[str, str]]
"""The labels of what is left out, with the reasons."""


@dataclass(frozen=True)
class Ending:
    """A text that ends in a word, cut into tokens."""

    word: str
    text: str
    encoding: Encoded
    span: Span

    @property
    def before(self) -> list[int]:
        """The token ids in front of the word."""
        return self.encoding.ids[: self.span.first]

    @property
    def ids(self) -> tuple[int, ...]:
        """The token ids of the word."""
        return tuple(self.encoding.ids[self.span.first : self.span.last + 1])


@dataclass(frozen=True)
class Cutter:
    """Cuts texts that end in a word into tokens, as an experiment asks for it."""

    experiment: Experiment
    files: TokenizerFiles
    context_length: int
    model: str

    def cut(self, texts: Sequence[tuple[str, str]]) -> list[Ending | str]:
        """Each left context with its word, or the reason why the word has no tokens of its own."""
        joined = [before + word for before, word in texts]
        encodings = encode_as_asked(self.experiment, self.files, joined, self.model)
        pairs = zip(texts, encodings, strict=True)
        return [self._ending(*text, encoding) for text, encoding in pairs]

    def _ending(self, before: str, word: str, encoding: Encoded) -> Ending | str:
        text = before + word
        try:
            refuse_longer(encoding.ids, self.context_length)
            span = self.files.span(text, encoding, len(before), len(text))
        except NotAligned as reason:
            return str(reason)
        return Ending(word, text, encoding, span)

    def replaced(self, base: Ending, word: str) -> Ending | str:
        """Another word in the place of the base's, or the reason why that is no P2 of it."""
        (ending,) = self.cut([(base.text.removesuffix(base.word), word)])
        if isinstance(ending, str):
            return ending
        if ending.before != base.before:
            return "the left context is cut into other tokens"
        if ending.ids == base.ids:
            return "it is the word itself"
        if ending.ids[-1] != base.ids[-1]:
            return f"it ends in {self.end(ending)!r}, and the word in {self.end(base)!r}"
        return ending

    def end(self, ending: Ending) -> str:
        """How the last token of the word looks in a text."""
        return self.files.surface(ending.encoding.tokens[ending.span.last])


def tokenize_sentences(
    experiment: Experiment,
    word_list: WordList,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> tuple[pa.Table, pa.Table]:
    """Cut every sentence behind its word, and tokenize it, and the same with other words there.

    After "Token Representation Evolution": every sentence is a base, the other sentences of its
    word are its P1, and P2 are other words behind the same left context that end in the same token,
    of any number of tokens. They are those of `replaced_sentences`, or words of the list, which the
    seed chooses, other ones for each sentence as far as there are.

    Parameters
    ----------
    word_list: where words without `replaced_sentences` find others.
    context_length: most tokens that the model takes.
    model: named in messages.

    Returns
    -------
    The table `tokens`, with the columns variant, base and sentence, in the order of the file; and
    the table `skipped` (occurrence, label, reason) of the words and sentences that are left out. A
    word of one token, whose ending most tokenizers give to no other word, stays without P2.

    Raises
    ------
    TokentrailsError: if no word is left, the tokenizer does not know most of them, or a BOS is
        asked for where there is none.
    """
    cutter = Cutter(experiment, files, context_length, model)
    families = _families(cutter, word_list)
    rows: list[dict[str, Any]] = []
    skipped: Skipped = []
    for own in experiment.sentences:
        bases = _bases(cutter, own, skipped)
        partners = _partners(cutter, bases, own, families, skipped)
        for index, others in partners.items():
            number = len(rows)
            texts = [("base", own.label(index), bases[index])]
            texts += [("P2", f"{own.label(index)}~{other.word}", other) for other in others]
            for variant, label, ending in texts:
                row = token_row(
                    len(rows), label, ending.word, ending.text, ending.encoding, ending.span
                )
                rows.append(row | {"variant": variant, "base": number, "sentence": index})
    unknown = [label for label, reason in skipped if reason == UNKNOWN]
    n = sum(len(own.sentences) for own in experiment.sentences)
    refuse_unknown_words(unknown, n, model, experiment.file)
    if not rows:
        label, reason = skipped[0]
        raise TokentrailsError(
            f"no word of the sentences can be used for {model!r}; {label!r}: {reason}",
            where=experiment.file,
            hint="give each word two sentences or more that hold it as it is written and that this "
            "model takes, or leave this model out.",
        )
    reasons = [{"label": label, "reason": reason} for label, reason in skipped]
    tokens = words_table(rows, experiment, ("variant", "base", "sentence"))
    return tokens, pa.Table.from_pylist(reasons, schema=SKIPPED)


def _bases(cutter: Cutter, own: Sentences, skipped: Skipped) -> dict[int, Ending]:
    """By its index each sentence up to its word; none if fewer than two are left.

    A word is one sequence of tokens: that which most of the sentences have, of several the first.
    """
    places = [next(iter(find_words(sentence, own.word)), None) for sentence in own.sentences]
    texts = {
        index: (sentence[: place[0]], sentence[slice(*place)])
        for index, (sentence, place) in enumerate(zip(own.sentences, places, strict=True))
        if place is not None
    }
    endings = dict(zip(texts, cutter.cut(list(texts.values())), strict=True))
    cuts = Counter(each.ids for each in endings.values() if isinstance(each, Ending))
    ids = max(cuts, key=cuts.__getitem__, default=())
    found: dict[int, Ending] = {}
    seen: dict[tuple[int, ...], int] = {}
    for index in range(len(own.sentences)):
        ending = endings.get(index, "the word is not in the sentence as it is written")
        if isinstance(ending, str):
            reason = ending
        elif ending.ids != ids:
            reason = "the word is cut into other tokens than in most of its sentences"
        else:
            text = tuple(ending.encoding.ids)
            if (first := seen.setdefault(text, index)) == index:
                found[index] = ending
                continue
            reason = f"up to the word the same as sentence {first}"
        skipped.append((own.label(index), reason))
    if len(found) > 1:
        return found
    skipped.append((own.word, "fewer than two of its sentences are left"))
    return {}


def _partners(
    cutter: Cutter,
    bases: Mapping[int, Ending],
    own: Sentences,
    families: Mapping[int, list[str]],
    skipped: Skipped,
) -> dict[int, list[Ending]]:
    """By sentence the words that take the place of its word; nothing for one to leave out."""
    partners: dict[int, list[Ending]] = {}
    for index, base in bases.items():
        if own.replaced_sentences:
            replaced = _as_published(cutter, base, own.replaced_sentences[index])
            partners[index] = [replaced] if isinstance(replaced, Ending) else []
            if isinstance(replaced, str):
                skipped.append((f"{own.label(index)}, replaced", replaced))
        else:
            partners[index] = _drawn(cutter, base, own.word, index, families)
    if not bases or any(partners.values()):
        return partners
    first = next(iter(bases.values()))
    reason = f"no other word ends in {cutter.end(first)!r}"
    if len(first.ids) == 1:
        skipped.append((own.word, f"{reason}, it has P1 alone"))
        return partners
    skipped.append((own.word, reason))
    return {}


def _as_published(cutter: Cutter, base: Ending, sentence: str) -> Ending | str:
    """The word that a replaced sentence has in the place of the base's."""
    start = len(base.text) - len(base.word)
    if not sentence.startswith(base.text[:start]):
        return "its left context differs from that of the sentence"
    end = next((b for a, b in words_in(sentence) if a == start), None)
    return "no word begins there" if end is None else cutter.replaced(base, sentence[start:end])


def _families(cutter: Cutter, word_list: WordList) -> Mapping[int, list[str]]:
    """The words of the list by their last token, behind a space."""
    words = cutter.experiment.words
    if words is None:
        raise ValueError(f"the experiment {cutter.experiment.name!r} has no words")
    if all(own.replaced_sentences for own in cutter.experiment.sentences):
        return {}
    listed = dict.fromkeys(entry.text for entry in word_list.entries[: words.top])
    space = "" if cutter.files.begins_with_space else " "
    families: dict[int, list[str]] = defaultdict(list)
    for ending in cutter.cut([(space, word) for word in listed if is_word(word)]):
        if isinstance(ending, Ending):
            families[ending.ids[-1]].append(ending.word)
    return families


def _drawn(
    cutter: Cutter, base: Ending, word: str, index: int, families: Mapping[int, list[str]]
) -> list[Ending]:
    """Words of the list in the place of the base's, in the order of the alphabet."""
    words, others = cutter.experiment.words, cutter.experiment.others
    assert words is not None
    # By seed and word alone, so that sentences and other words make no difference.
    rng = np.random.default_rng((words.seed, *word.encode()))
    family = [other for other in families.get(base.ids[-1], []) if other != base.word]
    order = np.roll(rng.permutation(len(family)), -index * others)
    tried = (cutter.replaced(base, family[i]) for i in order)
    found = islice((each for each in tried if isinstance(each, Ending)), others)
    return sorted(found, key=lambda each: each.word)
