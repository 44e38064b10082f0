"""What storage does is done there only: no second write-then-rename, lock or hash in the package."""

import ast
from pathlib import Path

import pytest

import cada_trl

PACKAGE = Path(cada_trl.__file__).parent
ELSEWHERE = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "storage"]


def seconds(tree):
    """Line and name of each import, call and text that storage has the one place of."""
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # str.replace takes two values, Path.replace one
            moves = node.func.attr in {"rename", "fsync"} or (node.func.attr == "replace" and len(node.args) == 1)
            keyed = any(keyword.arg for keyword in node.keywords)
            names = [f".{node.func.attr}()"] if moves and not keyed else []
        found += [f"line {node.lineno}: {name}" for name in names if name in FORBIDDEN]
    return found


FORBIDDEN = {"hashlib", "fcntl", "filelock", ".rename()", ".replace()", ".fsync()"}


@pytest.mark.parametrize(
    "source",
    [
        "import hashlib",
        "from filelock import FileLock",
        "import fcntl",
        "temporary.replace(path)",
        "partial.rename(target)",
        "os.fsync(file.fileno())",
    ],
)
def test_the_search_finds_one(source):
    assert seconds(ast.parse(source))


@pytest.mark.parametrize("source", ["name.replace('_', ' ')", "replace(row, n=1)", "dataclasses.replace(row, n=1)"])
def test_the_search_leaves_texts_and_records(source):
    assert not seconds(ast.parse(source))


@pytest.mark.slow
def test_there_is_no_second():
    found = {str(path.relative_to(PACKAGE)): seconds(ast.parse(path.read_text())) for path in ELSEWHERE}
    assert {name: lines for name, lines in found.items() if lines} == {}
