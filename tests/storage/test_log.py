"""The growing file: what a kill leaves of it, and what it never takes for a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.log import AppendLog, StoredLog

WRITER = """
import sys; from pathlib import Path; from cada_trl.storage.log import AppendLog
log = AppendLog(Path(sys.argv[1]))
for number in range(10**6):
    log.append([{"number": number, "text": "x" * 200}])
    print(number, flush=True)
"""


def test_rows_come_back_in_their_order_and_a_new_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    AppendLog(path).append([{"a": 1}, {"a": 2}])
    log = AppendLog(path)
    log.append([{"a": 3}])
    assert log.rows == AppendLog(path).rows == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_an_absent_file_has_no_rows_and_is_not_made_by_looking(tmp_path: Path) -> None:
    assert AppendLog(tmp_path / "log.jsonl").rows == []
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("torn", [b'{"a": 2', b'{"a": 2}', b'{"a": "\xc3', b"{"])
def test_a_last_line_without_its_end_is_cut_off_and_written_again(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + torn)
    log = AppendLog(path)
    assert log.rows == [{"a": 1}]
    log.append([{"a": 2}])
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'


def test_a_file_that_is_only_read_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2')
    assert StoredLog(path).rows == [{"a": 1}]
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2'


@pytest.mark.parametrize("line", [b"{", b"[1]", b"", b'"\xff"'])
def test_any_other_damaged_line_is_refused_by_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    with pytest.raises(UserError, match=r"log\.jsonl, row 2: not a JSON object"):
        AppendLog(path)


def test_line_separators_and_half_a_surrogate_pair_stay_inside_their_row(tmp_path: Path) -> None:
    row = {"text": "a\u2028b\x0bc\rd\ud83de"}
    AppendLog(tmp_path / "log.jsonl").append([row])
    assert AppendLog(tmp_path / "log.jsonl").rows == [row]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "absent" / "log.jsonl")
    with pytest.raises(UserError, match="the same command goes on"):
        log.append([{"a": 1}])
    assert log.rows == []


def test_what_append_returned_from_survives_a_kill(tmp_path: Path) -> None:
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
