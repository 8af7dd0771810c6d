"""What was worked out of a text is kept by the text and by what works it out."""

import pytest

from tokentrails.files import memo as module
from tokentrails.files.memo import Memo


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module.atexit, "register", lambda save: None)
    return tmp_path / "tokentrails"


def saved(texts, version="1"):
    """What a process works out of some texts, in this order, before it ends."""
    memo, worked_out = Memo("name", version), []

    def work_out(text):
        worked_out.append(text)
        return [text.upper()]

    assert [memo(text, work_out) for text in texts] == [[text.upper()] for text in texts]
    memo._save()
    return worked_out


def test_a_text_is_worked_out_once_by_each_version(folder):
    assert saved(["a", "b", "a"]) == ["a", "b"]
    assert saved(["b", "c", "a"]) == ["c"]
    assert saved(["a"], version="2") == ["a"]


@pytest.mark.parametrize("content", ["{", "[]", "\x00", None])
def test_a_file_that_cannot_be_used_is_made_again(folder, content):
    if content is None:
        (folder / "name.json").mkdir(parents=True)
    else:
        saved(["a"])
        (folder / "name.json").write_text(content)
    assert saved(["a"]) == ["a"]
    assert saved(["a"]) == (["a"] if content is None else [])


def test_an_error_is_not_kept(folder):
    memo = Memo("name", "1")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            memo("a", lambda text: 1 / 0)
    assert memo("a", len) == 1


def test_of_very_many_texts_those_of_the_last_process_are_kept(folder, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    saved(["a", "b", "c"])
    assert saved(["c", "d"]) == ["d"]
    assert saved(["c", "d"]) == []
    assert saved(["a"]) == ["a"]
