"""A run on a machine with several GPUs, which are stand-ins: Snakemake hands none out."""

import os
from pathlib import Path

import numpy as np
import pytest
import stand_in_gpus
import workflow as wf

from tokentrails.files.states import StatesReader
from tokentrails.files.tables import provenance_of, read_table
from tokentrails.running import fork_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Python runs it by itself when it starts. Only the scripts that run models get GPUs.
AT_START = """
import sys
from pathlib import Path
if sys.orig_argv[-1].endswith("hidden_states.py"):
    import stand_in_gpus
    from tokentrails.network import lease
    lease.folder_of_locks = lambda: Path({locks!r})
    stand_in_gpus.plug_in({machine!r}, Path({record!r}))
"""


# As where there is a driver of NVIDIA's: a fork would not be given these GPUs at its start.
ALONE = {fork_server.VARIABLE: ""}

RUNS = ("gpt2/main/senses", "bert/main/senses", "bert/main/plain")
STATES = [f"results/hidden_states/{run}.parquet" for run in RUNS]
IDENTITY = "results/metrics/bert/main/plain/identity.parquet"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Some of the small run, three jobs at a time on two GPUs; and who had them when.

    And the folder of the same run without GPUs.
    """
    top = tmp_path_factory.mktemp("gpus")
    folder = wf.small(top / "run")
    wf.run(folder, "models")
    of_cpu = wf.copy_of(folder, top / "cpu")
    wf.run(of_cpu, *STATES, *wf.ONE_THREAD)
    (top / "record").mkdir()
    (top / "sitecustomize.py").write_text(
        AT_START.format(locks=f"{top}/locks", record=f"{top}/record", machine=["a", "b"])
    )
    path = os.pathsep.join(map(str, (top, folder / "workflow", Path(__file__).parent)))
    wf.run(folder, *STATES, IDENTITY, "--cores", "3", *wf.ONE_THREAD, **ALONE, PYTHONPATH=path)
    return folder, stand_in_gpus.turns(top / "record"), of_cpu


def test_no_gpu_has_two_jobs_though_nothing_limits_them(run):
    _, turns, _ = run
    assert set(turns) == {"a", "b"} and sum(map(len, turns.values())) == 3
    assert all(map(stand_in_gpus.never_two_at_once, turns.values()))


def test_logs_say_which_gpu_and_tables_that_it_was_one(run):
    folder, _, _ = run
    logs = [log.read_text() for log in folder.glob("results/logs/hidden_states/*/*/*.log")]
    assert len(logs) == 3 and all("running on GPU" in log for log in logs)
    for name in (*STATES, IDENTITY):
        assert provenance_of(read_table(folder / name))["device"] == "cuda"


def test_the_states_are_those_of_the_cpu(run):
    folder, _, cpu = run
    for name in STATES:
        found, expected = StatesReader(folder / name), StatesReader(cpu / name)
        assert provenance_of(expected.metadata)["device"] == "cpu"
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.hidden, other.hidden)
