"""States of every token of some texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32, Int

from ..files.states import Place, refuse_non_finite
from ..network.batches import model_batches
from ..network.extract import run_batch
from ..network.stream import StreamReader
from .models import Loaded


def run(
    loaded: Loaded, tokens: pa.Table, read: Sequence[Place], name: str, *, at_once: int
) -> Iterator[tuple[Int[np.ndarray, " m"], Float32[np.ndarray, "places m d"]]]:
    """Rows of the tokens table and their states, a batch at a time.

    Parameters
    ----------
    at_once: most tokens of a batch of several texts.

    Raises
    ------
    TokentrailsError: for a state that is not finite.
    """
    model, architecture = loaded.readout.model, loaded.readout.architecture
    positions = [(position,) for position in tokens["last"].to_pylist()]
    ids = tokens["token_ids"].to_pylist()
    for batch in model_batches(architecture, ids, positions, at_once, len(tokens)):
        # Not around all of them: between two, the model may run for others.
        with torch.inference_mode(), StreamReader(model, architecture, read) as reader:
            rows, wait = run_batch(reader, batch, causal=architecture.causal)
            hidden = wait()
        refuse_non_finite(hidden, rows, read, tokens["label"].to_pylist(), name)
        yield rows, hidden
