"""Running text, cut into pieces of whole words that a model takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, takewhile

import regex

from ..errors import TokentrailsError
from ..files.documents import emptiness, shortage
from ..settings import Corpus, Experiment, Prompt
from .tokenization import TokenizerFiles

SPARE = 8
"""Tokens of a piece that are left for special tokens, and for its first word: that has no space in
front, and may be cut into more tokens."""


def with_pieces_of(
    text: str, experiment: Experiment, files: TokenizerFiles, context_length: int, *, model: str
) -> Experiment:
    """An experiment whose prompts are the pieces of its running text, one behind the other.

    Parameters
    ----------
    context_length: most tokens that the model takes.
    model: named in messages.

    Raises
    ------
    TokentrailsError: if the text is empty, or has fewer tokens than are asked for.
    """
    corpus = experiment.corpus
    if corpus is None:
        raise ValueError(f"the experiment {experiment.name!r} has no corpus")
    words = text.split()[: 2 * corpus.tokens]
    if not words:
        problem, hint = emptiness(corpus.text)
        raise TokentrailsError(problem, where=experiment.file, hint=hint)
    counts, room = _counts(words, files), room_of(corpus, context_length)
    if (fewest := min(counts)) > room:
        raise TokentrailsError(
            f"every word of the text {corpus.text!r} has {fewest:,} tokens or more, and {model!r} "
            f"takes {room:,} of a piece",
            where=experiment.file,
            hint="write 'states: stream', which cuts them between characters, or separate words "
            "by spaces.",
        )
    given, asked, there = 0, corpus.tokens, sum(counts)
    # The first word of a piece, which has no space in front, may be fewer tokens than inside.
    while given < corpus.tokens:
        pieces = _pieces(words, counts, asked, room)
        encoded = files.encode(pieces, add_special_tokens=False, bos=False)
        given = sum(len(each.ids) for each in encoded)
        if given < corpus.tokens and asked >= there:
            unit = f"tokens for {model!r}"
            problem, hint = shortage(corpus.text, corpus.tokens, given, unit)
            raise TokentrailsError(problem, where=experiment.file, hint=hint)
        asked += corpus.tokens - given
    prompts = (Prompt(f"piece{i:05}", piece) for i, piece in enumerate(pieces))
    return replace(experiment, prompts=tuple(prompts))


def _pieces(words: Sequence[str], counts: Sequence[int], tokens: int, room: int) -> list[str]:
    """The first words that have so many tokens, in pieces of at most `room`, by their counts."""
    before = accumulate(counts, initial=0)
    taken = takewhile(lambda each: each[2] < tokens, zip(words, counts, before, strict=False))
    return list(_packed(((word, count) for word, count, _ in taken), room))


def _packed(words: Iterable[tuple[str, int]], room: int) -> Iterator[str]:
    """Words with their counts of tokens, joined into pieces of at most `room`, or of one word."""
    piece: list[str] = []
    filled = 0
    for word, count in words:
        if filled + count > room and piece:
            yield " ".join(piece)
            piece, filled = [], 0
        piece.append(word)
        filled += count
    if piece:
        yield " ".join(piece)


def room_of(corpus: Corpus, context_length: int) -> int:
    """Most tokens of a piece, without what may come on top."""
    return min(corpus.length, context_length) - SPARE


def streamed_pieces(
    documents: Iterable[Iterable[str]], files: TokenizerFiles, room: int
) -> Iterator[tuple[int, str]]:
    """The pieces of documents, each with its document's number, as they are read.

    Parameters
    ----------
    documents: each as its parts, one behind the other; a part begins and ends between words.
    room: most tokens of a piece, as `room_of` gives it.
    """
    for number, parts in enumerate(documents):
        for piece in _packed(_counted(parts, files, room), room):
            yield number, piece


def _counted(parts: Iterable[str], files: TokenizerFiles, room: int) -> Iterator[tuple[str, int]]:
    """The words of a document, with how many tokens each has inside a text.

    What is longer than a piece is cut between characters. All but the last part count as a whole
    piece, so that none is joined with the next one by a space that is not there.
    """
    for part in parts:
        words = part.split()
        for word, count in zip(words, _counts(words, files), strict=True):
            if count <= room:
                yield word, count
                continue
            *cut, last = _cut(word, count, files, room)
            yield from ((each, room) for each in cut)
            yield last, _counts([last], files)[0]


def _cut(word: str, count: int, files: TokenizerFiles, room: int) -> list[str]:
    """A word in parts of at most `room` tokens, or of one character.

    All have as many characters, and there are as few of them as fit.
    """
    characters = regex.findall(r"\X", word)
    size = -(-len(characters) // -(-count // room))
    dense = 0  # a character where the longest part was
    while True:
        here = dense // size * size
        # Where one size is too long, the next one most often is: nothing else is counted then.
        if size == 1 or _counts(["".join(characters[here : here + size])], files)[0] <= room:
            starts = range(0, len(characters), size)
            parts = ["".join(characters[start : start + size]) for start in starts]
            counts = _counts(parts, files)
            if size == 1 or max(counts) <= room:
                return parts
            dense = starts[counts.index(max(counts))] + size // 2
        n = -(-len(characters) // (size - 1))
        size = -(-len(characters) // n)


def _counts(words: Sequence[str], files: TokenizerFiles) -> list[int]:
    inside = [word if files.begins_with_space else f" {word}" for word in words]
    return [len(e.ids) for e in files.encode(inside, add_special_tokens=False, bos=False)]
