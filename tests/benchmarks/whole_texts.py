"""What is measured of every token of whole texts, against their extraction and against a bound."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from harness import Measured, fastest, own_process, peak_memory
from material import MODEL, needed, run_extraction, scratch_folder

from tokentrails.files.states import Layer, StatesReader
from tokentrails.metrics import decodability
from tokentrails.metrics.geometry import Tokens, geometry
from tokentrails.metrics.ranks import Vocabulary
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.load import load_model
from tokentrails.statistics.bootstrap import Bootstrap
from tokentrails.statistics.permutation import Permutation
from tokentrails.statistics.settings import Statistics

LENGTH, TOKENS, LAYERS = 128, 20_000, 31
GEOMETRY_TOKENS = 5 * 1024
PROVENANCE = {"model": "m", "checkpoint": "c", "experiment": "e"}
STATISTICS = Statistics(Bootstrap(1000, 0.95, 0), Permutation(1000, 0), 10, {})


def tokens_of(n: int, vocabulary: int) -> pa.Table:
    """Every token of texts; a few entries are frequent, as in a language (Zipf's law)."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(vocabulary)[np.minimum(rng.zipf(1.3, n), vocabulary) - 1]
    texts = [ids[start : start + LENGTH].tolist() for start in range(0, n, LENGTH)]
    position = pa.array(np.arange(n) % LENGTH, pa.int32())
    return pa.table(
        {
            "occurrence": pa.array(range(n), pa.int32()),
            "label": [f"t{i // LENGTH:04}" for i in range(n)],
            "position": position,
            "first": position,
            "last": position,
            "tokens": [[f"e{number}" for number in texts[i // LENGTH]] for i in range(n)],
            "word": ["w"] * n,
            "token_ids": [texts[i // LENGTH] for i in range(n)],
        }
    )


def decoded(layers: int) -> None:
    """Every map at so many layers, as the script of the rule does it."""
    rows = torch.from_numpy(Checkpoint(MODEL).embedding)
    tokens = tokens_of(TOKENS, len(rows))
    ids = np.concatenate(tokens["token_ids"].to_pylist()[::LENGTH])
    states = (rows[ids] + rows[np.roll(ids, 1)]).numpy()
    samples = decodability.samples(tokens, 0)
    places = (Layer("resid", layer, np.arange(len(ids)), states) for layer in range(layers))
    looked = decodability.looked_up(places, samples, Vocabulary(["e"] * len(rows), rows))
    found = decodability.Found.of(looked, samples)
    decodability.decodability(found, len(ids), STATISTICS.bootstrap, provenance=PROVENANCE)


def extraction_and_geometry() -> list[float]:
    """Seconds of both, of every token at all places of smollm2."""
    model, architecture = load_model(MODEL, torch.device("cpu"), "float32")
    tokens = tokens_of(GEOMETRY_TOKENS, model.config.vocab_size)
    with scratch_folder() as folder:
        path = Path(folder) / "states.parquet"
        return fastest(
            lambda: run_extraction(model, architecture, tokens, path),
            lambda: geometry(
                StatesReader(path),
                Tokens.from_table(tokens, "last"),
                statistics=STATISTICS,
                provenance=PROVENANCE,
                threads=torch.get_num_threads(),
            ),
            times=2,
        )


def results() -> Iterator[Measured]:
    needed(MODEL)
    start, two = fastest(lambda: decoded(1), lambda: decoded(3), times=1)
    yield Measured(
        f"decodability of {TOKENS:,} tokens at {LAYERS} layers, from three of them",
        start + (LAYERS - 1) * (two - start) / 2,
        "s",
        at_most=180,
    )
    yield Measured("peak memory of decodability", own_process(__file__, 2), "MB", at_most=2000)
    extraction, shape = own_process(__file__, "geometry")
    yield Measured(
        f"geometry of {GEOMETRY_TOKENS:,} tokens, against extracting them",
        shape / extraction,
        "of its time",
        at_most=0.3,
    )


if __name__ == "__main__":
    if sys.argv[1] == "geometry":
        print(json.dumps(extraction_and_geometry()))
    else:
        decoded(int(sys.argv[1]))
        print(peak_memory())
