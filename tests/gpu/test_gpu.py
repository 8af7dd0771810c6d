"""A GPU gives what the CPU gives: closely in float32, exactly in ranks, and the same bits again.

    python -m pytest tests/gpu

Tensors are put on torch's own `cuda` here and not on what `choose_device` gives: a GPU taken in
this process would be kept until all tests have ended, and other processes of the tests wait for it.
"""

import os
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import stand_in_gpus
import test_decodability
import torch
from test_corpus_sums import Case as Pieces
from test_evolution import Case
from test_metrics import PROVENANCE
from test_parts import IDS, assert_adds_up
from test_ranks import made, with_ties
from test_streams import random_texts, rms, states_of
from tiny import CONFIGS, EXPERTS, MORE

from tokentrails.files.states import Layer
from tokentrails.metrics import decodability
from tokentrails.metrics.corpus_sums import CorpusSums
from tokentrails.metrics.own_token import Readout, own_token
from tokentrails.metrics.ranks import Vocabulary
from tokentrails.network.device import multiply_exactly, repeat_exactly
from tokentrails.network.load import load_model
from tokentrails.network.parts import Parts, load_parts
from tokentrails.network.spread import device_of, is_spread
from tokentrails.network.trace import Trace, trace
from tokentrails.vocabulary.ranks import closest

