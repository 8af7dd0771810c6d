"""Texts with another word in the target's place: what a measure shows there too is not of the word.

Sentences differ by more than the sense of the word in them, and whatever stands in its place takes
in what stands before. An effect of senses is what is left beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle

from ..settings import Prompt
from .entries import target
from .spans import find_words


def replaced(prompts: Sequence[Prompt], words: Sequence[str]) -> Iterator[Prompt | None]:
    """The prompts with the targets replaced; None for one whose target is not in its text.

    The targets take the words in turn, in the order of the alphabet: all texts of one target have
    the same word in its place, so that they can be compared with each other.

    Parameters
    ----------
    prompts: with one target each.
    """
    targets = [target(prompt).strip() for prompt in prompts]
    stand_in = dict(zip(sorted(set(targets)), cycle(words), strict=False))
    for prompt, core in zip(prompts, targets, strict=True):
        yield _replaced(prompt, core, stand_in[core])


def _replaced(prompt: Prompt, core: str, word: str) -> Prompt | None:
    places = find_words(prompt.prompt, core)
    if len(places) < prompt.occurrence:
        return None
    start, end = places[prompt.occurrence - 1]
    before, behind = prompt.prompt[:start], prompt.prompt[end:]
    return replace(
        prompt,
        prompt=f"{before}{word}{behind}",
        token=None,
        word=f" {word}" if before.endswith(" ") else word,
        occurrence=len(find_words(f"{before}{word}", word)),
        stands_for=core,
    )
