"""Token ids of a running text of any size, a row for each piece, written as they are made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa

from ..errors import TokentrailsError
from ..files.documents import Documents, emptiness, shortage
from ..settings import Experiment
from .chat import Rendering
from .corpus import room_of, streamed_pieces
from .spans import NotAligned
from .tokenization import (
    SKIPPED,
    Encoded,
    TokenizerFiles,
    all_tokens,
    encode_as_asked,
    refuse_longer,
    refuse_unknown_words,
)
from .word_classes import FrequencyBands, WordClasses
from .word_groups import UNKNOWN
from .word_list import WordList

AT_ONCE = 256
"""Pieces that are cut and written together: a row group."""

MOST_LEFT_OUT = 0.1
"""Largest share of a table's rows that may be no documents."""

SCHEMA = pa.schema(
    {
        "occurrence": pa.int32(),
        "label": pa.string(),
        "document": pa.int32(),
        "word": pa.string(),
        "text": pa.string(),
        "token_ids": pa.list_(pa.int32()),
        "tokens": pa.list_(pa.string()),
        "word_class": pa.list_(pa.string()),
        "frequency_band": pa.list_(pa.string()),
        "first": pa.int32(),
        "last": pa.int32(),
        "n_tokens": pa.int32(),
        "special_tokens": pa.int32(),
    }
)
MEANINGS = {
    "label": "the piece, in the order of the text",
    "document": "number of the document that it is of, from 0; of a plain text that of the piece",
    "word": "empty: every token is a target",
    "tokens": "the piece's tokens as vocabulary entries",
    "word_class": "of the word that each token is part of; null: a special token, spaces, what "
    "the tokenizer does not know, or a word of no known class",
    "frequency_band": "of the same word, by its place in the list of words; unknown: there is no "
    "list, or it lacks the word and has fewer than 10,000 lines, or it lacks a run of letters of a "
    "script without spaces; null: no word of letters",
}


def tokenize_streamed(
    experiment: Experiment,
    documents: Documents,
    words: WordList | None,
    classes: WordClasses,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Some pieces at a time, and what is left out of them, until there are tokens enough.

    Parameters
    ----------
    words: those of which the frequency is known; None without a list.
    context_length: most tokens that the model takes.
    model: named in messages.

    Raises
    ------
    TokentrailsError: if there are fewer tokens than are asked for, or the tokenizer does not know
        most of the words.
    """
    corpus = experiment.corpus
    assert corpus is not None
    frequency = FrequencyBands(words)

    @lru_cache(maxsize=1 << 16)
    def about(word: str) -> tuple[str | None, str | None]:
        own, band = classes.of(word), frequency.of(word)
        # What has neither is no word.
        return own, UNKNOWN if word and own is None and band is None else band

    pieces = streamed_pieces(documents, files, room_of(corpus, context_length))
    taken = number = left_out = too_long = n_documents = 0
    while taken < corpus.tokens and (group := list(islice(pieces, AT_ONCE))):
        rows: list[dict[str, Any]] = []
        skipped: list[dict[str, Any]] = []
        unknown: list[str] = []
        asked = 0
        encodings = encode_as_asked(experiment, files, [text for _, text in group], model)
        for (document, text), encoding in zip(group, encodings, strict=True):
            if taken >= corpus.tokens:
                break
            label, n_documents = f"piece{number:07}", document + 1
            try:
                refuse_longer(encoding.ids, context_length)
                found, strange = all_tokens(Rendering.plain(text), encoding, files)
            except NotAligned as reason:
                skipped.append({"occurrence": number, "label": label, "reason": str(reason)})
                too_long += 1
            else:
                unknown += strange
                asked += len(strange) + sum(part is not None for *_, part in found)
                unit = number if corpus.column is None else document
                rows.append(_row(number, label, unit, text, encoding))
                own, bands = zip(*(about(word) for _, word, _ in found), strict=True)
                rows[-1] |= {"word_class": own, "frequency_band": bands}
                taken += len(encoding.ids) - encoding.special_tokens
            number += 1
        refuse_unknown_words(unknown, asked, model, experiment.file)
        for line, why in documents.left_out:
            skipped.append({"occurrence": None, "label": f"line {line}", "reason": why})
            left_out += 1
        documents.left_out.clear()
        yield pa.Table.from_pylist(rows, SCHEMA), pa.Table.from_pylist(skipped, SKIPPED)
    if left_out > MOST_LEFT_OUT * (left_out + n_documents):
        raise TokentrailsError(
            f"{left_out:,} of {left_out + n_documents:,} rows of {corpus.text!r} are no documents",
            where=experiment.file,
            hint="check corpus.column, and what it holds.",
        )
    if taken < corpus.tokens:
        has = f"tokens for {model!r}"
        if too_long:
            has += f", without {too_long:,} pieces that are too long for it"
        problem, hint = emptiness(corpus.text)
        if number:
            problem, hint = shortage(corpus.text, corpus.tokens, taken, has)
        raise TokentrailsError(problem, where=experiment.file, hint=hint)


def _row(number: int, label: str, document: int, text: str, encoding: Encoded) -> dict[str, Any]:
    return {
        "occurrence": number,
        "label": label,
        "document": document,
        "word": "",
        "text": text,
        "token_ids": encoding.ids,
        "tokens": encoding.tokens,
        "first": 0,
        "last": len(encoding.ids) - 1,
        "n_tokens": len(encoding.ids),
        "special_tokens": encoding.special_tokens,
    }
