"""From prompts to token ids with marked targets. Needs a tokenizer, never the weights."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Encoding, Tokenizer
from tokenizers.models import Unigram

from ..catalogue import BASELINE
from ..errors import TokentrailsError, rust_errors
from ..files.rows import as_text
from ..settings import Experiment, Prompt
from .chat import ChatTemplate, Rendering
from .entries import entries, surface, target
from .spans import (
    NotAligned,
    Span,
    WordPart,
    dropped_words,
    find_words,
    span_of,
    words_and_parts,
    words_in,
)

UNKNOWN = "the tokenizer does not know its letters"
"""Why a target is left out that is the unknown token, or has it in it."""

NO_TOKEN = "the tokenizer makes no token of it"
"""Why a text is left out that is nothing to the tokenizer."""

_SPACES = "▁Ġ"  # how vocabularies write a space


@dataclass(frozen=True)
class Encoded:
    """A text's tokens, each with its characters; none, as (0, 0), for those that were added."""

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    special_tokens: int


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer: how it cuts, its BOS, and the entry for what its vocabulary does not have.

    The chat template is the model's, not the tokenizer's, but comes in the same files.
    """

    tokenizer: Tokenizer
    bos: str | None
    unknown: str | None = None
    chat_template: ChatTemplate | None = None

    @classmethod
    def load(cls, folder: Path) -> TokenizerFiles:
        """Read `tokenizer.json` and `tokenizer_config.json` of a folder."""
        hint = f"delete the folder '{folder}' and run the same command again."
        tokenizer = read_tokenizer(folder / "tokenizer.json", hint=hint)
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        named = {k: v for k, v in settings.items() if k.endswith("_token")}
        tokens = {k: v["content"] if isinstance(v, dict) else v for k, v in named.items() if v}
        source = _default(settings.get("chat_template"))
        chat = None if source is None else ChatTemplate(source, tokens)
        return cls(tokenizer, tokens.get("bos_token"), _unknown(tokenizer), chat)

    @property
    def bos_id(self) -> int | None:
        """The BOS's index in the vocabulary; None without a BOS."""
        return None if self.bos is None else self.tokenizer.token_to_id(self.bos)

    @cached_property
    def unknown_id(self) -> int | None:
        """The index of the entry for what the vocabulary does not have; None without one."""
        return None if self.unknown is None else self.tokenizer.token_to_id(self.unknown)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The entries that are no piece of a text, such as [MASK], even where a text has them."""
        added = self.tokenizer.get_added_tokens_decoder()
        return frozenset(index for index, token in added.items() if token.special)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The index of every entry."""
        return self.tokenizer.get_vocab()

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether characters of its entries stand for bytes, as in GPT-2's."""
        return "ByteLevel" in str(self.tokenizer.decoder)

    def surface(self, entry: str) -> str:
        """How an entry looks in a text."""
        return surface(entry, byte_level=self.is_byte_level)

    @cached_property
    def begins_with_space(self) -> bool:
        """Whether it puts a space in front of a text of its own accord, as SentencePiece does."""
        (encoding,) = self.encode(["a"], add_special_tokens=False, bos=False)
        return any(token[0] in _SPACES for token in encoding.tokens[:1])

    def entries(self, rows: int) -> list[str | None]:
        """The vocabulary entry of each row of an embedding matrix; None for padded rows."""
        return entries(self.vocabulary, rows)

    def encode(self, texts: Sequence[str], *, add_special_tokens: bool, bos: bool) -> list[Encoded]:
        """Cut texts into tokens; `bos` puts it in front of those that do not begin with it.

        Raises
        ------
        TokentrailsError: if the tokenizer fails.
        """
        try:
            with rust_errors():
                encodings = self.tokenizer.encode_batch(
                    texts, add_special_tokens=add_special_tokens
                )
        except Exception as error:
            raise TokentrailsError(
                f"the tokenizer cannot cut the texts: {error}",
                hint="something is wrong in the tokenizer.json of the model.",
            ) from error
        return [self._encoded(*pair, bos) for pair in zip(texts, encodings, strict=True)]

    def _encoded(self, text: str, e: Encoding, bos: bool) -> Encoded:
        added, bos_id = sum(e.special_tokens_mask), self.bos_id
        ends = zip(e.tokens, e.offsets, strict=True)
        offsets = [(a, a if _is_dummy(token, text[a:b]) else b) for token, (a, b) in ends]
        if not bos or bos_id is None or e.ids[:1] == [bos_id]:
            return Encoded(e.ids, e.tokens, offsets, added)
        tokens = [self.bos or "", *e.tokens]
        return Encoded([bos_id, *e.ids], tokens, [(0, 0), *offsets], added + 1)

    def span(self, text: str, encoding: Encoded, start: int, end: int) -> Span:
        """The tokens of the characters `start` to `end` of a text.

        Raises
        ------
        NotAligned: as `span_of`, and if one of them stands for what is not in the vocabulary.
        """
        span = span_of(text, encoding.offsets, start, end)
        if self.unknown_id in encoding.ids[span.first : span.last + 1]:
            raise NotAligned(UNKNOWN)
        return span


