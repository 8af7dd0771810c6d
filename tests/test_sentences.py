"""Words in sentences of their own: what is cut, what takes their place, and what is left out."""

import pytest
from config_files import refused
from test_words import word_list
from texts import whitespace_tokenizer
from tokenizers import pre_tokenizers, processors

from tokentrails.config.experiments import load_experiment_file
from tokentrails.settings import Experiment, Sentences, Words
from tokentrails.texts.sentences import tokenize_sentences
from tokentrails.texts.spans import find_words
from tokentrails.texts.tokenization import TokenizerFiles

LETTERS = ["ab", "pq", "xy", "cd", "ef", "-", "the", "a", "say", "see", "it", "."]
LIST = ["pq-cd", "xy-pq-cd", "cd", "xy-ef", "ab-cd", "7"]


@pytest.fixture
def cut():
    """A tokenizer that cuts words at their hyphens."""
    raw = whitespace_tokenizer(*LETTERS).tokenizer
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return TokenizerFiles(raw, None, "<unk>")


def run(files, *sentences, listed=LIST, others=4, seed=0, special_tokens="default", length=64):
    words = Words("l.txt", 1000, (), 200, seed)
    made = Experiment(
        *("e", "e.yaml", (), "last", special_tokens, ("resid",), ("perturbation",), ()),
        words=words,
        sentences=tuple(Sentences(*each) for each in sentences),
        others=others,
    )
    both = tokenize_sentences(made, word_list(*listed), files, length, model="tiny")
    return [table.to_pylist() for table in both]


def shown(rows):
    return [(row["label"], row["variant"], row["base"], row["text"]) for row in rows]


def test_every_sentence_is_a_base_cut_behind_its_word(cut):
    tokens, skipped = run(cut, ("ab-cd", ("say the ab-cd .", "see a ab-cd it")))
    assert shown(tokens) == [
        ("ab-cd~s0", "base", 0, "say the ab-cd"),
        ("ab-cd~s0~cd", "P2", 0, "say the cd"),
        ("ab-cd~s0~pq-cd", "P2", 0, "say the pq-cd"),
        ("ab-cd~s0~xy-pq-cd", "P2", 0, "say the xy-pq-cd"),
        ("ab-cd~s1", "base", 4, "see a ab-cd"),
        ("ab-cd~s1~cd", "P2", 4, "see a cd"),
        ("ab-cd~s1~pq-cd", "P2", 4, "see a pq-cd"),
        ("ab-cd~s1~xy-pq-cd", "P2", 4, "see a xy-pq-cd"),
    ]
    assert [row["n_tokens"] for row in tokens] == [3, 1, 3, 5] * 2  # of any number of tokens
    assert [row["sentence"] for row in tokens] == [0] * 4 + [1] * 4
    for row in tokens:
        assert row["tokens"][row["last"]] == "cd" and row["last"] == len(row["tokens"]) - 1
        assert row["first"] == 2
    assert skipped == []


def test_other_words_differ_between_sentences_and_with_the_seed_alone(cut):
    sentences = ("say the ab-cd", "see the ab-cd", "the ab-cd")
    drawn = {}
    for seed in range(6):
        tokens, _ = run(cut, ("ab-cd", sentences), others=1, seed=seed)
        drawn[seed] = [row["word"] for row in tokens if row["variant"] == "P2"]
        assert sorted(drawn[seed]) == ["cd", "pq-cd", "xy-pq-cd"]
    assert len({tuple(words) for words in drawn.values()}) > 1
    more = ("xy-ef", ("say it xy-ef", "xy-ef")), ("ab-cd", sentences)
    tokens, _ = run(cut, *more, others=1)
    own = [row for row in tokens if row["label"].startswith("ab-cd")]
    assert [row["word"] for row in own if row["variant"] == "P2"] == drawn[0]


def test_a_word_that_no_other_ends_like_is_listed(cut):
    tokens, skipped = run(
        cut,
        ("xy-ef", ("say xy-ef", "see xy-ef")),
        ("the", ("say the", "see the")),
        ("ab-cd", ("say ab-cd", "see ab-cd")),
    )
    assert [(row["label"], row["reason"]) for row in skipped] == [
        ("xy-ef", "no other word ends in 'ef'"),
        ("the", "no other word ends in 'the', it has P1 alone"),
    ]
    assert {row["word"] for row in tokens if row["variant"] == "base"} == {"the", "ab-cd"}


def test_published_replacements_are_used_and_the_bad_ones_listed(cut):
    sentences = tuple(f"{start} ab-cd ." for start in ("say", "see", "the", "a", "it", "say a"))
    replaced = (
        "say pq-cd .",
        "see xy-ef .",
        "a pq-cd .",
        "a ab-cd .",
        "it ",
        "say a cd, it",
    )
    tokens, skipped = run(cut, ("ab-cd", sentences, replaced))
    assert [row["text"] for row in tokens if row["variant"] == "P2"] == ["say pq-cd", "say a cd"]
    assert [row["base"] for row in tokens] == [0, 0, 2, 3, 4, 5, 6, 6]
    reasons = {row["label"]: row["reason"] for row in skipped}
    assert reasons == {
        "ab-cd~s1, replaced": "it ends in 'ef', and the word in 'cd'",
        "ab-cd~s2, replaced": "its left context differs from that of the sentence",
        "ab-cd~s3, replaced": "it is the word itself",
        "ab-cd~s4, replaced": "no word begins there",
    }


