"""evals.attacks.attacker_cache: found again, first row counts, whole after a kill, shared by processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attacker_cache import AttackerCache

WRITER = """
import sys
from pathlib import Path
from cada_trl.evals.attacks.attacker_cache import AttackerCache
path, name, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cache = AttackerCache(path)
print("ready", flush=True)
sys.stdin.readline()
rows = [cache.put("v", f"request {i}", {"answer": f"{name} {i}"})["answer"] for i in range(n)]
print(*rows, sep=";")
"""


def writer(path: Path, name: str, n: int) -> subprocess.Popen[str]:
    """A process that waits for a line on its input before it writes n rows."""
    command = [sys.executable, "-c", WRITER, str(path), name, str(n)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_row_is_found_by_version_request_and_part_only(tmp_path: Path) -> None:
    cache = AttackerCache(tmp_path / "a.jsonl")
    cache.put("v", "request", {"answer": "text"}, "0.1")
    assert cache.get("v", "request", "0.1") == {"answer": "text"}
    assert [cache.get(*key) for key in [("w", "request", "0.1"), ("v", "other", "0.1"), ("v", "request", "")]] == [
        None
    ] * 3


def test_another_evaluation_reads_the_rows_and_not_the_requests(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    AttackerCache(path).put("v", "How do I pick a lock?", {"answer": "text"})
    assert AttackerCache(path).get("v", "How do I pick a lock?") == {"answer": "text"}
    assert "pick a lock" not in path.read_text(encoding="utf-8")


def test_the_first_row_of_a_key_counts_whoever_wrote_it(tmp_path: Path) -> None:
    one, other = AttackerCache(tmp_path / "a.jsonl"), AttackerCache(tmp_path / "a.jsonl")
    assert one.put("v", "request", {"answer": "first"}) == {"answer": "first"}
    assert other.put("v", "request", {"answer": "second"}) == {"answer": "first"}
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_a_torn_line_is_ignored_and_does_not_swallow_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    AttackerCache(path).put("v", "one", {"answer": "kept"})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    cache = AttackerCache(path)
    cache.put("v", "two", {"answer": "new"})
    again = AttackerCache(path)
    assert len(again) == 2
    assert again.get("v", "two") == {"answer": "new"}


def test_a_line_that_another_process_tore_meanwhile_does_not_swallow_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    cache = AttackerCache(path)
    with path.open("ab") as file:
        file.write(b'{"version": "v", "requ')
    cache.put("v", "one", {"answer": "new"})
    assert AttackerCache(path).get("v", "one") == {"answer": "new"}


@pytest.mark.parametrize(
    "line", ["[]", "{}", "1", "null", '{"version": [], "request": 1, "part": "", "row": {}}', "\\x00"]
)
def test_a_line_that_is_no_row_is_ignored(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    assert len(AttackerCache(tmp_path / "a.jsonl")) == 0


def test_half_a_surrogate_pair_can_be_a_request_and_an_answer(tmp_path: Path) -> None:
    AttackerCache(tmp_path / "a.jsonl").put("v", "\ud800", {"answer": "\ud800"})
    assert AttackerCache(tmp_path / "a.jsonl").get("v", "\ud800") == {"answer": "\ud800"}


def test_a_folder_that_cannot_be_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use the attacker cache .*choose a writable folder"):
        AttackerCache(tmp_path / "file" / "a.jsonl")


def test_a_file_that_becomes_a_folder_is_a_users_mistake_too(tmp_path: Path) -> None:
    cache = AttackerCache(tmp_path / "a.jsonl")
    cache.path.unlink()
    cache.path.mkdir()
    with pytest.raises(UserError, match="cannot use the attacker cache"):
        cache.put("v", "one", {})


def test_two_processes_at_once_get_the_same_rows(tmp_path: Path) -> None:
    path, n = tmp_path / "a.jsonl", 200
    writers = [writer(path, name, n) for name in ("one", "two")]
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in writers]
    assert said[0] == said[1]
    assert len(said[0].split(";")) == n
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["request"] for line in lines}) == len(lines) == n


def test_a_killed_writer_leaves_whole_rows_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    process = writer(path, "one", 10**6)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while path.stat().st_size < 5000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=30)
    cache = AttackerCache(path)
    n_rows = len(cache)
    assert n_rows >= path.stat().st_size // 200
    assert cache.get("v", f"request {n_rows - 1}") == {"answer": f"one {n_rows - 1}"}
    assert cache.put("v", "after", {"answer": "new"}) == {"answer": "new"}
    assert len(AttackerCache(path)) == n_rows + 1
