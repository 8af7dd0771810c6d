"""Sentences of a plain text: where they end, which words they are of, and which are taken."""

from config_files import POINTER, refused
from test_sentences import cut as cut  # a fixture
from test_words import word_list

from tokentrails.settings import Experiment, Words
from tokentrails.texts.mining import mined, read_text, sentences_of, with_sentences_of


def test_sentences_end_at_marks_before_capitals_and_at_empty_lines():
    text = (
        'He said: "Go!" She went. Mr. Hill and J. Smith, e.g. at 3.5 km,\nstayed. (Why?) No one\n'
        "knows\n\nChapter two\n \n“Is it?” asked Ann"
    )
    assert list(sentences_of(text)) == [
        'He said: "Go!"',
        "She went.",
        "Mr. Hill and J. Smith, e.g. at 3.5 km, stayed.",
        "(Why?)",
        "No one knows",
        "Chapter two",
        "“Is it?” asked Ann",
    ]
    assert list(sentences_of(" \n\n ")) == []


def test_sentences_are_cut_at_the_first_place_with_enough_words_before():
    text = (
        "The boat sank, and the boat was old. A boat sank. The old boat, 7 of us saw, sank. "
        "We saw that the\nboat sank. We saw that the boat is gone. The Boat is a boats list."
    )
    assert mined(text, ["boat", "saw", "missing"], 3) == {
        "boat": ["The boat sank, and the boat", "We saw that the boat"],
        "saw": ["The old boat, 7 of us saw"],
    }
    assert mined(text, ["boat"], 0)["boat"][:2] == ["The boat", "A boat"]
    assert mined("We " * 50 + "boat.", ["boat"], 0) == {"boat": ["We " * 50 + "boat"]}
    assert mined("We " * 51 + "boat.", ["boat"], 0) == {}


TEXT = (
    "It say a ab-cd. It see a ab-cd. The ab-cd. It a pq-cd. See say pq-cd! A see pq-cd. It xy-ef."
)
LIST = ["ab-cd", "pq-cd", "xy-ef", "a", "7"]


def mine(files, text=TEXT, others=1, left=1, seed=0, per_group=9):
    words = Words("l.txt", 100, (3,), per_group, seed)
    made = Experiment(
        *("e", "e.yaml", (), "last", "default", ("resid",), ("perturbation",), ()),
        words=words,
        contexts_from="t.txt",
        left=left,
        others=others,
    )
    made = with_sentences_of(text, made, word_list(*LIST), files, 64, model="tiny")
    return {own.word: own.sentences for own in made.sentences}


def test_words_and_sentences_are_drawn_by_the_seed(cut):
    assert mine(cut, others=5) == {
        "ab-cd": ("It say a ab-cd", "It see a ab-cd", "The ab-cd"),
        "pq-cd": ("It a pq-cd", "See say pq-cd", "A see pq-cd"),
    }
    assert mine(cut, others=5, left=3) == {"ab-cd": ("It say a ab-cd", "It see a ab-cd")}
    some = [mine(cut, seed=seed) for seed in range(8)]
    assert {len(own) for each in some for own in each.values()} == {2}
    assert len({tuple(each.items()) for each in some}) > 2 and mine(cut) == some[0]
    assert {tuple(mine(cut, seed=seed, per_group=1)) for seed in range(8)} == {
        ("ab-cd",),
        ("pq-cd",),
    }


def test_a_text_without_such_sentences_is_refused(cut):
    with refused("e.yaml", "'t.txt'", "9 words left", "lower 'left'"):
        mine(cut, left=9)
    with refused("0 words left", "Hint: give a longer text, or raise 'top'."):
        mine(cut, "It ab-cd.", left=0)


def test_a_text_that_cannot_be_read_is_named(tmp_path):
    with refused("gone.txt", "cannot be read"):
        read_text(tmp_path / "gone.txt")
    (tmp_path / "t.txt").write_bytes(b"na\xefve")
    with refused("t.txt", "UTF-8"):
        read_text(tmp_path / "t.txt")
    (tmp_path / "t.txt").write_bytes(POINTER)
    with refused("t.txt", "git lfs pull"):
        read_text(tmp_path / "t.txt")
