"""Which jobs are taken for those of a killed run; tests/slurm tries it on a real cluster."""

import os
from pathlib import Path

import pytest

from tokentrails.errors import TokentrailsError
from tokentrails.running import orphans
from tokentrails.running.orphans import cancel_orphans, jobs_of

HERE = Path("/data/a|b/run")
QUEUE = f"""\
11|tokentrails_5f2c|{HERE}
12|tokentrails_5f2c|{HERE}/deeper
13|tokentrails_5f2c|{HERE.parent}
14|training|{HERE}
15|tokentrails|{HERE}
16|tokentrails_0a1b|{HERE}
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A function that puts a squeue and a scancel in front of all others."""

    def put(squeue: str, scancel: str = "exit 1") -> None:
        for name, body in {"squeue": squeue, "scancel": scancel}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        (tmp_path / "queue").write_text(QUEUE)

    return put


def test_only_jobs_of_this_folder_with_the_name_of_this_workflow(slurm, tmp_path):
    slurm(f"cat {tmp_path}/queue")
    assert jobs_of(HERE) == ["11", "16"]
    assert jobs_of(HERE / "elsewhere") == []


def test_they_are_cancelled_and_waited_for(slurm, tmp_path):
    # The first look after the cancelling still finds them.
    slurm(
        f"cat {tmp_path}/queue; if test -f {tmp_path}/asked; then : > {tmp_path}/queue; fi",
        f"echo $* >> {tmp_path}/asked",
    )
    assert cancel_orphans(HERE) == ["11", "16"]
    assert (tmp_path / "asked").read_text() == "11 16\n"
    assert (tmp_path / "queue").read_text() == ""
    assert cancel_orphans(HERE) == []


def test_jobs_that_do_not_end_are_an_error(slurm, tmp_path, monkeypatch):
    slurm(f"cat {tmp_path}/queue", "true")
    monkeypatch.setattr(orphans, "SECONDS", 1)
    with pytest.raises(TokentrailsError, match="do not end: 11, 16"):
        cancel_orphans(HERE)


@pytest.mark.parametrize("squeue", ["echo no controller >&2; exit 1", None])
def test_a_queue_that_does_not_answer_is_an_error(slurm, tmp_path, monkeypatch, squeue):
    if squeue is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        slurm(squeue)
    with pytest.raises(TokentrailsError, match="squeue failed: "):
        cancel_orphans(HERE)


def test_the_profile_gives_jobs_the_name_that_is_looked_for():
    profile = Path(__file__).parent.parent / "profiles/slurm/profile.v9+.yaml"
    assert f"slurm-jobname-prefix: {orphans.PREFIX.removesuffix('_')}\n" in profile.read_text()
