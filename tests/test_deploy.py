"""The workflow from a folder of the user's own: as a module, as a package, and out of git."""

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import workflow as wf
from workflow import ROOT, one_message, read_yaml, run, snakemake, write_yaml

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CURVES = "results/metrics/bert/main/plain/curves.csv"
LENGTH = "results/metrics/bert/main/plain/length.csv"
TOKENS = "results/tokens/bert/plain.parquet"


class Source(NamedTuple):
    """A workflow that others use: how a Snakefile names it, its library, and the environment."""

    expression: str
    library: Path
    env: dict[str, str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A checkout with tiny models and a small configuration."""
    return wf.small(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    project = wf.checkout(tmp_path_factory.mktemp("sources"))
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(project))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder of packages with the installed wheel."""
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    pip("install", "--no-deps", "--target", str(folder), str(wheel))
    return folder


@pytest.fixture(scope="module")
def repository(checkout, tmp_path_factory) -> Path:
    """A git repository with the workflow, tagged v1, in a folder of its owner's name."""
    folder = wf.checkout(tmp_path_factory.mktemp("github") / "owner" / "tokentrails")
    author = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    for args in (["init"], ["add", "."], [*author, "commit", "-m", "all"], ["tag", "v1"]):
        subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(params=["checkout", "wheel"])
def source(request) -> Source:
    if request.param == "checkout":
        checkout = request.getfixturevalue("checkout")
        return Source(repr(str(checkout / "Snakefile")), checkout / "workflow/tokentrails", {})
    site = request.getfixturevalue("site")
    library, env = site / "tokentrails", {"PYTHONPATH": str(site)}
    return Source("SNAKEFILE", library, env)


@pytest.fixture
def folder(checkout, tmp_path) -> Path:
    """A folder of the user's own, with models and configuration and nothing else."""
    for name in ("config", "models"):
        shutil.copytree(checkout / name, tmp_path / "user" / name)
    return tmp_path / "user"


def pip(*args: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *args]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_snakefile(folder: Path, source: str, more: str = "", use: str = "*") -> None:
    imports = "from tokentrails import SNAKEFILE\n" if source == "SNAKEFILE" else ""
    (folder / "Snakefile").write_text(
        f'{imports}configfile: "config/config.yaml"\n\n'
        f"module tokentrails:\n    snakefile: {source}\n    config: config\n\n"
        f"use rule * from tokentrails as {use}\n\n{more}"
    )


def files(folder: Path) -> dict[Path, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path: path.read_bytes() for path in found}


OWN_RULES = f"""
onstart:
    tokentrails.onstart()

onsuccess:
    tokentrails.onsuccess()

rule all:
    default_target: True
    input: {CURVES!r}, {LENGTH!r}
"""


def test_a_module_works_in_the_folder_of_its_user(source, folder):
    write_snakefile(folder, source.expression, OWN_RULES, use="measure_*")
    shutil.copy(ROOT / "examples/measures/length.py", folder / "mine.py")
    config = read_yaml(folder / "config/config.yaml")
    write_yaml(
        folder / "config/config.yaml", config | {"measures": {"length": {"file": "mine.py"}}}
    )
    before = files(source.library)
    done = run(folder, **source.env)
    assert "\nLook at results/metrics/ (tables).\nAll in one page: " in done.stdout + done.stderr
    assert (folder / CURVES).is_file() and (folder / LENGTH).is_file()
    assert (folder / "resources/models/bert/main/model.safetensors").is_file()
    assert files(source.library) == before

    done = run(folder, "--dry-run", **source.env)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert "Look at" not in done.stdout + done.stderr
    identity = source.library / "metrics/identity.py"
    identity.write_bytes(before[identity] + b"\nANOTHER = 1\n")
    done = run(folder, "--dry-run", **source.env)
    identity.write_bytes(before[identity])
    assert "rule measure_identity:" in done.stdout + done.stderr
    assert "hidden_states:" not in done.stdout + done.stderr

    with (folder / ".snakemake/tokentrails.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / CURVES).unlink()
        one_message(snakemake(folder, **source.env), "another tokentrails run is working")


def test_what_the_workflow_ships_is_found(source, folder):
    """Texts of the baseline, claims, and everything that the default target makes."""
    for name in ("claims.yaml", "experiments/vocabulary.yaml"):
        (folder / "config" / name).unlink()
    config = read_yaml(folder / "config/config.yaml")
    write_yaml(
        folder / "config/config.yaml",
        {k: v for k, v in config.items() if k not in ("claims", "baseline")},
    )
    write_snakefile(folder, source.expression)
    done = run(folder, "--dry-run", **source.env)
    text = done.stdout + done.stderr
    shipped = [line for line in text.splitlines() if "config/claims.yaml" in line]
    assert shipped and "rule baseline:" in text and "rule all:" in text
    assert "not present in the Snakefile" not in text  # of localrules


@pytest.mark.parametrize("place", ["github", "gitfile"])
def test_a_deployed_workflow_has_its_library(place, repository, folder, tmp_path):
    """As snakedeploy writes it, and out of a repository on this disk."""
    path = 'path="workflow/Snakefile", tag="v1"'
    owner = repository.parent
    name = "owner/tokentrails" if place == "github" else str(repository)
    write_snakefile(folder, f"{place}({name!r}, {path})")
    env = {  # git reads the repository on this disk in place of the remote one
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{owner}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/owner/",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    run(folder, TOKENS, **env)
    done = run(folder, "--dry-run", **env)
    assert (folder / TOKENS).is_file() and "rule everything:" in done.stdout + done.stderr


@pytest.mark.parametrize("expression", ["Snakefile", "workflow/Snakefile"])
def test_a_configuration_that_is_not_there(expression, checkout, folder):
    write_snakefile(folder, repr(str(checkout / expression)))
    (folder / "config/config.yaml").unlink()
    done = snakemake(folder, "--dry-run")
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert text.count("config/config.yaml but it is not present") == 1


def test_the_wheel_holds_what_is_tracked_and_no_more(wheel):
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    folders = ["Snakefile", "workflow", "config", "envs", "profiles", "resources"]
    tracked = subprocess.run([*listing, *folders], cwd=ROOT, capture_output=True, text=True)
    expected = {
        name.removeprefix("workflow/")
        if name.startswith("workflow/tokentrails/")
        else f"tokentrails/project/{name}"
        for name in tracked.stdout.splitlines()
        if (ROOT / name).exists()
    }
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if not name.split("/")[0].endswith(".dist-info")} == expected


def test_code_has_the_same_fingerprints_in_the_package(site):
    """Results of a checkout are not stale for the package, nor the other way round."""
    code = (
        "from tokentrails.project import SCRIPTS; from tokentrails.running.fingerprint import *;"
        "print(SCRIPTS, *(fingerprint(f.stem) for f in sorted(SCRIPTS.glob('*.py'))))"
    )
    places, fingerprints = zip(
        *(
            subprocess.check_output(
                [sys.executable, "-c", code], env=wf.environment(PYTHONPATH=str(path)), text=True
            ).split(maxsplit=1)
            for path in (site, ROOT / "workflow")
        ),
        strict=True,
    )
    assert places[0] != places[1] and fingerprints[0] == fingerprints[1]


def test_the_command_runs_the_installed_workflow(site, tmp_path):
    env = wf.environment(PYTHONPATH=str(site))

    def tokentrails(*args: str) -> str:
        command = [sys.executable, str(site / "bin/tokentrails"), *args]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        return f"{done.returncode} {done.stdout}{done.stderr}"

    assert tokentrails("init").startswith("0 ")
    assert sorted(os.listdir(tmp_path)) == ["config", "profiles", "slurm"]
    assert "config is already in" in tokentrails("init")
    text = tokentrails("--profile", "slurm", "--dry-run")
    assert text.startswith("0 ") and "profiles slurm and workflow specific profile" in text
    assert "rule tokens:" in text and "rule claims:" in text
