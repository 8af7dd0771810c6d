"""Jobs as forks of a process that has loaded the libraries: they end as if they were alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokentrails.running import fork_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")

LIBRARY = Path(fork_server.__file__).parents[2]

# What a server of this test loads, and so a job finds; and what no job asked for is not there.
SCRIPT = f"""
import os, signal, sys, time
sys.path.append({str(LIBRARY)!r})
from tokentrails.running.fork_server import run_in_fork
served = "wave" in sys.modules
if not served:
    run_in_fork(LIBRARIES)
print("served" if served else "alone", os.getcwd(), os.environ["OWN"], sys.argv[1:], flush=True)
"""


@pytest.fixture
def servers(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(
        fork_server, "LIBRARIES", {"sounds": ("wave",), "none": ("no_such_module",)}
    )
    with running(monkeypatch):
        yield


@contextmanager
def running(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(fork_server, "_SERVERS", [])
    fork_server.start_servers()
    yield
    del os.environ[fork_server.VARIABLE]
    for server in fork_server._SERVERS:
        server.stdin.close()
        assert server.wait(10) == 0


def start(
    tmp_path: Path, more: str = "", libraries: str = "sounds", **env: str
) -> subprocess.Popen[str]:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT.replace("LIBRARIES", repr(libraries)) + more)
    return subprocess.Popen(
        [sys.executable, str(script), "a b"],
        cwd=tmp_path,
        env=os.environ | {"OWN": "mine"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_a_job_has_its_own_folder_environment_and_files(servers, tmp_path):
    for _ in range(2):
        assert ended(start(tmp_path)) == (0, f"served {tmp_path} mine ['a b']\n", "")


def test_pandas_may_be_missing_or_broken(monkeypatch, tmp_path):
    (tmp_path / "pandas.py").write_text("raise ImportError('numpy.dtype size changed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(fork_server, "LIBRARIES", {"sounds": ("pandas", "wave")})
    with running(monkeypatch):
        assert ended(start(tmp_path)) == (0, f"served {tmp_path} mine ['a b']\n", "")


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit('no')", 1),
        ("os._exit(7)", 7),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", 130),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_a_job_ends_as_its_script_does(servers, tmp_path, end, status):
    found, out, err = ended(start(tmp_path, end))
    assert found == status and out.startswith("served")
    assert ("ZeroDivisionError" in err) == (end == "1 / 0")
    assert (err == "no\n") == (end == "sys.exit('no')")


def test_a_job_that_is_killed_takes_its_fork_along(servers, tmp_path):
    job = start(tmp_path, "print(os.getpid(), flush=True)\ntime.sleep(60)")
    job.stdout.readline()
    fork = int(job.stdout.readline())
    assert fork != job.pid
    job.kill()
    job.wait()
    for _ in range(100):
        if not Path(f"/proc/{fork}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{fork}").exists()


def test_a_fork_outlives_the_server_but_not_its_job(servers, tmp_path):
    job = start(tmp_path, "time.sleep(1)\nprint('done')")
    assert job.stdout.readline().startswith("served")
    for server in fork_server._SERVERS:
        server.stdin.close()
        server.wait(10)
    assert ended(job)[:2] == (0, "done\n")


def test_without_a_server_a_job_runs_by_itself(servers, tmp_path):
    word = os.environ[fork_server.VARIABLE].rpartition(os.pathsep)[2]
    other = {fork_server.VARIABLE: f"/other/python{os.pathsep}{word}"}
    gone = {fork_server.VARIABLE: f"{sys.prefix}{os.pathsep}other"}
    for env in (other, gone, {fork_server.VARIABLE: ""}):
        assert ended(start(tmp_path, **env))[1].startswith("alone")


def test_a_variable_that_is_there_keeps_servers_from_starting(servers, monkeypatch):
    monkeypatch.setenv(fork_server.VARIABLE, os.environ[fork_server.VARIABLE])
    started = len(fork_server._SERVERS)
    fork_server.start_servers()
    assert len(fork_server._SERVERS) == started


def test_a_server_that_cannot_load_leaves_the_job_to_itself(servers, tmp_path):
    for _ in range(2):  # it is asked, and then it is gone
        status, out, err = ended(start(tmp_path, libraries="none"))
        assert (status, err) == (0, "") and out.startswith("alone")


def test_another_user_is_not_served(servers, tmp_path):
    """It can connect, since the socket is no file."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    word = os.environ[fork_server.VARIABLE].rpartition(os.pathsep)[2]
    ask = f"""
import os, socket
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({fork_server._address(word, "sounds")!r})
    print(connection.recv(1))
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("b''\n", "")
    assert ended(start(tmp_path))[1].startswith("served")


def test_a_server_of_another_user_is_told_nothing(tmp_path):
    """It may listen under the name of one that has ended."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    listen = f"""
import os, socket
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind({fork_server._address("stolen", "sounds")!r})
    listener.listen()
    print("ready", flush=True)
    connection, _ = listener.accept()
    connection.sendall({fork_server._READY!r})
    print(connection.makefile("rb").read())
    connection.close()
"""
    command = [sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        env = {fork_server.VARIABLE: f"{sys.prefix}{os.pathsep}stolen"}
        assert ended(start(tmp_path, **env))[1].startswith("alone")
        assert other.stdout.read() in ("", "b''\n")
