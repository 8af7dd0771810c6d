"""A checkpoint's tokenizer, as its own file says."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..errors import TokentrailsError, one_line, rust_errors
from ..files.json_file import read_object
from ..texts.mining import read_text
from ..texts.tokenization import read_tokenizer
from .source import (
    ADDED_TOKENS,
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCABULARIES,
)

PROBES = (
    "18457 1,845.5 3x^2",
    "she'll THEY'RE don't",
    "naïve nai\u0308ve ﬁne Ⅳ ＡＢ",
    "  two  spaces\n\n\tand\r\nmore \n",
    "東京の天気 हिन्दी ภาษา עברית 👩‍🚀",
)
"""Texts on which tokenizers differ: numbers, capitals, clitics, accents, white space, scripts."""

_FEWEST = 0.5
"""Of an embedding's rows, the least share with an entry: padded matrices have more than 0.9."""

_AGAIN = "save or fetch the model again."
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

log = logging.getLogger(__name__)


def save_tokenizer(
    folder: Path, target: Path, config: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Save the tokenizer of a model's folder as `tokenizer.json`, and what goes with it.

    That is its special tokens and its chat template, in `tokenizer_config.json`.

    A `tokenizer.json` cuts texts as it says itself. transformers would rebuild many of them by the
    rules of a class, which may cut otherwise; files older than that are converted by transformers.

    Parameters
    ----------
    config: the model's configuration, which may name the BOS.
    where: what has the tokenizer, for messages.

    Returns
    -------
    Facts for the provenance: the files, and the class of transformers, with the tokens that it adds
    to the vocabulary and the trial texts that it cuts otherwise.

    Raises
    ------
    TokentrailsError: if the files cannot be read.
    """
    if os.path.lexists(folder / TOKENIZER):
        tokenizer = read_tokenizer(folder / TOKENIZER, hint=_AGAIN)
        names = _special_tokens(folder, config, tokenizer)
        facts = {"files": [TOKENIZER], **_against_transformers(folder, tokenizer, where)}
    else:
        made, facts = _convert(folder, where)
        tokenizer = made.backend_tokenizer
        names = {key: str(token) for key, token in made.special_tokens_map.items()}
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(target / TOKENIZER))
    # The class that takes the file as it is, for those who read the folder with transformers.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names, **_chat_template(folder)}
    (target / TOKENIZER_CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return facts


def refuse_unfit(path: Path, rows: int, where: str) -> None:
    """Raise for a vocabulary that is larger than the embedding's rows, or far smaller.

    Tokens that were added to the vocabulary may lie beyond the rows: no text needs to have them.
    """
    tokenizer = read_tokenizer(path, hint=_AGAIN)
    entry, last = max(
        tokenizer.get_vocab(with_added_tokens=False).items(), key=itemgetter(1), default=("", -1)
    )
    size = tokenizer.get_vocab_size()
    if last >= rows:
        problem = f"its tokenizer has the entry {entry!r} with the id {last:,}, beyond"
    elif size < _FEWEST * rows:
        problem = f"its tokenizer has {size:,} entries, too few for"
    else:
        return
    raise TokentrailsError(
        f"{problem} the {rows:,} rows of the embedding",
        where=where,
        hint=f"give the {TOKENIZER} that the model was trained with; a matrix that is far "
        "larger than its vocabulary can be cut with resize_token_embeddings().",
    )


def _special_tokens(
    folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer
) -> dict[str, str]:
    """The special tokens that the files name, by transformers' keys, if the tokenizer has them."""
    stated: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        if os.path.lexists(folder / name):
            stated |= read_object(folder / name)
    if "bos_token" not in stated and isinstance(number := config.get("bos_token_id"), int):
        added = tokenizer.get_added_tokens_decoder().get(number)
        if added is not None and added.special:  # else the number is a default of the class
            stated["bos_token"] = added.content
    tokens = {key: stated.get(key) for key in (f"{name}_token" for name in _NAMES)}
    texts = {k: t.get("content") if isinstance(t, dict) else t for k, t in tokens.items()}
    if wrong := next((k for k, t in texts.items() if not isinstance(t, str | None)), None):
        raise TokentrailsError(
            f"{wrong} is {stated[wrong]!r:.50}, not a text",
            where=folder / TOKENIZER_CONFIG,
            hint=_AGAIN,
        )
    return {k: t for k, t in texts.items() if t and tokenizer.token_to_id(t) is not None}


def _chat_template(folder: Path) -> dict[str, Any]:
    """The chat template by transformers' key, if there is one; a file of its own comes first."""
    if os.path.lexists(folder / CHAT_TEMPLATE):
        return {"chat_template": read_text(folder / CHAT_TEMPLATE)}
    if _states(folder, "chat_template"):
        return {"chat_template": read_object(folder / TOKENIZER_CONFIG)["chat_template"]}
    return {}


def _against_transformers(folder: Path, tokenizer: Tokenizer, where: str) -> dict[str, Any]:
    """What transformers makes of the same folder, and texts that it cuts otherwise."""
    try:
        with rust_errors():
            made = _from_pretrained(folder)
            theirs = made.backend_tokenizer
            theirs.no_truncation()
            theirs.no_padding()
            added = sorted(theirs.get_vocab().keys() - tokenizer.get_vocab().keys())
            cuts = [(text, tokenizer.encode(text), theirs.encode(text)) for text in PROBES]
    except Exception as error:  # nothing depends on it
        return {"transformers": f"cannot read it: {one_line(error)}"}
    otherwise = [
        {"text": text, "tokens": " ".join(own.tokens), "transformers": " ".join(other.tokens)}
        for text, own, other in cuts
        if own.ids != other.ids
    ]
    name = type(made).__name__
    if otherwise:
        log.warning(
            "%s: texts are cut as %s says; the class %s of transformers would cut %d of %d trial "
            "texts otherwise, see provenance.json",
            *(where, TOKENIZER, name, len(otherwise), len(cuts)),
        )
    return {"transformers": {"class": name, "adds": added, "cuts_otherwise": otherwise}}


def _convert(folder: Path, where: str) -> tuple[PreTrainedTokenizerBase, dict[str, Any]]:
    """The tokenizer that transformers makes of a vocabulary, if its class reads such files."""
    files = next(f for f in VOCABULARIES if all(os.path.lexists(folder / name) for name in f))
    try:
        with rust_errors():
            made = _from_pretrained(folder)
            made.backend_tokenizer.encode("")
    except Exception as error:
        raise TokentrailsError(
            f"its tokenizer cannot be made of {' and '.join(files)}: {one_line(error)}",
            where=where,
            hint=f"give its {TOKENIZER}.",
        ) from error
    name = type(made).__name__
    if files[0] not in type(made).vocab_files_names.values():
        raise TokentrailsError(
            f"nothing says how {' and '.join(files)} cut a text: {name}, the class of its "
            "tokenizer, has no such files",
            where=where,
            hint=f"give its {TOKENIZER}, or a {TOKENIZER_CONFIG} that names its tokenizer_class.",
        )
    if getattr(made, "do_lower_case", False) and not _states(folder, "do_lower_case"):
        capitals = (e for e in made.get_vocab() if e.lower() != e and e[:1] not in "[<")
        if (entry := next(capitals, None)) is not None:
            raise TokentrailsError(
                f"{files[0]} has capitals, as in {entry!r}, and nothing says whether texts keep "
                "theirs",
                where=where,
                hint=f"give its {TOKENIZER}, or a {TOKENIZER_CONFIG} with do_lower_case.",
            )
    _refuse_made_up(folder, made.backend_tokenizer, name, where)
    return made, {"files": list(files), "transformers": {"class": name}}


def _refuse_made_up(folder: Path, tokenizer: Tokenizer, name: str, where: str) -> None:
    """Raise for a token that a class of transformers adds, with an id that no file gives it."""
    given = set(tokenizer.get_vocab(with_added_tokens=False))
    if os.path.lexists(folder / ADDED_TOKENS):
        given |= read_object(folder / ADDED_TOKENS).keys()
    if _states(folder, "added_tokens_decoder"):
        stated = read_object(folder / TOKENIZER_CONFIG)["added_tokens_decoder"]
        given |= {t["content"] for t in stated.values()}
    ids = tokenizer.get_vocab()
    if (token := min(ids.keys() - given, key=ids.__getitem__, default=None)) is not None:
        raise TokentrailsError(
            f"its files have no token {token!r}: {name} makes it up, with the id {ids[token]:,}",
            where=where,
            hint=f"give its {TOKENIZER}, or an {ADDED_TOKENS} that says the ids of such tokens; "
            f"special tokens under other names belong into its {TOKENIZER_CONFIG}.",
        )


def _states(folder: Path, key: str) -> bool:
    path = folder / TOKENIZER_CONFIG
    return os.path.lexists(path) and key in read_object(path)


def _from_pretrained(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True, use_fast=True
    )
