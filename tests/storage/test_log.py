"""The growing file: what a kill leaves of it, and what it never takes for a row."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.log import AppendLog, SharedTable, StoredLog

WRITER = """
import sys; from pathlib import Path; from cada_trl.storage.log import AppendLog
log = AppendLog(Path(sys.argv[1]))
for number in range(10**6):
    log.append([{"number": number, "text": "x" * 200}])
    print(number, flush=True)
"""


def test_rows_come_back_in_their_order_and_a_new_log_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    AppendLog(path).append([{"a": 1}, {"a": 2}])
    log = AppendLog(path)
    log.append([{"a": 3}])
    assert log.rows == AppendLog(path).rows == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_an_absent_file_has_no_rows_and_is_not_made_by_looking(tmp_path):
    assert AppendLog(tmp_path / "log.jsonl").rows == []
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("torn", [b'{"a": 2', b'{"a": 2}', b'{"a": "\xc3', b"{"])
def test_a_last_line_without_its_end_is_cut_off_and_written_again(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + torn)
    log = AppendLog(path)
    assert log.rows == [{"a": 1}]
    log.append([{"a": 2}])
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'


def test_a_file_that_is_only_read_stays_as_it_is(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2')
    assert StoredLog(path).rows == [{"a": 1}]
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2'


@pytest.mark.parametrize("line", [b"{", b"[1]", b"", b'"\xff"'])
def test_any_other_damaged_line_is_refused_by_its_number(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    with pytest.raises(UserError, match=r"log\.jsonl, row 2: not a JSON object"):
        AppendLog(path)


def test_line_separators_and_half_a_surrogate_pair_stay_inside_their_row(tmp_path):
    row = {"text": "a\u2028b\x0bc\rd\ud83de"}
    AppendLog(tmp_path / "log.jsonl").append([row])
    assert AppendLog(tmp_path / "log.jsonl").rows == [row]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    log = AppendLog(tmp_path / "absent" / "log.jsonl")
    with pytest.raises(UserError, match="the same command goes on"):
        log.append([{"a": 1}])
    assert log.rows == []


def test_what_append_returned_from_survives_a_kill(tmp_path):
    path = tmp_path / "log.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    said += writer.stdout.read().splitlines()
    writer.wait()
    numbers = [row["number"] for row in AppendLog(path).rows]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= len(said) >= 20


class Numbers(SharedTable[int]):
    """A cache of numbers by name."""

    def __init__(self, path):
        super().__init__(path, "number cache", ["name"], lambda row: int(row["number"]))

    def add(self, name, number):
        return self.put((name,), {"number": number})


SHARER = f"""
import sys; from pathlib import Path; sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_log import Numbers
numbers, own = Numbers(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True); sys.stdin.readline()
print(*(numbers.add(f"name {{place}}", own + place) for place in range(int(sys.argv[3]))), flush=True)
"""


def sharer(path, own, n):
    """A process that waits for a line on its input before it adds n rows."""
    command = [sys.executable, "-c", SHARER, str(path), str(own), str(n)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process):
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_what_another_wrote_meanwhile_is_known_before_a_row_is_added(tmp_path):
    path = tmp_path / "new" / "cache.jsonl"
    one, other = Numbers(path), Numbers(path)
    assert (one.add("\ud800", 1), other.add("\ud800", 2), Numbers(path).known) == (1, 1, {("\ud800",): 1})
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("torn_meanwhile", [False, True])
def test_a_torn_line_is_passed_over_and_not_glued_to_the_next_row(tmp_path, torn_meanwhile):
    path = tmp_path / "cache.jsonl"
    early = Numbers(path)
    early.add("one", 1)
    with path.open("ab") as file:
        file.write(b'{"name": "tw')
    (early if torn_meanwhile else Numbers(path)).add("three", 3)
    assert Numbers(path).known == {("one",): 1, ("three",): 3}


@pytest.mark.parametrize("line", ["[]", "{}", "1", "null", '{"name": "a", "number": []}', '{"name": [], "number": 1}'])
def test_a_line_that_is_no_row_of_the_cache_is_passed_over(tmp_path, line):
    (tmp_path / "cache.jsonl").write_text(line + "\n")
    assert Numbers(tmp_path / "cache.jsonl").known == {}


def test_a_cache_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot use the number cache .*choose a writable folder"):
        Numbers(tmp_path / "file" / "cache.jsonl")
    numbers = Numbers(tmp_path / "cache.jsonl")
    numbers.path.unlink()
    numbers.path.mkdir()
    with pytest.raises(UserError, match="cannot use the number cache"):
        numbers.add("one", 1)


@pytest.mark.slow
def test_two_processes_at_once_know_the_same_rows(tmp_path):
    sharers = [sharer(tmp_path / "cache.jsonl", own, 200) for own in (0, 1000)]
    for process in sharers:
        go(process)
    said = [process.communicate(timeout=60)[0].split() for process in sharers]
    assert said[0] == said[1] and len(said[0]) == 200
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 200


def test_a_killed_process_leaves_whole_rows_and_no_lock(tmp_path):
    path = tmp_path / "cache.jsonl"
    process = sharer(path, 0, 10**6)
    go(process)
    while path.stat().st_size < 5000:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=30)
    numbers = Numbers(path)
    n_rows = len(numbers.known)
    assert n_rows >= path.stat().st_size // 60 and numbers.known[(f"name {n_rows - 1}",)] == n_rows - 1
    assert numbers.add("after", 7) == 7 and len(Numbers(path).known) == n_rows + 1
