"""What the benchmarks run on: models of the default run, and any number of texts."""

import tempfile
from pathlib import Path

import pyarrow as pa
from texts import sentences

from tokentrails.errors import TokentrailsError
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


def scratch_folder() -> tempfile.TemporaryDirectory:
    """A folder on the disk that results are on, for as long as it is used."""
    (ROOT / "results").mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=ROOT / "results")


def tokens_of(n: int) -> pa.Table:
    """The tokens table of n different sentences, for smollm2-135m."""
    prompts = tuple(
        Prompt(f"p{i}", text, None, word, 1, {}) for i, (text, word) in enumerate(sentences(n))
    )
    experiment = Experiment("bench", "bench", (), "last", "default", SITES, ("identity",), prompts)
    tokens, skipped = tokenize(experiment, TokenizerFiles.load(MODEL), 8192, model="smollm2")
    assert not len(skipped)
    return tokens
