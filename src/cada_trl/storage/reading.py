"""How a file that a user may name is read: plain files only, of a bounded size, and what is wrong with one in one line.

JSON and YAML are taken strictly: a key that stands twice, a number that is none and a nest without end are refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml

from cada_trl.errors import UserError

# Ours, each far above the largest file that is known here; PyYAML reads about 0.2 MiB per second.
MAX_ROWS_BYTES, MAX_LINE_BYTES = 2 << 30, 16 << 20
MAX_TEXT_BYTES, MAX_YAML_BYTES = 64 << 20, 512 << 10
MAX_DEPTH, MAX_YAML_VALUES = 100, 100_000
PUBLISHED = "is it the published file?"
Numbered = Iterator[tuple[int, dict[str, Any]]]
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
HALF_PAIR = re.compile("[\ud800-\udfff]")
N_SHOWN = 10  # problems of a file in one message


@contextmanager
def opened(path: Path, advice: str, max_bytes: int | None = MAX_ROWS_BYTES) -> Iterator[io.BufferedReader]:
    """The file's bytes. Errors: UserError where there is none, it is a folder, a device or a pipe, or too large."""
    try:
        found = path.stat()  # before it is opened: opening a pipe waits for who writes into it
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise UserError(f"cannot read {path}: it is a device or a pipe, no plain file; {advice}")
        if max_bytes is not None and found.st_size > max_bytes:
            size = f"it has {found.st_size:,} bytes, more than the {max_bytes:,} that are read"
            raise UserError(f"cannot read {path}: {size}; {advice}")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {advice}") from error


