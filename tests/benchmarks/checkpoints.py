"""Words through the checkpoints of nano: time against the published loop, growth, and memory."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import AutoModelForCausalLM

from tokentrails.bootstrap import Bootstrap
from tokentrails.extract import extract, load_model
from tokentrails.metrics.convergence import (
    convergence,
    convergence_by_group,
    convergence_cosines,
)
from tokentrails.metrics.siblings import Siblings
from tokentrails.settings import Experiment, Words
from tokentrails.states import StatesWriter, places
from tokentrails.steps import step_of
from tokentrails.tables import write_parts, write_table
from tokentrails.tokenization import TokenizerFiles
from tokentrails.word_list import WordList
from tokentrails.words import tokenize_words

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "resources/models/nano"
WORD_LIST = ROOT / "resources/words/wordfreq.txt"
SITES = ("final_norm", "resid", "resid_mid")
GROUPS = (1, 2, 3, 4)
MOST_WORDS, MOST_CHECKPOINTS = 32_000, 10


def checkpoints(n: int) -> list[Path]:
    """The last checkpoints, so many of them, in the order of training."""
    return sorted(MODELS.glob("step*"), key=lambda path: step_of(path.name) or 0)[-n:]


def words(n: int) -> pa.Table:
    """The tokens table of words of one to four tokens, evenly drawn as far as there are such."""
    drawn = Words("wordfreq", 100_000, GROUPS, 2 * n, seed=0)
    experiment = Experiment(
        "bench", "bench", (), "last", "none", SITES, ("convergence",), (), words=drawn
    )
    files = TokenizerFiles.load(checkpoints(1)[0])
    table, _ = tokenize_words(experiment, WordList.read(WORD_LIST), files, 256, model="nano")
    chosen = np.sort(np.random.default_rng(0).choice(len(table), n, replace=False))
    table = table.take(chosen)
    return table.set_column(0, "occurrence", pa.array(range(n), pa.int32()))


def run(tokens: pa.Table, folders: list[Path], scratch: Path) -> None:
    """As the scripts of the rules do it: each checkpoint loaded once, then all compared."""
    steps = {folder.name: step_of(folder.name) for folder in folders}
    for folder in folders:
        model, architecture = load_model(folder, torch.device("cpu"), "float32")
        depth, width = model.config.num_hidden_layers, model.config.hidden_size
        occurrences = tokens["occurrence"].to_pylist()
        with StatesWriter(
            scratch / f"{folder.name}.parquet", places(SITES, depth), occurrences, width
        ) as writer:
            extract(
                model, architecture, tokens, writer, pooling="last", token_budget=4096, name="nano"
            )
            writer.finish({})
    siblings = Siblings.open(
        steps, [scratch / f"{name}.parquet" for name in steps], folders[-1].name
    )
    cosines = convergence_cosines(siblings)
    provenance = {"model": "nano", "experiment": "bench"}
    groups = convergence_by_group(
        cosines,
        siblings,
        steps,
        tokens["n_tokens"].to_pylist(),
        groups=GROUPS,
        bootstrap=Bootstrap(1000, 0.95, 0),
        few=10,
        provenance=provenance,
    )
    write_table(groups, scratch / "by_group.parquet", scratch / "by_group.csv")
    parts = convergence(
        cosines, siblings, steps, tokens, pooling="last", groups=[], provenance=provenance
    )
    write_parts(parts, scratch / "convergence.parquet", scratch / "convergence.csv")


def published_way(tokens: pa.Table, folders: list[Path]) -> None:
    """One word at a time, whole models, all of them loaded anew for every group of words."""
    for group in sorted(set(tokens["n_tokens"].to_pylist())):
        models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders]
        here = tokens.filter(pc.equal(tokens["n_tokens"], group))
        for ids in here["token_ids"].to_pylist():
            states = [
                model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
                for model in models
            ]
            for hidden in states:
                for at, reference in zip(hidden, states[-1], strict=True):
                    torch.nn.functional.cosine_similarity(at[0, -1], reference[0, -1], dim=0).item()


def against_the_published_way() -> float:
    tokens, folders = words(500), checkpoints(4)
    with tempfile.TemporaryDirectory(dir=ROOT / "results") as scratch:
        run(tokens, folders, Path(scratch))  # warms up
        start = time.perf_counter()
        run(tokens, folders, Path(scratch))
        ours = time.perf_counter() - start
    start = time.perf_counter()
    with torch.inference_mode():
        published_way(tokens, folders)
    published = time.perf_counter() - start
    print(
        f"  published {published:.1f} s, ours {ours:.2f} s (500 words, 4 checkpoints)", flush=True
    )
    return published / ours


def measure(n_words: int, n_checkpoints: int) -> tuple[float, float]:
    """Seconds and peak MB of one run in a process of its own."""
    command = [sys.executable, __file__, str(n_words), str(n_checkpoints)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {n_words:,} words, {n_checkpoints} checkpoints: {seconds:.1f} s, peak {peak:,.0f} MB",
        flush=True,
    )
    return seconds, peak


def growth() -> dict[str, float]:
    """Time at half and a quarter of the words and checkpoints; the slopes in a log-log plot."""
    by_words = {n: measure(n, MOST_CHECKPOINTS) for n in (MOST_WORDS // 4, MOST_WORDS // 2)}
    by_checkpoints = {n: measure(MOST_WORDS, n) for n in (3, 5)}
    by_words[MOST_WORDS] = by_checkpoints[MOST_CHECKPOINTS] = measure(MOST_WORDS, MOST_CHECKPOINTS)
    return {
        "slope of time over words, log-log (1: linear)": _slope(by_words),
        "slope of time over checkpoints, log-log (1: linear)": _slope(by_checkpoints),
        "peak memory of 32,000 words x 10 checkpoints (MB, under 2,000)": by_words[MOST_WORDS][1],
    }


def _slope(measured: dict[int, tuple[float, float]]) -> float:
    seconds = [seconds for seconds, _ in measured.values()]
    return float(np.polyfit(np.log(list(measured)), np.log(seconds), 1)[0])


def results() -> dict[str, float]:
    """All of this, for `make bench`."""
    ratio = against_the_published_way()
    return {
        "words through checkpoints / published way (times as fast, at least 20)": ratio
    } | growth()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", type=int, nargs="?", help="only run so many words")
    parser.add_argument("checkpoints", type=int, nargs="?", help="through so many checkpoints")
    arguments = parser.parse_args()
    if arguments.words is None:
        for name, value in results().items():
            print(f"{value:8.2f}  {name}")
        return
    tokens = words(arguments.words)
    with tempfile.TemporaryDirectory(dir=ROOT / "results") as scratch:
        start = time.perf_counter()
        run(tokens, checkpoints(arguments.checkpoints), Path(scratch))
        seconds = time.perf_counter() - start
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


if __name__ == "__main__":
    main()
