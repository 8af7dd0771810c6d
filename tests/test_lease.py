"""A GPU is one process's alone, in real processes and with stand-ins for GPUs."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in_gpus
import torch
from stand_in_gpus import never_two_at_once

from tokentrails.errors import TokentrailsError
from tokentrails.network import device as module
from tokentrails.network import lease as leases
from tokentrails.network.device import choose_device, choose_devices
from tokentrails.network.lease import folder_of_locks, lease

ROOT = Path(__file__).parent.parent
BEGIN = """
import logging, sys, time
from pathlib import Path
from tokentrails.network import lease as leases
leases.SECONDS_BETWEEN_LOOKS = 0.01
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
folder, record = Path(sys.argv[1]), Path(sys.argv[2])
"""
HOLD = BEGIN + "held = leases.lease(sys.argv[3:], folder); print(*held.indices, flush=True)\n"
TWO = HOLD.replace("folder)", "folder, n=2)")
UNTIL_TOLD = HOLD + "sys.stdin.read()\n"
FOR_A_MOMENT = (
    HOLD
    + """
name, start = sys.argv[3 + held.indices[0]], time.monotonic_ns()
time.sleep(0.1)
(record / f"{start}").write_text(f"{name} {start} {time.monotonic_ns()}")
"""
)
CHOOSE = (
    BEGIN
    + """
import stand_in_gpus, torch
from tokentrails.network.device import choose_device
stand_in_gpus.plug_in(sys.argv[3:], record)
leases.folder_of_locks = lambda: folder
logging.getLogger("tokentrails.network.device").disabled = True
print(choose_device("auto"), flush=True)
sys.stdin.read()
"""
)


@pytest.fixture
def record(tmp_path):
    (tmp_path / "record").mkdir()
    return tmp_path / "record"


@pytest.fixture
def start(tmp_path, record):
    """Starts processes that run some code with GPUs of these names, and ends them."""
    started = []

    def begin(code, *gpus, **env):
        path = os.pathsep.join([str(ROOT / "workflow"), str(ROOT / "tests")])
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "locks"), str(record), *gpus],
            env=os.environ | {"PYTHONPATH": path} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_six_processes_share_two_gpus_and_never_one(start, record):
    processes = [start(FOR_A_MOMENT, "a", "b") for _ in range(6)]
    assert [p.wait(60) for p in processes] == [0] * 6
    turns = stand_in_gpus.turns(record)
    assert set(turns) == {"a", "b"} and sum(map(len, turns.values())) == 6
    assert all(never_two_at_once(spans) for spans in turns.values())


def test_spans_that_overlap_are_two_at_once():
    assert never_two_at_once([(0, 3), (3, 5), (7, 8)])
    assert not never_two_at_once([(0, 4), (3, 5)])


def test_a_process_says_whom_it_waits_for_and_goes_on_when_they_end(start):
    first, second = start(UNTIL_TOLD, "a", "b"), start(UNTIL_TOLD, "a", "b")
    assert sorted(p.stdout.readline() for p in (first, second)) == ["0\n", "1\n"]
    third = start(HOLD, "a", "b")
    message = third.stdout.readline()
    assert "2 of 2 GPUs are taken" in message and "waiting" in message
    assert f" {first.pid}" in message and f" {second.pid}" in message
    second.communicate()
    assert third.stdout.readline() in ("0\n", "1\n")
    assert third.wait(60) == 0 and first.poll() is None


def test_a_killed_process_frees_its_gpu(start):
    holder = start(UNTIL_TOLD, "a")
    assert holder.stdout.readline() == "0\n"
    waiter = start(HOLD, "a")
    assert f" {holder.pid};" in waiter.stdout.readline()
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter.stdout.readline() == "0\n"
    assert waiter.wait(60) == 0


def test_a_child_of_a_killed_process_does_not_keep_its_gpu(start):
    child = """
