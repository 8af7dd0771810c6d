import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import hub as stand_in
import pytest
import tiny
import torch
import workflow as wf
from config_files import PROMPT, written
from hub import Hub
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from transformers import AutoTokenizer

from tokentrails.models.prepare import prepare
from tokentrails.settings import Source
from tokentrails.texts.tokenization import TokenizerFiles


def pytest_terminal_summary(terminalreporter) -> None:
    """Say loudly that nothing was tried on a cluster; a skipped test is easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2] for report in skipped if "slurm" in report.keywords}
    for reason in sorted(reasons):
        terminalreporter.section("NOT TESTED ON SLURM", red=True, bold=True)
        terminalreporter.line(reason)
        terminalreporter.line("Hint: as root on Debian, run tests/slurm/install.sh first.")


torch.set_num_threads(1)  # tiny models are slower with more


def pytest_configure(config: pytest.Config) -> None:
    wf.SHARED.update(getattr(config, "workerinput", {}).get("servers", {}))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Give a process of several the servers of the first one."""
    node.workerinput["servers"] = wf.served()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("there is no GPU here that torch can use")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run the workflow most often come first: at the end, short ones fill all cores."""
    long = {"e2e", "slow"}
    runs = Counter(item.path for item in items if any(m.name in long for m in item.iter_markers()))
    items.sort(key=lambda item: -runs[item.path])


class Folders(dict[str, Path]):
    """A folder of each tiny model by name, made once for all tests when it is first asked for."""

    def __init__(self, make: Callable[[str], Path]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Path:
        self[name] = self._make(name)
        return self[name]


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A finished run of `workflow.small`, which tests copy and leave as it is."""
    return wf.finished(tmp_path_factory)


@pytest.fixture
def folder(small, tmp_path) -> Iterator[Path]:
    """A copy of the finished run, to be edited or broken."""
    yield wf.copy_of(small, tmp_path / "run")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Folders:
    """A folder of each tiny model, as its maker saved it."""

    def make(name: str) -> Path:
        return wf.shared(tmp_path_factory, f"saved/{name}", lambda folder: tiny.save(name, folder))

    return Folders(make)


@pytest.fixture(scope="session")
def prepared(saved, tmp_path_factory) -> Folders:
    """A folder of each tiny model, as the workflow keeps it."""

    def make(name: str) -> Path:
        source = local_source(name, saved[name])
        prepared = partial(prepare, source, "main")
        return wf.shared(tmp_path_factory, f"prepared/{name}", prepared)

    return Folders(make)


@pytest.fixture(scope="session")
def files(prepared):
    """The tokenizer of a tiny model, by name, as the workflow reads it."""
    return cache(lambda name: TokenizerFiles.load(prepared[name]))


@pytest.fixture(scope="session")
def tiny_model(prepared, files):
    """A tiny model taken apart, by name."""
    from tiny_models import TinyModel

    return cache(lambda name: TinyModel(name, prepared[name], files(name)))


@pytest.fixture(scope="session")
def original(saved):
    """The same as transformers reads it."""
    return cache(lambda name: AutoTokenizer.from_pretrained(saved[name]))


def local_source(name: str, path: Path) -> Source:
    return Source(
        model=name,
        spec=f"path:{path}",
        kind="path",
        location=str(path),
        version=None,
        revision="main",
        has_checkpoints=False,
        sha256=None,
        file=None,
        allow_pickle=False,
    )


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with one good experiment file, e.yaml."""
    monkeypatch.chdir(tmp_path)
    written({"prompts": [PROMPT]})
    return tmp_path


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """A hub on loopback, which is the only one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()  # of a test before, which read other proxies
    with stand_in.running() as hub:
        for name, value in hub.constants.items():
            monkeypatch.setattr(constants, name, value)
        yield hub
