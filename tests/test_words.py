"""Words are drawn from a list by their token count, alone or with contexts that perturb them."""

import hashlib
import json
import logging
import shutil
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny
import workflow as wf
from config_files import refused
from drawn_words import CONTEXTS, LIST
from texts import whitespace_tokenizer
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from tokentrails.errors import TokentrailsError
from tokentrails.settings import Experiment, Words
from tokentrails.texts.spans import is_word
from tokentrails.texts.template import Template
from tokentrails.texts.tokenization import TokenizerFiles
from tokentrails.texts.word_list import Entry, WordList
from tokentrails.texts.words import tokenize_words

ROOT = Path(__file__).parent.parent
STYLES = [
    ("gpt_neox", "{bos}{space}{word}"),
    ("gpt_neox", "{word}"),
    ("gpt_neox", "{space}{word} went down"),
    ("roberta", "{bos}{word}"),
    ("llama", "{bos}{space}{word}"),
    ("llama", "{bos}the cold{space}{word} and"),
    ("llama", "{word}"),
    ("bert", "{word}"),
    ("bert", "a {word}, the"),
]
"""Byte-level, Metaspace and WordPiece tokenizers, with templates that suit them."""


def word_list(*texts):
    entries = tuple(Entry(rank, text) for rank, text in enumerate(texts, start=1))
    return WordList(entries, "0" * 64)


def words(**changes):
    settings = {"list": "l.txt", "top": 1000, "n_tokens": (1, 2, 3), "per_group": 4, "seed": 0}
    return Words(**settings | changes)


def experiment(template="{bos}{space}{word}", contexts=(), others=2, **changes):
    return Experiment(
        *("e", "e.yaml", (), "last", "default", ("resid",), ("convergence",), ()),
        words=words(**changes),
        template=template,
        contexts=contexts,
        others=others,
    )


def run(files, made, listed=LIST, context_length=64):
    """The rows of the two tables."""
    both = tokenize_words(made, word_list(*listed), files, context_length, model="tiny")
    return [table.to_pylist() for table in both]


# --- words alone ------------------------------------------------------------------------------


def filled(template, word):
    """A second way of filling a template."""
    return template.replace("{bos}", "").replace("{space}", " ").replace("{word}", word)


def slow_cut(tokenizer, template, word):
    """The ids of the text, and the first and last position of the word, as transformers has it."""
    text = filled(template, word)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    start = len(filled(template.split("{word}")[0], ""))
    inside = [
        i
        for i, (a, b) in enumerate(offsets["offset_mapping"])
        if text[a:b].strip() and b > start and a < start + len(word)
    ]
    front = [tokenizer.bos_token_id] if "{bos}" in template else []
    return front + ids, inside[0] + len(front), inside[-1] + len(front)


@pytest.mark.parametrize(("name", "template"), STYLES)
def test_the_rows_are_those_of_a_slow_second_way(files, original, name, template):
    cut = original(name)
    made = experiment(template, per_group=5, n_tokens=(1, 2, 3, 4))
    tokens, skipped = run(files(name), made)
    slow = {word: slow_cut(cut, template, word) for word in LIST}
    groups = defaultdict(dict)  # by token count: the first word of each sequence of tokens
    left_out = {}
    for rank, word in enumerate(LIST, start=1):
        ids, first, last = slow[word]
        own = tuple(ids[first : last + 1])
        if cut.unk_token_id in own:
            left_out[word] = "does not know"
        elif len(own) > 4:
            left_out[word] = f"cut into {len(own)} tokens, no group"
        elif own in groups[len(own)]:
            left_out[word] = "the same tokens as"
        else:
            groups[len(own)][own] = rank
    assert {row["label"] for row in skipped} == left_out.keys()
    assert all(left_out[row["label"]] in row["reason"] for row in skipped)
    assert len([n for n in groups if groups[n]]) >= 2
    assert Counter(row["n_tokens"] for row in tokens) == {
        n: min(5, len(group)) for n, group in groups.items() if group
    }
    for row in tokens:
        ids, first, last = slow[row["word"]]
        assert (row["token_ids"], row["first"], row["last"]) == (ids, first, last)
        assert row["tokens"] == cut.convert_ids_to_tokens(ids)
        assert row["n_tokens"] == last - first + 1
        assert row["special_tokens"] == ("{bos}" in template)
        text = filled(template, row["word"])  # where the tokenizer adds a space, one is enough
        assert row["text"] == (text.removeprefix(" ") if name == "llama" else text)
        assert LIST[row["rank"] - 1] == row["word"] == row["label"]
        assert row["sense"] is None
    assert [row["occurrence"] for row in tokens] == list(range(len(tokens)))
    assert all(a < b for a, b in pairwise((row["n_tokens"], row["rank"]) for row in tokens))
    ranks = [row["rank"] for row in skipped]
    assert ranks == sorted(ranks) and not {row["rank"] for row in tokens} & set(ranks)
    assert {row["occurrence"] for row in skipped} <= {None}


