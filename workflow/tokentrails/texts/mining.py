"""Sentences of a plain text that hold given words, cut behind them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import TokentrailsError
from ..files.lfs import refuse_pointer
from ..settings import Experiment, Sentences
from .spans import is_word, words_in
from .tokenization import TokenizerFiles
from .word_list import WordList
from .words import Cutter, draw, grouped

MOST_LEFT = 50
"""Words left of a word: what stands behind more is no sentence that people read at once."""

# An end is a full stop, a question mark or an exclamation mark, with quotes and brackets behind it,
# in front of what can begin a sentence; initials and titles end none.
_END = re.compile(
    r"(?<!\b[A-Z])(?<!\bM[rs])(?<!\bMrs)(?<!\bDr)(?<!\bSt)[.!?][\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z])"
)


def read_text(path: Path) -> str:
    """A file of plain text.

    Raises
    ------
    TokentrailsError: if it cannot be read, or is no UTF-8 text.
    """
    refuse_pointer(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TokentrailsError(
            f"the text cannot be read: {error.strerror}",
            where=path,
            hint="check the name; it is relative to the working directory.",
        ) from error
    except UnicodeDecodeError as error:
        raise TokentrailsError(
            f"the file is not UTF-8 text: {error}", where=path, hint="save it as UTF-8."
        ) from error


def sentences_of(text: str) -> Iterator[str]:
    """The sentences of a text, each in one line. Empty lines end a sentence, too."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.split())
        ends = [0, *(match.end() for match in _END.finditer(line)), len(line)]
        yield from (line[a:b].strip() for a, b in pairwise(ends) if line[a:b].strip())


def mined(text: str, words: Collection[str], left: int) -> Mapping[str, list[str]]:
    """By word the sentences with it, up to its first place with so many words left of it.

    Parameters
    ----------
    words: as they are written; others are passed over.
    left: least number of words in front of a word, of its sentence.

    Returns
    -------
    The beginnings of sentences, in their order, none twice.
    """
    known = frozenset(words)
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for sentence in sentences_of(text):
        seen: set[str] = set()
        before = 0
        for start, end in words_in(sentence):
            word = sentence[start:end]
            if left <= before <= MOST_LEFT and word in known and word not in seen:
                found[word][sentence[:end]] = None
                seen.add(word)
            before += is_word(word)
    return {word: list(beginnings) for word, beginnings in found.items()}


def with_sentences_of(
    text: str,
    experiment: Experiment,
    word_list: WordList,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> Experiment:
    """An experiment with sentences of a text, of words that are drawn from those of a list in it.

    Words are drawn by their token count, as words without contexts are, and of each word up to
    `others` + 1 sentences: both by the seed.

    Parameters
    ----------
    context_length: most tokens that the model takes.
    model: named in messages.

    Raises
    ------
    TokentrailsError: if the text has two sentences of no word, or the tokenizer does not know most
        words of the list.
    """
    words = experiment.words
    if words is None:
        raise ValueError(f"the experiment {experiment.name!r} has no words")
    found = mined(text, {entry.text for entry in word_list.entries[: words.top]}, experiment.left)
    alone = replace(experiment, template="{space}{word}")
    cutter = Cutter(alone, files, context_length, model=model)
    sentences = []
    for n, group in grouped(word_list, words, cutter, []).items():
        known = [word for word in group if len(found.get(word.entry.text, ())) > 1]
        for word in draw(known, n, words):
            own = found[word.entry.text]
            rng = np.random.default_rng((words.seed, *word.entry.text.encode()))
            chosen = rng.choice(len(own), min(len(own), experiment.others + 1), replace=False)
            kept = tuple(own[i] for i in sorted(chosen))
            sentences.append(Sentences(word.entry.text, kept))
    if not sentences:
        raise TokentrailsError(
            f"no word of the list has two sentences in {experiment.contexts_from!r} with "
            f"{experiment.left} words left of it",
            where=experiment.file,
            hint="give a longer text"
            + (", raise 'top', or lower 'left'." if experiment.left else ", or raise 'top'."),
        )
    return replace(experiment, sentences=tuple(sentences))
