"""All that there is to know of a GPU, in one go: is it right, and how fast is it?

    PYTHONPATH=workflow python tests/benchmarks/gpu.py

needs nothing but the checkout: the model is a random one of smollm2-135m's size. It prints one JSON
object per line:

- the machine;
- `suite`: how many tests of tests/gpu passed, failed and were skipped; the log of pytest goes to
  the standard error;
- `extraction` of 512 texts of 64 and of 512 tokens at all places, on the GPU in every precision and
  by token budget: `seconds` (the shortest of three, taken in turns), `tokens_per_second`, `bare`
  (the seconds of the forward pass alone, with the budget that is best for it), `of_bare` (its share
  of the speed of that pass), `reading_of_bare` (the same of what comes before the states' file is
  written, with the states in memory), `peak_gpu_mb`; of the short texts also `cpu_seconds`, `error`
  (root mean square of the difference from the CPU's states at the worst place, as a share of the
  states' own);
- `ranks` of 2,000 and 20,000 states among 49,152 rows: `bare` seconds of the product alone, in the
  best of several block sizes, `seconds` and `of_bare`, without and with the five nearest entries.

The exit status is 1 if a test failed, and 2 where there is no GPU.
`--rehearse` tries the script itself where there is none: a small model, and the CPU in its place.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import chain, product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import torch
import transformers
from harness import fastest
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.network.architectures import Architecture
from tokentrails.network.device import choose_device
from tokentrails.network.extract import extract
from tokentrails.network.load import load_model
from tokentrails.vocabulary.ranks import Matrix, closest_in

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SMALL = SMOLLM2 | {"vocab_size": 999, "hidden_size": 36, "num_hidden_layers": 2}
LENGTHS, BUDGETS = (64, 512), (4096, 16_384, 65_536)
PRECISIONS = ("float32", "bfloat16", "float16")


def suite() -> dict[str, int]:
    """Run tests/gpu, and count how its tests ended."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/gpu", "-rs", f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr)
        counted = ElementTree.parse(report).find("testsuite").attrib
    failed = int(counted["failures"]) + int(counted["errors"])
    skipped = int(counted["skipped"])
    passed = int(counted["tests"]) - failed - skipped
    return {"passed": passed, "failed": failed, "skipped": skipped}


def tokens_of(n: int, length: int, vocabulary: int) -> pa.Table:
    """n random texts; the target is the last token."""
    ids = np.random.default_rng(0).integers(vocabulary, size=(n, length))
    last = pa.array([length - 1] * n)
    return pa.table(
        {
            "occurrence": pa.array(range(n), pa.int32()),
            "label": [f"t{i}" for i in range(n)],
            "token_ids": ids.tolist(),
            "first": last,
            "last": last,
        }
    )


def run(
    model: nn.Module,
    architecture: Architecture,
    tokens: pa.Table,
    path: Path,
    budget: int,
    *,
    written: bool = True,
) -> None:
    depth, width = model.config.num_hidden_layers, model.config.hidden_size
    at = places(architecture.sites, depth)
    # As in the workflow, no file is there that would have to be removed, which takes time.
    if path.exists():
        path.rename(path.with_name(f"{len(list(path.parent.iterdir()))}"))
    with StatesWriter(path, at, tokens["occurrence"].to_pylist(), width) as writer:
        extract(
            model, architecture, tokens, writer, pooling="last", token_budget=budget, name="bench"
        )
        if written:
            writer.finish({})


@torch.inference_mode()
def bare_forward(model: nn.Module, tokens: pa.Table, budget: int) -> None:
    """The same batches through the same body, with nothing read."""
    ids = torch.tensor(tokens["token_ids"].to_pylist())
    device = next(model.parameters()).device
    for batch in ids.split(max(1, budget // ids.shape[1])):
        model(input_ids=batch.to(device), use_cache=False)
    wait(device)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def error(path: Path, expected: Path) -> float:
    """Of the states at the worst place, as a share of their size."""
    layers = zip(StatesReader(path), StatesReader(expected), strict=True)
    pairs = ((a.hidden.astype(float), b.hidden.astype(float)) for a, b in layers)
    return max(float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean())) for a, b in pairs)


