"""Tiny models taken apart, with two texts and the words of their vocabularies."""

from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from measures import classed
from pytest import approx
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
        self.tokens = classed(tokenize(whole(*TEXTS), files, 64, model=name)[0])
        self.texts = whole_texts(self.tokens)
        self.rows = cache(self._rows)

    def trace(self, token_ids):
        return trace(self.model, self.architecture, token_ids)

    def own(self, token_ids):
        """The tokens' rows of the embedding."""
        return Checkpoint(self.folder).embedding_rows(np.array(token_ids))

    def gain(self, norm):
        """What a norm multiplies its dimensions by."""
        return norm.weight.double() + (self.name == "gemma2")

    def added(self, norm, vector):
        """A vector behind the norm of its branch, but for the division."""
        if hasattr(norm, "weight"):
            return vector * self.gain(norm).numpy()
        return vector * getattr(norm, "value", 1)

    def _rows(self, space, layer):
        """The vocabulary in a space, through the model's own norms, in float64."""
        parts, block = self.parts, self.parts.blocks[layer]
        E = parts.embedding
        stream = E if parts.embedding_norm is None else parts.embedding_norm(E)
        if space == "unembedding":
            rows = parts.unembedding.double() * self.gain(parts.final_norm)
            if hasattr(parts.final_norm, "bias"):  # of these models, it subtracts the mean
                rows -= rows.mean(1, keepdim=True)
        else:
            norms = {"attention_input": block.attention_norm, "mlp_input": block.mlp_norm}
            rows = E if space == "embedding" else norms[space](stream)
        return rows.detach().double().numpy()

    def assert_list(self, row, vector, k, high_bias):
        """A row of a table lists the words nearest to a vector, by a plain loop."""
        rows, length = self.rows(row["space"], row["layer"]), np.linalg.norm(vector)
        listed = self.spaces.entries.tolist()
        cosine = {self.names[i]: rows[i] @ vector / np.linalg.norm(rows[i]) for i in listed}
        # By value: where two are equal but for rounding, either may come first.
        top = np.array(sorted(cosine.values())[: -k - 1 : -1]) / length
        np.testing.assert_allclose(row["top_cosine"], top, atol=1e-5)
        np.testing.assert_allclose([cosine[w] / length for w in row["top"]], top, atol=1e-5)
        assert len(set(row["top"])) == k
        z = dict(zip((self.names[i] for i in listed), self.spaces.z.tolist(), strict=True))
        assert row["bias"] == approx(np.mean([abs(z[w]) for w in row["top"]]), abs=1e-6)
        assert row["high_bias"] is (row["bias"] > high_bias)
        assert row["norm"] == approx(length, rel=1e-5)


def frame(*tables):
    """Tables below each other."""
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