pytestmark = pytest.mark.gpu

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LENGTHS = [60, 1, 33, 2, 7, 60, 18, 4]
TEXTS = random_texts(LENGTHS)
TARGETS = [(text, length // 2, length - 1) for text, length in enumerate(LENGTHS)]
ERROR = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}
"""Largest error of the states at a place, by precision, as a share of their size."""


@pytest.fixture(autouse=True)
def exact():
    """What `choose_device` asks of torch; the order of sums on a GPU is put back afterwards."""
    multiply_exactly()
    before = torch.get_deterministic_debug_mode()
    repeat_exactly()
    yield
    torch.set_deterministic_debug_mode(before)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture(scope="module")
def on(saved):
    """By architecture, device and precision: a tiny model, and its architecture."""
    return cache(lambda kind, device, dtype="float32": load_model(saved[kind], device, dtype))


def largest_error(states, expected):
    """Of any place, as a share of the size of the states there."""
    return max(rms(a - b) / rms(b) for a, b in zip(states, expected, strict=True))


@pytest.mark.parametrize(
    "kind, dtype",
    [*product(CONFIGS, ERROR), *((kind, "float32") for kind in (*MORE, *EXPERTS))],
)
def test_states_are_those_of_the_cpu(on, kind, dtype):
    expected = states_of(*on(kind, CPU), TEXTS, TARGETS, pooling="mean")
    states = states_of(*on(kind, GPU, dtype), TEXTS, TARGETS, pooling="mean")
    assert states.dtype == np.float32
    assert largest_error(states, expected) < ERROR[dtype]


@pytest.mark.parametrize("kind", CONFIGS)
def test_batching_changes_nothing(on, kind):
    batched = states_of(*on(kind, GPU), TEXTS, TARGETS)
    alone = states_of(*on(kind, GPU), TEXTS, TARGETS, budget=1)
    assert largest_error(batched, alone) < ERROR["float32"]


@pytest.mark.parametrize("dtype", ERROR)
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_same_run_gives_the_same_bits(on, kind, dtype):
    runs = [states_of(*on(kind, GPU, dtype), TEXTS, TARGETS, pooling="mean") for _ in range(3)]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.parametrize("kind", [*CONFIGS, *EXPERTS])
def test_a_model_half_on_the_gpu_gives_what_it_gives_in_one_piece(prepared, kind):
    """The other half lies in the machine's memory, or on the disk."""
    folder = prepared[kind]
    model, architecture, parts = load_parts(folder, GPU)
    half = (folder / "model.safetensors").stat().st_size // 2
    other, _, gathered = load_parts(folder, GPU, {0: half, "cpu": half // 2})
    # The embedding of two of the tiny models is more than half of them; they run on the CPU.
    device = CPU if kind in ("opt", "roberta") else GPU
    assert device_of(other).type == device.type and is_spread(other)
    expected, found = (states_of(m, architecture, TEXTS, TARGETS) for m in (model, other))
    assert largest_error(found, expected) < ERROR["float32"]
    of_gpu = trace(other, architecture, IDS)
    run = Trace(*(getattr(of_gpu, name).to(device) for name in Trace.__dataclass_fields__))
    with torch.no_grad():
        for layer, block in enumerate(gathered.blocks):
            assert block.heads.W_Q.device.type == device.type
            assert_adds_up(layer, block, run)
    torch.testing.assert_close(gathered.embedding.to(GPU), parts.embedding)


# --- ranks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 7])
@pytest.mark.parametrize("n, v, d", [(37, 301, 24), (700, 5003, 96), (2500, 2000, 33)])
def test_ranks_are_exactly_those_of_the_cpu(n, v, d, k):
    assert_same_ranks(made(n=n, v=v, d=d), k)


@pytest.mark.parametrize("k", [0, 7])
def test_ranks_with_ties_are_exactly_those_of_the_cpu(k):
    assert_same_ranks(with_ties(), k)


def assert_same_ranks(problem, k):
    states, rows, own = problem
    valid = torch.arange(len(rows)) % 11 != 5
    offset = 0.1 * rows[3]
    of_cpu = closest(states, rows, own, k=k, valid=valid, offset=offset)
    on_gpu = (tensor.to(GPU) for tensor in (states, rows, own))
    of_gpu = closest(*on_gpu, k=k, valid=valid.to(GPU), offset=offset.to(GPU))
    assert of_gpu.rank.device.type == "cuda"
    assert of_gpu.rank.tolist() == of_cpu.rank.tolist()
    assert of_gpu.nearest.tolist() == of_cpu.nearest.tolist()
    for name in ("cosine", "nearest_cosine"):
        found, expected = getattr(of_gpu, name).cpu(), getattr(of_cpu, name)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13, equal_nan=True)


# --- heads, MLPs, attribution -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [*CONFIGS, *MORE, *EXPERTS])
@torch.no_grad()
def test_parts_add_up_to_the_model_again(on, saved, kind):
    model, architecture = on(kind, GPU)
    parts = Parts.from_model(model, saved[kind])
    of_gpu = trace(model, architecture, IDS)
    run = Trace(*(getattr(of_gpu, name).to(GPU) for name in Trace.__dataclass_fields__))
    for layer, block in enumerate(parts.blocks):
        assert_adds_up(layer, block, run)


@pytest.mark.parametrize("kind", CONFIGS)
def test_parts_and_traces_are_those_of_the_cpu(on, saved, kind):
    of_cpu, of_gpu = (trace(*on(kind, device), IDS) for device in (CPU, GPU))
    for name in Trace.__dataclass_fields__:
        expected = getattr(of_cpu, name)
        torch.testing.assert_close(getattr(of_gpu, name), expected, rtol=1e-3, atol=1e-4)
    logits = [
        Parts.from_model(on(kind, device)[0], saved[kind]).logits(of_cpu.resid[-1].to(device)).cpu()
        for device in (CPU, GPU)
    ]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)


# --- what is still there ----------------------------------------------------------------------


def test_maps_find_what_they_find_on_the_cpu(monkeypatch):
    monkeypatch.setattr(decodability, "LEAST", 100)
    rows, ids, tokens, rng = test_decodability.made()
    turned = rows @ test_decodability.rotation(rng)
    states = (turned[ids] + rng.normal(size=(len(ids), rows.shape[1]))).astype(np.float32)
    layer = Layer("resid", 0, np.arange(len(ids)), states)
    drawn = decodability.samples(tokens, 0)
    of_cpu, of_gpu = (
        decodability.looked_up(
            [layer], drawn, Vocabulary(["e"] * len(rows), torch.tensor(rows).float().to(device))
        )
        for device in (CPU, GPU)
    )
    for expected, found in zip(of_cpu, of_gpu, strict=True):
        assert (found.target, found.map, found.control) == (
            expected.target,
            expected.map,
            expected.control,
        )
        np.testing.assert_allclose(found.cosine, expected.cosine, atol=1e-6)
        assert (found.rank == expected.rank).mean() > 0.99  # maps differ by rounding


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_lens_is_that_of_the_cpu(prepared, files, kind):
    case = Case(kind, prepared[kind], files(kind))
    of_cpu, of_gpu = (
        own_token(
            case.tokens,
            Readout(*load_parts(prepared[kind], device), case.names),
            provenance=PROVENANCE,
        )
        for device in (CPU, GPU)
    )
    for name in ("own_logprob", "next_logprob", "entropy", "kl"):
        expected, found = of_cpu[name].to_numpy(), of_gpu[name].to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_sums_over_a_running_text_are_those_of_the_cpu(prepared, files, tmp_path, kind):
    case = Pieces(kind, prepared[kind], files(kind), tmp_path)
    found = []
    for device in (CPU, GPU):
        case.model, _, parts = load_parts(prepared[kind], device)
        sums = CorpusSums(case.running(parts=parts), case.pieces[range(2)])
        found.append(sums.add(case.pieces[range(len(case.texts))]))
    of_cpu, of_gpu = found
    assert of_cpu.num_rows == of_gpu.num_rows > 0
    exact = [name for name in of_cpu.column_names if name != "sum"]
    assert of_cpu.select(exact).equals(of_gpu.select(exact))
    np.testing.assert_allclose(of_gpu["sum"], of_cpu["sum"], rtol=1e-3, atol=1e-2)


# --- a GPU for each job -----------------------------------------------------------------------

JOB = """
import sys, time
from pathlib import Path
import torch
from tokentrails.network import lease
from tokentrails.network.device import choose_device
lease.SECONDS_BETWEEN_LOOKS = 0.01
lease.folder_of_locks = lambda: Path(sys.argv[1])
device = choose_device("auto")
start = time.monotonic_ns()
assert float(torch.ones(3, device=device).sum()) == 3
name = "cpu"
if device.type == "cuda":
    assert torch.ones(1, device="cuda").device == device
    name = torch.cuda.get_device_properties(device).uuid
time.sleep(0.2)
Path(sys.argv[2], str(start)).write_text(f"{name} {start} {time.monotonic_ns()}")
"""


def run_jobs(tmp_path, n, **env):
    """Run some jobs at a time; by GPU, from when to when they had it."""
    record = tmp_path / "record"
    record.mkdir()
    path = str(Path(__file__).parents[2] / "workflow")
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(tmp_path / "locks"), str(record)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([path, *sys.path])} | env,
        )
        for _ in range(n)
    ]
    assert [job.wait(600) for job in jobs] == [0] * n
    return stand_in_gpus.turns(record)


