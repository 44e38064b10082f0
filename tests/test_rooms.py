"""The way down is one way: a room imports rooms below it, and files form no circle, lazy and typing imports counted."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cada_trl
from cada_trl.cli import VERBS

PACKAGE = Path(cada_trl.__file__).parent
# From the bottom; what stands in one line may be read side by side, and imports nothing of its own line.
ORDER = [
    ["visible"],
    ["errors"],
    ["arguments"],
    ["storage", "stopping", "console", "statistics"],
    ["hazards"],
    ["records", "config", "numbers"],
    ["document", "algo"],
    ["prompting"],
    ["models"],
    ["judging", "planning"],
    ["data", "reward", "launching", "tracking", "rollouts"],
    ["prepare"],
    ["separability"],
    ["training", "evaluation"],
    ["report", "doctor"],
    ["readme"],
    ["jobs"],
    sorted(set(VERBS.values()) - {"prepare", "doctor", "data.fetch", "report", "judging.calibrate"}),
    ["cli"],
]
PLACE = {room: place for place, rooms in enumerate(ORDER) for room in rooms}


@cache
def modules():
    """Each module of the package by its dotted name below it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source):
    """The package's modules that a source imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cada_trl":
            module = (node.module or "").removeprefix("cada_trl").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                names.add(inner if inner in modules() else module)
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix("cada_trl.") for alias in node.names if alias.name.startswith("cada_trl.")
            }
    return names - {""}


@cache
def imports():
    return {name: imported(path.read_text(encoding="utf-8")) - {name} for name, path in modules().items()}


def test_an_import_is_seen_wherever_it_stands():
    lazy = "def f():\n    from cada_trl.errors import UserError"
    typing = "if TYPE_CHECKING:\n    import cada_trl.records"
    assert (imported(lazy), imported(typing)) == ({"errors"}, {"records"})
    assert imported("from cada_trl import storage") == {"storage"}
    assert imported("import json\nfrom cada_trl_else import x") == set()


@pytest.mark.slow
def test_every_imported_module_is_there():
    assert {
        name: sorted(others - set(modules())) for name, others in imports().items() if others - set(modules())
    } == {}


def test_every_room_has_a_place():
    assert {name.split(".")[0] for name in modules()} - {""} == set(PLACE)


@pytest.mark.parametrize("name", sorted(name for name in modules() if name))
def test_a_file_imports_its_own_room_and_rooms_below(name):
    room = name.split(".", maxsplit=1)[0]
    others = {other for other in imports()[name] if other.split(".")[0] != room}
    assert sorted(other for other in others if PLACE[other.split(".")[0]] >= PLACE[room]) == []


def test_files_form_no_circle():
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
