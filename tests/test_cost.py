"""What jobs ask for: the formulas of the manual, and against what jobs really are."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import yaml
from config_files import CONFIG, load, refused, written
from safetensors.torch import load_file

from tokentrails.config.experiments import load_experiment
from tokentrails.config.load import load_config
from tokentrails.network.size import ModelSize
from tokentrails.running.cost import (
    BASE_MB,
    MOST_ENDING,
    MOST_SHARDS,
    START_MINUTES,
    Counts,
    flop,
    memory_mb,
    minutes,
    occurrences_of,
    shards_of,
    shards_of_all,
    size_in_words,
    states_mb,
    tokens_of,
    work,
)
from tokentrails.settings import Prompt, Sentences, Splits, Words

SIZE = ModelSize(
    weights_mb=4_000,
    parameters=10**9,
    depth=16,
    d_model=2_048,
    vocabulary=50_000,
    tied=False,
    causal=True,
)
IN_BLOCKS = 10**9 - 2 * 50_000 * 2_048
READ_OUT = 2 * 50_000 * 2_048


@pytest.fixture(scope="module")
def experiment():
    entry = {"file": "config/experiments/polysemy.yaml"}
    return replace(
        load_experiment("x", entry),
        prompts=(
            Prompt("a", "0123456789", None, "0", 1, {}),
            Prompt("b", "äöü東", None, "ä", 1, {}),
        ),
    )


def words_in(experiment, contexts=(), others=4):
    words = Words("wordfreq", 1000, (1, 3), 10, 0)
    return replace(experiment, prompts=(), words=words, contexts=contexts, others=others)


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_the_size_is_that_of_the_tensors(prepared, name):
    folder = prepared[name]
    tensors = load_file(folder / "model.safetensors")
    size = ModelSize.from_folder(folder)
    assert size.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert size.weights_mb == (folder / "model.safetensors").stat().st_size / 1e6
    assert (size.depth, size.d_model) == (3, 32)


def test_a_size_that_is_not_there_yet_is_for_snakemake_to_determine(tmp_path):
    with pytest.raises(FileNotFoundError):
        ModelSize.from_folder(tmp_path)


def test_tokens_of_prompts_are_counted_in_bytes(experiment):
    # 10 bytes make 4 tokens at most, 3 x 2 + 3 bytes 3; and two around each.
    assert tokens_of(experiment) == 4 + 2 + 3 + 2
    assert occurrences_of(experiment) == 2
    whole = tuple(replace(prompt, word=None) for prompt in experiment.prompts)
    assert occurrences_of(replace(experiment, prompts=whole)) == 11


def test_words_cut_up_are_run_in_every_variant(experiment):
    cut = replace(experiment, splits=Splits((2, 3), "wordfreq", 0))
    assert (
        occurrences_of(cut) == 2 * 6
    )  # whole, with a typo, and split and its control of two kinds
    assert tokens_of(cut) == 6 * (tokens_of(experiment) + 2 * MOST_ENDING)


def test_tokens_of_words_are_those_of_their_groups(experiment):
    assert tokens_of(words_in(experiment)) == 10 * (1 + 2) + 10 * (3 + 2)
    assert occurrences_of(words_in(experiment)) == 20
    in_contexts = words_in(experiment, contexts=("{word}", "0123456789 {word}"), others=2)
    # A base, two other contexts and two other words; 17 bytes are 6 tokens at most.
    assert occurrences_of(in_contexts) == 20 * 5
    assert tokens_of(in_contexts) == 10 * 5 * (1 + 6) + 10 * 5 * (3 + 6)


def test_sentences_are_run_up_to_their_words_and_with_others_in_their_place(experiment):
    own = (Sentences("ab", ("0123456789 ab", "ab")), Sentences("cd", ("cd",)))
    made = replace(words_in(experiment, others=3), sentences=own)
    assert occurrences_of(made) == 3 * (1 + 3)
    # 13 and 2 bytes are 5 tokens and 1 at most, with two around each, and 8 for a longer word.
    assert tokens_of(made) == (5 + 1 + 1 + 3 * (2 + 8)) * (1 + 3)


def test_states_take_a_row_for_each_place(experiment):
    places = 17 + 16 + 1
    assert states_mb(experiment, SIZE) == 2 * places * 2_048 * 4 / 1e6
    only = replace(experiment, sites=("resid",))
    assert states_mb(only, SIZE, "float16") == 2 * 17 * 2_048 * 2 / 1e6


def test_operations_are_those_of_the_pass_and_of_the_vocabulary(experiment):
    forward = 2 * IN_BLOCKS * 11
    assert flop("hidden_states", experiment, SIZE) == forward
    # Of two words, not of the texts around them.
    assert flop("ranks", experiment, SIZE) == forward + READ_OUT * 2 * 4 * 17
    assert flop("head_tables", experiment, SIZE) == forward + READ_OUT * 2 * 3 * 64 * 16
    assert flop("ablation_table", experiment, SIZE) == forward * (1 + 3 * 16)
    assert flop("neuron_table", None, SIZE) == READ_OUT * 12 * 2_048 * 16
    assert flop("hidden_states", experiment, SIZE, Counts(7, 2)) == 2 * IN_BLOCKS * 7
    assert states_mb(experiment, SIZE, counts=Counts(7, 1)) == states_mb(experiment, SIZE) / 2


def test_a_lens_takes_the_vocabulary_for_every_token_of_its_text_at_every_layer():
    entry = {"file": "config/experiments/plays.yaml", "analyses": []}
    texts = load_experiment("lens", entry)
    tokens = tokens_of(texts)
    assert tokens > texts.corpus.tokens >= 20_000
    assert flop("lens", texts, SIZE) == 2 * 2 * IN_BLOCKS * tokens + 3 * READ_OUT * tokens * 16
    operations, traffic = work("lens", texts, SIZE, {"shard_tokens": 1000, "store": "float32"})
    assert (operations, traffic) == (flop("lens", texts, SIZE), SIZE.weights_mb)  # no states


def test_an_embedding_that_is_the_unembedding_too_is_no_part_of_the_blocks():
    tied = replace(SIZE, tied=True)
    assert (SIZE.in_blocks, tied.in_blocks) == (IN_BLOCKS, 10**9 - 50_000 * 2_048)
    assert replace(SIZE, parameters=10).in_blocks == 0


def test_the_work_on_many_texts_is_shared_out(experiment):
    many = replace(experiment, prompts=experiment.prompts * 100)
    assert tokens_of(many) == 1_100
    assert [shards_of(many, n) for n in (1_100, 1_099, 500, 1)] == [1, 2, 3, 1_100]
    assert shards_of(replace(experiment, prompts=()), 1_000) == 1
    extract = {"shard_tokens": 500, "store": "float32"}
    operations, traffic = work("hidden_states", many, SIZE, extract)
    part = work("partial_states", many, SIZE, extract)
    assert part == (operations / 3, SIZE.weights_mb + states_mb(many, SIZE) / 3)
    assert traffic == SIZE.weights_mb + states_mb(many, SIZE)
    # Those that run the model for what is no state see all texts.
    assert work("ranks", many, SIZE, extract) == (
        flop("ranks", many, SIZE),
        traffic,
    )  # it reads them


def test_no_experiment_of_the_project_is_in_parts():
    for name in ("config", "paper", "tour"):
        path = f"config/{name}.yaml"
        config = load_config(yaml.safe_load(Path(path).read_text(encoding="utf-8")), [path])
        assert set(shards_of_all(config).values()) == {1}


def test_more_parts_than_can_be_planned_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = {"text": "t.txt.gz", "tokens": MOST_SHARDS * 1_000, "states": "stream"}
    Path("t.txt.gz").write_text("few words", encoding="utf-8")
    settings = CONFIG | {"extract": {"shard_tokens": 1_000}}
    written({"corpus": corpus})
    assert shards_of_all(load(settings))["e"] == MOST_SHARDS
    with refused(
        "c.yaml, line 5, experiments.e: ",
        "10,001 parts of 1,000 tokens",
        "raise extract.shard_tokens",
    ):
        written({"corpus": corpus | {"tokens": MOST_SHARDS * 1_000 + 1}})
        shards_of_all(load(settings))


def test_each_attempt_asks_for_twice_as_much():
    assert memory_mb(4_000) == BASE_MB + 12_000
    assert minutes(0, 0) == START_MINUTES
    assert minutes(2e12 * 60 * 30, 100 * 60 * 2) == START_MINUTES + 32
    for attempt in (2, 3):
        assert memory_mb(4_000, attempt) == 2 * memory_mb(4_000, attempt - 1)
        assert minutes(1e15, 1e4, attempt) == 2 * minutes(1e15, 1e4, attempt - 1)
    assert all(isinstance(asked, int) for asked in (minutes(1e13, 1.5), memory_mb(1.5)))


@pytest.mark.parametrize(
    ("mb", "words"),
    [(0, "0 kB"), (0.0121, "12 kB"), (1, "1.0 MB"), (9999, "9,999 MB"), (12_000, "12 GB")],
)
def test_sizes_are_in_the_unit_that_shows_them(mb, words):
    assert size_in_words(mb) == words
