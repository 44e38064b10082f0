"""storage.reading: what is no plain, bounded, well-formed file is one line with its place, at once."""

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.storage import reading
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import N_SHOWN, Problems, parse_json, read_csv, read_text, read_yaml

READERS = {
    "sha256": file_sha256,
    "text": lambda path: read_text(path, "correct it"),
    "JSON": read_json,
    "JSONL": lambda path: list(read_jsonl(path)),
    "CSV": lambda path: list(read_csv(path)),
    "YAML": read_yaml,
}
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
)
DIGITS = "1" * 5000
WRONG = {
    "a bomb of aliases": ("YAML", BOMB, "more than 100,000 values, its aliases written out"),
    "an alias inside itself": ("YAML", "a: &a [*a]\n", "line 1: cannot be read as YAML .*nested more than 100 deep"),
    "a merge inside itself": ("YAML", "a: &a\n  <<: *a\n", "nested more than 100 deep"),
    "an alias of nothing": ("YAML", "a: 1\nb: *c\n", "line 2: cannot be read as YAML .found undefined alias 'c'"),
    "YAML without end": ("YAML", "[" * 50_000, "nested more than 100 deep"),
    "a YAML key twice": ("YAML", "a: 1\nb: 2\na: 3\n", "line 3: cannot be read as YAML .key 'a' stands twice"),
    "a long YAML number": ("YAML", f"a: {DIGITS}\n", "Exceeds the limit"),
    "a day that is none": ("YAML", "a: 2024-13-45\n", "cannot be read as YAML .month must be in"),
    "a value that is not its tag's": ("YAML", "a: !!float ''\n", "cannot be read as YAML"),
    "a tag of Python": ("YAML", "a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    "two YAML documents": ("YAML", "a: 1\n---\nb: 2\n", "line 2: cannot be read as YAML .but found another document"),
    "half a pair in YAML": ("YAML", 'a: "\\ud800"\n', "line 1: .*half of a surrogate pair"),
    "a control character in YAML": ("YAML", "a: \x01\n", "unacceptable character #x0001"),
    "JSON without end": ("JSON", '{"a": ' * 50_000, "is not a JSON object .nested more than 100 deep"),
    "deep JSON": ("JSON", '{"a": ' + "[" * 200 + "]" * 200 + "}", "is not a JSON object .nested more than 100 deep"),
    "a JSON key twice": ("JSON", '{"a": 1, "a": 2}', "is not a JSON object .key 'a' stands twice"),
    "NaN": ("JSON", '{"a": NaN}', "is not a JSON object .NaN is no finite number"),
    "infinity": ("JSON", '{"a": -Infinity}', "-Infinity is no finite number"),
    "a number beyond floats": ("JSON", '{"a": 1e999}', "1e999 is no finite number"),
    "a long number": ("JSON", f'{{"a": {DIGITS}}}', "is not a JSON object .Exceeds the limit"),
    "a list": ("JSON", "[1]", "is not a JSON object .it is a list.; move its folder away, and the same"),
    "a comma too much": ("JSON", '{"a": 1,\n}', "is not a JSON object .line 2: "),
    "an empty file": ("JSON", "", "is not a JSON object .Expecting value"),
    "a NUL byte": ("JSON", '{\n"a": "\0"}', "line 2: not UTF-8 text .a NUL byte"),
    "Latin-1": ("JSON", b'{\n\n"a": "\xff"}', "line 3: not UTF-8 text .invalid start byte"),
    "UTF-16": ("YAML", "a: 1".encode("utf-16"), "line 1: not UTF-8 text"),
    "a row of a number": ("JSONL", '{"a": 1}\n3\n', "row 2: not a JSON object .it is a int"),
    "a row with a key twice": ("JSONL", '{"a": 1}\n\n{"a": 1, "a": 2}\n', "row 3: .*key 'a' stands twice"),
    "a row that is no UTF-8": ("JSONL", b'{"a": 1}\n{"a": "\xff"}\n', "row 2: not a JSON object .not UTF-8"),
    "a row with a NUL": ("JSONL", '{"a": "\0"}\n', "row 1: not a JSON object .Invalid control character"),
    "a deep row": ("JSONL", "[" * 50_000 + "\n", "row 1: not a JSON object .nested more than 100 deep"),
    "a row of a long number": ("JSONL", f'{{"a": {DIGITS}}}\n', "row 1: not a JSON object .Exceeds the limit"),
    "a row of NaN": ("JSONL", '{"a": NaN}\n', "row 1: not a JSON object .NaN is no finite number"),
    "lines that end in CR alone": ("JSONL", '{"a": 1}\r{"a": 2}\r', "row 1: not a JSON object .Extra data"),
    "an empty CSV": ("CSV", "", "holds no rows; is it the published file"),
    "a CSV of a header": ("CSV", "a,b\n", "holds no rows"),
    "a quote without end": ("CSV", 'a,b\n1,"2\n3,4\n', "line 3: not a CSV .unexpected end of data"),
    "a column twice": ("CSV", "a,a\n1,2\n", "line 1: a column's name stands twice"),
    "a field too many": ("CSV", "a,b\n1,2\n1,2,3\n", "row 2: 3 fields under 2 columns"),
    "a CSV with a NUL": ("CSV", "a\nb\0\n", "line 2: not UTF-8 text .a NUL byte"),
    "a field without end": ("CSV", "a\n" + "x" * 200_000, "line 2: not a CSV .field larger than field limit"),
}  # fmt: skip


def said(read, path):
    """The one line, which names the path and comes at once."""
    start = time.process_time()
    with pytest.raises(UserError) as refusal:
        read(path)
    line = str(refusal.value)
    assert str(path) in line and "\n" not in line and len(line) < 500
    assert time.process_time() - start < 10
    return line


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "content", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_line(tmp_path, kind, content, words):
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        READERS[kind](path)
    said(READERS[kind], path)


@pytest.mark.parametrize("kind", READERS)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, kind):
    read = READERS[kind]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    assert "it is a device or a pipe" in said(read, Path("/dev/zero"))
    assert "it is a device or a pipe" in said(read, tmp_path / "pipe")
    assert "Is a directory" in said(read, tmp_path)
    assert "Too many levels of symbolic links" in said(read, tmp_path / "loop")
    assert "No such file" in said(read, tmp_path / "absent")
    assert "Not a directory" in said(read, Path("/dev/null/x"))


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "sha256"])
def test_a_file_beyond_the_bound_is_not_read(tmp_path, kind):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 41)
    assert "it has 2,199,023,255,552 bytes, more than the" in said(READERS[kind], tmp_path / "sparse")


