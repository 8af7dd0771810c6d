"""Adding up a running text while the model runs, against the bare model on the same batches."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Measured, extra_memory, fastest
from material import MODEL, needed

from tokentrails.files.states import places
from tokentrails.metrics.corpus_sums import GROUPS, CorpusSums, Piece, Running
from tokentrails.metrics.own_token import Readout
from tokentrails.network.parts import load_parts

LENGTH, PIECES, BATCHES, READ_OUT = 512, 2, 4, 4


def batches(vocabulary: int) -> list[list[Piece]]:
    """Pieces of random tokens in random groups."""
    rng = np.random.default_rng(0)
    made = []
    for batch in range(BATCHES):
        pieces = []
        for index in range(batch * PIECES, (batch + 1) * PIECES):
            ids = rng.integers(vocabulary, size=LENGTH).tolist()
            group = rng.integers(GROUPS, size=LENGTH)
            group[0] = -1
            pieces.append(Piece(index, index, f"piece{index}", ids, group))
        made.append(pieces)
    return made


def results() -> Iterator[Measured]:
    needed(MODEL)
    model, architecture, parts = load_parts(MODEL, torch.device("cpu"))
    given = batches(len(parts.embedding))
    where = places(["resid"], len(parts.blocks))
    readout = Readout(model, architecture, parts, ["e"] * len(parts.embedding))

    def bare() -> None:
        with torch.inference_mode():
            for pieces in given:
                model(torch.tensor([piece.token_ids for piece in pieces]), use_cache=False)

    def summed(read_out: int) -> None:
        kept = readout if read_out else None
        running = Running(model, architecture, where, parts.embedding, kept, read_out, 0, "bench")
        sums = CorpusSums(running, given[0][:1])
        for pieces in given:
            sums.add(pieces)

    alone, sums, read = fastest(bare, lambda: summed(0), lambda: summed(READ_OUT), times=2)
    n = f"{BATCHES * PIECES * LENGTH:,} tokens at {len(where)} layers"
    yield Measured(f"sums over {n}, against the bare model", sums / alone, "of its time")
    yield Measured(
        f"the same with {READ_OUT} of {LENGTH} tokens read out", read / alone, "of its time"
    )
    yield Measured("memory of the sums", extra_memory(lambda: summed(0)), "MB")
