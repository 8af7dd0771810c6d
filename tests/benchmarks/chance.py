"""The baseline against the extraction that it serves, and against a sample of random pairs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from harness import Measured, fastest
from material import MODEL, needed, run_extraction

from tokentrails.catalogue import BASELINE
from tokentrails.config.experiments import load_experiment
from tokentrails.files.states import StatesReader
from tokentrails.metrics.baseline import Sample, chances
from tokentrails.network.load import load_model
from tokentrails.network.weights import Weights
from tokentrails.settings import BASELINE_TEXTS
from tokentrails.statistics.bootstrap import Bootstrap
from tokentrails.statistics.similarity import pair_cosines
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

PAIRS = 10_000


def results(folder: Path = MODEL) -> Iterator[Measured]:
    """Of the model in `folder`, on the default texts of the baseline, at every place."""
    needed(folder)
    experiment = load_experiment(BASELINE, {"file": BASELINE_TEXTS})
    tokens, _ = tokenize(experiment, TokenizerFiles.load(folder), 8192, model="bench")
    model, architecture = load_model(folder, torch.device("cpu"), "float32")
    sample = Sample.from_tokens(tokens, BASELINE_TEXTS)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "states.parquet"

        def exactly() -> None:
            weights = Weights(folder / "model.safetensors")
            matrix = weights.find(architecture.embedding)
            own = weights.rows(matrix, sample.token_ids)
            list(chances(StatesReader(path), sample, own, Bootstrap(1000, 0.95, 0)))

        def by_sample() -> None:
            rng = np.random.default_rng(0)
            for at in StatesReader(path):
                a, b = rng.integers(len(at.hidden), size=(2, PAIRS))
                pair_cosines(at.hidden, at.hidden, a, b).cosine.mean()

        extraction, chance, sampled = fastest(
            lambda: run_extraction(model, architecture, tokens, path), exactly, by_sample
        )
    yield Measured(
        "chance of all pairs with intervals, against extracting their texts",
        chance / extraction,
        "of its time",
        at_most=1,
    )
    yield Measured(
        f"a sample of {PAIRS:,} pairs, against chance of all pairs", sampled / chance, "of its time"
    )
