"""How Slurm's answers reach its executor; tests/slurm tries it on a real cluster."""

import asyncio
import logging

import pytest
import snakemake_executor_plugin_slurm as executor

from tokentrails.running.job_states import correct_job_states


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """A function that gives what the executor makes of an answer of sacct."""
    monkeypatch.setattr(executor, "query_job_status", executor.query_job_status)
    correct_job_states()
    correct_job_states()

    def states(answer: str) -> dict[str, str]:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / "sacct").chmod(0o755)
        command = f"{tmp_path}/sacct --name run"
        found, seconds = asyncio.run(executor.query_job_status(command, logging.getLogger()))
        assert seconds >= 0
        return found

    return states


def test_a_cancelled_job_is_seen_whoever_cancelled_it(ask):
    answer = "printf '7|CANCELLED by 1000\\n8|COMPLETED\\n9|CANCELLED\\n'"
    assert ask(answer) == {"7": "CANCELLED", "8": "COMPLETED", "9": "CANCELLED"}


def test_no_answer_leaves_all_jobs_as_they_were(ask, caplog):
    # With None the executor forgets them.
    assert ask("echo no database >&2; exit 1") == {}
    assert [record.getMessage().count("does not answer") for record in caplog.records] == [1]
