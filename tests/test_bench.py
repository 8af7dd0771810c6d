"""How `make bench` gathers: rows as they come, partial runs, failing parts, table and figure."""

import ast
import csv
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import workflow as wf

from tokentrails.documents.quoted import load
from tokentrails.figures.pieces.save import save, specification
from tokentrails.files.tables import provenance_of, read_table

# Last, since both folders have a checkpoints.py.
sys.path.append(str(Path(__file__).parent / "benchmarks"))

import figure
import gather
from harness import Measured, Skipped
from machine import machine

BENCHMARKS = Path(__file__).parent / "benchmarks"
MACHINE = {
    **dict.fromkeys(("cpu", "cores", "memory", "threads", "system", "blas"), "some"),
    **dict.fromkeys(("python", "torch", "numpy", "polars", "pyarrow"), "1.2"),
    "gpu": "none",
}
AREAS = ("first", "second", "third")
FAST = Measured("ours, against theirs", 6.0, "times as fast", at_least=5)
LARGE = Measured("memory", 300.0, "MB", at_most=256)
FREE = Measured("growth", 0.9, "slope")


def part(*rows: Measured, then: BaseException | None = None) -> Callable[[], Iterator[Measured]]:
    """A part that measures these rows, and then ends as told."""

    def measure() -> Iterator[Measured]:
        yield from rows
        if then is not None:
            raise then

    return measure


def bench(path: Path, machine: dict[str, str] = MACHINE, **parts) -> list[str]:
    return gather.gather(gather.Table(path, AREAS, machine), parts)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "bench.parquet"


def rows(path: Path, *columns: str) -> list[tuple]:
    return [tuple(row[name] for name in columns) for row in read_table(path).to_pylist()]


def test_rows_have_their_bounds_and_whether_they_are_met(path):
    equal = Measured("equal", 5.0, "of its time", at_most=5)
    slow = Measured("slow", 4.9, "times as fast", at_least=5)
    just = Measured("just", 5.0, "times as fast", at_least=5)
    assert bench(path, first=part(FAST, LARGE, FREE), second=part(equal, just, slow)) == []
    assert rows(path, "area", "what", "value", "unit", "direction", "bound", "passed") == [
        ("first", "ours, against theirs", 6.0, "times as fast", "at least", 5.0, True),
        ("first", "memory", 300.0, "MB", "at most", 256.0, False),
        ("first", "growth", 0.9, "slope", None, None, None),
        ("second", "equal", 5.0, "of its time", "at most", 5.0, True),
        ("second", "just", 5.0, "times as fast", "at least", 5.0, True),
        ("second", "slow", 4.9, "times as fast", "at least", 5.0, False),
    ]
    with path.with_suffix(".csv").open(newline="") as file:
        assert [float(line["value"]) for line in csv.DictReader(file)] == [6, 300, 0.9, 5, 5, 4.9]
    assert json.loads(provenance_of(read_table(path))["machine"]) == MACHINE
    assert {told for (told,) in rows(path, "machine")} == {gather.in_a_line(MACHINE)}
    quoted = load(path.parent)["bench.csv"]
    assert quoted["ours, against theirs"] == 6 and quoted["machine"] == gather.in_a_line(MACHINE)
    assert all(field.metadata[b"description"] for field in read_table(path).schema)


def test_a_row_is_on_the_disk_before_the_next_is_measured(path):
    seen = []

    def measure():
        yield FAST
        seen.append(rows(path, "what", "problem"))
        yield LARGE

    bench(path, first=measure)
    assert seen == [[("ours, against theirs", None), (None, gather.STOPPED)]]
    assert rows(path, "what", "problem") == [("ours, against theirs", None), ("memory", None)]


def test_a_stopped_benchmark_keeps_what_it_measured_and_says_so(path):
    with pytest.raises(KeyboardInterrupt):
        bench(path, first=part(FAST), second=part(LARGE, then=KeyboardInterrupt()))
    assert rows(path, "area", "what", "problem") == [
        ("first", "ours, against theirs", None),
        ("second", "memory", None),
        ("second", None, gather.STOPPED),
    ]


def test_a_failing_part_has_a_row_that_says_so_and_the_others_go_on(path, capsys):
    secret = OSError("no room in /some/folder")
    failed = bench(
        path,
        first=part(FAST, then=secret),
        second=part(then=Skipped("there is no GPU")),
        third=part(FREE),
    )
    assert failed == ["first"]
    assert rows(path, "area", "what", "problem") == [
        ("first", "ours, against theirs", None),
        ("first", None, "failed: OSError"),
        ("second", None, "skipped: there is no GPU"),
        ("third", "growth", None),
    ]
    assert "/some/folder" in capsys.readouterr().err


