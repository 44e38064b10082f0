"""storage.files: whole or not at all, one holder at a time, and one line for what the disk refuses."""

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.files import (
    JsonRecord,
    held,
    place_of,
    read_json,
    replace,
    replace_json,
    take_lock,
    try_lock,
    whole,
    writing,
)


def test_a_file_is_written_whole_and_read_back(tmp_path):
    path = tmp_path / "new" / "result.json"
    replace_json(path, {"n": 1})
    replace_json(path, {"n": 2})
    assert read_json(path) == {"n": 2}
    assert list(path.parent.iterdir()) == [path]


def test_half_a_surrogate_pair_is_written_as_its_escape(tmp_path):
    replace_json(tmp_path / "a.json", {"text": "\ud83d"})
    assert read_json(tmp_path / "a.json") == {"text": "\ud83d"}
    replace(tmp_path / "a.md", "\ud83d")
    assert (tmp_path / "a.md").read_text() == "\\ud83d"


def test_a_value_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace_json(tmp_path / "result.json", {"accuracy": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*; free space, fix the permission or choose another folder"):
        replace_json(tmp_path / "file" / "result.json", {})
    with pytest.raises(UserError, match="cannot write "), held(tmp_path / "file" / "model" / "a.lock", "busy"):
        pass


def test_a_full_disk_is_one_line_with_the_path():
    expected = r"cannot write train.jsonl: No space left on device; free space"
    with pytest.raises(UserError, match=expected), writing(Path("train.jsonl")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_place_that_takes_no_file_is_no_place_whatever_its_permissions(tmp_path):
    assert place_of(str(tmp_path / "new" / "runs")) == tmp_path
    assert list(tmp_path.iterdir()) == []
    for place, why in (("/proc/runs", "No such file"), (f"{__file__}/runs", "is no folder")):
        with pytest.raises(UserError, match=f"cannot write {place}: .*{why}.*; .*choose another folder"):
            place_of(place)


@pytest.mark.parametrize("is_folder", [False, True])
def test_after_an_error_nothing_is_left_and_what_was_there_stays(is_folder, tmp_path):
    replace(tmp_path / "a", "before")
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "a") as partial:
        if is_folder:
            partial.mkdir()
        (partial / "b" if is_folder else partial).write_text("half")
        raise KeyboardInterrupt
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_who_has_the_lock_removes_what_a_killed_process_left(tmp_path):
    (tmp_path / "a.tmp-1").mkdir()
    (tmp_path / "a.tmp-1" / "half").touch()
    (tmp_path / "b.tmp-1").touch()
    with whole(tmp_path / "a", locked=True) as partial:
        partial.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.tmp-1"]


def test_a_folder_is_free_again_afterwards(tmp_path):
    path = tmp_path / "new" / "a.lock"
    with held(path, "busy"), pytest.raises(UserError, match=r"^busy$"), held(path, "busy"):
        pass
    with held(path, "busy"):
        assert try_lock(path) is None


def test_who_waits_for_a_lock_says_so_first(tmp_path):
    path = tmp_path / "a.lock"
    with held(path, None, waits=lambda: pytest.fail("it is free")):
        pass
    with held(path, None, waits=take_lock(path).close):
        assert try_lock(path) is None


def test_a_child_that_inherits_the_file_keeps_the_lock_until_it_dies(tmp_path):
    file = take_lock(tmp_path / "a.lock")
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(file.fileno(),))
    file.close()
    assert try_lock(tmp_path / "a.lock") is None
    child.kill()
    child.wait()
    with held(tmp_path / "a.lock", "busy"):
        pass


class Point(JsonRecord):
    x: float
    name: str | None


def test_a_record_comes_back_as_it_was():
    point = Point(x=0.5, name=None)
    assert point.to_json() == {"x": 0.5, "name": None}
    assert Point.from_json(point.to_json()) == point


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"x": 1.0}, "point: name"),
        ({"x": "far", "name": None}, "point: x"),
        ({"x": float("nan"), "name": None}, "point: x"),
        ({"x": 1.0, "name": None, "y": 2.0}, "point: y"),
        ([1.0], "point: the whole"),
    ],
)
def test_what_is_missing_wrong_undefined_or_unknown_is_named(values, where):
    with pytest.raises(UserError, match=where):
        Point.from_json(values)