def test_sentences_that_cannot_be_used_are_listed(cut):
    listed = ("say ab-cd", "say it .", "see ab-cd-ef", "say ab-cd it", "the ab-cd", "AB-CD")
    tokens, skipped = run(cut, ("ab-cd", listed), ("pq-cd", ("it pq-cd", "it")))
    assert {row["text"] for row in tokens if row["variant"] == "base"} == {"say ab-cd", "the ab-cd"}
    missing = "the word is not in the sentence as it is written"
    assert [(row["label"], row["reason"]) for row in skipped] == [
        ("ab-cd~s1", missing),
        ("ab-cd~s2", missing),
        ("ab-cd~s3", "up to the word the same as sentence 0"),
        ("ab-cd~s5", missing),
        ("pq-cd~s1", missing),
        ("pq-cd", "fewer than two of its sentences are left"),
    ]


def test_a_word_has_the_tokens_that_most_of_its_sentences_give_it(files):
    sentences = ('say "lead', "they will lead", "we lead", "a lead")
    tokens, skipped = run(files("gpt_neox"), ("lead", sentences), listed=["lead"])
    assert [row["label"] for row in tokens] == ["lead~s1", "lead~s2", "lead~s3"]
    assert "other tokens than in most" in skipped[0]["reason"]
    assert len({tuple(row["token_ids"][row["first"] :]) for row in tokens}) == 1


@pytest.mark.parametrize("name", ["gpt_neox", "roberta", "llama", "bert"])
def test_every_kind_of_tokenizer_keeps_left_context_and_last_token(files, name):
    sentences = ("She saw the boats near the bank.", "Two old boats sank", "They like boats, too.")
    listed = ["boats", "pipes", "hills", "leads", "banks", "teams"]
    tokens, _ = run(files(name), ("boats", sentences), listed=listed, others=2)
    assert [row["text"] for row in tokens if row["variant"] == "base"] == [
        sentence[: sentence.index("boats") + 5] for sentence in sentences
    ]
    others = [row for row in tokens if row["variant"] == "P2"]
    assert len(others) >= 2
    for row in others:
        base = tokens[row["base"]]
        assert row["token_ids"][: row["first"]] == base["token_ids"][: base["first"]]
        assert row["token_ids"][row["last"]] == base["token_ids"][base["last"]]
        assert row["word"] != "boats"
    special = tokens[0]["special_tokens"]
    assert all(len(row["token_ids"]) - row["last"] - 1 in (0, special - 1) for row in tokens)


def test_sentences_that_are_too_long_are_left_out(cut):
    texts = ("say ab-cd", "say a ab-cd", "see the ab-cd", "see it say the ab-cd")
    tokens, skipped = run(cut, ("ab-cd", texts), length=5)
    assert {row["sentence"] for row in tokens} == {0, 1, 2}
    assert {len(row["token_ids"]) for row in tokens} <= {2, 3, 4, 5}
    assert "xy-pq-cd" not in {row["word"] for row in tokens if row["sentence"]}
    assert [(row["label"], row["reason"]) for row in skipped] == [
        ("ab-cd~s3", "it has 7 tokens, the model takes 5")
    ]


def test_special_tokens_are_those_that_the_experiment_asks_for(cut):
    own = ("ab-cd", ("say ab-cd", "see ab-cd"))
    cut.tokenizer.add_special_tokens(["<s>"])
    start = ("<s>", cut.tokenizer.token_to_id("<s>"))
    cut.tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[start])
    files = TokenizerFiles(cut.tokenizer, "<s>", "<unk>")
    for mode, first in (("default", "<s>"), ("bos", "<s>"), ("none", "say")):
        assert run(files, own, special_tokens=mode)[0][0]["tokens"][0] == first
    with refused("experiments.e.special_tokens", "'tiny'"):
        run(TokenizerFiles(cut.tokenizer, None, "<unk>"), own, special_tokens="bos")


def test_what_leaves_nothing_to_compare_is_refused(cut):
    with refused("e.yaml", "'tiny'", "'ab-cd~s0'", "not in the sentence"):
        run(cut, ("ab-cd", ("say it", "see ab-cd")))
    with refused("e.yaml", "'ab-cd~s0': it has 5 tokens, the model takes 4", "leave this model"):
        run(cut, ("ab-cd", ("say a ab-cd", "see ab-cd")), length=4)
    with refused("does not know 4 of 4 words: 'ZZ~s0'"):
        run(cut, ("ZZ", ("say ZZ", "see ZZ", "it ZZ", "a ZZ")))


def test_the_sentences_of_the_repository_have_words_behind_contexts_of_their_own():
    experiment = load_experiment_file("config/experiments/natural.yaml")
    assert len(experiment.sentences) >= 40
    befores = set()
    for own in experiment.sentences:
        assert len(own.sentences) == 8 and not own.replaced_sentences
        for sentence in own.sentences:
            ((start, _),) = find_words(sentence, own.word)
            assert len(sentence[:start].split()) >= 4, sentence
            befores.add(sentence[:start])
    assert len(befores) == 8 * len(experiment.sentences)
