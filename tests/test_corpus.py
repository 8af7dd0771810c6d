"""Running text: where it is cut into pieces, and what is refused."""

import pytest
from config_files import refused
from texts import whitespace_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tokentrails.running.cost import occurrences_of
from tokentrails.settings import Corpus, Experiment
from tokentrails.texts.corpus import SPARE, with_pieces_of
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

FILES = whitespace_tokenizer("a", "b", "c")


def cut(text, tokens, length, context_length=64, files=FILES):
    made = Experiment(
        *("e", "e.yaml", (), "last", "default", ("resid",), ("decodability",), ()),
        corpus=Corpus("t.txt", tokens, length),
    )
    return with_pieces_of(text, made, files, context_length, model="tiny")


def test_pieces_follow_each_other_and_are_as_long_as_there_is_room():
    made = cut("a b  c\n" * 9, 25, SPARE + 10)
    pieces = [prompt.prompt for prompt in made.prompts]
    assert pieces == ["a b c a b c a b c a", "b c a b c a b c a b", "c a b c a"]
    assert [prompt.label for prompt in made.prompts] == ["piece00000", "piece00001", "piece00002"]
    assert made.has_whole_texts and all(prompt.is_whole for prompt in made.prompts)
    tokens, _ = tokenize(made, FILES, 64, model="tiny")
    assert tokens.num_rows == 25 and set(tokens["word"].to_pylist()) == {"a", "b", "c"}


def test_a_model_that_takes_fewer_tokens_has_shorter_pieces():
    lengths = [len(p.prompt.split()) for p in cut("a " * 30, 30, 64, SPARE + 12).prompts]
    assert lengths == [12, 12, 6]


def test_a_text_that_is_too_short_is_refused():
    problem = (
        "e.yaml",
        "'t.txt' has 20 tokens for 'tiny'",
        "21 tokens are asked for",
        "give a longer text.",
    )
    with refused(*problem):
        cut("a b " * 10, 21, 32)
    with refused("has 5,000 tokens for 'tiny', and 5,001", "or lower corpus.tokens"):
        cut("a " * 5000, 5001, 32)
    with refused("e.yaml", "the text 't.txt' is empty"):
        cut(" \n", 5000, 32)


def test_a_text_without_spaces_is_refused():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "船": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("船", "isolated")
    files = TokenizerFiles(tokenizer, None, "<unk>")
    with refused("every word of the text 't.txt' has 31 tokens or more", "states: stream"):
        cut(f"{'船' * 40}\n{'船' * 30}", 60, 32, files=files)
    assert len(cut(f"{'船' * 40}\n{'船' * 20}", 60, 32, files=files).prompts) == 2


@pytest.mark.parametrize("model", ["gpt2", "bert", "llama"])
def test_no_piece_is_longer_than_is_asked_for(model, files):
    """Of real kinds of tokenizers: the first word has no space, and special tokens are added."""
    text = "The boat reached the river bank, and leaders don't transform 1845 naïve words. " * 60
    made = cut(text, 600, 32, 40, files(model))
    tokens, _ = tokenize(made, files(model), 40, model=model)
    lengths = [len(ids) for ids in tokens["token_ids"].to_pylist()]
    assert occurrences_of(made) >= tokens.num_rows >= 600 and max(lengths) <= 32


def test_a_space_of_the_tokenizers_own_accord_is_not_counted():
    """As with Llama 2, whose space in front of a text stands beside that of a word."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "▁": 1, "▁a": 2}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    files = TokenizerFiles(tokenizer, None, "<unk>")
    (alone, together) = files.encode([" a", "a a a"], add_special_tokens=False, bos=False)
    assert (len(alone.ids), len(together.ids)) == (2, 3)
    pieces = [len(p.prompt.split()) for p in cut("a " * 50, 40, SPARE + 20, files=files).prompts]
    assert pieces == [20, 20]
    with refused("'t.txt' has 50 tokens for 'tiny'", "51 tokens are asked for"):
        cut("a " * 50, 51, 64, files=files)


def test_tokens_are_as_many_as_are_asked_for_where_first_words_are_fewer():
    entries = {"<unk>": 0, "a": 1, "▁": 2}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "isolated")
    files = TokenizerFiles(tokenizer, None, "<unk>")
    prompts = cut("a " * 60, 60, SPARE + 20, files=files).prompts
    assert [len(p.prompt.split()) for p in prompts] == [10, 10, 10, 2]  # of 19, 19, 19 and 3 tokens
