"""judging.cache: a verdict is paid for once, whatever happens to the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.cache import VerdictCache
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict

REFUSED = Judged(Verdict.REFUSED, "REFUSED", "m says so")
COMPLIED = Judged(Verdict.COMPLIED, "COMPLIED", "m says so", harmful=False, harmful_score=0.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "verdicts.jsonl"


def test_a_verdict_outlives_the_process(path: Path) -> None:
    VerdictCache(path).put("j", "request", "reply", REFUSED)
    assert VerdictCache(path).get("j", "request", "reply") == REFUSED


def test_judge_request_and_reply_are_all_part_of_the_key(path: Path) -> None:
    cache = VerdictCache(path)
    cache.put("j", "a", "b", REFUSED)
    assert cache.get("other", "a", "b") is None
    assert cache.get("j", "b", "a") is None
    assert cache.get("j", "ab", "") is None


def test_the_verdict_of_another_version_of_the_judge_is_kept_and_not_taken_for_its_own(path: Path) -> None:
    VerdictCache(path).put("j-00000001", "a", "b", REFUSED)
    newer = VerdictCache(path)
    assert newer.get("j-00000002", "a", "b") is None
    newer.put("j-00000002", "a", "b", COMPLIED)
    again = VerdictCache(path)
    assert (again.get("j-00000001", "a", "b"), again.get("j-00000002", "a", "b")) == (REFUSED, COMPLIED)


def test_a_torn_last_line_is_dropped_and_the_next_verdict_is_not_glued_to_it(path: Path) -> None:
    VerdictCache(path).put("j", "a", "b", REFUSED)
    VerdictCache(path).put("j", "c", "d", COMPLIED)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    cache = VerdictCache(path)
    assert len(cache) == 1
    assert cache.get("j", "c", "d") is None
    cache.put("j", "c", "d", COMPLIED)
    again = VerdictCache(path)
    assert (again.get("j", "a", "b"), again.get("j", "c", "d")) == (REFUSED, COMPLIED)


def test_unscored_is_not_remembered(path: Path) -> None:
    cache = VerdictCache(path)
    cache.put("j", "a", "b", Judged(Verdict.UNSCORED, "hm", "answer is neither word"))
    assert cache.get("j", "a", "b") is None
    assert path.read_text() == ""


def test_the_texts_themselves_are_not_written(path: Path) -> None:
    VerdictCache(path).put("j", "a private request", "a private reply", REFUSED)
    assert "private" not in path.read_text()
    assert json.loads(path.read_text())["verdict"] == "REFUSED"


def test_a_folder_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="verdict cache"):
        VerdictCache(tmp_path / "file" / "verdicts.jsonl")
