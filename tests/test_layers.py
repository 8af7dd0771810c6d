"""The rooms of the library: imports run from upper rooms to lower ones, and never in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tokentrails

LIBRARY = Path(tokentrails.__file__).parent

# A room imports from those above its own line. Rooms of one line know nothing of each other; the
# modules outside rooms may.
LAYERS = (
    {"errors", "progress", "project", "settings", "catalogue"},
    {"files"},
    {"network", "statistics", "texts"},
    {"vocabulary", "config", "figures"},
    {"metrics", "claims", "documents", "models"},
    {"training"},
    {"running"},
    {"explore"},
)
LAYER = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}


def module_name(path: Path) -> str:
    parts = ("tokentrails", *path.relative_to(LIBRARY).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in LIBRARY.rglob("*.py")}


def imported(name: str) -> set[str]:
    """The modules of the library that one imports, at its top or inside a function."""
    path, found = PATHS[name], set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in PATHS else module)
    return found & PATHS.keys() - {"tokentrails"}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imported(name) for name in PATHS if name != "tokentrails"}


def room(name: str) -> str:
    return name.split(".")[1]


def test_every_room_has_its_layer(graph):
    assert {room(name) for name in PATHS if name != "tokentrails"} <= LAYER.keys()
    assert sum(map(len, graph.values())) > 200


def test_no_import_runs_up(graph):
    up = {
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in others
        if room(name) != room(other) and LAYER[room(name)] <= LAYER[room(other)] != 0
    }
    assert up == set()


def test_no_modules_import_each_other_in_a_circle(graph):
    TopologicalSorter(graph).prepare()  # CycleError names the circle