def extraction(device: torch.device, sizes: dict[str, int], n: int) -> Iterator[dict[str, object]]:
    """Time the device by precision, length and budget, and compare its states with the CPU's."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
        expected, path = folder / "cpu.parquet", folder / "states.parquet"
        short = tokens_of(n, LENGTHS[0], sizes["vocab_size"])
        on_cpu = load_model(folder, torch.device("cpu"), "float32")
        cpu_seconds = fastest(
            partial(run, *on_cpu, short, expected, BUDGETS[0]), times=1, seconds=0
        )[0]
        for dtype, length in product(PRECISIONS, LENGTHS):
            tokens = tokens_of(n, length, sizes["vocab_size"])
            model, architecture = load_model(folder, device, dtype)
            works = [partial(bare_forward, model, tokens, budget) for budget in BUDGETS]
            ours = [partial(run, model, architecture, tokens, path, budget) for budget in BUDGETS]
            reading = [partial(work, written=False) for work in ours]
            times = fastest(*works, *ours, *reading, seconds=0)
            some = len(BUDGETS)
            bare, written, unwritten = min(times[:some]), times[some : 2 * some], times[2 * some :]
            timed = zip(BUDGETS, ours, written, unwritten, strict=True)
            for budget, work, seconds, read in timed:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                work()
                peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
                line = {
                    "dtype": dtype,
                    "length": length,
                    "budget": budget,
                    "seconds": round(seconds, 3),
                    "tokens_per_second": round(n * length / seconds),
                    "bare": round(bare, 3),
                    "of_bare": round(bare / seconds, 3),
                    "reading_of_bare": round(bare / read, 3),
                    "peak_gpu_mb": round(peak / 1e6),
                }
                if length == LENGTHS[0]:
                    far = float(f"{error(path, expected):.2g}")
                    line |= {"cpu_seconds": round(cpu_seconds, 2), "error": far}
                yield {"extraction": line}


def ranks(device: torch.device, sizes: dict[str, int], n: int) -> Iterator[dict[str, object]]:
    """Time ranks of some states, and of ten times as many, against the product alone."""
    torch.manual_seed(0)
    rows = torch.randn(sizes["vocab_size"], sizes["hidden_size"]).to(device)
    matrix = Matrix(rows, torch.ones(len(rows), dtype=torch.bool, device=device))  # once a job
    for many in (n, 10 * n):
        own = torch.randint(len(rows), (many,)).to(device)
        states = rows[own] + 3 * torch.randn(many, rows.shape[1]).to(device)

        def multiplied(width: int, states=states) -> None:
            room = torch.empty(len(states), width, device=device)
            for part in rows.split(width):
                torch.mm(states, part.T, out=room[:, : len(part)])
            wait(device)

        def ranked(k: int, states=states, own=own) -> None:
            closest_in(states, matrix, own, k=k)
            wait(device)

        # A product into some columns of a room is slow: widths divide the vocabulary.
        *bare, plain, nearest = fastest(
            *(partial(multiplied, len(rows) // parts) for parts in (1, 4, 16)),
            partial(ranked, 0),
            partial(ranked, 5),
            seconds=0,
        )
        for k, seconds in ((0, plain), (5, nearest)):
            line = {"states": many, "nearest": k, "seconds": round(seconds, 4)}
            line |= {"bare": round(min(bare), 4), "of_bare": round(min(bare) / seconds, 3)}
            yield {"ranks": line}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="try the script without a GPU")
    rehearse = parser.parse_args().rehearse
    if not rehearse and not torch.cuda.is_available():
        print(
            "There is no GPU here that torch can use, so nothing was measured.\n"
            "Hint: run this on a machine with a GPU, with a build of torch for it.",
            file=sys.stderr,
        )
        sys.exit(2)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    machine = {
        "gpu": None if rehearse else torch.cuda.get_device_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
    }
    print(json.dumps(machine), flush=True)
    counted = suite()  # before this process takes the GPU, for which the tests would wait
    print(json.dumps({"suite": counted}), flush=True)
    device = choose_device("cpu" if rehearse else "cuda")
    sizes, texts, states = (SMALL, 20, 30) if rehearse else (SMOLLM2, 512, 2000)
    for line in chain(ranks(device, sizes, states), extraction(device, sizes, texts)):
        print(json.dumps(line), flush=True)
    sys.exit(bool(counted["failed"]))


if __name__ == "__main__":
    main()
