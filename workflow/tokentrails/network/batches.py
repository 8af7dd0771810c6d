"""Which texts run through the model together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .architectures import Architecture

# Enough tokens to keep matrix products busy; below this, padding costs less than a small batch.
BUSY = 512
MOST_PADDING = 0.125


@dataclass(frozen=True)
class Text:
    """One token sequence to run, and its targets: (row of the tokens table, positions to read)."""

    token_ids: tuple[int, ...]
    targets: tuple[tuple[int, tuple[int, ...]], ...]


def model_batches(
    architecture: Architecture,
    token_ids: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    token_budget: int,
    row_budget: int,
) -> list[list[Text]]:
    """The texts of a tokens table in batches, as `texts_to_run` and `batches` make them.

    Where states depend on the longest text of a batch, every text is whole and alone.
    """
    alone = architecture.alone
    texts = texts_to_run(token_ids, positions, causal=architecture.causal and not alone)
    return batches(texts, 1 if alone else token_budget, row_budget)


def texts_to_run(
    token_ids: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], *, causal: bool
) -> list[Text]:
    """Every distinct sequence once, cut after its last target where the model looks only backwards.

    In a causal model the state at a position depends on nothing behind it, so what follows the last
    target need not be computed.

    Parameters
    ----------
    token_ids, positions: by row of the tokens table, its text and which positions to read.
    """
    whole: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for row, (ids, read) in enumerate(zip(token_ids, positions, strict=True)):
        whole.setdefault(tuple(ids), []).append((row, tuple(read)))
    if causal:
        cut: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for ids, targets in whole.items():
            end = max(max(read) for _, read in targets) + 1
            cut.setdefault(ids[:end], []).extend(targets)
        whole = cut
    return [Text(ids, tuple(targets)) for ids, targets in whole.items()]


def batches(texts: Sequence[Text], token_budget: int, row_budget: int) -> list[list[Text]]:
    """Texts of like length together, in batches that fit in memory.

    Parameters
    ----------
    token_budget: most tokens in a batch, padding included. A longer text is a batch of its own.
    row_budget: most rows to read in a batch. A text with more targets is run several times.
    """
    made: list[list[Text]] = []
    real = rows = 0
    for text in sorted(_split(texts, row_budget), key=lambda t: len(t.token_ids)):
        length, wanted = len(text.token_ids), rows_of(text)
        if made:
            size = (len(made[-1]) + 1) * length
            too_big = size > token_budget or rows + wanted > row_budget
            padded = 1 - (real + length) / size
            if not too_big and (real < BUSY or padded <= MOST_PADDING):
                made[-1].append(text)
                real, rows = real + length, rows + wanted
                continue
        made.append([text])
        real, rows = length, wanted
    return made


def rows_of(text: Text) -> int:
    """How many rows of the stream are read in a text."""
    return sum(len(positions) for _, positions in text.targets)


def _split(texts: Sequence[Text], row_budget: int) -> list[Text]:
    """The same texts, those with too many targets several times with a part of them each."""
    parts = []
    for text in texts:
        targets: list[tuple[int, tuple[int, ...]]] = []
        for target in text.targets:
            rows = sum(len(positions) for _, positions in targets)
            if targets and rows + len(target[1]) > row_budget:
                parts.append(Text(text.token_ids, tuple(targets)))
                targets = []
            targets.append(target)
        parts.append(Text(text.token_ids, tuple(targets)))
    return parts
