"""Extraction from smollm2-135m: speed against other ways of doing it, and memory."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import torch
from harness import Measured, fastest, own_process, peak_memory
from material import MODEL, needed, run_extraction, scratch_folder, tokens_of
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from tokentrails.network.batches import batches, texts_to_run
from tokentrails.network.load import load_model

BUDGETS = (1024, 4096)


def published_way(model, tokens: pa.Table) -> None:
    """One prompt at a time, the whole model, all hidden states."""
    embedding = model.get_input_embeddings().weight
    for ids, last in zip(tokens["token_ids"].to_pylist(), tokens["last"].to_pylist(), strict=True):
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        own = embedding[ids[last]]
        for hidden in out.hidden_states:
            torch.nn.functional.cosine_similarity(hidden[0, last], own, dim=0).item()


def bare_forward(model, architecture, tokens: pa.Table, budget: int) -> None:
    """Batches of so many tokens through the same body, with nothing read."""
    ids = tokens["token_ids"].to_pylist()
    where = [(last,) for last in tokens["last"].to_pylist()]
    for batch in batches(texts_to_run(ids, where, causal=architecture.causal), budget, len(ids)):
        rows = [torch.tensor(text.token_ids) for text in batch]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        model(input_ids=padded, use_cache=False)


def speed() -> Iterator[Measured]:
    """Against the published way, and against the forward pass alone."""
    needed(MODEL)
    few, many = tokens_of(64), tokens_of(512)
    full = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    model, architecture = load_model(MODEL, torch.device("cpu"), "float32")
    with scratch_folder() as folder:
        path = Path(folder) / "states.parquet"
        published, ours = fastest(
            torch.inference_mode()(lambda: published_way(full, few)),
            lambda: run_extraction(model, architecture, few, path),
        )
        yield Measured(
            "extraction of 64 prompts, against the published way",
            published / ours,
            "times as fast",
            at_least=5,
        )
        *bare, ours = fastest(
            *(
                torch.inference_mode()(partial(bare_forward, model, architecture, many, budget))
                for budget in BUDGETS
            ),
            lambda: run_extraction(model, architecture, many, path),
        )
        yield Measured(
            "extraction of 512 prompts, against the bare forward pass",
            min(bare) / ours,
            "of its speed",
            at_least=0.9,
        )


def memory() -> Iterator[Measured]:
    """Peak memory of a process that extracts few and many prompts."""
    needed(MODEL)
    peaks = {n: own_process(__file__, n) for n in (1_000, 20_000)}
    yield Measured(
        "peak memory at 20,000 prompts, above that at 1,000",
        peaks[20_000] - peaks[1_000],
        "MB",
        at_most=300,
    )


def main(n: int) -> None:
    """As the script of the rule does it, the peak of memory in MB printed."""
    disable_progress_bar()
    set_verbosity_error()
    tokens = tokens_of(n)
    model, architecture = load_model(MODEL, torch.device("cpu"), "float32")
    with scratch_folder() as folder:
        run_extraction(model, architecture, tokens, Path(folder) / "states.parquet")
    print(peak_memory())


if __name__ == "__main__":
    main(int(sys.argv[1]))
