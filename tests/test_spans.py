"""Targets are found in every tokenizer's tokens, from character offsets."""

import re
import time
from pathlib import Path

import pytest
from config_files import refused
from measures import ENGLISH
from texts import experiment, plain, target, whitespace_tokenizer
from tiny import BYTE_LEVEL, CONFIGS, WORD_PIECE
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tokentrails.config.experiments import load_experiment_file
from tokentrails.errors import TokentrailsError
from tokentrails.texts.entries import surface
from tokentrails.texts.spans import NotAligned, Span, find_words, is_word, span_of, words_in
from tokentrails.texts.tokenization import UNKNOWN, TokenizerFiles, tokenize

PUBLISHED = Path(__file__).parent.parent / "config/experiments/token_identity_drift.yaml"
LEAD = "She will lead the team through the transition."


def run(files, *prompts, special_tokens="default", context_length=64):
    made = experiment(*prompts, special_tokens=special_tokens)
    return tokenize(made, files, context_length, model="tiny")


def covered(row, tokenizer):
    return tokenizer.decode(row["token_ids"][row["first"] : row["last"] + 1])


# --- the target in the tokens -----------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("text", "word"),
    [
        (LEAD, "lead"),
        (LEAD, " lead"),
        (LEAD, "lead "),
        (LEAD, "She"),
        (LEAD, "will lead the"),
        (LEAD, " through the"),
        ("They unbelievably transform numbers now", " unbelievably"),
        ("They unbelievably transform numbers now", "unbelievably transform"),
        ("A naïve café in Größe", "naïve café"),
        ("A naïve café in Größe", " café"),
        ("A naïve café in Größe", "Größe"),
        ("the 東京 team", "東京"),
        ("the 東京 team", " 東京 team"),
        ("the 雪 fell", "雪"),
        ("a 😀 b", "😀"),
        ("will  the\tspring lead\n on", "lead"),
        ("They do not don't they", "don't"),
        ("the year 1845 was", "1845"),
    ],
)
def test_the_tokens_of_a_span_are_the_word_and_nothing_else(files, original, name, text, word):
    tokens, skipped = run(files(name), target(text, word=word), target(LEAD, word="lead"))
    if tokens.num_rows == 1:
        assert name not in BYTE_LEVEL and original(name).unk_token in original(name).tokenize(word)
        assert skipped["reason"].to_pylist() == [UNKNOWN]
        return
    row = tokens.to_pylist()[0]
    assert skipped.num_rows == 0
    assert row["word"] == word.strip() and row["text"] == text
    assert row["n_tokens"] == row["last"] - row["first"] + 1
    assert plain(covered(row, original(name))) == plain(word)
    end = text.index(word.strip()) + len(word.strip())
    assert row["words_before"] == len(text[:end].split()) - 1
    before = original(name).decode(row["token_ids"][: row["first"]], skip_special_tokens=True)
    assert plain(before) == plain(text[: text.index(word.strip())])


@pytest.mark.parametrize("name", CONFIGS)
def test_one_known_word_is_one_token(files, name):
    entry = {"gpt2": "Ġlead", "bert": "lead", "llama": "▁lead"}
    style = "gpt2" if name in BYTE_LEVEL else "bert" if name in WORD_PIECE else "llama"
    (row,) = run(files(name), target(LEAD, word="lead"))[0].to_pylist()
    assert row["tokens"][row["first"] : row["last"] + 1] == [entry[style]]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("token", ["Ġlead", "▁lead"])
def test_a_vocabulary_entry_of_any_style_is_found_in_any_other(files, name, token):
    (by_token,) = run(files(name), target(LEAD, token=token))[0].to_pylist()
    (by_word,) = run(files(name), target(LEAD, word=" lead"))[0].to_pylist()
    assert by_token == by_word


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("how", [{"word": "the"}, {"token": "Ġthe"}])
def test_occurrence_picks_one_of_several(files, name, how):
    tokens, _ = run(files(name), target(LEAD, **how), target(LEAD, occurrence=2, **how))
    first, second = tokens.to_pylist()
    assert first["last"] < second["first"]
    assert first["tokens"][first["first"]] == second["tokens"][second["first"]]
    with pytest.raises(TokentrailsError, match=r"is only 2 times .*occurrence 3 is asked for"):
        run(files(name), target(LEAD, occurrence=3, **how))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("word", ["lead", " lead"])