def test_a_partial_run_takes_the_place_of_its_own_rows_only(path):
    bench(path, first=part(FAST, LARGE), second=part(LARGE), third=part(FREE))
    bench(path, third=part(FAST), first=part(FREE))
    assert rows(path, "area", "what") == [
        ("first", "growth"),
        ("second", "memory"),
        ("third", "ours, against theirs"),
    ]


@pytest.mark.parametrize("what", ["machine", "version"])
def test_rows_of_another_machine_or_version_are_not_kept(path, monkeypatch, what):
    bench(path, first=part(FAST))
    if what == "version":
        monkeypatch.setattr(gather, "__version__", "99")
    changed = MACHINE | ({"threads": "64"} if what == "machine" else {})
    bench(path, changed, second=part(LARGE))
    assert rows(path, "area") == [("second",)]


def test_the_machine_is_described_but_not_named():
    about = machine()
    assert about.keys() == MACHINE.keys()
    assert all(about.values())
    told = " ".join(figure.described(about))
    assert all(value in told for name, value in about.items() if name != "gpu")
    assert platform.node() not in re.split(r"[^\w.-]+", told)
    assert "/" not in told


def test_the_figure_shows_every_row_on_its_side_of_the_bound(path, tmp_path):
    far = Measured("far", 900.0, "times as fast", at_least=1)
    none = Measured("nothing more", 0.0, "MB", at_most=300)
    table = gather.Table(path, AREAS, MACHINE)
    parts = {
        "first": part(FAST, LARGE, FREE),
        "second": part(far, none),
        "third": part(then=ValueError()),
    }
    gather.gather(table, parts)
    chart = figure.ratios(table.frame(), MACHINE, title="Speed")
    spec = specification(chart)
    drawn = {row["name"]: row for data in spec["datasets"].values() for row in data}
    assert drawn["ours, against theirs"]["margin"] == pytest.approx(6 / 5)
    assert drawn["memory"]["margin"] == pytest.approx(256 / 300, abs=1e-6)
    assert drawn["growth"]["margin"] is drawn["not measured"]["margin"] is None
    assert drawn["far"]["margin"] > 16 < drawn["nothing more"]["margin"]
    assert drawn["memory"]["told"] == "300 MB (at most 256)"
    assert drawn["not measured"]["told"] == "failed: ValueError"
    save(chart, [tmp_path / "bench.svg"])
    svg = (tmp_path / "bench.svg").read_text()
    assert all(text in svg for text in (*AREAS, *drawn, "Machine: some"))


def test_every_part_names_a_function_that_gives_rows():
    parts = ast.parse((BENCHMARKS / "run.py").read_text())
    (named,) = (
        ast.literal_eval(node.value)
        for node in parts.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PARTS"
    )
    assert len(named) > 8
    for module, function in named.values():
        code = ast.parse((BENCHMARKS / f"{module}.py").read_text())
        (found,) = (d for d in code.body if isinstance(d, ast.FunctionDef) and d.name == function)
        assert ast.unparse(found.returns) == "Iterator[Measured]", (module, function)


def run(folder: Path, *areas: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tests/benchmarks/run.py", *areas]
    environment = wf.environment(PYTHONPATH="workflow")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_ends_with_1_if_a_part_failed_and_writes_table_and_figure(tmp_path):
    folder = wf.checkout(tmp_path / "clone")  # where no models are
    done = run(folder, "speed", "checkpoints")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Hint: run `make` first.") == 2 and "Traceback" not in done.stderr
    assert "failed: speed, checkpoints" in done.stderr
    missing = "failed: resources/models/smollm2-135m/main is not there"
    assert missing in done.stdout
    assert ("speed", missing) in rows(folder / "results/bench.parquet", "area", "problem")
    suffixes = {f.suffix for f in (folder / "results").glob("bench.*")}
    assert suffixes == {".parquet", ".csv", ".html", ".svg", ".png", ".pdf", ".json"}


@pytest.mark.slow
def test_an_unknown_part_is_refused(tmp_path):
    done = run(wf.checkout(tmp_path / "clone"), "disc")
    wf.one_message(done, "there is no part 'disc'", "the parts are speed, disk")
    assert not (tmp_path / "clone/results").exists()
