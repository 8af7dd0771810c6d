"""A finished run of a decoder and an encoder: senses, ranks, and what is inside the blocks."""

import random
from pathlib import Path

import pytest
import tiny
import torch
import workflow as wf
from safetensors.torch import save_file

MODELS = ("llama", "roberta")
WORDS = {"lead": ("guide", "metal"), "bank": ("money", "river"), "spring": ("coil", "water")}
CONTEXTS = ("The {} was there.", "She ran down the hill to the {} of numbers.", "cold {} words")
TEXTS = {
    "bank": "The bank approved the loan, and the boat reached it.",
    "lead": "She will lead the team through 1845 transitions.",
    "formula": "=1+1 leaders don't transform.",
}
INSIDE = "The boat reached the river bank, =1+1 <b>leaders</b>."

SHAPES = ("geometry", "own_token", "ablation")
BLOCKS = ("heads", "neurons", "evolution", "attribution")
RANK_TABLES = ("ranks", "ranks_by_class", "ranks_gap", "ranks_summary")
RANK_RUNS = (("roberta", "full"), ("roberta", "plain"), ("llama", "plain"))
RANK_FIGURES = ("similarity_layers", "rank_layers", "rank_heatmap", "rank_classes")
GROUPS = "results/figures/llama/main/plain/matched_groups.svg"
CUT = [
    {"label": word, "word": f" {word}", "prompt": f"The cold {word} was there."}
    for word in ("bank", "spring", "river", "water", "guide", "pipes")
]
DECODED = [
    "results/metrics/llama/main/running/decodability.csv",
    "results/figures/llama/main/running/decodability.svg",
    "results/composites/running_turned_and_lost.svg",
]
RANKS = (
    *(f"results/metrics/{m}/main/{e}/{table}.csv" for m, e in RANK_RUNS for table in RANK_TABLES),
    *(f"results/figures/roberta/main/full/{figure}.svg" for figure in RANK_FIGURES),
    "results/composites/plain_ranks.svg",
)


def sense_prompts() -> list[dict]:
    """Three texts of each of two senses of each word."""
    return [
        {
            "label": f"{word}_{sense}_{index}",
            "word": f" {word}",
            "sense": sense,
            "prompt": text.format(f"{sense} {word}"),
        }
        for word, senses in WORDS.items()
        for sense in senses
        for index, text in enumerate(CONTEXTS)
    ]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, made once for all tests; they copy it and leave it as it is."""
    return wf.shared(tmp_path_factory, "analysed", _run)


def _run(folder: Path) -> None:
    wf.checkout(folder)
    for name in MODELS:
        tiny.save(name, folder / "models" / name)
    texts = [{"label": label, "prompt": text} for label, text in TEXTS.items()]
    files = {
        "own": {"analyses": ["senses"], "prompts": sense_prompts()},
        "texts": {"analyses": ["ranks", "matched_groups"], "prompts": texts},
        "cut": {"splits": {"pieces": [2], "list": "known.txt"}, "prompts": CUT},
        "running": {"corpus": {"text": "running.txt", "tokens": 5000, "length": 40}},
        "inside": {
            "analyses": [*BLOCKS, *SHAPES],
            "prompts": [
                {"label": "boat", "prompt": INSIDE},
                {"label": "long", "prompt": INSIDE * 10},  # the models take 64 tokens
            ],
        },
    }
    for name, data in files.items():
        wf.write_yaml(folder / f"{name}.yaml", data)
    ranks = {"as_published": True, "positional": True, "sites": ["resid", "resid_mid"]}
    words = " ".join([*TEXTS.values(), *tiny.CORPUS]).split()
    drawn = random.Random(0).choices(words, k=5200)
    (folder / "known.txt").write_text("the\ncold\n", encoding="utf-8")
    (folder / "running.txt").write_text(" ".join(drawn), encoding="utf-8")
    save_file({f"{i}.weight": torch.zeros(32, 32) for i in range(3)}, folder / "lens.safetensors")
    models = {name: {"source": f"path:models/{name}", "threads": 1} for name in MODELS}
    models["llama"]["lenses"] = {
        "same": {"file": "lens.safetensors"},
        "fitted": {"train": "running.yaml"},
    }
    config = {
        "models": models,
        "experiments": {
            "own": {"file": "own.yaml"},
            "other": {"file": "own.yaml", "models": ["llama"], "replace": ["thing", "one"]},
            "full": {"file": "texts.yaml", "models": ["roberta"], "ranks": ranks | {"nearest": 3}},
            "plain": {"file": "texts.yaml", "sites": ["resid_mid"]},
            "cut": {"file": "cut.yaml", "models": ["llama"]},
            "running": {"file": "running.yaml", "models": ["llama"], "sites": ["resid"]},
            "inside": {"file": "inside.yaml", "models": ["llama"], "circuits": {"top": 3}},
        },
        "statistics": {"bootstrap": 100, "permutations": 200},
        "figures": {"formats": ["svg"]},  # `workflow.small` has its figures in every one
        **wf.ALONE,
    }
    wf.write_yaml(folder / "config/config.yaml", config)
    wf.run(
        folder, *wf.ONE_THREAD, "--", "senses", *BLOCKS, *SHAPES, *RANKS, GROUPS, *DECODED, "splits"
    )
