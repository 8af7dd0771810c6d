"""What the benchmarks run on: models of the default run, and any number of texts."""

import shutil
import tempfile
from itertools import islice, product
from pathlib import Path

import pyarrow as pa
from torch import nn

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import StatesWriter, places
from tokentrails.network.architectures import Architecture
from tokentrails.network.extract import extract
from tokentrails.settings import Experiment, Prompt
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "resources/models/smollm2-135m/main"
NANO = ROOT / "resources/models/nano"
WORD_LIST = ROOT / "resources/words/wordfreq.txt"
SITES = ("final_norm", "resid", "resid_mid")


def needed(*paths: Path) -> None:
    """Raise if something is missing that the default run makes."""
    for path in paths:
        if not path.exists():
            raise TokentrailsError(
                f"{path.relative_to(ROOT)} is not there", hint="run `make` first."
            )


def checkout(folder: Path) -> Path:
    """A folder with what a clone has, as far as a run needs it."""
    shutil.copy2(ROOT / "Snakefile", folder)
    for name in ("config", "envs", "profiles", "workflow", "resources/words"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def scratch_folder() -> tempfile.TemporaryDirectory:
    """A folder on the disk that results are on, for as long as it is used."""
    (ROOT / "results").mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=ROOT / "results")


WHEN = ("Yesterday", "On Monday", "After lunch", "Last winter", "Before dawn", "Long ago")
WHO = ("my uncle", "the old sailor", "her teacher", "a tired nurse", "the young pilot")
WHO += ("our neighbour", "the cook")
DID = ("found", "painted", "carried", "sold", "repaired")
DID += ("forgot", "borrowed", "described", "measured", "cleaned")
WHICH = ("a small", "the broken", "an empty", "the yellow", "one heavy", "the wooden")
WHICH += ("another", "the famous")
WHAT = ("table", "bridge", "letter", "engine", "basket")
WHAT += ("window", "garden", "mirror", "ladder", "clock")


def sentences(n: int) -> list[tuple[str, str]]:
    """n different sentences and the target word of each; at most 33,600.

    They differ before the target, so that none can be spared in a causal model.
    """
    combined = islice(product(WHAT, WHICH, DID, WHO, WHEN), n)
    made = [
        (f"{when} {who} {did} {which} {what} outside.", f" {what}")
        for what, which, did, who, when in combined
    ]
    if len(made) < n:
        raise ValueError(f"only {len(made)} sentences can be made")
    return made


def tokens_of(n: int) -> pa.Table:
    """The tokens table of n different sentences, for smollm2-135m."""
    prompts = tuple(
        Prompt(f"p{i}", text, None, word, 1, {}) for i, (text, word) in enumerate(sentences(n))
    )
    experiment = Experiment("bench", "bench", (), "last", "default", SITES, ("identity",), prompts)
    tokens, skipped = tokenize(experiment, TokenizerFiles.load(MODEL), 8192, model="smollm2")
    assert not len(skipped)
    return tokens


def run_extraction(
    model: nn.Module, architecture: Architecture, tokens: pa.Table, path: Path, sites=SITES
) -> None:
    """The states of the targets, as the script of the rule writes them."""
    wanted = places(sites, model.config.num_hidden_layers)
    occurrences = tokens["occurrence"].to_pylist()
    with StatesWriter(path, wanted, occurrences, model.config.hidden_size) as writer:
        extract(
            model, architecture, tokens, writer, pooling="last", token_budget=4096, name="bench"
        )
        writer.finish({})
