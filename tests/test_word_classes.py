"""Every word has one class, whichever way it is written."""

import pytest
import yaml
from config_files import refused
from measures import ENGLISH

from tokentrails.texts.word_classes import FUNCTION_WORDS, function_words

GOOD = yaml.safe_load(FUNCTION_WORDS.read_text(encoding="utf-8"))


CLASSES = {
    "function": """
        the an this my every no several such what whose I you it us themselves mine nobody nothing
        who one there of in on off upon during without via like vis-à-vis ago and nor but yet
        because if whether although when why lest be am being have had do did can might ought cannot
        don't isn't won't can't shan't ain't needn't mustn't couldn't 's 're 've 'll 'd 'm n't not
        to up away thou thy hath dost ere tis em The AND Don’t DON'T ’s ’LL Vis-À-Vis ON No it's
        They’re who'd've that'll
    """,
    "content": """
        spring Bank feeds blue slowly Oslo naïve cafe\u0301 here now very too only also never
        somewhere therefore back well even just still once little same own certain next doing done
        going get let need dare used art wilt two hundred first twice half yes oh please save given
        well-known o'clock by-law in-law mother's rock'n'roll x
    """,
    "punctuation": """. , ?! … ." — -- ' ’ ( « 。""",
    "other": "1845 1,845.5 2nd B2B $ + 😀 ² x_y ٣",
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [(word, name) for name, words in CLASSES.items() for word in words.split()]
    + [(space, None) for space in ("", " ", "\n\t")],
)
def test_the_class_of_a_word(word, expected):
    assert ENGLISH.of(word) == expected


WHOLE_SETS = """
    i you he she it we they me him her us them my your his its our their mine yours hers ours theirs
    myself yourself himself herself itself oneself themself ourselves yourselves themselves
    something anything everything nothing somebody anybody everybody nobody someone anyone everyone
    who whom whose which what whoever whomever whichever whatever whenever wherever however
    am is are was were be been being have has had having do does did
    can could may might must shall should will would ought cannot
    aren't isn't wasn't weren't haven't hasn't hadn't don't doesn't didn't can't couldn't mayn't
    mightn't mustn't shan't shouldn't won't wouldn't oughtn't needn't ain't
"""
"""Sets of forms that grammars give in full, so that none of them may be missing."""


def test_whole_sets_of_forms_are_listed():
    assert set(WHOLE_SETS.split()) - function_words() == set()
    assert 300 < len(function_words()) < 400


def test_a_word_may_stand_in_several_classes():
    assert all("both" in GOOD[name] for name in ("determiners", "pronouns", "conjunctions"))
    assert len(function_words()) < sum(map(len, GOOD.values()))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ("cannot be read", "check the name")),
        ("", ("the file is empty",)),
        ("pronouns: [", ("not valid YAML",)),
        ({"pronouns": None}, ("pronouns: None is not of type array", "words of the class")),
        ({"pronouns": []}, ("pronouns", "empty")),
        (dict.fromkeys(GOOD, ...), ("{}",)),
        ({"pronoun": ["i"]}, ("unknown key 'pronoun'", "did you mean 'pronouns'?")),
        ({"pronouns": ["i", False]}, ("pronouns[1]: False is not of type", "quotation marks")),
        ({"pronouns": ["i", 1]}, ("pronouns[1]: 1 is not of type string",)),
        ({"pronouns": ["i", ""]}, ("pronouns[1]", "empty")),
        ({"pronouns": ["each other"]}, ("pronouns[0]: 'each other' is no word", "hyphens")),
        ({"pronouns": ["i\n"]}, ("pronouns[0]", "is no word")),
        ({"pronouns": ["y’all"]}, ("pronouns[0]", "other apostrophes", '"y\'all"')),
        ({"pronouns": ["they-"]}, ("pronouns[0]", "'they-' is no word")),
        ({"pronouns": ["2nd"]}, ("pronouns[0]", "'2nd' is no word")),
        (
            {"pronouns": ["的"]},
            ("pronouns[0]", "without spaces", "leave 'function_words' out"),
        ),
        ({"pronouns": ["it", "I"]}, ("pronouns[1]: the word 'I' has capitals", "write 'i'")),
        ({"pronouns": ["it", "i", "it"]}, ("pronouns[2]: the word 'it' is listed twice",)),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path, text, parts):
    path = tmp_path / "words.yaml"
    if isinstance(text, dict):
        text = yaml.safe_dump({k: v for k, v in (GOOD | text).items() if v is not ...})
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with refused(path, *parts):
        function_words(path)


@pytest.mark.parametrize("classes", [(*GOOD,), ("particles",)])
def test_a_good_file_is_read_as_it_is(tmp_path, classes):
    path = tmp_path / "words.yaml"
    words = ["off", "'s", "vis-à-vis", "no-one"]
    path.write_text(yaml.safe_dump(dict.fromkeys(classes, words)))
    assert function_words(path) == set(words)