def _default(templates: Any) -> str | None:
    """The chat template out of several, with names; those others are for tools and the like."""
    if isinstance(templates, list):
        named = [each for each in templates if isinstance(each, dict)]
        templates = next((t.get("template") for t in named if t.get("name") == "default"), None)
    return templates if isinstance(templates, str) else None


def _is_dummy(token: str, characters: str) -> bool:
    """Whether a token is a space that the text does not have; it borrows the next character."""
    return not token.strip(_SPACES) and characters.strip() == characters and token not in characters


def _unknown(tokenizer: Tokenizer) -> str | None:
    """The entry that stands for what a vocabulary does not have."""
    if isinstance(tokenizer.model, Unigram):
        index = json.loads(tokenizer.model.__getstate__())["unk_id"]
        return None if index is None else tokenizer.id_to_token(index)
    return tokenizer.model.unk_token


def read_tokenizer(path: Path, *, hint: str) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, as the file says, but for cutting and padding texts.

    Raises
    ------
    TokentrailsError: if there is no such file, or something is wrong with it.
    """
    try:
        if not path.is_file():
            raise OSError("it is no file, but missing, a folder, a pipe or a broken link")
        with rust_errors():
            tokenizer = Tokenizer.from_file(str(path))
            # Some files keep those of their last use; states must not depend on them.
            tokenizer.no_truncation()
            tokenizer.no_padding()
            tokenizer.encode("")  # a wrong template shows only now
    except Exception as error:  # the Rust side raises bare Exceptions
        problem = f"the tokenizer cannot be read: {error}"
        raise TokentrailsError(problem, where=path, hint=hint) from error
    return tokenizer


def tokenize(
    experiment: Experiment, files: TokenizerFiles, context_length: int, *, model: str
) -> tuple[pa.Table, pa.Table]:
    """Tokenize an experiment's prompts and find their targets; in whole texts, that is every token.

    Parameters
    ----------
    context_length: most tokens that the model takes.
    model: named in messages.

    Returns
    -------
    The table `tokens`, and the table `skipped` (occurrence, label, reason) of the targets that this
    tokenizer cannot separate from their neighbours or does not know, and of the texts that are too
    long for the model. In whole texts tokens that stand for unknown words stay, as tokens of no
    word.

    Raises
    ------
    TokentrailsError: if every target was skipped, and as `cut` does.
    """
    tokens, skipped = cut(experiment, files, context_length, model=model)
    if not len(tokens):
        what, hint = "experiment", "separate targets by spaces, or leave this model out."
        if experiment.name == BASELINE:
            what, hint = BASELINE, "or switch the baseline off with 'baseline: {enabled: false}'."
        first = skipped.to_pylist()[0]
        raise TokentrailsError(
            f"no text of the {what} can be used for {model!r}; "
            f"{first['label']!r}: {first['reason']}",
            where=experiment.file,
            hint=f"add texts that this model takes; {hint}",
        )
    return tokens, skipped


def cut(
    experiment: Experiment, files: TokenizerFiles, context_length: int, *, model: str
) -> tuple[pa.Table, pa.Table]:
    """As `tokenize`, also where every target is skipped.

    Raises
    ------
    TokentrailsError: for a target that is not in its prompt, and if the tokenizer does not know
        most of the words.
    """
    made = _renderings(experiment, files, model)
    texts = ["" if isinstance(each, NotAligned) else each.text for each in made]
    encodings = encode_as_asked(experiment, files, texts, model)
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    unknown: list[str] = []
    around: list[str] = []  # unknown words of prompts with targets
    asked = words = 0
    each = zip(experiment.prompts, made, encodings, strict=True)
    for index, (prompt, text, encoding) in enumerate(each):
        where = f"{experiment.file}, label {prompt.label!r}, model {model!r}"
        try:
            if isinstance(text, NotAligned):
                raise text
            refuse_longer(encoding.ids, context_length)
            if prompt.is_whole:
                targets, strange = all_tokens(text, encoding, files)
                unknown += strange
                asked += len(strange) + sum(part is not None for *_, part in targets)
                if strange:
                    reason = f"the tokenizer does not know {', '.join(map(repr, strange))}"
                    skipped.append({"occurrence": index, "label": prompt.label, "reason": reason})
            else:
                asked += 1
                if encoding.ids:
                    others, strange = all_tokens(text, encoding, files)
                    around += strange
                    words += len(strange) + sum(part is not None for *_, part in others)
                targets = [(*_find(prompt, text, encoding, files, where), None)]
        except NotAligned as error:
            skipped.append({"occurrence": index, "label": prompt.label, "reason": str(error)})
            if str(error) == UNKNOWN:
                unknown.append(prompt.word or prompt.token or "")
            continue
        for span, word, part in targets:
            occurrence = len(rows) if prompt.is_whole else index
            word = prompt.stands_for or word
            row = token_row(occurrence, prompt.label, word, text.text, encoding, span)
            rows.append(row | prompt.columns | {"word_part": part})
    refuse_unknown_words(unknown, asked, model, experiment.file)
    refuse_unknown_words(around, words, model, experiment.file)
    tokens = tokens_table(rows, experiment.group_columns)
    if experiment.has_whole_texts:
        parts = pa.array([row["word_part"] for row in rows], pa.string())
        tokens = tokens.append_column("word_part", parts)
    return tokens, pa.Table.from_pylist(skipped, schema=SKIPPED)


def _renderings(
    experiment: Experiment, files: TokenizerFiles, model: str
) -> list[Rendering | NotAligned]:
    """The texts of the prompts as the model is given them."""
    if not experiment.chat_template:
        return [Rendering.plain(prompt.prompt) for prompt in experiment.prompts]
    where = f"experiments.{experiment.name}.chat_template"
    if files.chat_template is None:
        raise TokentrailsError(
            f"it is true, and the model {model!r} has no chat template",
            where=where,
            hint="leave this model out of the experiment's 'models': a base model knows no chats; "
            "one that was prepared before templates were kept has its own when its folder in "
            "resources/models is deleted and the same command run again.",
        )
    return files.chat_template.render(
        experiment.prompts,
        generation_prompt=experiment.generation_prompt,
        where=f"{where}, model {model!r}",
    )


def encode_as_asked(
    experiment: Experiment, files: TokenizerFiles, texts: Sequence[str], model: str
) -> list[Encoded]:
    """Cut texts into tokens, with the special tokens that an experiment asks for.

    A chat template has put its own in.

    Raises
    ------
    TokentrailsError: if it asks for a BOS and the tokenizer has none, or that fails.
    """
    mode = "none" if experiment.chat_template else experiment.special_tokens
    if mode == "bos" and files.bos_id is None:
        raise TokentrailsError(
            f"the tokenizer of {model!r} has no beginning-of-sequence token",
            where=f"experiments.{experiment.name}.special_tokens",
            hint="use 'default' or 'none' for this model.",
        )
    return files.encode(texts, add_special_tokens=mode != "none", bos=mode == "bos")


def refuse_unknown_words(unknown: Sequence[str], words: int, model: str, where: object) -> None:
    """Raise where a tokenizer does not know most of the words: it is another model's, or broken."""
    if 2 * len(unknown) > words:
        shown = ", ".join(map(repr, list(dict.fromkeys(unknown))[:5]))
        raise TokentrailsError(
            f"the tokenizer of {model!r} does not know {len(unknown)} of {words} words: {shown}",
            where=where,
            hint="check that it is the model's own; or leave this model out of the experiment, or, "
            "where it is the baseline, switch that off.",
        )