def read_text(path: Path, advice: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """The text of a UTF-8 file, without its byte order mark. Errors: UserError as opened, and for other bytes."""
    with opened(path, advice, max_bytes) as file:
        content = file.read()
    try:
        wrong, reason = content.find(b"\0"), "a NUL byte"
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong, reason = error.start, error.reason
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text ({reason}); {advice}")
    return text


def parse_json(text: str | bytes, finite: bool = True) -> Any:
    """A JSON value; finite=False takes NaN and Infinity, as json does. Errors: ValueError says why it is none."""
    decoder = _JSON if finite else _PYTHONS_JSON
    try:
        values = decoder.decode(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}" if error.lineno > 1 else error.msg) from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:  # the hooks', and the int of thousands of digits
        raise ValueError(str(error).partition(";")[0]) from error
    level, depth = [values], 0
    while level := [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
    return values


def parse_object(text: str | bytes, finite: bool = True) -> dict[str, Any]:
    """As parse_json; another value than an object is an error too."""
    values = parse_json(text, finite)
    if not isinstance(values, dict):
        raise ValueError(f"it is a {type(values).__name__}")
    return values


def _inside(outer: dict[str, Any] | list[Any]) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return values


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no finite number")
    return value


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
_PYTHONS_JSON = json.JSONDecoder(object_pairs_hook=_unique)


class Problems:
    """What is wrong with the rows of a user's file, said at once: who mends it reads one message, not one per row."""

    def __init__(self) -> None:
        self._shown: list[tuple[str, str]] = []
        self._n = 0

    @contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keep the UserError that is raised inside and go on. where: a file, or "file, row 12"."""
        try:
            yield
        except UserError as error:
            self.add(where, error)

    def add(self, where: str, problem: object) -> None:
        """problem: a text or an error, with or without its place."""
        self._n += 1
        if self._n <= N_SHOWN:
            self._shown.append((where, str(problem).removeprefix(f"{where}: ")))

    def end(self) -> None:
        """Errors: UserError with the first N_SHOWN, each file named once, and how many more there are."""
        said, last = [], ""
        for where, problem in self._shown:
            file, _, number = where.rpartition(", row ")
            said.append(f"row {number}: {problem}" if file and file == last else f"{where}: {problem}")
            last = file or where
        if self._n > N_SHOWN:
            said.append(f"and {self._n - N_SHOWN} more")
        if said:
            raise UserError("; ".join(said))


def read_csv(
    path: Path, has_header: bool = True, delimiter: str = ",", advice: str = PUBLISHED, problems: Problems | None = None
) -> Numbered:
    """(row number from 1, its header apart; row). has_header=False: one text a line, read as {"text": ...}, to which a
    comma outside quotes belongs. Errors: UserError as read_text, for what is no CSV, lacks rows or would lose a field;
    problems: gets every row that would, in place of the error.
    """
    lines = csv.reader(io.StringIO(read_text(path, advice), newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        names = next(lines, []) if has_header else []
        if len(set(names)) < len(names):
            raise UserError(f"{path}, line 1: a column's name stands twice; {advice}")
        for number, line in enumerate(filter(None, lines), start=1):
            if has_header and len(line) > len(names):
                where, said = f"{path}, row {number}", f"{len(line)} fields under {len(names)} columns; {advice}"
                if problems is None:
                    raise UserError(f"{where}: {said}")
                problems.add(where, said)
                continue
            yield number, dict(zip_longest(names, line)) if has_header else {"text": delimiter.join(line)}
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num}: not a CSV ({error}); {advice}") from error
    if not number:
        raise UserError(f"{path} holds no rows; {advice}")


def check_fields(values: Mapping[str, Any], expected: Mapping[str, Any], where: str, advice: str = "") -> None:
    """Errors: UserError for the first field that is absent or of another type than expected, or than those of a union.
    A bool is no int."""
    for field_name, kind in expected.items():
        kinds = get_args(kind) or (kind,)
        if type(values.get(field_name, ...)) not in kinds:
            names = " or ".join("null" if one is NoneType else one.__name__ for one in kinds)
            seen = f"{values.get(field_name)!r:.60}"
            raise UserError(f"{where}: field '{field_name}' is {seen}; expected {names}{advice}")


def check_characters(text: str, where: str) -> None:
    """Errors: UserError for half of a surrogate pair, which JSON can write and no tokenizer takes."""
    if found := HALF_PAIR.search(text):
        raise UserError(f"{where}: the text holds {found[0]!r}, half of a surrogate pair; write the whole character")


def read_yaml(path: Path, advice: str = "restore or correct it") -> Any:
    """What a YAML file holds. Errors: as compose_yaml."""
    return compose_yaml(path, advice)[0]


def compose_yaml(path: Path, advice: str) -> tuple[Any, yaml.Node | None]:
    """What a YAML file holds, and its node tree: only the tree knows the lines.

    Errors: UserError with the line where there is one, also for aliases that stand for too much, or for themselves.
    """
    text = read_text(path, advice, MAX_YAML_BYTES)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_nodes(node)
        return loader.construct_document(node), node
    except Exception as error:
        # PyYAML raises KeyError, IndexError, AttributeError ... for a value that is not its tag's.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = _TOO_DEEP if isinstance(error, RecursionError) else getattr(error, "problem", None) or str(error)
        raise UserError(
            f"{path}{line}: cannot be read as YAML ({reason.partition(chr(10))[0].partition(';')[0]}); {advice}"
        ) from error


def _check_nodes(root: yaml.Node) -> None:
    """Without a stack of calls, and each alias as often as it stands: a bomb of aliases ends at the bound."""
    todo, n_values = [(root, 1)], 0
    while todo:
        node, depth = todo.pop()
        n_values += 1
        wrong = None
        if depth > MAX_DEPTH:
            wrong = f"{_TOO_DEEP}, or an alias inside itself"
        elif n_values > MAX_YAML_VALUES:
            wrong = f"more than {MAX_YAML_VALUES:,} values, its aliases written out"
        elif isinstance(node, yaml.ScalarNode) and HALF_PAIR.search(node.value):
            wrong = "half of a surrogate pair, which is no character"
        elif isinstance(node, yaml.SequenceNode):
            todo += [(item, depth + 1) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
                if name in seen:
                    raise yaml.MarkedYAMLError(problem=f"key '{key.value}' stands twice", problem_mark=key.start_mark)
                seen.add(name)
                todo += [(key, depth + 1), (value, depth + 1)]
        if wrong:
            raise yaml.MarkedYAMLError(problem=wrong, problem_mark=node.start_mark)
