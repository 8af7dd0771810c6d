"""Words through the checkpoints of nano: time against the published loop, growth, and memory."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from harness import Measured, fastest, own_process, peak_memory
from material import NANO, WORD_LIST, needed, run_extraction, scratch_folder
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from tokentrails.files.siblings import Siblings
from tokentrails.files.tables import write_parts, write_table
from tokentrails.metrics.columns.frame import with_classes
from tokentrails.metrics.convergence import (
    convergence,
    convergence_by_group,
    convergence_similarities,
)
from tokentrails.network.load import load_model
from tokentrails.settings import Experiment, Words, step_of
from tokentrails.statistics.bootstrap import Bootstrap
from tokentrails.statistics.permutation import Permutation
from tokentrails.statistics.settings import Statistics
from tokentrails.texts.tokenization import TokenizerFiles
from tokentrails.texts.word_classes import WordClasses, function_words
from tokentrails.texts.word_list import WordList
from tokentrails.texts.words import tokenize_words

SITES = ("resid",)  # what the published way reads
GROUPS = tuple(range(1, 9))
FEW = 10
MOST_WORDS, MOST_CHECKPOINTS = 32_000, 10


def checkpoints(n: int) -> list[Path]:
    """The last checkpoints, so many of them, in the order of training."""
    return sorted(NANO.glob("step*"), key=lambda path: step_of(path.name) or 0)[-n:]


def words(n: int) -> list[str]:
    """Words of the list at random, whatever their token count."""
    listed = tokenized(WordList.read(WORD_LIST), 100_000, 100_000)["word"].to_pylist()
    return [listed[i] for i in np.random.default_rng(0).choice(len(listed), n, replace=False)]


def tokenized(word_list: WordList, top: int, per_group: int) -> pa.Table:
    drawn = Words("bench", top, GROUPS, per_group, seed=0)
    experiment = Experiment(
        *("bench", "bench", (), "last", "none", SITES, ("convergence",), ()),
        words=drawn,
        template="{word}",  # as published
    )
    files = TokenizerFiles.load(checkpoints(1)[0])
    table, _ = tokenize_words(experiment, word_list, files, 256, model="nano")
    return with_classes(table, WordClasses(function_words()))


def run(chosen: list[str], folders: list[Path], scratch: Path) -> None:
    """As the scripts of the rules do it: each checkpoint loaded once, then all compared."""
    (scratch / "words.txt").write_text("\n".join(chosen), encoding="utf-8")
    tokens = tokenized(WordList.read(scratch / "words.txt"), len(chosen), len(chosen))
    steps = {folder.name: step_of(folder.name) for folder in folders}
    for folder in folders:
        model, architecture = load_model(folder, torch.device("cpu"), "float32")
        run_extraction(model, architecture, tokens, scratch / f"{folder.name}.parquet", SITES)
    siblings = Siblings.open(
        steps, [scratch / f"{name}.parquet" for name in steps], folders[-1].name
    )
    similarities = convergence_similarities(siblings, tokens, "last")
    provenance = {"model": "nano", "experiment": "bench"}
    groups = convergence_by_group(
        similarities,
        siblings,
        steps,
        tokens["n_tokens"].to_pylist(),
        groups=GROUPS,
        statistics=Statistics(Bootstrap(1000, 0.95, 0), Permutation(1000, 0), FEW, {}),
        provenance=provenance,
    )
    write_table(groups, scratch / "by_group.parquet", scratch / "by_group.csv")
    parts = convergence(
        similarities, siblings, steps, tokens, pooling="last", groups=[], provenance=provenance
    )
    write_parts(parts, scratch / "convergence.parquet", scratch / "convergence.csv")


@torch.no_grad()
def published_way(chosen: list[str], folders: list[Path]) -> dict[tuple[int, int], np.ndarray]:
    """One word at a time, whole models, all of them loaded anew for every group of words.

    As "Token Representation Evolution" does it: the mean cosine at every checkpoint but the last,
    by token count and layer.
    """
    cut = AutoTokenizer.from_pretrained(folders[0])
    groups: dict[int, list[str]] = {}
    for word in chosen:
        groups.setdefault(len(cut.tokenize(word)), []).append(word)
    means = {}
    for n_tokens, group in sorted(groups.items()):
        if len(group) < FEW:
            continue
        states: dict[tuple[str, int], list[np.ndarray]] = {}
        for folder in folders:
            model = AutoModelForCausalLM.from_pretrained(folder)
            cut = AutoTokenizer.from_pretrained(folder)
            for word in group:
                inputs = cut(word, return_tensors="pt")
                hidden = model(**inputs, output_hidden_states=True).hidden_states
                for layer in range(model.config.num_hidden_layers):
                    state = hidden[layer][0, -1, :].cpu().numpy()
                    states.setdefault((word, layer), []).append(state)
        cosines: dict[int, list[np.ndarray]] = {}
        for (_, layer), rows in states.items():
            at = np.stack(rows)
            unit = at / np.linalg.norm(at, axis=1, keepdims=True)
            cosines.setdefault(layer, []).append(unit[:-1] @ unit[-1])
        means |= {(n_tokens, layer): np.mean(rows, axis=0) for layer, rows in cosines.items()}
    return means


def against_the_published_way() -> float:
    """Both from a list of words to mean cosines; ours to tables with intervals, too."""
    chosen, folders = words(500), checkpoints(4)
    with scratch_folder() as folder:
        ours, published = fastest(
            lambda: run(chosen, folders, Path(folder)),
            lambda: published_way(chosen, folders),
            times=5,
        )
    return published / ours


def growth() -> Iterator[Measured]:
    """Time at half and a quarter of the words and checkpoints; the slopes in a log-log plot."""
    by_words = {
        n: own_process(__file__, n, MOST_CHECKPOINTS) for n in (MOST_WORDS // 4, MOST_WORDS // 2)
    }
    by_checkpoints = {n: own_process(__file__, MOST_WORDS, n) for n in (3, 5)}
    by_words[MOST_WORDS] = by_checkpoints[MOST_CHECKPOINTS] = own_process(
        __file__, MOST_WORDS, MOST_CHECKPOINTS
    )
    yield Measured("growth of the time with words, log-log (1: linear)", _slope(by_words), "slope")
    yield Measured(
        "growth of the time with checkpoints, log-log (1: linear)", _slope(by_checkpoints), "slope"
    )
    yield Measured(
        "peak memory of 32,000 words through 10 checkpoints",
        by_words[MOST_WORDS][1],
        "MB",
        at_most=2000,
    )


def _slope(measured: dict[int, tuple[float, float]]) -> float:
    seconds = [seconds for seconds, _ in measured.values()]
    return float(np.polyfit(np.log(list(measured)), np.log(seconds), 1)[0])


def results() -> Iterator[Measured]:
    needed(NANO, WORD_LIST)
    yield Measured(
        "500 words through 4 checkpoints, against the published way",
        against_the_published_way(),
        "times as fast",
        at_least=20,
    )
    yield from growth()


def main(n_words: int, n_checkpoints: int) -> None:
    """Run so many words through so many checkpoints; print the seconds and the peak of MB."""
    disable_progress_bar()
    set_verbosity_error()
    chosen = words(n_words)
    with scratch_folder() as folder:
        start = time.perf_counter()
        run(chosen, checkpoints(n_checkpoints), Path(folder))
        seconds = time.perf_counter() - start
    print(json.dumps([seconds, peak_memory()]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