def test_a_line_beyond_the_bound_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cada_trl.records.MAX_LINE_BYTES", 20)
    (tmp_path / "rows").write_text('{"a": 1}\n{"a": "' + "x" * 30 + '"}\n')
    assert "row 2: not a JSON object (more than 20 bytes)" in said(READERS["JSONL"], tmp_path / "rows")


@pytest.mark.parametrize(
    ("kind", "text", "values"),
    [
        ("JSON", '\ufeff{"a":\r\n 1}\r\n', {"a": 1}),
        ("JSONL", '\ufeff{"a": 1}\r\n{"a": 2}', [(1, {"a": 1}), (2, {"a": 2})]),
        ("CSV", '\ufeffa,b\r\n"x\r\ny",\r\n\r\n1\r\n', [(1, {"a": "x\r\ny", "b": ""}), (2, {"a": "1", "b": None})]),
        ("YAML", "\ufeffa: 1\r\nb: &b [x]\r\nc: *b\r\n", {"a": 1, "b": ["x"], "c": ["x"]}),
        ("YAML", "a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n", {"a": {"x": 1}, "b": {"x": 2}}),
        ("YAML", "", None),
    ],
)
def test_a_byte_order_mark_and_lines_of_windows_change_nothing(tmp_path, kind, text, values):
    (tmp_path / "file").write_bytes(text.encode())
    assert READERS[kind](tmp_path / "file") == values


BOUNDED = settings(max_examples=50, deadline=None, derandomize=True)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
CONTENT = st.binary() | st.text().map(str.encode) | VALUES.map(lambda value: yaml.safe_dump(value).encode())


@BOUNDED
@given(CONTENT)
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.bytes"
    path.write_bytes(content)
    for read in READERS.values():
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def test_other_peoples_json_may_hold_infinity():
    assert parse_json("[Infinity, 1]", finite=False) == [float("inf"), 1]


@BOUNDED
@given(st.text(alphabet='[]{}",:0123456789eE.-ntfalsruINy\\ud8 '))
def test_any_text_is_json_or_says_why_not(text):
    try:
        parse_json(text)
    except ValueError as error:
        assert str(error)


def test_the_bounds_leave_room_for_every_file_of_the_house():
    files = Path(reading.__file__).parents[1].rglob("assets/*.yaml")
    assert max(file.stat().st_size for file in files) * 30 < reading.MAX_YAML_BYTES


def test_each_file_is_named_once_and_a_problem_does_not_repeat_its_place():
    problems = Problems()
    with problems.of("a.csv, row 2"):
        raise UserError("a.csv, row 2: no text")
    with problems.of("a.csv, row 7"):
        raise UserError("no label")
    problems.add("b.csv", "no column")
    problems.add("b.csv, row 1", "no text")
    with pytest.raises(UserError) as refusal:
        problems.end()
    assert str(refusal.value) == "a.csv, row 2: no text; row 7: no label; b.csv: no column; row 1: no text"


def test_what_is_beyond_the_bound_is_counted():
    problems = Problems()
    for number in range(1, N_SHOWN + 215):
        problems.add(f"a.csv, row {number}", "no text")
    with pytest.raises(UserError, match=rf"; row {N_SHOWN}: no text; and 214 more$"):
        problems.end()


def test_without_a_problem_nothing_is_raised_and_an_error_of_the_program_is_not_kept():
    problems = Problems()
    with pytest.raises(KeyError), problems.of("a.csv, row 1"):
        raise KeyError("a")
    problems.end()
