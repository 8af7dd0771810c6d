"""Ranks of real states in the vocabulary of smollm2-135m, against what cannot be avoided."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from harness import Measured, extra_memory, fastest, own_process
from material import MODEL, needed, run_extraction, tokens_of

from tokentrails.files.states import StatesReader
from tokentrails.metrics.identity import own_token_ids
from tokentrails.network.load import load_model
from tokentrails.network.weights import Weights
from tokentrails.vocabulary.ranks import closest

N = 2000
BLOCKS = (1024, 2048, 4096)


def states_of(model_folder: Path, tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """`resid_mid` of the targets at every layer, and each one's own row."""
    model, architecture = load_model(model_folder, torch.device("cpu"), "float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.parquet"
        run_extraction(model, architecture, tokens, path, ["resid_mid"])
        states = np.concatenate([layer.hidden for layer in StatesReader(path)])
    own = np.tile(own_token_ids(tokens, "last"), len(states) // len(tokens))
    some = np.random.default_rng(0).permutation(len(states))[:N]
    return torch.from_numpy(states[some]), torch.from_numpy(own[some].astype(np.int64))


def bare_product(states: torch.Tensor, rows: torch.Tensor, width: int) -> Callable[[], None]:
    """The product of states and rows, block by block into the same room, with nothing read."""
    buffer = torch.empty(len(states), width)

    def work() -> None:
        for start in range(0, len(rows), width):
            torch.mm(states, rows[start : start + width].T, out=buffer)

    return work


def published_way(states: torch.Tensor, rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """All cosines, all sorted, and the place of the own row among them."""
    unit_states, unit_rows = (torch.nn.functional.normalize(x, dim=1) for x in (states, rows))
    order = (unit_states @ unit_rows.T).argsort(dim=1, descending=True)
    return (order == own[:, None]).nonzero()[:, 1]


def speed(model: Path, rows: torch.Tensor, tokens) -> Iterator[Measured]:
    states, own = states_of(model, tokens)
    assert len(states) == N
    *bare, ranked, with_nearest = fastest(
        *(bare_product(states, rows, width) for width in BLOCKS),
        lambda: closest(states, rows, own),
        lambda: closest(states, rows, own, k=5),
    )
    against = "against the fastest bare product"
    yield Measured(
        f"ranks of 2,000 states, {against}", ranked / min(bare), "of its time", at_most=1.15
    )
    yield Measured(
        f"ranks with the 5 nearest entries, {against}", with_nearest / min(bare), "of its time"
    )
    ours, published = fastest(
        lambda: closest(states, rows, own), lambda: published_way(states, rows, own)
    )
    yield Measured(
        "ranks, against the published full sort", published / ours, "times as fast", at_least=5
    )


def memory_of_ranks(n: int) -> float:
    """Most memory in MB that ranking takes beyond the states and the matrix."""
    torch.manual_seed(0)
    states, rows = torch.randn(n, 576), torch.randn(49_152, 576)
    own = torch.randint(49_152, (n,))
    closest(states[:8], rows[:64], own[:8] % 64, k=5)  # what the library takes once
    return extra_memory(lambda: closest(states, rows, own, k=5))


def results(model: Path = MODEL) -> Iterator[Measured]:
    needed(model)
    weights = Weights(model / "model.safetensors")
    rows = torch.from_numpy(weights.tensor(weights.find("embed_tokens")))
    yield from speed(model, rows, tokens_of(70))
    for n in (2_000, 20_000):
        yield Measured(
            f"memory beyond states and embeddings, ranking {n:,} states",
            own_process(__file__, n),
            "MB",
            at_most=256,
        )


if __name__ == "__main__":
    print(memory_of_ranks(int(sys.argv[1])))