def test_jobs_never_share_a_gpu(tmp_path):
    count = torch.cuda.device_count()
    turns = run_jobs(tmp_path, 2 * count + 1)
    assert len(turns) == count
    assert all(stand_in_gpus.never_two_at_once(spans) for spans in turns.values())


def test_the_gpus_that_are_listed_are_taken(tmp_path):
    last = torch.cuda.device_count() - 1
    uuid = str(torch.cuda.get_device_properties(last).uuid)
    assert list(run_jobs(tmp_path, 1, CUDA_VISIBLE_DEVICES=f"GPU-{uuid}")) == [uuid]


def test_an_empty_list_means_the_cpu(tmp_path):
    assert list(run_jobs(tmp_path, 1, CUDA_VISIBLE_DEVICES="")) == ["cpu"]


# --- the whole workflow -----------------------------------------------------------------------


@pytest.mark.e2e
def test_the_workflow_on_a_gpu(tmp_path):
    """Three jobs at a time, whatever the number of GPUs; tables as on the CPU."""
    pytest.importorskip("snakemake")
    import workflow as wf

    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table

    of_gpu = wf.small(tmp_path / "gpu")
    of_cpu = wf.copy_of(of_gpu, tmp_path / "cpu")
    for folder, device in [(of_gpu, "cuda"), (of_cpu, "cpu")]:
        with wf.edited(folder / "config/config.yaml") as config:
            config["extract"] |= {"device": device}
        wf.run(folder, "metrics", "--cores", "3", *wf.ONE_THREAD)
    files = sorted(f.relative_to(of_cpu) for f in of_cpu.glob("results/hidden_states/*/*/*"))
    assert len(files) == 3
    for file in files:
        assert provenance_of(read_table(of_gpu / file))["device"] == "cuda"
        layers = zip(StatesReader(of_gpu / file), StatesReader(of_cpu / file), strict=True)
        assert all(rms(a.hidden - b.hidden) < 1e-4 * rms(b.hidden) for a, b in layers)
    for file in of_cpu.glob("results/metrics/*/*/*/identity.parquet"):
        expected = read_table(file)["cosine"].to_numpy()
        found = read_table(of_gpu / file.relative_to(of_cpu))["cosine"].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