def test_a_list_most_of_which_the_tokenizer_does_not_know_is_refused():
    files = whitespace_tokenizer("lead", "bank")
    assert len(run(files, experiment("{word}"), ["lead", "bank", "spring", "guide"])[1]) == 2
    with pytest.raises(TokentrailsError, match=r"words: .*does not know 3 of 5 words: 'spring'"):
        run(files, experiment("{word}"), ["lead", "bank", "spring", "guide", "1845", "pipes"])


@pytest.mark.parametrize("template", ["{space}{word}", "{word}"])
def test_a_space_that_the_tokenizer_adds_itself_is_not_added_again(template):
    entries = {c: i for i, c in enumerate(["<unk>", "▁", "▁lead", *"lead"])}
    raw = Tokenizer(BPE(entries, [], unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    (row,) = run(TokenizerFiles(raw, None, "<unk>"), experiment(template, n_tokens=(4,)), ["lead"])[
        0
    ]
    assert row["tokens"] == ["▁", *"lead"] and row["text"] == "lead" and row["first"] == 1


def drawn(files, **changes):
    """The drawn words of each group."""
    made = defaultdict(list)
    for row in run(files, experiment(**changes))[0]:
        made[row["n_tokens"]].append(row["word"])
    return dict(made)


@pytest.mark.parametrize("contexts", [(), CONTEXTS])
def test_the_same_seed_draws_the_same_words_and_another_one_others(files, contexts):
    first, second = (
        tokenize_words(
            experiment(contexts=contexts), word_list(*LIST), files("llama"), 64, model="tiny"
        )
        for _ in range(2)
    )
    assert first[0].equals(second[0]) and first[1].equals(second[1])
    types = {"sense": "string", "rank": "int32"}
    if contexts:
        types |= {"variant": "string", "base": "int32", "context": "int32"}
    own = list(first[0].schema)[-len(types) :]
    assert {field.name: str(field.type) for field in own} == types
    if not contexts:
        assert len({str(drawn(files("gpt_neox"), seed=seed)) for seed in range(10)}) == 10


def test_a_group_does_not_depend_on_the_others(files):
    tokenizer = files("gpt_neox")
    together = drawn(tokenizer)
    assert len(together) == 3
    for n in (1, 2, 3):
        assert drawn(tokenizer, n_tokens=(n,)) == {n: together[n]}


def test_every_word_of_a_group_is_as_likely_as_the_others(files):
    tokenizer = files("gpt_neox")
    (everything,) = drawn(tokenizer, n_tokens=(3,), per_group=1000).values()
    n, times = len(everything), 200
    assert n > 10
    seen = Counter()
    for seed in range(times):
        (some,) = drawn(tokenizer, n_tokens=(3,), seed=seed).values()
        assert len(set(some)) == 4
        seen.update(some)
    assert seen.keys() == set(everything)
    expected = times * 4 / n
    chi_square = sum((seen[word] - expected) ** 2 / expected for word in everything)
    assert chi_square < 3 * n  # its mean is n − 1


def test_only_the_first_entries_are_looked_at(files):
    tokenizer = files("gpt_neox")
    tokens, skipped = run(tokenizer, experiment(top=20, per_group=99))
    assert {row["rank"] for row in tokens + skipped} == set(range(1, 21))


def test_a_group_with_fewer_words_is_taken_whole_and_said(files, caplog):
    with caplog.at_level(logging.INFO, logger="tokentrails"):
        tokens, skipped = run(files("gpt_neox"), experiment(per_group=1000, n_tokens=(1, 2, 30)))
    assert len(tokens) + len(skipped) == len(LIST)
    counts = Counter(row["n_tokens"] for row in tokens)
    assert caplog.messages == [
        f"n_tokens {n}: {counts[n]} words, drawn: {counts[n]} of 1000" for n in (1, 2, 30)
    ]
    assert counts[1] and counts[2] and not counts[30]


def test_what_is_no_word_is_left_out_with_the_reason():
    listed = ["lead", "3rd", "lead", "u.s", "ab", "LEAD", "-", "xyz"]
    tokens, skipped = run(whitespace_tokenizer("lead", "ab"), experiment("{word}"), listed)
    assert [row["word"] for row in tokens] == ["lead", "ab"]
    assert [(row["rank"], row["label"], row["reason"].split(":")[0]) for row in skipped] == [
        (2, "3rd", "no word"),
        (3, "lead", "listed before, on line 1"),
        (4, "u.s", "no word"),
        (6, "LEAD", "the tokenizer does not know its letters"),
        (7, "-", "no word"),
        (8, "xyz", "the tokenizer does not know its letters"),
    ]


def test_a_word_that_is_another_one_to_the_tokenizer_is_left_out(files):
    tokens, skipped = run(files("bert"), experiment("{word}"), ["Lead", "lead", "team"])
    assert [row["word"] for row in tokens if row["n_tokens"] == 1] == ["Lead", "team"]
    assert skipped[0]["reason"] == "the same tokens as 'Lead' on line 1"


def test_a_word_that_a_token_glues_to_its_neighbour_is_left_out():
    tokenizer = whitespace_tokenizer("the", "lead.", "team", ".")
    tokens, _ = run(tokenizer, experiment("the {word} ."), ["team"])
    assert [row["word"] for row in tokens] == ["team"]
    with refused("'lead': the token over 'lead.' crosses its border"):
        run(tokenizer, experiment("the {word}."), ["lead"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(text, True) for text in ["lead", "don't", "well-led", "o’clock", "Größe", "東京", "i"]],
        *[(text, True) for text in ["cafe\u0301", "हिन्दी", "mother-in-law's"]],
        *[(text, False) for text in ["", "'tis", "dogs'", "-", "a--b", "a-", "u.s", "3rd", "1"]],
        *[(text, False) for text in ["a_b", "a/b", "°", "\u0301a", "a b", "=a", "😀", "²", "a~b"]],
    ],
)
def test_is_word(text, expected):
    assert is_word(text) is expected


# --- words in contexts ------------------------------------------------------------------------


def perturbed(files, listed=LIST, contexts=CONTEXTS, **changes):
    made = experiment(contexts=contexts, **{"per_group": 6} | changes)
    return run(files, made, listed)


def ids_at_the_end(tokenizer, context, word):
    """The word's ids in a context that it ends, or None where it has none of its own."""
    before = filled(context.removesuffix("{word}"), "").rstrip()
    front = tokenizer(before, add_special_tokens=False)["input_ids"]
    ids = tokenizer(filled(context, word), add_special_tokens=False)["input_ids"]
    return tuple(ids[len(front) :]) if ids[: len(front)] == front else None


@pytest.mark.parametrize("name", ["gpt_neox", "llama", "bert"])
@pytest.mark.parametrize("others", [1, 2, 9])
def test_bases_and_their_variants_are_those_of_a_slow_second_way(files, original, name, others):
    cut = original(name)
    contexts = CONTEXTS
    if name == "bert":
        contexts = tuple(context.removeprefix("{bos}") for context in CONTEXTS)
    tokens, skipped = perturbed(files(name), contexts=contexts, others=others)
    ids = {(c, w): ids_at_the_end(cut, contexts[c], w) for c in range(5) for w in LIST}
    left_out = {row["label"]: row["reason"] for row in skipped}
    known = [w for w in LIST if "no other word" in left_out.get(w, "") or w not in left_out]

    def family(word, context):
        """What a word can be replaced by."""
        mine = ids[0, word]
        return [
            w
            for w in known
            if w != word
            and len(ids[0, w]) == len(mine) > 1
            and ids[0, w][-1] == mine[-1]
            and ids[context, w] == ids[0, w]
        ]

    bases = [row for row in tokens if row["variant"] == "base"]
    assert Counter(row["n_tokens"] for row in bases)[2] == 6
    turn = Counter()
    for base in bases:
        word, n, context = base["word"], base["n_tokens"], base["context"]
        assert base["base"] == base["occurrence"] and base["label"] == word
        good = [c for c in range(5) if ids[c, word] == ids[0, word] and (n == 1 or family(word, c))]
        assert context == next(c % 5 for c in range(turn[n], turn[n] + 5) if c % 5 in good)
        turn[n] = turn[n] + 1
        mine = [row for row in tokens if row["base"] == base["occurrence"] and row != base]
        first, second = ([row for row in mine if row["variant"] == v] for v in ("P1", "P2"))
        assert mine == first + second
        alike = [c for c in range(5) if c != context and ids[c, word] == ids[0, word]]
        assert len(first) == min(others, len(alike))
        assert {row["word"] for row in first} == {word}
        assert {row["context"] for row in first} <= set(alike)
        assert [row["context"] for row in first] == sorted({row["context"] for row in first})
        assert len(second) == min(others, len(family(word, context)))
        assert {row["word"] for row in second} <= set(family(word, context))
        assert {row["context"] for row in second} <= {context}
        assert [row["rank"] for row in second] == sorted({row["rank"] for row in second})
    for word, reason in left_out.items():
        if "no other word" in reason:
            assert not family(word, 0) and len(ids[0, word]) > 1
    for row in tokens:
        base = tokens[row["base"]]
        assert row["n_tokens"] == base["n_tokens"]
        assert row["text"] == filled(contexts[row["context"]], row["word"])
        assert row["last"] == len(row["token_ids"]) - 1
        assert row["token_ids"][row["last"]] == base["token_ids"][base["last"]]
        own = row["token_ids"][row["first"] :]
        if row["variant"] == "P2":
            assert own != base["token_ids"][base["first"] :]
            assert row["token_ids"][: row["first"]] == base["token_ids"][: base["first"]]
        else:
            assert own == base["token_ids"][base["first"] :]
        assert LIST[row["rank"] - 1] == row["word"]


def test_labels_in_contexts_are_unique_and_plain(files):
    tokens, _ = perturbed(files("gpt_neox"), per_group=30, others=4)
    labels = [row["label"] for row in tokens]
    assert len(set(labels)) == len(labels) > 100
    assert not set('/\\:*?"<>| \n') & set("".join(labels))
    assert [row["occurrence"] for row in tokens] == list(range(len(tokens)))
    for row in tokens:
        base = tokens[row["base"]]["word"]
        ending = {"base": "", "P1": f"~c{row['context']}", "P2": f"~{row['word']}"}
        assert row["label"] == base + ending[row["variant"]]


def test_partners_come_from_the_whole_list_and_vary_with_the_seed(files):
    found = defaultdict(set)
    for seed in range(12):
        tokens, _ = perturbed(files("gpt_neox"), n_tokens=(2, 3), seed=seed, others=1)
        for row in tokens:
            found[row["variant"]].add(row["label"])
        bases = {row["word"] for row in tokens if row["variant"] == "base"}
        found["not drawn"] |= {r["word"] for r in tokens if r["variant"] == "P2"} - bases
    assert len(found["not drawn"]) > 10
    for variant in ("P1", "P2"):
        by_word = Counter(label.split("~")[0] for label in found[variant])
        assert max(by_word.values()) > 1


def test_a_group_in_contexts_does_not_depend_on_the_others(files):
    def without_numbers(rows, n):
        return [(r["label"], r["variant"], r["text"]) for r in rows if r["n_tokens"] == n]

    together, _ = perturbed(files("gpt_neox"), n_tokens=(1, 2, 3))
    for n in (1, 2, 3):
        alone, _ = perturbed(files("gpt_neox"), n_tokens=(n,))
        assert without_numbers(alone, n) == without_numbers(together, n)


def test_a_base_moves_on_to_a_context_where_it_has_a_partner():
    raw = whitespace_tokenizer("the", "say", "see", "ab", "pq", "cd", "-").tokenizer
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.add_tokens(["say pq"])  # so that one word is not separated from one context
    contexts = ("the {word}", "say {word}", "see {word}")
    tokens, skipped = perturbed(
        TokenizerFiles(raw, None), ["pq-cd", "ab-cd"], contexts, n_tokens=(3,)
    )
    assert not skipped
    assert [(row["label"], row["variant"], row["text"]) for row in tokens] == [
        ("pq-cd", "base", "the pq-cd"),
        ("pq-cd~c2", "P1", "see pq-cd"),
        ("pq-cd~ab-cd", "P2", "the ab-cd"),
        ("ab-cd", "base", "see ab-cd"),
        ("ab-cd~c0", "P1", "the ab-cd"),
        ("ab-cd~c1", "P1", "say ab-cd"),
        ("ab-cd~pq-cd", "P2", "see pq-cd"),
    ]
    assert [row["base"] for row in tokens] == [0, 0, 0, 3, 3, 3, 3]


def test_a_word_that_no_other_context_cuts_alike_is_left_out(files):
    contexts = ("{bos}a{space}{word}", '{bos}say "{word}')
    listed = ["lead", "pipes"]
    made = experiment(contexts=contexts, n_tokens=(1,))
    cut = files("gpt_neox")
    with pytest.raises(TokentrailsError, match="cut into other tokens, or too long, in every"):
        run(cut, made, listed)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("contexts", [(), ("a{space}{word}", "{bos}the{space}{word}")])
def test_a_tokenizer_without_bos_is_refused_by_name(files, contexts):
    where = "e.yaml, contexts[1]" if contexts else "experiments.e.template"
    template = contexts[1] if contexts else "{bos}{space}{word}"
    with refused(where, "'tiny'", repr(template), "leave {bos} out"):
        run(files("bert"), experiment(contexts=contexts))


@pytest.mark.parametrize("contexts", [(), ("{bos}a{space}{word}", "{bos}the{space}{word}")])
def test_where_every_text_is_too_long_it_is_an_error(files, contexts):
    with refused("e.yaml, words", "tokens, the model takes 1", "'tiny'"):
        run(files("gpt_neox"), experiment(contexts=contexts), context_length=1)


def test_words_and_contexts_that_are_too_long_are_left_out(files):
    made = experiment("{word}", n_tokens=(1, 2, 3))
    tokens, skipped = run(files("gpt_neox"), made, context_length=2)
    assert {row["n_tokens"] for row in tokens} == {1, 2}
    longer = {row["label"] for row in run(files("gpt_neox"), made)[0] if row["n_tokens"] == 3}
    reasons = {row["label"]: row["reason"] for row in skipped}
    assert {reasons[word] for word in longer} == {"it has 3 tokens, the model takes 2"}
    contexts = ("{word}", "the {word}", "the " * 9 + "{word}")
    made = experiment(contexts=contexts, n_tokens=(1,))
    for length, used in ((9, {0, 1}), (64, {0, 1, 2})):
        tokens, _ = run(whitespace_tokenizer("the", *LIST), made, context_length=length)
        assert {row["context"] for row in tokens} == used


@pytest.mark.parametrize("contexts", [(), CONTEXTS])
def test_only_when_all_groups_are_empty_it_is_an_error(files, contexts):
    tokens, _ = run(files("gpt_neox"), experiment(contexts=contexts, n_tokens=(2, 40)))
    assert {row["n_tokens"] for row in tokens} == {2}
    with refused("e.yaml, words", "first 1000 entries", "40 or 50 tokens", "'lead': cut into"):
        run(files("gpt_neox"), experiment(contexts=contexts, n_tokens=(40, 50)))


BAD_TEMPLATES = {
    "{word} 0 times": ["", "{bos}", "word"],
    "{word} 2 times": ["{word}{word}"],
    "{bos} behind": ["{space}{bos}{word}", "{bos}{bos}{word}", "{word}{bos}"],
    "'{'": ["{word", "{{word}}"],
    "'}'": ["word}"],
    "'{}'": ["{word} {}"],
    **{f"'{part}'": [part] for part in ("{wrod}", "{word!r}", "{ word }")},
}


@pytest.mark.parametrize(
    ("template", "problem"),
    [(template, problem) for problem, listed in BAD_TEMPLATES.items() for template in listed],
)
def test_a_bad_template_is_refused(template, problem):
    with refused("here: ", repr(template), problem):
        Template.parse(template, "here")


def test_templates_are_filled():
    template = Template.parse("{bos}50 %{space}{space}of {word}'s", "here")
    assert template == Template(True, "50 %  of ", "'s")
    assert template.fill("{word}") == "50 %  of {word}'s"
    assert Template.parse("{word}", "here") == Template(False, "", "")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"lead\nna\xefve\n", ("line 2", "UTF-8")),
        (b"lead\nteam work\n", ("line 2", "white space in 'team work'")),
        (b"lead\n\nteam\twork\n", ("line 3", "white space")),
        ("a\u2003b".encode(), ("line 1", "white space")),
        ("a\u2028b".encode(), ("line 1", "white space")),
        (b"lead\x00\n", ("line 1", "control character")),
        (b"a\nle\x1bad\n", ("line 2", "control character")),
        (b"x" * 201, ("line 1", "201 characters, more than 200")),
        (b"", ("empty",)),
        (b"\n \r\n\n", ("empty",)),
    ],
)
def test_a_bad_word_list_is_refused_at_its_line(tmp_path, content, parts):
    (tmp_path / "l.txt").write_bytes(content)
    with refused("l.txt", *parts):
        WordList.read(tmp_path / "l.txt")


