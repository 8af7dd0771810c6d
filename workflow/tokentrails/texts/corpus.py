"""Running text, cut into pieces of whole words that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import TokentrailsError
from ..settings import Experiment, Prompt
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
    TokentrailsError: if the text has fewer tokens than are asked for.
    """
    corpus = experiment.corpus
    if corpus is None:
        raise ValueError(f"the experiment {experiment.name!r} has no corpus")
    words = text.split()[: 2 * corpus.tokens]
    inside = [word if files.begins_with_space else f" {word}" for word in words]
    counts = [len(e.ids) for e in files.encode(inside, add_special_tokens=False, bos=False)]
    room = min(corpus.length, context_length) - SPARE
    given, asked, there = 0, corpus.tokens, sum(counts)
    # The first word of a piece, which has no space in front, may be fewer tokens than inside.
    while given < corpus.tokens:
        pieces = _pieces(words, counts, asked, room)
        encoded = files.encode(pieces, add_special_tokens=False, bos=False)
        given = sum(len(each.ids) for each in encoded)
        if given < corpus.tokens and asked >= there:
            raise TokentrailsError(
                f"the text {corpus.text!r} has {given:,} tokens for {model!r}, and "
                f"{corpus.tokens:,} are asked for",
                where=experiment.file,
                hint="give a longer text, or lower corpus.tokens.",
            )
        asked += corpus.tokens - given
    prompts = (Prompt(f"piece{i:05}", piece) for i, piece in enumerate(pieces))
    return replace(experiment, prompts=tuple(prompts))


def _pieces(words: Sequence[str], counts: Sequence[int], tokens: int, room: int) -> list[str]:
    """The first words that have so many tokens, in pieces of at most `room`, by their counts."""
    pieces: list[list[str]] = [[]]
    taken = filled = 0
    for word, count in zip(words, counts, strict=True):
        if taken >= tokens:
            break
        if filled + count > room and pieces[-1]:
            pieces.append([])
            filled = 0
        pieces[-1].append(word)
        filled += count
        taken += count
    return [" ".join(piece) for piece in pieces]