def test_a_word_inside_a_longer_one_is_not_it(files, original, name, word):
    text = "misleading leaders of 2lead will lead the team"
    (row,) = run(files(name), target(text, word=word))[0].to_pylist()
    before = original(name).decode(row["token_ids"][: row["first"]], skip_special_tokens=True)
    assert plain(before).endswith("will")
    with pytest.raises(TokentrailsError, match="is not in the prompt"):
        run(files(name), target("misleading leaders unleaded lead_in lead-free 2lead", word=word))


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_an_entry_of_the_models_own_vocabulary_is_matched_as_a_token(files, name):
    text = "lead the team, then lead the words"
    (row,) = run(files(name), target(text, token="Ġlead"))[0].to_pylist()
    assert row["first"] > 2 and row["tokens"][row["first"]] == "Ġlead"
    assert row["word"] == "lead" and row["n_tokens"] == 1


def test_a_word_helps_out_where_the_token_is_not_there(files):
    (row,) = run(files("gpt2"), target("lead the team", token="Ġlead", word="lead"))[0].to_pylist()
    assert row["first"] == 0 and row["word"] == "lead"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_space_in_front_is_asked_for_where_the_target_has_one(files, name):
    assert run(files(name), target("lead the team", word="lead"))[0].num_rows == 1
    with pytest.raises(TokentrailsError, match="space in front"):
        run(files(name), target("lead the team", word=" lead"))


# --- what cannot be found ---------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_a_missing_target_is_an_error_that_shows_the_tokens(files, name):
    with pytest.raises(TokentrailsError) as caught:
        run(files(name), target(LEAD, word="lead"), target(LEAD, label="gone", word="bank"))
    message = str(caught.value)
    assert re.search(r"its tokens are .*'She' ' ?will' ' ?lead' ' ?the' ", message)
    for part in ("'bank'", LEAD, "'gone'", "'tiny'", "e.yaml", "Hint"):
        assert part in message


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("token", ["Ġbank", "▁bank", "bank"])
def test_a_missing_vocabulary_entry_is_the_same_error(files, name, token):
    with pytest.raises(TokentrailsError, match="bank' is not in the prompt"):
        run(files(name), target(LEAD, token=token))


def test_a_target_that_a_token_glues_to_its_neighbour_is_skipped_with_a_reason():
    files = whitespace_tokenizer("the", "lead", "lead.", "(lead)")
    tokens, skipped = run(
        files,
        target("the lead.", label="glued", word="lead"),
        target("the lead", label="free", word="lead"),
        target("the (lead)", label="framed", word="lead"),
        target("the lead.", label="whole", word="lead."),
    )
    assert tokens["label"].to_pylist() == ["free", "whole"]
    assert tokens["occurrence"].to_pylist() == [1, 3]
    assert skipped.to_pylist() == [
        {"occurrence": 0, "label": "glued", "reason": "the token over 'lead.' crosses its border"},
        {
            "occurrence": 2,
            "label": "framed",
            "reason": "the token over '(lead)' crosses its border",
        },
    ]