def test_a_word_list_that_is_not_there_is_named(tmp_path):
    with refused("gone.txt", "cannot be read"):
        WordList.read(tmp_path / "gone.txt")


def test_word_lists_are_read(tmp_path):
    content = "\ufefflead\r\n\n  team \nGröße\n" + "x" * 200
    (tmp_path / "l.txt").write_text(content, encoding="utf-8", newline="")
    read = WordList.read(tmp_path / "l.txt")
    texts = [(entry.rank, entry.text) for entry in read.entries]
    assert texts == [(1, "lead"), (3, "team"), (4, "Größe"), (5, "x" * 200)]
    assert read.sha256 == hashlib.sha256(content.encode()).hexdigest()


def test_the_frequent_words_can_be_read_back(tmp_path):
    from tokentrails.texts.frequent_words import frequent_words  # slow to load

    listed = frequent_words(100_000, "en")
    assert listed[:4] == ["the", "to", "and", "of"] and len(set(listed)) == 100_000
    (tmp_path / "l.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    read = WordList.read(tmp_path / "l.txt").entries
    assert [entry.text for entry in read] == listed and read[-1].rank == 100_000


# --- on the command line ----------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.slow
def test_tokens_of_words_are_made_from_the_command_line(tmp_path):
    folder = wf.checkout(tmp_path / "run")
    tiny.save("gpt_neox", folder / "models/neox/step0")
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
    (folder / "models/neox/step0/chat_template.jinja").write_text(template)
    shutil.copytree(folder / "models/neox/step0", folder / "models/neox/step1")
    chat = [{"role": "system", "content": "lead"}, {"role": "user", "content": "We lead"}]
    marked = {"label": "a", "prompt": [chat[0], chat[1] | {"word": "lead"}]}
    wf.write_yaml(folder / "chats.yaml", {"prompts": [marked]})
    few = {"top": 400, "n_tokens": [2, 3], "per_group": 5}
    own = {"list": "own.txt", "n_tokens": [2, 3], "per_group": 3}
    (folder / "own.txt").write_text("\n".join(LIST) + "\n", encoding="utf-8")
    wf.write_yaml(folder / "words.yaml", {"words": few})
    wf.write_yaml(folder / "moved.yaml", {"words": own, "contexts": list(CONTEXTS)})
    published = {"boats": {"sentences": ["They saw the boats.", "We hire boats"]}}
    (folder / "published.json").write_text(json.dumps(published), encoding="utf-8")
    (folder / "own text.txt").write_text("We saw the old boats. Two of my boats sank.\n")
    from_text = {"words": {"n_tokens": [1, 2, 3, 4, 5]}, "contexts_from": "own text.txt"}
    wf.write_yaml(folder / "mined.yaml", from_text | {"left": 3, "others": 1})
    files = {name: {"file": f"{name}.yaml"} for name in ("words", "moved", "mined")}
    wf.write_yaml(
        folder / "config/config.yaml",
        {
            "models": {"neox": {"source": "path:models/neox", "checkpoints": ["step0", "step1"]}},
            "experiments": files
            | {"published": {"file": "published.json"}}
            | {"chats": {"file": "chats.yaml", "chat_template": True}},
            "baseline": {"enabled": False},
        },
    )
    names = ("words", "moved", "published", "mined", "chats")
    targets = [f"results/tokens/neox/{name}.parquet" for name in names]
    wf.run(folder, *targets)
    words, moved, *natural, chats = (pq.read_table(folder / target) for target in targets)
    listed = (folder / "resources/words/wordfreq.txt").read_text(encoding="utf-8").splitlines()
    assert len(listed) == 100_000
    assert words.num_rows == 10
    for row in words.to_pylist():
        assert row["rank"] <= 400 and listed[row["rank"] - 1] == row["word"]
    about = {k.decode(): v.decode() for k, v in words.schema.metadata.items()}
    assert (about["word_list"], about["template"]) == ("wordfreq", "{bos}{space}{word}")
    content = (folder / "resources/words/wordfreq.txt").read_bytes()
    assert about["word_list_sha256"] == hashlib.sha256(content).hexdigest()
    assert about["seed"] == "0" and "rank" in about["definitions"]
    about = {k.decode(): v.decode() for k, v in moved.schema.metadata.items()}
    assert (about["word_list"], about["contexts"]) == ("own.txt", "5")
    assert set(moved["variant"].to_pylist()) == {"base", "P1", "P2"}
    assert "variant" in about["definitions"]
    texts = [["They saw the boats", "We hire boats"], ["We saw the old boats", "Two of my boats"]]
    for table, bases in zip(natural, texts, strict=True):
        rows = table.to_pylist()
        assert [row["text"] for row in rows if row["variant"] == "base"] == bases
        assert {row["variant"] for row in rows} == {"base", "P2"}
    about = {k.decode(): v.decode() for k, v in natural[1].schema.metadata.items()}
    content = (folder / "own text.txt").read_bytes()
    assert about["text_sha256"] == hashlib.sha256(content).hexdigest()
    about = {k.decode(): v.decode() for k, v in chats.schema.metadata.items()}
    assert about["chat_template_sha256"] == hashlib.sha256(template.encode()).hexdigest()
    assert chats["text"].to_pylist() == ["[system] lead [user] We lead "]
    log = (folder / "results/logs/tokens/neox/words.log").read_text()
    assert "n_tokens 2: " in log and "left out" in log

    assert wf.rules_to_run(folder, *targets) == {}
    with (folder / "own.txt").open("a", encoding="utf-8") as file:
        file.write("guidance\n")
    with (folder / "own text.txt").open("a", encoding="utf-8") as file:
        file.write("He said that boats sink.\n")
    stale = {wf.Job("tokens", f"neox/{name}") for name in ("moved", "mined")}
    assert wf.jobs_to_run(folder, *targets) == stale
    (kept,) = (folder / "resources/models/neox").glob("*/tokenizer_config.json")
    kept.write_text(kept.read_text().replace("[{{", "<{{"))
    every = {wf.Job("tokens", f"neox/{name}") for name in names}
    assert wf.jobs_to_run(folder, *targets) == every