def refuse_longer(ids: Sequence[int], context_length: int) -> None:
    """Raise `NotAligned` for a text that is longer than the model takes."""
    if (n := len(ids)) > context_length:
        raise NotAligned(f"it has {n} tokens, the model takes {context_length}")


_TOKENS = {
    "occurrence": pa.int32(),
    "label": pa.string(),
    "word": pa.string(),
    "text": pa.string(),
    "token_ids": pa.list_(pa.int32()),
    "tokens": pa.list_(pa.string()),
    "first": pa.int32(),
    "last": pa.int32(),
    "n_tokens": pa.int32(),
    "special_tokens": pa.int32(),
    "words_before": pa.int32(),
}
SKIPPED = pa.schema([("occurrence", pa.int32()), ("label", pa.string()), ("reason", pa.string())])


def token_row(
    occurrence: int, label: str, word: str, text: str, encoding: Encoded, span: Span
) -> dict[str, Any]:
    """A row of the tokens table, without group columns."""
    return {
        "occurrence": occurrence,
        "label": label,
        "word": unicodedata.normalize("NFC", word),  # one word, however its accents are written
        "text": text,
        "token_ids": encoding.ids,
        "tokens": encoding.tokens,
        "first": span.first,
        "last": span.last,
        "n_tokens": span.last - span.first + 1,
        "special_tokens": encoding.special_tokens,
        "words_before": max(len(text[: encoding.offsets[span.last][1]].split()) - 1, 0),
    }


