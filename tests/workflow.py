"""Running the workflow as a user does: in a folder of its own, from the command line."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple
from unittest.mock import patch

import pytest
import tiny
import yaml
from repository import ROOT, repository_files

from tokentrails.running import fork_server

# The last bit of a state may depend on the number of threads; and for tiny models one is fastest.
ONE_THREAD = ("--set-threads", "hidden_states=1")


class Job(NamedTuple):
    """One job: its rule, and its wildcards as `model/checkpoint/experiment`."""

    rule: str
    wildcards: str


def checkout(target: Path) -> Path:
    """A copy of what a clone would hold."""
    for source in repository_files():
        copy = target / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)
    return target


def copy_of(folder: Path, target: Path) -> Path:
    """The same folder again, with every time of modification kept: nothing in it is stale."""
    shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
    return target


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *args]


def environment(**changes: str) -> dict[str, str]:
    """This environment with this interpreter first, since Snakemake starts `python` for scripts."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_ENDPOINT", "HF_TOKEN")
    }
    return kept | {"PATH": path, "HF_HUB_DISABLE_TELEMETRY": "1"} | changes


def from_hub(url: str, home: Path) -> dict[str, str]:
    """Variables by which this is the only hub, whose files are cached in a folder."""
    return {"HF_ENDPOINT": url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}


HUB_VARIABLES = ("HF_", "NO_PROXY")
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}


SHARED: dict[str, str] = {}


def served() -> dict[str, str]:
    """A variable by which the jobs of a run are forks of servers, which each would load anew.

    Those of all processes of these tests.
    """
    if not SHARED:
        loaded = {"snakemake": ("snakemake.cli", "jsonschema", "yaml")}
        with patch.dict(fork_server.LIBRARIES, loaded), patch.dict(os.environ, PLUGINS):
            fork_server.start_servers()
            SHARED[fork_server.VARIABLE] = os.environ.get(fork_server.VARIABLE, "")
    return SHARED


