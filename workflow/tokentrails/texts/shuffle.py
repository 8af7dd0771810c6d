"""Texts with their words in random order: what a measure shows there too is not of the order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import regex

from ..settings import Prompt
from .entries import target
from .spans import find_words

# Without the punctuation around it: quotes, commas and full stops stay where they are.
_WORD = regex.compile(r"[^\s\p{P}](?:\S*[^\s\p{P}])?")


def shuffled(prompt: Prompt, seed: int) -> str | None:
    """The text with its words in random order; None if it has fewer than two to move.

    The target keeps its place among the words, as does every word with the target's letters in it,
    so that `occurrence` means the same. So do spaces and the punctuation around words.

    Parameters
    ----------
    seed: with the label it decides the order.
    """
    text, fixed = prompt.prompt, list(_targets(prompt))
    places = [
        (start, end)
        for start, end in (match.span() for match in _WORD.finditer(text))
        if all(end <= first or start >= last for first, last in fixed)
    ]
    if len(places) < 2:
        return None
    rng = np.random.default_rng([seed, *prompt.label.encode()])
    words = [text[slice(*places[index])] for index in rng.permutation(len(places))]
    parts, done = [], 0
    for (start, end), word in zip(places, words, strict=True):
        parts += [text[done:start], word]
        done = end
    return "".join([*parts, text[done:]])


def _targets(prompt: Prompt) -> Iterator[tuple[int, int]]:
    """Characters that look like the target."""
    if prompt.is_whole:
        return
    if core := target(prompt).strip():
        yield from find_words(prompt.prompt, core)
        yield from (match.span() for match in regex.finditer(regex.escape(core), prompt.prompt))