def tokens_table(rows: Sequence[dict[str, Any]], group_columns: Sequence[str]) -> pa.Table:
    """The tokens table of rows; a group column that a row lacks is null there."""
    columns = {n: pa.array([r[n] for r in rows], type=t) for n, t in _TOKENS.items()}
    for name in group_columns:
        columns[name] = column_of_values([row.get(name) for row in rows])
    return pa.table(columns)


def column_of_values(values: Sequence[Any]) -> pa.Array:
    """A group column: of texts where there are several kinds of values."""
    kinds = {type(value) for value in values if value is not None}
    exact = all(abs(value) <= 2**53 for value in values if isinstance(value, int))
    if len(kinds) > 1 and not (kinds == {int, float} and exact):
        values = [None if value is None else as_text(value) for value in values]
    return pa.array(values, type=None if kinds else pa.string())


def all_tokens(
    text: Rendering, encoding: Encoded, files: TokenizerFiles
) -> tuple[list[tuple[Span, str, WordPart | None]], list[str]]:
    """Each token of a whole text, special ones too, its word, and which part of that it is.

    Also the words, or pieces of them, that the tokenizer does not know; their tokens are no word's,
    nor are special ones that a text itself has, and those of a chat's format.
    """
    if not encoding.ids:
        raise NotAligned(NO_TOKEN)
    found: list[tuple[Span, str, WordPart | None]] = []
    words = text.words
    for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if index in files.special_ids and index != files.unknown_id:
            words = words[:start] + " " * (end - start) + words[end:]
    dropped = list(dropped_words(words, encoding.offsets))
    strange = dropped.copy()
    parts = words_and_parts(words, encoding.offsets)
    for i, (word, part) in enumerate(parts):
        is_unknown = encoding.ids[i] == files.unknown_id and part is not None
        is_strange = is_unknown or word in dropped
        found.append((Span(i, i), *(("", None) if is_strange else (word, part))))
        if is_unknown and word not in dropped:
            strange.append(word)
    return found, strange


def _find(
    prompt: Prompt, made: Rendering, encoding: Encoded, files: TokenizerFiles, where: str
) -> tuple[Span, str]:
    """The target's span, and how it is written in the text."""
    text, offsets, (begin, stop) = made.text, encoding.offsets, made.own
    if prompt.token is not None and files.tokenizer.token_to_id(prompt.token) is not None:
        positions = [
            position
            for position, (token, (_, end)) in enumerate(zip(encoding.tokens, offsets, strict=True))
            if token == prompt.token and (begin < end <= stop or end == 0)
        ]
        if len(positions) >= prompt.occurrence:
            position = positions[prompt.occurrence - 1]
            start, end = offsets[position]
            return Span(position, position), text[start:end].strip() or prompt.token
        if prompt.word is None:
            raise _not_there(prompt, prompt.token, len(positions), made, encoding, where)
    word = target(prompt)
    places = find_words(prompt.prompt, word) if word.strip() else []
    if len(places) < prompt.occurrence:
        raise _not_there(prompt, word, len(places), made, encoding, where)
    start, end = (made.begins + place for place in places[prompt.occurrence - 1])
    return files.span(text, encoding, start, end), text[start:end]


def _not_there(
    prompt: Prompt, target: str, found: int, made: Rendering, encoding: Encoded, where: str
) -> TokentrailsError:
    how_often = "is not" if found == 0 else f"is only {found} time{'s' * (found > 1)}"
    nth = f" (occurrence {prompt.occurrence} is asked for)" if prompt.occurrence > 1 else ""
    hint = "check spelling, case and the space in front: ' lead' and 'lead' differ."
    core, words = target.strip(), (prompt.prompt[a:b] for a, b in words_in(prompt.prompt))
    longer = next((word for word in words if core in word), None)
    if longer and not find_words(prompt.prompt, core):
        hint = f"it is there only inside {longer!r}, and targets are whole words; {hint}"
    return TokentrailsError(
        f"the target {target!r} {how_often} in the prompt {prompt.prompt!r}{nth}; "
        f"its tokens are {_shown(made.text, encoding)}",
        where=where,
        hint=hint,
    )


def _shown(text: str, encoding: Encoded) -> str:
    """A text's tokens as a reader sees them; an ellipsis where one goes on inside a character."""
    shown: list[str] = []
    seen = 0
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        rest = text[max(start, seen) : end]
        piece = ("…" if start < seen else "") + (repr(rest) if rest else "")
        shown.append(piece if start < end else token)
        seen = max(seen, end)
    return " ".join(shown)
