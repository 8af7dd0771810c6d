"""Whole words cut up: the same word in several tokens, by an artificial cut or by a typo.

Kaplan, Oren, Reif & Schwartz (2025, "From tokens to words: on the inner lexicon of LLMs"): where
the state of the last token comes to be that of the whole word, the model puts words together from
tokens. The tokens of a cut are given by their ids, since a tokenizer would join them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TokentrailsError
from ..settings import Experiment, Prompt, Splits
from .replacement import replaced
from .spans import NotAligned
from .tokenization import SKIPPED, TokenizerFiles, refuse_longer, tokenize, tokens_table
from .word_classes import plain
from .word_list import WordList


def tokenize_splits(
    experiment: Experiment,
    word_list: WordList,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> tuple[pa.Table, pa.Table]:
    """Tokenize prompts whose targets are one token, and the same with these words cut up.

    Variants of each: `whole`; `split`, the word's own letters in so many entries of the vocabulary;
    `other`, the control, another word's split into as many in the same place; `typo`, one that is
    in several tokens, none of them the word, and is no word of the list. What stands around them
    keeps its tokens. All choices are those of the seed.

    Parameters
    ----------
    word_list: no typo is one of these words.
    context_length: most tokens that the model takes.
    model: named in messages.

    Returns
    -------
    The table `tokens`, with the columns variant and base, the occurrence of the whole word; and the
    table `skipped` (occurrence, label, reason): targets of several tokens, and variants that there
    are not, or that are too long for the model.

    Raises
    ------
    TokentrailsError: as `tokenize`; and if no target is one token.
    """
    splits = experiment.splits
    if splits is None:
        raise ValueError(f"the experiment {experiment.name!r} has no splits")
    found, lost = tokenize(experiment, files, context_length, model=model)
    every, skipped = found.to_pylist(), lost.to_pylist()
    bases = [row for row in every if row["n_tokens"] == 1]
    for row in every:
        if row["n_tokens"] > 1:
            _skip(skipped, row, f"cut into {row['n_tokens']} tokens as it is")
    bases = _inside_and_alike(bases, files, skipped)
    if not bases:
        raise TokentrailsError(
            f"none of the targets is one token behind the first position for {model!r}",
            where=experiment.file,
            hint="choose more frequent words, or leave this model out of the experiment.",
        )
    cuts = {
        (row["word"], k): cut
        for row in bases
        for k in splits.pieces
        if (cut := _cut(row, k, files, splits))
    }
    others = {k: _others(cuts, k, splits) for k in splits.pieces}
    typos = _typos(experiment, bases, word_list, files, context_length, model=model)
    rows: list[dict[str, Any]] = []
    for base in bases:
        number = len(rows)
        variants = [("whole", base, "")]
        for k in splits.pieces:
            own, other = cuts.get((base["word"], k)), others[k].get(base["word"])
            if own is None or other is None:
                who = "it cannot" if own is None else "no other word can"
                _skip(skipped, base, f"{who} be cut into {k} entries of the vocabulary")
                continue
            variants.append(("split", _with_tokens(base, own, files), f"~split{k}"))
            variants.append(("other", _with_tokens(base, other, files), f"~other{k}"))
        typo = typos.get(base["label"])
        if typo is None:
            _skip(skipped, base, "no typo of it is in several tokens and no other word")
        else:
            variants.append(("typo", typo, typo["label"].removeprefix(base["label"])))
        for variant, row, suffix in variants:
            about = {"label": base["label"] + suffix, "variant": variant, "base": number}
            try:
                refuse_longer(row["token_ids"], context_length)
            except NotAligned as reason:
                _skip(skipped, base | about, str(reason))
            else:
                rows.append(row | about | {"occurrence": len(rows)})
    tokens = tokens_table(rows, experiment.group_columns)
    tokens = tokens.append_column("variant", pa.array([row["variant"] for row in rows]))
    tokens = tokens.append_column("base", pa.array([row["base"] for row in rows], pa.int32()))
    return tokens, pa.Table.from_pylist(skipped, schema=SKIPPED)


def _inside_and_alike(
    bases: list[dict[str, Any]], files: TokenizerFiles, skipped: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Those that stand behind the first position, with a space in front where most have one.

    States of position 0 are of their own, and a word's pieces control another word's only where
    both begin alike.
    """
    spaced = [files.surface(row["tokens"][row["first"]]).startswith(" ") for row in bases]
    most = 2 * sum(spaced) > len(spaced)
    kept = []
    for row, has_space in zip(bases, spaced, strict=True):
        if row["first"] == 0:
            _skip(skipped, row, "it is at position 0, whose states are unlike all others")
        elif has_space != most:
            _skip(skipped, row, f"it has {'no' if most else 'a'} space in front, unlike most")
        else:
            kept.append(row)
    return kept


def _skip(skipped: list[dict[str, Any]], row: Mapping[str, Any], reason: str) -> None:
    skipped.append({key: row[key] for key in ("occurrence", "label")} | {"reason": reason})


