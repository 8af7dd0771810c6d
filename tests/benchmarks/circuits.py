"""Heads and neurons of smollm2-135m as words, against products that cannot be avoided."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness import Measured, extra_memory, fastest, own_process
from material import MODEL, needed

from tokentrails.metrics.heads import HeadTables
from tokentrails.metrics.neurons import neurons
from tokentrails.network.factored import Factored
from tokentrails.network.load import load_model
from tokentrails.network.parts import Parts
from tokentrails.network.trace import Trace, trace
from tokentrails.texts.entries import entries
from tokentrails.texts.tokenization import TokenizerFiles
from tokentrails.texts.whole import WholeText
from tokentrails.vocabulary.spaces import Spaces

LENGTHS = (8, 256)
PROVENANCE = {"model": "smollm2-135m", "checkpoint": "main", "experiment": "bench"}
LISTS = {"top": 10, "high_bias": 2.0, "provenance": PROVENANCE}


class Model:
    """A model taken apart, with the entries of its vocabulary."""

    def __init__(self, folder: Path) -> None:
        self.model, self.architecture = load_model(folder, torch.device("cpu"), "float32")
        self.parts = Parts.from_model(self.model, folder)
        vocabulary = TokenizerFiles.load(folder).tokenizer.get_vocab()
        self.names = entries(vocabulary, len(self.parts.embedding))

    def text(self, n: int) -> WholeText:
        ids = np.random.default_rng(0).integers(len(self.names), size=n).tolist()
        return WholeText("text", ids, [self.names[i] or "" for i in ids])

    def trace(self, text: WholeText) -> Trace:
        return trace(self.model, self.architecture, text.token_ids)

    def heads(self, text: WholeText, traced: Trace, layers: Sequence[int]) -> None:
        """The tables of heads, from the spaces on, part by part as the script writes them."""
        spaces = Spaces(self.parts, self.names)
        tables = HeadTables(spaces, layers, range(9), layers, **LISTS)
        for _ in tables.tables([text], lambda token_ids: traced):
            pass
        tables.summary.table()

    def neurons(self, layers: Sequence[int]) -> None:
        parts = replace(self.parts, blocks=tuple(self.parts.blocks[i] for i in layers))
        for _ in neurons(Spaces(parts, self.names), layers=range(len(layers)), **LISTS):
            pass

    def bare_heads(self, text: WholeText, traced: Trace, layers: Sequence[int]) -> Callable:
        """The products of all patterns and messages with the rows, the cheaper way, unread."""
        rows = Spaces(self.parts, self.names).embedding.rows
        factored = []
        for layer in layers:
            block = self.parts.blocks[layer]
            x_hat = block.attention_norm(traced.resid[layer])
            message = block.heads.messages(x_hat)
            patterns = (block.heads.patterns(x_hat, side)[0] for side in ("query", "key"))
            factored += [message, message, *patterns]

        def work() -> None:
            for vectors in factored:
                if vectors.multiplying_out_is_cheaper(len(rows)):
                    bare_product(vectors.product().flatten(0, 1), rows)
                else:
                    thin_product(vectors, rows)

        return work

    def bare_neurons(self, layers: Sequence[int]) -> None:
        rows = Spaces(self.parts, self.names).embedding.rows
        for layer in layers:
            mlp = self.parts.blocks[layer].mlp
            for vectors in (mlp.W_gate.mT, mlp.W_in.mT, mlp.W_out, mlp.W_out):
                bare_product(vectors, rows)


def bare_product(vectors: torch.Tensor, rows: torch.Tensor) -> None:
    """Vectors times rows, some vectors at a time into the same room."""
    for _ in products(vectors, rows):
        pass


def products(vectors: torch.Tensor, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    buffer = torch.empty(min(256, len(vectors)), len(rows))
    for some in vectors.split(len(buffer)):
        yield torch.mm(some, rows.T, out=buffer[: len(some)])


def thin_product(vectors: Factored, rows: torch.Tensor) -> None:
    """Rows times the matrices of all heads, and for each head its vectors times what that gives."""
    matrices = sorted(set(vectors.matrix))
    right = vectors.right[matrices]
    thin = (rows @ right.flatten(0, 1).T).unflatten(1, right.shape[:2])
    for index, matrix in enumerate(matrices):
        of = [head for head, its in enumerate(vectors.matrix) if its == matrix]
        bare_product(vectors.left[of].flatten(0, 1), thin[:, index])


@torch.no_grad()
def results(folder: Path = MODEL, layers: Sequence[int] = range(0, 30, 3)) -> Iterator[Measured]:
    """The ratios of every third layer: all are equally large."""
    needed(folder)
    model = Model(folder)
    for n in LENGTHS:
        text = model.text(n)
        traced = model.trace(text)
        bare, ours = fastest(
            model.bare_heads(text, traced, layers),
            lambda text=text, traced=traced: model.heads(text, traced, layers),
        )
        yield Measured(
            f"heads of a text of {n} tokens, against their bare products",
            ours / bare,
            "of its time",
            at_most=1.5,
        )
    bare, ours = fastest(lambda: model.bare_neurons(layers), lambda: model.neurons(layers))
    yield Measured(
        "all neurons, against their bare products", ours / bare, "of its time", at_most=1.3
    )
    for n in LENGTHS:
        yield Measured(
            f"memory beyond the model, heads of {n} tokens",
            own_process(__file__, folder, n),
            "MB",
            at_most=1000,
        )


@torch.no_grad()
def memory_of_heads(folder: Path, n: int) -> float:
    """Most memory in MB that the tables of heads take beyond the model, the trace included."""
    model, some = Model(folder), range(30)
    model.heads(model.text(2), model.trace(model.text(2)), [0])  # what the library takes once
    text = model.text(n)
    return extra_memory(lambda: model.heads(text, model.trace(text), some))


if __name__ == "__main__":
    print(memory_of_heads(Path(sys.argv[1]), int(sys.argv[2])))