def snakemake(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder on two cores, and wait for it.

    It and its jobs are forks of servers, unless variables are given, which libraries may read as
    they are loaded: those of jobs read where the hub is, Snakemake's do not.
    """
    line = command(*args)
    servers = served()[fork_server.VARIABLE]
    if servers and all(name.startswith(HUB_VARIABLES) for name in env):
        argv = [str(Path(sys.executable).parent / "snakemake"), *line[3:]]
        environ = environment(**env or served())
        request = {"argv": argv, "cwd": str(folder), "environ": environ}
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err, open(os.devnull) as nothing:
            files = [file.fileno() for file in (nothing, out, err)]
            status = fork_server.fork_status(servers, "snakemake", request, files)
            assert status is not None
            said = [file.seek(0) or file.read() for file in (out, err)]
        return subprocess.CompletedProcess(line, status, *said)
    changed = environment(**PLUGINS | env)
    return subprocess.run(line, cwd=folder, env=changed, capture_output=True, text=True)


def run(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake where it has to succeed."""
    done = snakemake(folder, *args, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class Rule(NamedTuple):
    """A rule that makes files, as Snakemake has read it, without parameters that are functions."""

    name: str
    script: str | None
    log: str | None
    params: dict[str, str]


_RULES = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, ResourceSettings
with SnakemakeApi() as api:
    measures = {"length": {"file": "examples/measures/length.py"}}
    more = {"measures": measures}
    config = ConfigSettings(configfiles=[Path("config/paper.yaml")], config=more)
    loaded = api.workflow(ResourceSettings(cores=1), config, snakefile=Path("Snakefile"))
    loaded.dag()
    sys.stdout.write(json.dumps([
        (rule.name, rule.script, next(map(str, rule.log), None),
         {key: value for key, value in rule.params.items() if isinstance(value, str)})
        for rule in loaded._workflow.rules if rule.output and rule.name != "misplaced"
    ]))
"""


@cache
def rules() -> list[Rule]:
    """The rules of this checkout, for a configuration that has them all."""
    done = subprocess.run(
        [sys.executable, "-c", _RULES],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [Rule(*each) for each in json.loads(done.stdout)]


def rules_to_run(folder: Path, *args: str) -> dict[str, int]:
    """How many jobs of each rule are to be run; {} for nothing to do."""
    return dict(Counter(job.rule for job in jobs_to_run(folder, *args)))


def jobs_to_run(folder: Path, *args: str) -> set[Job]:
    """The jobs that a dry run would run, without the table of costs, which is due with any."""
    return set(priorities(folder, *args))


def priorities(folder: Path, *args: str) -> dict[Job, int]:
    """The jobs that a dry run would run, and which goes first."""
    done = run(folder, "--logger", "jobs", "--dry-run", *args)
    found = {Job(*job): priority for job, priority in map(json.loads, done.stdout.splitlines())}
    assert bool(found) != ("Nothing to be done" in done.stderr), done.stderr
    return {job: priority for job, priority in found.items() if job.rule != "costs"}


def write_yaml(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def read_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@contextmanager
def edited(path: Path) -> Iterator[dict]:
    """The data of a YAML file, to be changed; it is written back."""
    data = read_yaml(path)
    yield data
    write_yaml(path, data)


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """The files of a folder, by relative path; those that hold real times are left out."""
    found = {f for pattern in patterns or ("**/*",) for f in folder.glob(pattern) if f.is_file()}
    made = sorted(f for f in found if f.name not in REAL_TIMES)
    return {str(f.relative_to(folder)): f.read_bytes() for f in made}


REAL_TIMES = ("costs.parquet", "costs.csv")


def mount_small(folder: Path, size: str) -> None:
    """Put a file system of so much room on a folder; skip the test where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")


def half_written(folder: Path) -> list[str]:
    """What an interrupted job may have left: parts of files, and folders of downloads."""
    names = (".part-*", ".fetch", ".work", "tmp*")
    return sorted(
        str(f.relative_to(folder))
        for top in ("results", "resources")
        for name in names
        for f in (folder / top).rglob(name)
    )


ALONE = {
    "baseline": {"enabled": False},  # its texts are too long for tiny models
    "claims": {"enabled": False},  # they read nearly every table
}
"""Of a configuration whose experiments are made, and nothing else."""

SENSES = {
    "lead_guide": ("lead", "guide", "She will lead the team through the transition."),
    "lead_metal": ("lead", "metal", "The pipes were contaminated with lead."),
    "bank_loan": ("bank", "finance", "The bank approved the loan."),
    "bank_river": ("bank", "river", "The boat reached the river bank."),
}


def small(folder: Path, models: Path | None = None) -> Path:
    """A checkout with two tiny models, a decoder and an encoder, and two experiments.

    `senses` runs on both models and asks for identity and context, `plain` on one for identity.

    Parameters
    ----------
    models: a folder to copy the models from; the tokenizers of newly made ones may differ, since
        training one is not deterministic.
    """
    checkout(folder)
    for model_type in ("gpt2", "bert"):
        if models is None:
            tiny.save(model_type, folder / "models" / model_type)
        else:
            shutil.copytree(models / model_type, folder / "models" / model_type)
    prompts = [
        {"label": label, "word": f" {word}", "sense": sense, "prompt": prompt}
        for label, (word, sense, prompt) in SENSES.items()
    ]
    write_yaml(folder / "config/experiments/senses.yaml", {"prompts": prompts})
    words = [
        {"label": "water", "word": "water", "prompt": "A spring of cold water ran down the hill."},
        {"label": "words", "word": "words", "prompt": "naïve café words, and the lead guide"},
    ]
    write_yaml(
        folder / "config/experiments/plain.yaml", {"analyses": ["identity"], "prompts": words}
    )
    write_yaml(
        folder / "config/config.yaml",
        {
            "models": {name: {"source": f"path:models/{name}"} for name in ("gpt2", "bert")},
            "experiments": {
                "senses": {"file": "config/experiments/senses.yaml"},
                "plain": {"file": "config/experiments/plain.yaml", "models": ["bert"]},
            },
            "extract": {"token_budget": 24},
            "statistics": {"bootstrap": 100},
            **ALONE,
        },
    )
    return folder


def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `small`."""
    return shared(tmp_path_factory, "finished", lambda folder: run(small(folder), *ONE_THREAD))


def shared(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder made once for all tests; they copy it and leave it as it is."""
    top = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of one run have their folders in one
        top = top.parent
    folder = top / name
    folder.parent.mkdir(exist_ok=True)
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(top / f"{name}.unfinished")
            (top / f"{name}.unfinished").rename(folder)
    return folder


def start(folder: Path, *args: str, **env: str) -> subprocess.Popen[str]:
    """Start Snakemake in a session of its own, so that it can be killed with all its jobs."""
    return subprocess.Popen(
        command(*args),
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_until(happens: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something to happen while a process runs."""
    for _ in range(6_000):
        if happens():
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"it did not happen: {process.communicate()[0]}")


def one_message(done: subprocess.CompletedProcess[str], *parts: str) -> str:
    """Assert that a run failed with one message of these parts and a hint, without a traceback.

    One for each job that failed; what a long run says again at its end is left out.
    """
    text = done.stdout + done.stderr
    assert done.returncode != 0, text
    assert "Traceback" not in text, text
    for part in parts:
        assert part in text, f"{part!r} is not in:\n{text}"
    once, _, _ = text.partition("Failed, and what rests on it was not made:")
    assert once.count("Hint: ") == max(1, text.count("Error in rule ")), text
    return text
