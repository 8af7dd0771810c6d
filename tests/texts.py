"""Experiments on a few texts, and tokenizers that cut at spaces alone."""

import unicodedata

from tokenizers import Tokenizer, models, pre_tokenizers

from tokentrails.settings import Experiment, Prompt
from tokentrails.texts.tokenization import TokenizerFiles


def target(text, *, label="a", token=None, word=None, occurrence=1, **groups):
    return Prompt(label, text, token, word, occurrence, groups)


def experiment(*prompts, special_tokens="default", analyses=("identity",)):
    return Experiment("e", "e.yaml", (), "last", special_tokens, ("resid",), analyses, prompts)


def plain(text):
    """Without accents, capitals and spaces, which some tokenizers drop."""
    parts = unicodedata.normalize("NFD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c) and not c.isspace())


def whitespace_tokenizer(*vocabulary):
    entries = {word: i for i, word in enumerate(["<unk>", *vocabulary])}
    raw = Tokenizer(models.WordLevel(entries, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return TokenizerFiles(raw, None, "<unk>")
