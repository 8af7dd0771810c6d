"""Whole texts: every token is a target and knows its word; and the settings of their analysis."""

import re
from itertools import groupby
from pathlib import Path

import pytest
from texts import experiment, plain, target
from tiny import BYTE_LEVEL, CONFIGS, WORD_PIECE
from tokenizers import Tokenizer, models, pre_tokenizers

from tokentrails.errors import TokentrailsError
from tokentrails.files.meanings import MEANINGS
from tokentrails.settings import OWN
from tokentrails.texts.spans import words_and_parts, words_in
from tokentrails.texts.tokenization import TokenizerFiles, tokenize

ROOT = Path(__file__).parent.parent
VOCABULARY = ROOT / "config/experiments/vocabulary.yaml"
TEXT = "They don't lead the team, she's in 東京: a naïve café 😀 of 1845 words."
WORDS = "They don't lead the team , she 's in 東京 : a naïve café 😀 of 1845 words ."

SPECIAL = ("<s>", "</s>", "[CLS]", "[SEP]")


def whole(*texts, special_tokens="default", **groups):
    prompts = [target(text, label=f"t{i}", **groups) for i, text in enumerate(texts)]
    return experiment(*prompts, special_tokens=special_tokens, analyses=("ranks",))


def rows_of(files, *texts, context_length=128, **settings):
    tokens, _ = tokenize(whole(*texts, **settings), files, context_length, model="tiny")
    return tokens.to_pylist()


# --- the words of a text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT, WORDS),
        ("don't Don’t can't've", "don't Don’t can't 've"),
        ("it's IT’S we're I've he'll she'd I'm", "it 's IT ’S we 're I 've he 'll she 'd I 'm"),
        ("I'd've, y'all'd", "I 'd 've , y'all 'd"),
        ("o'clock O'Reilly's ma'am's", "o'clock O'Reilly 's ma'am 's"),
        ("the dogs' house, 'tis 'so'", "the dogs ' house , ' tis ' so '"),
        ("well-known rock-'n'-roll co-op's - --", "well-known rock -' n '- roll co-op 's - --"),
        ("1,845.5 3. 4,x 1.2.3 .5", "1,845.5 3 . 4 , x 1.2.3 . 5"),
        ("the 1990's, 2nd B2B x2-y", "the 1990 's , 2nd B2B x2-y"),
        ('"Really?!" (yes)…', '" Really ?!" ( yes )…'),
        ("$5 + €3 ~ 50%", "$ 5 + € 3 ~ 50 %"),
        ("foo_bar _foo_ e.g. U.S.", "foo_bar _ foo _ e . g . U . S ."),
        ("cafe\u0301 हिन्दी שלום", "cafe\u0301 हिन्दी שלום"),
        ("co\u00adoperate", "co\u00adoperate"),
        ("👩\u200d🚀 ❤\ufe0f \u0301", "👩\u200d🚀 ❤\ufe0f \u0301"),
        ("a\u00a0b\tc\nd", "a b c d"),
        (" \n", ""),
    ],
)
def test_words_in_a_text(text, words):
    assert [text[a:b] for a, b in words_in(text)] == words.split()


@pytest.mark.parametrize(
    ("text", "offsets", "words"),
    [
        # special tokens, spaces on either side, spaces alone, parts of a word
        (
            "she leads  us",
            [(0, 0), (0, 3), (3, 7), (7, 10), (10, 11), (11, 13), (0, 0)],
            ["", "she", "leads", "leads", "", "us", ""],
        ),
        # several tokens of one character
        ("in 東", [(0, 2), (2, 4), (3, 4), (3, 4)], ["in", "東", "東", "東"]),
        # across several words: the one with most characters, or the first
        ("lead. Is", [(0, 5), (4, 8)], ["lead", "Is"]),
        ("a b, cd", [(0, 3), (2, 4), (4, 7), (0, 7)], ["a", "b", "cd", "cd"]),
        ("she's", [(0, 3), (3, 4), (4, 5)], ["she", "'s", "'s"]),
        ("she’s", [(0, 5)], ["she"]),
        ("don't", [(0, 2), (2, 5)], ["don't", "don't"]),
        ("don't", [(0, 3), (3, 4), (4, 5)], ["don't", "don't", "don't"]),
    ],
)
def test_the_word_of_a_token(text, offsets, words):
    assert [word for word, _ in words_and_parts(text, offsets)] == words