def cuts_of(entry: str, pieces: int, files: TokenizerFiles) -> Iterator[list[int]]:
    """Every way to write a vocabulary entry as so many others, as their ids.

    The letters are the same one after the other, so that the text is the same. A piece has a letter
    at least, and is no space alone.
    """
    vocabulary = files.vocabulary
    prefix = getattr(files.tokenizer.model, "continuing_subword_prefix", None) or ""

    def cut(rest: str, pieces: int, prefix_here: str) -> Iterator[list[int]]:
        if pieces == 1:
            if (index := vocabulary.get(prefix_here + rest)) is not None:
                yield [index]
            return
        for end in range(1, len(rest)):
            piece = prefix_here + rest[:end]
            if (index := vocabulary.get(piece)) is not None and files.surface(piece).strip():
                yield from ([index, *more] for more in cut(rest[end:], pieces - 1, prefix))

    continues = bool(prefix) and entry.startswith(prefix)
    return cut(entry.removeprefix(prefix) if continues else entry, pieces, prefix * continues)


def _cut(row: Mapping[str, Any], k: int, files: TokenizerFiles, splits: Splits) -> list[int] | None:
    """The word of a row in k tokens; which of all ways is up to the seed and the word."""
    every = list(cuts_of(row["tokens"][row["first"]], k, files))
    return every[_rng(splits, k, row["word"]).integers(len(every))] if every else None


def _others(
    cuts: Mapping[tuple[str, int], list[int]], k: int, splits: Splits
) -> dict[str, list[int]]:
    """For each word in k tokens those of another word, which end in another one.

    Each is drawn for one word: with words in a random order, those with the same last token side by
    side and the most of these in front, the one so many places on is none of them. Where these are
    more than half, they take the others in turn; where there are no others, there is nothing.
    """
    words = sorted(word for word, n in cuts if n == k)
    ends: dict[int, list[str]] = {}
    for i in _rng(splits, k, "~other").permutation(len(words)):
        ends.setdefault(cuts[words[i], k][-1], []).append(words[i])
    alike = sorted(ends.values(), key=len, reverse=True)
    if len(alike) < 2:
        return {}
    order, most = [word for group in alike for word in group], len(alike[0])
    rest = len(order) - most
    places = (most + i % rest if i < most else (i + most) % len(order) for i in range(len(order)))
    return {word: cuts[order[place], k] for word, place in zip(order, places, strict=True)}


def _rng(splits: Splits, k: int, name: str) -> np.random.Generator:
    """By seed and name alone, so that other words make no difference."""
    return np.random.default_rng((splits.seed, k, *name.encode()))


def _with_tokens(
    base: Mapping[str, Any], ids: Sequence[int], files: TokenizerFiles
) -> dict[str, Any]:
    """The row of a word of one token with other tokens in its place."""
    at, tokens = base["first"], [files.tokenizer.id_to_token(index) for index in ids]
    return {
        **base,
        "token_ids": [*base["token_ids"][:at], *ids, *base["token_ids"][at + 1 :]],
        "tokens": [*base["tokens"][:at], *tokens, *base["tokens"][at + 1 :]],
        "last": at + len(ids) - 1,
        "n_tokens": len(ids),
    }


def typos_of(word: str) -> list[str]:
    """Every word with two neighbouring letters swapped, one doubled or one left out.

    The first letter stays.
    """
    places = range(1, len(word))
    made = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in places[:-1]]
    made += [word[: i + 1] + word[i:] for i in places]
    made += [word[:i] + word[i + 1 :] for i in places]
    return [typo for typo in dict.fromkeys(made) if typo != word]


def _typos(
    experiment: Experiment,
    bases: Sequence[Mapping[str, Any]],
    word_list: WordList,
    files: TokenizerFiles,
    context_length: int,
    *,
    model: str,
) -> dict[str, dict[str, Any]]:
    """By label the row of the first typo that can be used, in an order of the seed and the word."""
    splits = experiment.splits
    assert splits is not None
    listed = {plain(entry.text) for entry in word_list.entries}
    by_label = {row["label"]: row for row in bases}
    tried: list[Prompt] = []
    names: dict[str, str] = {}
    for prompt in experiment.prompts:
        if prompt.label not in by_label:
            continue
        word = by_label[prompt.label]["word"]
        made = [typo for typo in typos_of(word) if plain(typo) not in listed]
        for i in _rng(splits, 1, word).permutation(len(made)):
            (new,) = replaced([prompt], [made[i]])
            if new is not None:
                tried.append(replace(new, label=f"{prompt.label}~{made[i]}"))
                names[tried[-1].label] = prompt.label
    if not tried:
        return {}
    texts = replace(experiment, prompts=tuple(tried))
    rows, _ = tokenize(texts, files, context_length, model=model)
    found: dict[str, dict[str, Any]] = {}
    for row in rows.to_pylist():
        label = names[row["label"]]
        base, own = by_label[label], row["token_ids"][row["first"] : row["last"] + 1]
        is_cut_up = len(own) > 1 and base["token_ids"][base["first"]] not in own
        if is_cut_up and _around(row) == _around(base):
            found.setdefault(label, row)
    return found


def _around(row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """The tokens before and behind the word."""
    return row["token_ids"][: row["first"]], row["token_ids"][row["last"] + 1 :]