def test_an_experiment_of_skipped_targets_only_is_an_error():
    with pytest.raises(TokentrailsError, match=r"'glued': the token over 'lead\.' crosses"):
        run(whitespace_tokenizer("lead."), target("the lead.", label="glued", word="lead"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_prompt_may_fill_the_context_and_no_more(files, name):
    n = len(run(files(name), target(LEAD, word="lead"))[0]["token_ids"][0])
    assert run(files(name), target(LEAD, word="lead"), context_length=n)[0].num_rows == 1
    longer = target(f"{LEAD} {LEAD}", label="long", word="lead")
    tokens, skipped = run(files(name), longer, target(LEAD, word="lead"), context_length=n)
    assert tokens["occurrence"].to_pylist() == [1]
    assert skipped["label"].to_pylist() == ["long"]
    assert re.fullmatch(rf"it has \d+ tokens, the model takes {n}", skipped["reason"][0].as_py())
    with pytest.raises(TokentrailsError, match=f"no text .*{n} tokens, the model takes {n - 1}"):
        run(files(name), target(LEAD, word="lead"), context_length=n - 1)


# --- what the tokenizer does not know, or adds ------------------------------------------------


def unigram() -> TokenizerFiles:
    entries = [("<unk>", 0.0), ("▁", -3.0), ("▁the", -1.0), ("▁lead", -1.0), ("a", -2.0)]
    raw = Tokenizer(models.Unigram(entries, unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    return TokenizerFiles(raw, None, "<unk>")


@pytest.mark.parametrize("make", [unigram, lambda: whitespace_tokenizer("the", "lead")])
@pytest.mark.parametrize("how", ["word", "token"])
def test_targets_that_the_tokenizer_does_not_know_are_left_out(make, how):
    tokens, skipped = run(
        make(),
        target("the 雪", label="snow", **{how: "雪"}),
        target("the lead", label="a", word="lead"),
        target("the lead", label="b", word="the"),
    )
    assert tokens["label"].to_pylist() == ["a", "b"]
    assert skipped.to_pylist() == [{"occurrence": 0, "label": "snow", "reason": UNKNOWN}]


def test_the_unknown_entry_itself_may_be_a_target():
    files = whitespace_tokenizer("the")
    (row,) = run(files, target("the 雪", token="<unk>"))[0].to_pylist()
    assert (row["first"], row["word"]) == (1, "雪")


def test_a_tokenizer_that_knows_less_than_half_of_the_words_is_refused():
    texts = [target("the lead", label="0", word="lead")]
    texts += [target(f"the x{i}", label=f"{i}", word=f"x{i}") for i in (1, 2)]
    files = whitespace_tokenizer("the", "lead")
    assert run(files, *texts[:2])[0].num_rows == 1
    with pytest.raises(TokentrailsError, match="'tiny' does not know 2 of 3 words: 'x1', 'x2'"):
        run(files, *texts)
    with pytest.raises(TokentrailsError, match="does not know 3 of 4 words: 'x', 'y', 'z'"):
        run(files, target("x y lead z", word="lead"))
    whole = [target(f"the {word}", label=word) for word in ("x", "lead", "y")]
    tokens, skipped = run(files, *whole)
    assert tokens["word"].to_pylist() == ["the", "", "the", "lead", "the", ""]
    assert skipped["reason"].to_pylist() == [f"the tokenizer does not know {w!r}" for w in "xy"]
    with pytest.raises(TokentrailsError, match="does not know 3 of 4 words: 'x', 'y'"):
        run(files, target("the x y x", label="w"))


def test_a_target_whose_letters_a_tokenizer_drops_is_left_out():
    raw = Tokenizer(models.BPE({"n": 0, "a": 1, "v": 2, "e": 3, "Ġ": 4}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    files = TokenizerFiles(raw, None)
    tokens, skipped = run(
        files, target("a naïve", label="x", word="naïve"), target("a na", word="na")
    )
    assert tokens["tokens"].to_pylist() == [["a", "Ġ", "n", "a"]]
    assert skipped["reason"].to_pylist() == ["no token covers its 'v'"]  # the library shifts them


SPACES = {
    "sentencepiece": (
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
    ),
    "metaspace": (None, pre_tokenizers.Metaspace(prepend_scheme="first")),
    "byte-level": (None, pre_tokenizers.ByteLevel(add_prefix_space=True)),
}


def spaced(name) -> TokenizerFiles:
    """A tokenizer of letters that puts a space in front of a text, as a token of its own."""
    letters = {c: i for i, c in enumerate(["<unk>", "▁", "Ġ", *"Leadx"])}
    raw = Tokenizer(models.BPE(letters, [], unk_token="<unk>"))
    normalizer, cut = SPACES[name]
    if normalizer is not None:
        raw.normalizer = normalizer
    if cut is not None:
        raw.pre_tokenizer = cut
    return TokenizerFiles(raw, None, "<unk>")


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_no_part_of_a_word_wherever_it_stands(name):
    files = spaced(name)
    prompts = [target(t, label=t, word="Lead") for t in ("Lead x", " Lead", "x Lead", "x  Lead")]
    for row in run(files, *prompts)[0].to_pylist():
        assert row["tokens"][row["first"] : row["last"] + 1] == list("Lead"), row["text"]
    (row, *_) = run(files, target("Lead x", label="whole"))[0].to_pylist()
    assert (row["word"], row["word_part"]) == ("", None) and row["tokens"][0] in "▁Ġ"
    assert files.begins_with_space and not whitespace_tokenizer("a").begins_with_space


def test_characters_that_vocabularies_write_spaces_with_are_letters_of_their_own():
    (row,) = run(spaced("metaspace"), target("x Ġx", word="Ġx"))[0].to_pylist()
    assert row["tokens"][row["first"] : row["last"] + 1] == ["Ġ", "x"]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_a_message_shows_tokens_as_a_reader_sees_them(files, name):
    with pytest.raises(TokentrailsError) as caught:
        run(files(name), target("a 東 naïve", word="lead"))
    shown = caught.value.problem.partition("its tokens are ")[2]
    assert "東" in shown and not set("æĿ±Ã¯ĠÂ") & set(shown)
    if name == "gpt2":
        assert shown == "'a' ' 東' … ' naï' …'ve'"


# --- token ids --------------------------------------------------------------------------------

TEXTS = [LEAD, "naïve café 東京", " two  spaces\n\tand more", "<s> [CLS] </s>", "a", "😀😀 1845!"]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("add", [True, False])
def test_ids_are_those_of_the_models_own_file(files, saved, name, text, add):
    (cut,) = files(name).encode([text], add_special_tokens=add, bos=False)
    raw = Tokenizer.from_file(str(saved[name] / "tokenizer.json"))
    raw.no_truncation()
    raw.no_padding()
    expected = raw.encode(text, add_special_tokens=add)
    assert (cut.ids, cut.tokens) == (expected.ids, expected.tokens)


@pytest.mark.parametrize("name", [n for n in CONFIGS if n not in WORD_PIECE])
def test_bos_is_put_in_front_once(files, original, name):
    made = {}
    for mode in ("default", "bos", "none"):
        tokens, _ = run(files(name), target(LEAD, word="lead"), special_tokens=mode)
        (made[mode],) = tokens.to_pylist()
    bos = original(name).bos_token_id
    ids = made["bos"]["token_ids"]
    assert ids[0] == bos and bos not in ids[1:]
    if made["default"]["token_ids"][0] == bos:
        assert made["bos"] == made["default"]
    else:
        assert ids[1:] == made["default"]["token_ids"]
        assert made["bos"]["first"] == made["default"]["first"] + 1
        assert made["bos"]["special_tokens"] == made["default"]["special_tokens"] + 1
        assert made["bos"]["tokens"][0] == original(name).bos_token
    assert made["none"]["special_tokens"] == 0
    added = len(made["default"]["token_ids"]) - len(made["none"]["token_ids"])
    assert made["default"]["special_tokens"] == added


def test_a_tokenizer_without_bos_cannot_be_asked_for_one(files):
    with pytest.raises(TokentrailsError, match="no beginning-of-sequence token") as caught:
        run(files("bert"), target(LEAD, word="lead"), special_tokens="bos")
    assert "experiments.e.special_tokens" in str(caught.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_cutting_and_padding_left_in_the_file_are_ignored(saved, files, tmp_path, name):
    raw = Tokenizer.from_file(str(saved[name] / "tokenizer.json"))
    raw.enable_truncation(5)
    raw.enable_padding(length=40)
    assert len(raw.encode(LEAD).ids) == 40 and set(raw.encode(LEAD).attention_mask[5:]) == {0}
    raw.save(str(tmp_path / "tokenizer.json"))
    settings = (saved[name] / "tokenizer_config.json").read_bytes()
    (tmp_path / "tokenizer_config.json").write_bytes(settings)
    prompt = target(LEAD, word="team")
    assert run(TokenizerFiles.load(tmp_path), prompt)[0].equals(run(files(name), prompt)[0])


def test_a_broken_tokenizer_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokentrailsError, match=r"tokenizer\.json.*cannot be read"):
        TokenizerFiles.load(tmp_path)


# --- the table --------------------------------------------------------------------------------


def test_group_columns_come_last_and_sense_is_always_there(files):
    tokens, _ = run(
        files("gpt2"),
        target(LEAD, label="a", word="lead", year=1999, kind="x"),
        target(LEAD, label="b", word="team", kind=3, year=0.5),
        target(LEAD, label="c", word="the"),
    )
    assert tokens.column_names[-3:] == ["sense", "group_year", "group_kind"]
    assert tokens["sense"].to_pylist() == [None] * 3
    assert tokens["group_year"].to_pylist() == [1999.0, 0.5, None]
    assert tokens["group_kind"].to_pylist() == ["x", "3", None]


def test_integers_that_no_float_holds_are_kept_as_texts(files):
    prompts = [
        target(LEAD, label=f"l{i}", word="lead", id=n) for i, n in enumerate([2**53 + 1, 1.5])
    ]
    assert run(files("gpt2"), *prompts)[0]["group_id"].to_pylist() == ["9007199254740993", "1.5"]


def test_a_word_is_one_word_however_its_accents_are_written(files):
    texts = ("a café is", "a cafe\u0301 is")
    prompts = [
        target(text, label=f"l{i}", word="café", own=value)
        for i, (text, value) in enumerate(zip(texts, ("no", True), strict=True))
    ]
    tokens, _ = run(files("gpt2"), *prompts)
    assert tokens["word"].to_pylist() == ["café", "café"]
    assert tokens["text"].to_pylist() == list(texts)
    assert tokens["group_own"].to_pylist() == ["no", "true"]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_published_file_runs_on_every_tokenizer(files, original, name):
    published = load_experiment_file(str(PUBLISHED))
    assert published.analyses == ("identity", "context")
    tokens, skipped = run(files(name), *published.prompts)
    labels = tokens["label"].to_pylist() + skipped["label"].to_pylist()
    assert sorted(labels) == ["bank_finance", "bank_river", "lead_metal", "lead_verb"]
    for row in tokens.to_pylist():
        word = row["label"].split("_")[0]
        assert row["word"] == word
        assert covered(row, original(name)).strip() == word
    if name in BYTE_LEVEL or name in WORD_PIECE:
        assert skipped.num_rows == 0
    for row in skipped.to_pylist():  # the tiny corpus makes one token of a word and its full stop
        assert row["label"] in ("lead_metal", "bank_river") and ".'" in row["reason"]


# --- the parts --------------------------------------------------------------------------------


def test_surface_of_byte_level_entries_is_the_text():
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    points = [*range(0x800), *range(0x800, 0xD800, 97), *range(0xE000, 0x110000, 997), 0x10FFFF]
    used = set()
    for point in points:
        text = chr(point)
        ((piece, _),) = cut.pre_tokenize_str(text)
        assert surface(piece, byte_level=True) == text, hex(point)
        used |= set(piece)
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # in no UTF-8 text
    assert len(used) == 256 - len(never)


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("Ġlead", " lead"),
        ("▁lead", " lead"),
        ("lead", "lead"),
        ("##ing", "ing"),
        ("##", "##"),
        ("ĠGrÃ¶ÃŁe", " Größe"),
        ("Größe", "Größe"),
        ("東京", "東京"),
        ("Ã", "Ã"),
        ("[CLS]", "[CLS]"),
        ("Ġa b", "Ġa b"),  # characters that stand for no byte
        ("Ġ\xad", "Ġ\xad"),
        ("Ġ\ud800", "Ġ\ud800"),
        ("čĊĉif", "\r\n\tif"),
        *((letters, letters) for letters in ("čas", "proč", "dağ", "đ", "ġdid", "także", "są")),
    ],
)
def test_surface(token, text):
    assert surface(token) == text


@pytest.mark.parametrize(
    ("token", "of_bytes", "of_letters"),
    [
        ("čas", "\ras", "čas"),
        ("Ġakbu", " akbu", "Ġakbu"),
        ("ðŁĺ", "<0xF0><0x9F><0x98>", "ðŁĺ"),
        ("##a", "##a", "a"),
        ("▁a", "▁a", " a"),
    ],
)
def test_surface_where_the_tokenizer_is_known(token, of_bytes, of_letters):
    assert surface(token, byte_level=True) == of_bytes
    assert surface(token, byte_level=False) == of_letters


def test_which_tokenizers_are_byte_level(files):
    assert files("gpt2").is_byte_level and files("gpt2").surface("ĉ") == "\t"
    assert not files("bert").is_byte_level and files("bert").surface("ĉ") == "ĉ"
    assert not files("llama").is_byte_level


@pytest.mark.parametrize(
    ("text", "word", "places"),
    [
        ("lead lead leads", "lead", [(0, 4), (5, 9)]),
        ("lead lead leads", " lead", [(5, 9)]),
        ("a lead, (lead) lead-in lead_in", "lead", [(2, 6), (9, 13)]),
        ("_lead_ 'lead' -lead", "lead", [(1, 5), (8, 12), (15, 19)]),
        ("You can't, we can", "can", [(14, 17)]),
        ("You can't, we can", "can't", [(4, 9)]),
        ("it's 's", "it", [(0, 2)]),
        ("it's 's", "'s", [(2, 4), (5, 7)]),
        ("1,845 845 1845-1850", "845", [(6, 9)]),
        ("कला और कल", "कल", [(7, 9)]),  # before a vowel sign
        ("கா க", "க", [(3, 4)]),
        ("ที่ ที", "ที", [(4, 6)]),
        ("كتبَتْ ثم كتب", "كتب", [(10, 13)]),  # before points
        ("שלִי של", "של", [(5, 7)]),
        ("می\u200cخواهم و خواهم", "خواهم", [(11, 16)]),  # behind a joiner
        ("team\xadmate and team", "team", [(14, 18)]),
        ("今天天气很好", "天气", [(2, 4)]),  # scripts without spaces
        ("東京タワーへ", "タワー", [(2, 5)]),
        ("ดีมาก", "มาก", [(2, 5)]),
        ("我们的lead很好", "lead", [(3, 7)]),
        ("我们的leader很好", "lead", []),
        ("a cafe\u0301 is", " café", [(2, 7)]),  # written in two ways
        ("a café is", "cafe\u0301", [(2, 6)]),
        ("a cafe\u0301 and a cafe", "cafe", [(14, 18)]),
        ("👩\u200d💻 👩", "👩", [(4, 5)]),
        ("C++ and C and C+", "C++", [(0, 3)]),
        ("a.b axb", "a.b", [(0, 3)]),
        ("Lead lead", "lead", [(5, 9)]),
        ("été étés", "été", [(0, 3)]),
        ("x lead y", "lead ", [(2, 6)]),
        ("x lead", "lead ", []),
    ],
)
def test_find_words(text, word, places):
    assert find_words(text, word) == places


def test_a_span_ignores_spaces_at_the_borders_of_tokens():
    text = "will lead the"
    assert span_of(text, [(0, 4), (4, 9), (9, 13)], 5, 9) == Span(1, 1)
    assert span_of(text, [(0, 5), (5, 10), (10, 13)], 5, 9) == Span(1, 1)
    assert span_of(text, [(0, 0), (0, 4), (5, 7), (7, 9), (10, 13), (0, 0)], 5, 9) == Span(2, 3)


@pytest.mark.parametrize(
    "offsets", [[(0, 4), (4, 11)], [(0, 6), (6, 9)], [(0, 4), (4, 7), (7, 13)], [(0, 13)]]
)
def test_a_token_across_a_border_is_not_aligned(offsets):
    with pytest.raises(NotAligned, match="crosses"):
        span_of("will lead the", offsets, 5, 9)


@pytest.mark.parametrize("offsets", [[(5, 6), (7, 9)], [(6, 9)], [(5, 8)], [(0, 4), (10, 13)]])
def test_a_letter_that_no_token_covers_is_not_aligned(offsets):
    with pytest.raises(NotAligned, match=r"no token covers it(s '[eld]')?$"):
        span_of("will lead the", offsets, 5, 9)
    assert span_of("will le\u0301d x", [(5, 7), (8, 9)], 5, 9) == Span(0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("She can't, we'll: co\u2010op", ["She", "can't", ",", "we", "'ll", ":", "co\u2010op"]),
        ("<|im_start|>user", ["<|", "im_start", "|>", "user"]),
        ("snake_case _it_ 1,845.5.", ["snake_case", "_", "it", "_", "1,845.5", "."]),
        ("我们的lead很好 2026年", ["我们的", "lead", "很好", "2026", "年"]),
        (
            "it＇s ＇it＇ 1\uff0c845\uff0c x\uff0cy",
            ["it", "＇s", "＇", "it", "＇", "1\uff0c845", "\uff0c", "x", "\uff0c", "y"],
        ),
        ("١٬٨٤٥٫٥ a:b;c.d 1;2 a–b a—b", ["١٬٨٤٥٫٥", *"a:b;c.d1;2a–ba—b"]),
        ("צ׳יפס בית־ספר ר׳ ספר־", ["צ׳יפס", "בית־ספר", "ר׳", "ספר", "־"]),
        ("ինչո՞ւ մ՚ան բառ֊բառ սա՛", ["ինչո՞ւ", "մ՚ան", "բառ֊բառ", "սա", "՛"]),
        ("ที่\u200bดี", ["ที่", "ดี"]),  # a space without width
        ("می\u200cخواهم col·lega 👍🏽!", ["می\u200cخواهم", "col·lega", "👍🏽", "!"]),
        # Directions of writing, a soft hyphen, a joiner of words, a byte order mark.
        ("\ufeff\u202elead\u202c \u2060 \u200e!\u200f", ["lead", "!"]),
        ("אב\u200f. co\u00adop\u00ad it\u202c's\u202c", ["אב", ".", "co\u00adop", "it", "'s"]),
    ],
)
def test_words_of_any_script(text, words):
    assert [text[start:end] for start, end in words_in(text)] == words


@pytest.mark.parametrize(
    "word",
    [
        *("lead-free", "rock’n’roll", "rock＇n＇roll", "कला", "می\u200cخواهم", "天气", "שלִי"),
        *("人々", "צ׳יפס", "ג׳ורג׳", "בית־ספר", "ինչո՞ւ"),
    ],
)
def test_a_word_of_any_script_is_one_in_prompts_in_lists_and_in_texts(word):
    assert is_word(word)
    first, second = find_words(f"{word} {word}.", word)
    assert list(words_in(f"{word} {word}.")) == [first, second, (second[1], second[1] + 1)]


@pytest.mark.parametrize(
    ("text", "word", "longer"),
    [
        ("Use lead-free pipes", " lead", "lead-free"),
        ("कला", "कल", "कला"),
        ("a can't", "can", "can't"),
        ("a can＇t", "can", "can＇t"),
        ("צ׳יפס", "צ", "צ׳יפס"),
        ("בית־ספר", "ספר", "בית־ספר"),
        ("բառ֊ան", "ան", "բառ֊ան"),
        ("3٫14", "14", "3٫14"),
    ],
)
def test_a_target_in_a_longer_word_is_an_error_that_shows_this_word(files, text, word, longer):
    with refused(f"only inside {longer!r}"):
        run(files("gpt2"), target(text, word=word))


@pytest.mark.parametrize(
    "part", ["'s", "a-", "a\u0301", "ﾞ", "天\u0301", "1,", "a_", "\u202e", "a\u00ad"]
)
def test_long_runs_take_no_more_than_their_length(part):
    text = part * 20_000
    began = time.process_time()
    for end in ("", "x", "1"):
        list(words_in(text + end))
        is_word(text + end)
        ENGLISH.of(text + end)
    assert time.process_time() - began < 5
