"""Long work says how far it is, in logs too."""

import logging
import time

import pytest

from tokentrails import progress


def run_through(label, steps=20, pause=0.01):
    with progress.progress_bar(steps * 1000, label) as bar:
        for _ in range(steps):
            time.sleep(pause)
            bar.update(1000)


@pytest.fixture
def lines(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as jobs set it, for the bars of other libraries
    return lambda: [record.getMessage() for record in caplog.records]


def test_long_work_logs_a_line_now_and_then(lines, monkeypatch, capfd):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    run_through("gpt2, words")
    assert 1 <= len(lines()) <= 5  # 0.2 s and more, of 0.05 s each; a busy machine takes longer
    for line in lines():
        assert line.startswith("gpt2, words: ")
        assert "%" in line
        assert "k/20.0k [" in line
    assert capfd.readouterr() == ("", "")


def test_short_work_logs_nothing(lines):
    run_through("gpt2, words", steps=2, pause=0)
    assert lines() == []


def test_a_terminal_has_the_bar_and_the_log_nothing(lines, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    run_through("gpt2, words")
    assert "gpt2, words" in capsys.readouterr().err
    assert lines() == []
