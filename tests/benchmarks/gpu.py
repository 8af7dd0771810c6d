"""All that there is to know of a GPU, in one go: is it right, and how fast is it?

    PYTHONPATH=workflow python tests/benchmarks/gpu.py

needs nothing but the checkout: the model is a random one of smollm2-135m's size. It prints one JSON
object per line:

- the machine;
- `suite`: how many tests of tests/gpu passed, failed and were skipped; the log of pytest goes to
  the standard error;
- for the CPU in float32 and for the GPU in every precision, the extraction of 512 texts of 64
  tokens at all places: `seconds` (the shortest of three, taken in turns), `tokens_per_second`,
  `times_the_cpu`, `error` (root mean square of the difference from the CPU's states at the worst
  place, as a share of the states' own) and `peak_gpu_mb`.

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
from functools import partial
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
LENGTH, BUDGET = 64, 4096
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


def tokens_of(n: int, vocabulary: int) -> pa.Table:
    """n random texts; the target is the last token."""
    ids = np.random.default_rng(0).integers(vocabulary, size=(n, LENGTH))
    last = pa.array([LENGTH - 1] * n)
    return pa.table(
        {
            "occurrence": pa.array(range(n), pa.int32()),
            "label": [f"t{i}" for i in range(n)],
            "token_ids": ids.tolist(),
            "first": last,
            "last": last,
        }
    )


def run(model: nn.Module, architecture: Architecture, tokens: pa.Table, path: Path) -> None:
    depth, width = model.config.num_hidden_layers, model.config.hidden_size
    at = places(architecture.sites, depth)
    with StatesWriter(path, at, tokens["occurrence"].to_pylist(), width) as writer:
        extract(
            model, architecture, tokens, writer, pooling="last", token_budget=BUDGET, name="bench"
        )
        writer.finish({})


def error(path: Path, expected: Path) -> float:
    """Of the states at the worst place, as a share of their size."""
    layers = zip(StatesReader(path), StatesReader(expected), strict=True)
    pairs = ((a.hidden.astype(float), b.hidden.astype(float)) for a, b in layers)
    return max(float(np.sqrt(((a - b) ** 2).mean() / (b**2).mean())) for a, b in pairs)


def extraction(device: torch.device, sizes: dict[str, int], n: int) -> list[dict[str, object]]:
    """Time the CPU and the device, and compare their states."""
    torch.manual_seed(0)
    tokens = tokens_of(n, sizes["vocab_size"])
    runs = [(torch.device("cpu"), "float32"), *((device, dtype) for dtype in PRECISIONS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
        paths = [folder / f"{i}.parquet" for i in range(len(runs))]
        works = [
            partial(run, *load_model(folder, where, dtype), tokens, path)
            for (where, dtype), path in zip(runs, paths, strict=True)
        ]
        times, peaks = fastest(*works), []
        for work in works:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            work()
            peaks.append(torch.cuda.max_memory_allocated() if device.type == "cuda" else 0)
        return [
            {
                "device": where.type,
                "dtype": dtype,
                "seconds": round(seconds, 3),
                "tokens_per_second": round(n * LENGTH / seconds),
                "times_the_cpu": round(times[0] / seconds, 2),
                "error": float(f"{error(path, paths[0]):.2g}"),
                "peak_gpu_mb": round(peak / 1e6),
            }
            for (where, dtype), seconds, path, peak in zip(runs, times, paths, peaks, strict=True)
        ]


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
    for line in extraction(device, *((SMALL, 20) if rehearse else (SMOLLM2, 512))):
        print(json.dumps(line), flush=True)
    sys.exit(bool(counted["failed"]))


if __name__ == "__main__":
    main()
