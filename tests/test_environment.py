"""The lock files, the conda environments, pyproject.toml and what is installed say the same."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tokentrails.running import fingerprint

ROOT = Path(__file__).parent.parent
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
PIN = re.compile(r"([a-z0-9-]+)==([0-9][a-z0-9.]*)")

# The CUDA build of torch needs these, and chooses them itself: see requirements.lock. Triton is
# imported only where a GPU computes.
CUDA = re.compile(r"nvidia-|cuda-|triton$")


def pins(lines: list[str]) -> dict[str, str]:
    """The pinned version of each distribution that this platform needs.

    ValueError for a line that is no exact pin.
    """
    pinned: dict[str, str] = {}
    for line in lines:
        pin, _, marker = line.partition(" ; ")
        match = PIN.fullmatch(pin)
        if match is None:
            raise ValueError(f"not an exact pin: {line!r}")
        if marker and not Marker(marker).evaluate():
            continue
        name, version = match.groups()
        if name in pinned:
            raise ValueError(f"pinned twice: {name}")
        pinned[name] = version
    return pinned


def lock_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def env_lines(path: Path) -> list[str]:
    """The pip section of a conda environment."""
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    (section,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return section


def missing_requirements(pinned: dict[str, str]) -> set[str]:
    """What the installed distributions in `pinned` need and `pinned` lacks or does not admit."""
    missing = set()
    todo = [(name, "") for name in pinned]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            needed = canonicalize_name(requirement.name)
            if name == "torch" and CUDA.match(needed):
                continue
            if needed not in pinned or not requirement.specifier.contains(pinned[needed]):
                missing.add(f"{name} needs {line}")
                continue
            asked = {(needed, extra) for extra in requirement.extras} - seen
            seen |= asked
            todo += asked
    return missing


providers = cache(importlib.metadata.packages_distributions)


@cache
def imported_names(path: Path) -> set[str]:
    """Top-level names of the absolute imports in a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def workflow_imports() -> set[str]:
    """Third-party top-level names that the library, the scripts and the rules import."""
    names = set()
    for path in (ROOT / "workflow").rglob("*.py"):
        names |= imported_names(path)
    for path in [*ROOT.glob("Snakefile"), *(ROOT / "workflow").rglob("*.smk")]:
        names |= set(re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE))
    own = {path.stem for glob in ("*", "scripts/*") for path in (ROOT / "workflow").glob(glob)}
    return names - own - sys.stdlib_module_names


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    return pins(lock_lines("requirements.lock"))


@pytest.fixture(scope="module")
def dev_lock() -> dict[str, str]:
    return pins(lock_lines("requirements-dev.lock"))


def test_locks_are_sorted_and_disjoint(lock, dev_lock):
    assert list(lock) == sorted(lock)
    assert list(dev_lock) == sorted(dev_lock)
    assert not lock.keys() & dev_lock.keys()


def test_installed_versions_are_the_locked_ones(lock, dev_lock):
    wanted = lock | dev_lock
    installed = {name: Version(importlib.metadata.version(name)).public for name in wanted}
    assert installed == wanted


def test_locks_are_closed(lock, dev_lock):
    assert missing_requirements(lock) == set()
    assert missing_requirements(lock | dev_lock) == set()


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_conda_environment_is_closed_and_has_the_pins_of_the_lock(path, lock):
    pinned = pins(env_lines(path))
    assert pinned.items() <= lock.items()
    assert missing_requirements(pinned) == set()


def test_torch_is_in_the_conda_environments_that_run_models_only():
    """Metric and figure jobs start in a fraction of a second because torch is not there."""
    assert [path.stem for path in ENVS if "torch" in pins(env_lines(path))] == [
        "explore",
        "torch",
    ]


def test_workflow_imports_are_locked_and_declared(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    imports = workflow_imports()
    assert "numpy" in imports
    for name in imports:
        if CUDA.match(name):
            continue
        offered = {canonicalize_name(provider) for provider in providers().get(name, [])}
        assert offered & lock.keys(), f"no pin for `import {name}`"
        assert offered & declared, f"pyproject.toml has no dependency for `import {name}`"


def test_pyproject_ranges_admit_the_locks(lock, dev_lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = lock | dev_lock
    for line in project["project"]["dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), line
    for line in project["dependency-groups"]["dev"]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(wanted[canonicalize_name(requirement.name)]), line


def scripts_and_environments() -> list[tuple[str, str]]:
    """Each rule's script and conda environment, as its .smk names them."""
    pairs = []
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        environments = re.findall(r'conda:\s+"../../(envs/\w+\.yaml)"', text)
        scripts = re.findall(r'script:\s+"../(scripts/\w+\.py)"', text)
        assert len(environments) == len(scripts), path.name
        pairs += zip(scripts, environments, strict=True)
    return pairs


@pytest.mark.parametrize(("script", "environment"), scripts_and_environments())
def test_the_environment_of_a_rule_has_what_its_script_imports(script, environment, monkeypatch):
    monkeypatch.setattr(fingerprint, "WITHOUT_EFFECT", {})  # they are imported all the same
    pinned = pins(env_lines(ROOT / environment))
    files = fingerprint.closure([ROOT / "workflow" / script])
    names = set().union(*map(imported_names, files)) - sys.stdlib_module_names
    ours = {"tokentrails"} | {path.stem for path in files if path.parent.name == "scripts"}
    for name in sorted(names - ours):
        if CUDA.match(name):
            continue
        offered = {canonicalize_name(d) for d in providers()[name]}
        assert offered & pinned.keys(), f"{name}, imported through {script}"
