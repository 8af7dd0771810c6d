"""Processes that have loaded the large libraries, and are copied for each job.

A job of a second waits five for torch and transformers. In a run they are loaded once, by a server
that the first job which needs them wakes, and every job is a fork of it: files, environment, memory
and death of its own, as if it had been started by itself. The servers hold nothing of tokentrails,
so each job reads the code that is there. A job that finds no server loads what it needs.

This file is also the server's program: `python -P fork_server.py DESCRIPTOR MODULE ...`, with that
of a socket that listens.
"""

import gc
import json
import os
import runpy
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_COMMON = (
    "numpy",
    "polars",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "scipy.optimize",
    "jaxtyping",
    "yaml",
)
LIBRARIES = {
    "tables": (*_COMMON, "altair", "vl_convert"),
    "torch": (
        *_COMMON,
        "torch",
        "tokenizers",
        "transformers.modeling_layers",
        "transformers.activations",
        "transformers.models.auto.modeling_auto",
    ),
}
"""What each server loads."""

_SPARED = {"pandas"}
"""What pyarrow loads by itself, at the first Python value that it is given, and does without."""

VARIABLE = "TOKENTRAILS_FORK_SERVERS"
"""Of the environment: the Python of the servers, and a word in the names of their sockets."""

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of what Ctrl-C ends, as shells have it."""

_READY = b"+"


def prepare_process() -> None:
    """What has to be set before libraries are loaded: in a server as in a job by itself."""
    # Large libraries make many objects that stay as long as the process does. Python would look
    # through them for garbage again and again while it imports them.
    gc.set_threshold(50_000)
    if not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # no progress bars in log files
    # Threads that wait by spinning hinder each other badly when other jobs take their cores, and
    # those that sleep at once cost a third of the speed when none do: so they spin, but not long.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's; torch's are set by each job


def start_servers() -> None:
    """Start this run's servers, which end with this process; they load nothing before a job comes.

    Only where a fork is safe: on Linux, and torch's without a driver of NVIDIA's, of which a copied
    process can make no use once it was asked for its devices. Not if the variable is there, which
    may be empty.
    """
    if sys.platform != "linux" or VARIABLE in os.environ:
        return
    word = secrets.token_hex(8)
    for name, modules in LIBRARIES.items():
        if name == "torch" and Path("/dev/nvidiactl").exists():
            continue
        with socket.socket(socket.AF_UNIX) as listener:  # bound here, so that no job is too early
            listener.bind(_address(word, name))
            listener.listen(128)
            command = [sys.executable, "-P", __file__, str(listener.fileno()), *modules]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        _SERVERS.append(process)  # and with it the pipe that ends the server when it closes
    os.environ[VARIABLE] = os.pathsep.join([sys.prefix, word])


_SERVERS: list[subprocess.Popen[bytes]] = []


def run_in_fork(name: str) -> None:
    """Run this process's script in a fork of a server, and end as it ends.

    Returns if there is no such server, or one of another Python; then nothing was done.
    """
    request = {"argv": sys.argv, "cwd": os.getcwd()}
    servers = os.environ.pop(VARIABLE, "")
    try:
        status = fork_status(servers, name, request | {"environ": dict(os.environ)}, [0, 1, 2])
    except KeyboardInterrupt:  # which the fork sees too, or is ended for
        os._exit(INTERRUPTED)
    if status is None:
        return
    if status < 0:  # a job that was killed by a signal ends by that signal
        os.kill(os.getpid(), -status)
    os._exit(abs(status))


def fork_status(servers: str, name: str, request: dict[str, Any], files: list[int]) -> int | None:
    """How a script ended in a fork of a server: its exit status, or a signal below zero.

    Parameters
    ----------
    servers: the value of the variable.
    request: the script with its arguments as argv, its cwd, and its environ.
    files: what is its standard input, output and error.

    Returns
    -------
    None if there is no such server, or one of another Python; then nothing was done.
    """
    prefix, _, word = servers.rpartition(os.pathsep)
    if prefix != sys.prefix:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_address(word, name))
            if not _is_own(connection) or connection.recv(1) != _READY:
                return None
        except OSError:
            return None
        socket.send_fds(connection, [_READY], files)
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(16) or 1)  # no answer: the process between was killed


def _address(word: str, name: str) -> str:
    """A socket that is no file, so that none is left when a run is killed."""
    return f"\0tokentrails-{word}-{name}"


def _is_own(connection: socket.socket) -> bool:
    """Whether it is this user who asks, or listens: such a socket has no permissions."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return user == os.getuid()


def _serve(listener: socket.socket, modules: list[str]) -> NoReturn:
    """Wait for jobs; load at the first one; end when stdin does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # each job has to see Ctrl-C, not the server
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    prepare_process()
    loaded = False
    while 0 not in select.select([listener.fileno(), 0], [], [])[0]:
        if not loaded:
            try:
                _load(modules)
            except Exception:
                break  # the job says so better, when it loads them itself
            gc.collect()
            gc.freeze()  # memory that is never looked through stays shared
            loaded = True
        connection, _ = listener.accept()
        if _is_own(connection) and os.fork() == 0:
            listener.close()
            with suppress(OSError):
                _attend(connection)
            os._exit(0)
        connection.close()
    os._exit(0)


def _load(modules: list[str]) -> None:
    for module in modules:
        try:
            import_module(module)
        except ImportError:
            if module not in _SPARED:
                raise


def _attend(connection: socket.socket) -> None:
    """Fork the job, end it if who asked for it is gone, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.sendall(_READY)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as stream:
        request = json.load(stream)
    job = os.fork()
    if job == 0:
        connection.close()
        _run(request, files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(job)
    # Its client has sent everything: what can still be read is that it closes the connection.
    watch = select.poll()
    watch.register(ended, select.POLLIN)
    watch.register(connection, select.POLLHUP)
    if ended not in dict(watch.poll()):
        os.kill(job, signal.SIGTERM)
    _, status = os.waitpid(job, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _run(request: dict[str, Any], files: list[int]) -> NoReturn:
    """The script, with what a process of its own would have begun with."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv[:] = request["argv"]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