# --- the tokens table -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tokens_of_a_word_are_all_its_tokens_and_no_others(files, original, name):
    tokens, skipped = tokenize(whole(TEXT), files(name), 128, model="tiny")
    rows = tokens.to_pylist()
    ids = rows[0]["token_ids"]
    inside = [row for row in rows if row["word"]]
    found = [
        (w, [row["first"] for row in part]) for w, part in groupby(inside, lambda r: r["word"])
    ]
    unknown = [row for row in rows if row["tokens"][row["first"]] == original(name).unk_token]
    reasons = skipped["reason"].to_pylist()
    assert bool(reasons) == bool(unknown) == (name not in BYTE_LEVEL)
    strange = re.findall("'(.+?)'", reasons[0].partition("know")[2]) if reasons else []
    assert len(strange) == len(unknown) < 7
    assert [word for word, _ in found] == [w for w in WORDS.split() if w not in strange]
    assert {row["word_part"] for row in unknown} <= {None}
    for word, positions in found:
        assert positions == list(range(positions[0], positions[-1] + 1))
        assert plain(original(name).decode([ids[p] for p in positions])) == plain(word)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_special_token_that_a_text_has_is_no_word(files, original, name):
    special = original(name).mask_token or original(name).eos_token
    rows = rows_of(files(name), f"They{special}lead the {special} lead")
    own = [row for row in rows if row["tokens"][row["first"]] == special]
    assert len(own) >= 2 and {(row["word"], row["word_part"]) for row in own} == {("", None)}
    words = [word for word, _ in groupby(row["word"] for row in rows) if word]
    assert words == ["They", "lead", "the", "lead"]


def test_words_before_count_special_tokens_of_the_text_and_added_ones_have_none(files):
    rows = rows_of(files("bert"), "lead the [MASK] lead")
    assert [row["words_before"] for row in rows] == [0, 0, 1, 2, 3, 0]
    assert "0 for special tokens that are added, also behind" in MEANINGS["words_before"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in CONFIGS for mode in ("default", "none")]
    + [(name, "bos") for name in CONFIGS if name not in WORD_PIECE],
)
def test_every_token_has_a_row(files, original, name, mode):
    texts = (TEXT, "lead", "They lead. They lead.")
    rows = rows_of(files(name), *texts, special_tokens=mode, topic="x")
    assert [row["occurrence"] for row in rows] == list(range(len(rows)))
    start = 0
    for index, text in enumerate(texts):
        raw = files(name).tokenizer
        ids = raw.encode(text, add_special_tokens=mode != "none").ids
        bos = original(name).bos_token_id
        if mode == "bos" and ids[0] != bos:
            ids = [bos, *ids]
        own = rows[start : start + len(ids)]
        start += len(ids)
        added = len(ids) - len(raw.encode(text, add_special_tokens=False).ids)
        for position, row in enumerate(own):
            assert row["label"] == f"t{index}" and row["text"] == text and row[f"{OWN}topic"] == "x"
            assert row["first"] == row["last"] == position and row["n_tokens"] == 1
            assert row["token_ids"] == ids and row["special_tokens"] == added
        special = [row["word"] for row in own if row["tokens"][row["first"]] in SPECIAL]
        assert special == [""] * added
    assert start == len(rows)


def test_what_a_tokenizer_makes_nothing_of_is_skipped(files):
    made = whole("\x01", "lead", special_tokens="none")
    tokens, skipped = tokenize(made, files("bert"), 64, model="tiny")
    assert set(tokens["label"].to_pylist()) == {"t1"} and tokens["occurrence"][0].as_py() == 0
    reason = "the tokenizer makes no token of it"
    assert skipped.to_pylist() == [{"occurrence": 0, "label": "t0", "reason": reason}]
    with pytest.raises(TokentrailsError, match=reason):
        tokenize(whole("\x01", special_tokens="none"), files("bert"), 64, model="tiny")


def test_words_with_letters_that_a_tokenizer_drops_are_left_out():
    raw = Tokenizer(models.BPE({c: i for i, c in enumerate("amegX")}, []))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens, skipped = tokenize(
        whole("am a Ωmega XØX game ØØ"), TokenizerFiles(raw, None), 64, model="tiny"
    )
    words = tokens["word"].to_pylist()
    assert words == ["am"] * 2 + ["a"] + [""] * 6 + ["game"] * 4
    reason = "the tokenizer does not know 'Ωmega', 'XØX', 'ØØ'"
    assert skipped["reason"].to_pylist() == [reason]


def test_a_whole_text_may_fill_the_context_and_no_more(files):
    n = len(rows_of(files("gpt2"), TEXT))
    assert len(rows_of(files("gpt2"), TEXT, context_length=n)) == n
    with pytest.raises(TokentrailsError, match=f"{n} tokens, the model takes {n - 1}"):
        rows_of(files("gpt2"), TEXT, context_length=n - 1)
