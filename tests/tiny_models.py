"""Tiny models taken apart, with two texts and the words of their vocabularies."""

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from test_whole_texts import whole

from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.load import load_language_model
from tokentrails.network.parts import Parts
from tokentrails.network.trace import trace
from tokentrails.texts.tokenization import tokenize
from tokentrails.texts.whole import whole_texts
from tokentrails.vocabulary.spaces import Spaces

CPU = torch.device("cpu")
TEXTS = ("The boat reached the river bank.", "She will lead the team; a guide followed.")


class TinyModel:
    """A model of a folder, by its parts; `language_model` is the same with its unembedding."""

    def __init__(self, name, folder, files):
        self.name, self.folder, self.tokenizer = name, folder, files.tokenizer
        self.language_model, self.architecture = load_language_model(folder, CPU, name="tiny")
        self.model = self.language_model.base_model
        self.parts = Parts.from_model(self.model, folder)
        self.names = files.entries(len(self.parts.embedding))
        self.spaces = Spaces(self.parts, self.names)
        self.tokens = tokenize(whole(*TEXTS), files, 64, model=name)[0]
        self.texts = whole_texts(self.tokens)

    def trace(self, token_ids):
        return trace(self.model, self.architecture, token_ids)

    def own(self, token_ids):
        """The tokens' rows of the embedding."""
        return Checkpoint(self.folder).embedding_rows(np.array(token_ids))


def frame(*tables):
    """Tables below each other."""
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
