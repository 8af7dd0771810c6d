"""Speed and memory as ratios within one run, on smollm2-135m and nano. `make bench` runs this.

Each ratio compares the workflow with another way of doing the same work, on the same machine,
one after the other; absolute times are printed for orientation only.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chance
import checkpoints
import circuits
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scale
import senses
import torch
import vocabulary
from texts import sentences
from timing import fastest
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from tokentrails.batches import batches, texts_to_run
from tokentrails.extract import extract, load_model
from tokentrails.settings import Experiment, Prompt
from tokentrails.states import StatesReader, StatesWriter, places
from tokentrails.tokenization import TokenizerFiles, tokenize

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "resources/models/smollm2-135m/main"
BUDGET = 4096
SITES = ("final_norm", "resid", "resid_mid")


def tokens_of(n: int) -> pa.Table:
    """The tokens table of n different sentences."""
    prompts = tuple(
        Prompt(f"p{i}", text, None, word, 1, {}) for i, (text, word) in enumerate(sentences(n))
    )
    experiment = Experiment("bench", "bench", (), "last", "default", SITES, ("identity",), prompts)
    tokens, skipped = tokenize(experiment, TokenizerFiles.load(MODEL), 8192, model="smollm2")
    assert not len(skipped)
    return tokens


def states_writer(tokens: pa.Table, path: Path) -> StatesWriter:
    return StatesWriter(path, places(SITES, 30), tokens["occurrence"].to_pylist(), 576)


def extract_all(model, architecture, tokens: pa.Table, writer: StatesWriter) -> None:
    extract(model, architecture, tokens, writer, pooling="last", token_budget=BUDGET, name="bench")


def run_extraction(model, architecture, tokens: pa.Table, path: Path) -> None:
    with states_writer(tokens, path) as writer:
        extract_all(model, architecture, tokens, writer)
        writer.finish({})


def published_way(model, tokens: pa.Table) -> None:
    """One prompt at a time, the whole model, all hidden states."""
    embedding = model.get_input_embeddings().weight
    for ids, last in zip(tokens["token_ids"].to_pylist(), tokens["last"].to_pylist(), strict=True):
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        own = embedding[ids[last]]
        for hidden in out.hidden_states:
            torch.nn.functional.cosine_similarity(hidden[0, last], own, dim=0).item()


def bare_forward(model, architecture, tokens: pa.Table) -> None:
    """The same batches through the same body, with nothing read."""
    ids = tokens["token_ids"].to_pylist()
    where = [(last,) for last in tokens["last"].to_pylist()]
    for batch in batches(texts_to_run(ids, where, causal=architecture.causal), BUDGET, len(ids)):
        rows = [torch.tensor(text.token_ids) for text in batch]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        model(input_ids=padded, use_cache=False)


def speed(folder: Path) -> dict[str, float]:
    few, many = tokens_of(64), tokens_of(512)
    full = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    model, architecture = load_model(MODEL, torch.device("cpu"), "float32")
    published, ours = fastest(
        torch.inference_mode()(lambda: published_way(full, few)),
        lambda: run_extraction(model, architecture, few, folder / "few.parquet"),
        times=2,
    )
    bare, ours_many = fastest(
        torch.inference_mode()(lambda: bare_forward(model, architecture, many)),
        lambda: run_extraction(model, architecture, many, folder / "many.parquet"),
    )
    result = {
        "extraction / published way, 64 prompts (times as fast, at least 5)": published / ours,
        "extraction / bare batched forward, 512 prompts (speed, at least 0.9)": bare / ours_many,
    }
    print(f"  published {published:.2f} s, extraction {ours:.2f} s (64 prompts)", flush=True)
    print(f"  bare {bare:.2f} s, extraction {ours_many:.2f} s (512 prompts)", flush=True)
    return result


def disk(folder: Path) -> dict[str, float]:
    n, depth, width = 2000, 30, 576
    at = places(SITES, depth)
    states = np.random.default_rng(0).standard_normal((len(at), n, width), dtype=np.float32)
    rows = np.random.default_rng(1).permutation(n).reshape(8, -1)  # batches come by length
    batches_of_states = [np.ascontiguousarray(states[:, some]) for some in rows]

    def ours() -> None:
        path = folder / "ours.parquet"
        with StatesWriter(path, at, range(n), width) as writer:
            for some, block in zip(rows, batches_of_states, strict=True):
                writer.add(some, block)
            writer.finish({})
        for _ in StatesReader(path):
            pass

    def pyarrow_alone() -> None:
        path = folder / "pyarrow.parquet"
        schema = pa.schema([("hidden", pa.fixed_shape_tensor(pa.float32(), [width]))])
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for layer in states:
                tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(layer)
                writer.write_table(pa.table([tensor], schema=schema), row_group_size=n)
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            file.read_row_group(group)["hidden"].combine_chunks().to_numpy_ndarray()

    alone, own = fastest(pyarrow_alone, ours)
    print(f"  pyarrow alone {alone:.2f} s, ours {own:.2f} s", flush=True)
    return {"states to disk and back / pyarrow alone (speed, at least 0.8)": alone / own}


def memory() -> dict[str, float]:
    """Peak memory of a process that extracts few and many prompts."""
    peaks = {}
    for n in (1_000, 20_000):
        command = [sys.executable, __file__, "--extract", str(n)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[n] = json.loads(done.stdout.splitlines()[-1])
        spent = time.perf_counter() - start
        print(f"  {n:,} prompts: peak {peaks[n]:,.0f} MB, {spent:.0f} s", flush=True)
    growth = peaks[20_000] - peaks[1_000]
    return {"peak memory at 20,000 prompts minus that at 1,000 (MB, at most 300)": growth}


def extract_only(n: int) -> None:
    """As the script of the rule does it, the peak of memory printed."""
    tokens = tokens_of(n)
    model, architecture = load_model(MODEL, torch.device("cpu"), "float32")
    with (
        tempfile.TemporaryDirectory(dir=ROOT / "results") as folder,
        states_writer(tokens, Path(folder) / "states.parquet") as writer,
    ):
        extract_all(model, architecture, tokens, writer)
        del model
        writer.finish({})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extract", type=int, help="only extract so many prompts, print peak MB")
    parser.add_argument("--skip-memory", action="store_true", help="leave out the long memory test")
    arguments = parser.parse_args()
    disable_progress_bar()
    set_verbosity_error()
    for needed in (MODEL, checkpoints.MODELS, checkpoints.WORD_LIST):
        if not needed.exists():
            sys.exit(f"{needed.relative_to(ROOT)} is not there.\nHint: run `make` first.")
    if arguments.extract:
        extract_only(arguments.extract)
        return
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=ROOT / "results") as folder:
        results |= speed(Path(folder))
        results |= disk(Path(folder))
    results |= checkpoints.results()
    results |= chance.results(MODEL)
    results |= vocabulary.results(MODEL, tokens_of(70))
    results |= circuits.results(MODEL)
    results |= senses.results()
    results |= scale.results()
    if not arguments.skip_memory:
        results |= memory()
    for name, value in results.items():
        print(f"{value:8.2f}  {name}")


if __name__ == "__main__":
    main()