import subprocess
print(subprocess.Popen(["sleep", "60"], close_fds=False).pid, flush=True)
sys.stdin.read()
"""
    holder = start(HOLD + child, "a")
    assert holder.stdout.readline() == "0\n"
    sleeper = int(holder.stdout.readline())
    holder.kill()
    try:
        assert start(HOLD, "a").stdout.readline() == "0\n"
        os.kill(sleeper, 0)  # it is still there
    finally:
        os.kill(sleeper, signal.SIGKILL)


def test_other_gpus_are_free(start):
    holder = start(UNTIL_TOLD, "a")
    assert holder.stdout.readline() == "0\n"
    assert start(UNTIL_TOLD, "a", "b").stdout.readline() == "1\n"
    assert start(UNTIL_TOLD, "c").stdout.readline() == "0\n"


def test_several_are_taken_together_or_none(start, tmp_path):
    """Who waits for two of three holds none, so that another one still gets its own."""
    folder = tmp_path / "locks"
    one = lease(["a", "b", "c"], folder, n=2)
    assert one.indices == (0, 1)
    second = start(TWO, "a", "b", "c")
    message = second.stdout.readline()
    assert "2 of 3 GPUs are taken" in message and "waiting for 2" in message
    assert lease(["a", "b", "c"], folder).indices == (2,)
    one.files[0].close()
    other = lease(["a", "b", "c"], folder)
    assert other.indices == (0,)
    one.files[1].close()
    other.files[0].close()
    assert second.stdout.readline() == "0 1\n"


def test_more_gpus_than_there_are_is_an_error(tmp_path):
    with pytest.raises(TokentrailsError, match=r"device_map\.gpus: 3 GPUs .* there are 2\nHint"):
        lease(["a", "b"], tmp_path, n=3)


def test_every_job_of_a_user_looks_into_one_folder(monkeypatch, tmp_path):
    before = folder_of_locks()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert folder_of_locks() == before and str(os.getuid()) in before.name


def test_the_folder_is_closed_to_others(tmp_path):
    lease(["a"], tmp_path / "locks")
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "file", "another user's"])
def test_a_folder_that_is_not_ours_is_refused(tmp_path, kind):
    folder = tmp_path / "locks"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        folder.touch()
    elif os.getuid() == 0:
        folder.mkdir()
        os.chown(folder, 12345, -1)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.raises(TokentrailsError, match=r"locks: .*somebody else\nHint"):
        lease(["a"], folder)


# --- the device of a job ----------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Two stand-in GPUs in this process, nothing locked; gives the locks' folder."""
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda index: stand_in_gpus.SimpleNamespace(uuid="ab"[index]),
        "set_device": lambda index: None,
    }
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(leases, "folder_of_locks", lambda: tmp_path / "locks")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # is set; put back afterwards
    module._own_gpus.cache_clear()
    yield tmp_path / "locks"
    module._own_gpus.cache_clear()
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True


def test_a_process_keeps_its_gpu(gpus):
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda", 0)
    assert [lock.name for lock in gpus.iterdir()] == ["a.lock"]
    assert lease(["a", "b"], gpus).indices == (1,)


def test_cuda_is_set_to_the_gpu_that_is_free(gpus, monkeypatch):
    taken, chosen = lease(["a"], gpus), []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("auto") == torch.device("cuda", 1)
    assert chosen == [1] and not taken.files[0].closed


def test_gpus_are_asked_for_the_same_bits_again(gpus):
    assert not torch.are_deterministic_algorithms_enabled()
    choose_device("cuda")
    assert torch.are_deterministic_algorithms_enabled()


def test_no_gpu_is_taken_where_the_cpu_is_asked_for(gpus):
    assert choose_device("cpu") == torch.device("cpu")
    assert not gpus.exists()


def test_auto_is_the_cpu_where_there_is_no_gpu_and_cuda_an_error(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(TokentrailsError, match=r"extract\.device: .*there is none\nHint"):
        choose_device("cuda")
    assert choose_devices("cpu", 4) == (torch.device("cpu"),)
    with pytest.raises(TokentrailsError, match=r"gpus: 4 GPUs .* there is none\nHint"):
        choose_devices("auto", 4)
    assert not gpus.exists()


@pytest.mark.slow
def test_a_gpu_has_one_job_however_it_is_listed(start, record):
    """By number, in any order, or by UUID; an empty list means the CPU."""
    machine = ["a", "b", "c", "d"]
    first = start(CHOOSE, *machine, CUDA_VISIBLE_DEVICES="2,3")
    assert first.stdout.readline() == "cuda:0\n"  # c
    second = start(CHOOSE, *machine, CUDA_VISIBLE_DEVICES="3,2")
    assert second.stdout.readline() == "cuda:0\n"  # d
    third = start(CHOOSE, *machine, CUDA_VISIBLE_DEVICES="GPU-c")
    assert f" {first.pid};" in third.stdout.readline()
    none = start(CHOOSE, *machine, CUDA_VISIBLE_DEVICES="")
    assert none.stdout.readline() == "cpu\n"
    first.communicate()
    assert third.stdout.readline() == "cuda:0\n"
    for process in (second, third, none):
        process.communicate()
    turns = stand_in_gpus.turns(record)
    assert {uuid: len(spans) for uuid, spans in turns.items()} == {"c": 2, "d": 1}
    assert never_two_at_once(turns["c"])


def test_float32_is_multiplied_as_such_whatever_the_environment_says(start):
    """NVIDIA's containers ask for TF32."""
    print_it = "import torch; print(torch.get_float32_matmul_precision())\n"
    choose = "from tokentrails.network.device import choose_device; choose_device('cpu')\n"
    process = start(print_it + choose + print_it, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE="1")
    assert process.communicate(timeout=600)[0].split() == ["high", "highest"]


def test_a_folder_whose_file_system_has_no_locks_is_named(tmp_path, monkeypatch):
    def no_lock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.raises(
        TokentrailsError, match=r"gpu\.lock: this file system has no locks: No locks"
    ):
        lease(["gpu"], tmp_path)
