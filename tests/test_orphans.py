"""Which jobs are taken for those of a killed run; tests/slurm tries it on a real cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import workflow as wf
from config_files import refused

from tokentrails.errors import TokentrailsError
from tokentrails.running import orphans
from tokentrails.running.orphans import cancel_orphans, jobs_of, refuse_orphans

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


def test_without_a_lock_they_are_named_and_left_alone(slurm, tmp_path):
    slurm(f"cat {tmp_path}/queue", f"touch {tmp_path}/asked")
    with refused(str(HERE), "jobs of another run", "11, 16", "scancel"):
        refuse_orphans(HERE)
    refuse_orphans(HERE / "elsewhere")
    assert not (tmp_path / "asked").exists()


NO_LOCKS = """
import errno, fcntl, os
whole = fcntl.flock
def flock(file, how):
    if getattr(file, "name", "").endswith("tokentrails.lock"):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    return whole(file, how)
fcntl.flock = flock
"""


@pytest.mark.e2e
def test_a_run_without_a_lock_cancels_nothing(slurm, tmp_path):
    folder = wf.small(tmp_path / "run")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(NO_LOCKS)
    slurm(f"echo '11|tokentrails_5f2c|{folder}'", f"touch {tmp_path}/asked")
    path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = wf.command("--executor", "slurm", "--jobs", "1", "--", "models")
    env = wf.environment(PYTHONPATH=str(tmp_path / "site")) | {"PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    text = wf.one_message(done, "this file system has no locks", "jobs of another run", "11")
    assert "Cancelled" not in text and not (tmp_path / "asked").exists()


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
