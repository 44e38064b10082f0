from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.records import write_jsonl
from cada_trl.report.parting import Parting, asked_ids, parting, text_difference
from cada_trl.report.run_record import RunRecord

Row = dict[str, Any]


def sample(request_id: str, completion: str = "I can't help.", reward: float = 0.0, **changes: Any) -> Row:
    row = {"request_id": request_id, "request": f"text of {request_id}", "completion": completion, "reward": reward}
    return {**row, "prompt_arm": "cases", "verdict": "REFUSED", **changes}


def run(path: Path, steps: list[Row], samples: list[list[Row]] | None = None) -> RunRecord:
    for step, rows in enumerate(samples or [], start=1):
        write_jsonl(path / "completions" / f"step_{step:06d}.jsonl", rows)
    numbered = [{"step": step, **row} for step, row in enumerate(steps, start=1)]
    return RunRecord(path, {}, {}, numbered, [], [], [])


def two(tmp_path: Path, a: Any, b: Any) -> tuple[RunRecord, RunRecord]:
    return run(tmp_path / "a", *a), run(tmp_path / "b", *b)


def test_equal_runs_do_not_part_and_times_do_not_count(tmp_path: Path) -> None:
    steps = [{"train/loss": 1.0, "train/step_s": 1.0}], [[sample("r1")]]
    later = [{"train/loss": 1.0, "train/step_s": 9.0}], [[sample("r1")]]
    assert parting(*two(tmp_path, steps, later)) == Parting(1)


def test_other_requests_are_found_before_other_samples(tmp_path: Path) -> None:
    numbers = [{"train/loss": 1.0}] * 2
    a = numbers, [[sample("r1")], [sample("r2", "one")]]
    b = numbers, [[sample("r1")], [sample("r3", "two")]]
    found = parting(*two(tmp_path, a, b))
    assert (found.compared, found.step, found.what, found.rollouts) == (2, 2, "requests", None)


def test_another_arm_is_another_request(tmp_path: Path) -> None:
    a, b = ([{}], [[sample("r1")]]), ([{}], [[sample("r1", prompt_arm="none")]])
    assert parting(*two(tmp_path, a, b)).what == "requests"


def test_the_first_sample_that_differs_is_shown_from_where_it_does(tmp_path: Path) -> None:
    a = [{"train/loss": 1.0}], [[sample("r1"), sample("r2", "I can help."), sample("r3", "x")]]
    b = [{"train/loss": 2.0}], [[sample("r1"), sample("r2", "I cannot."), sample("r3", "y")]]
    found = parting(*two(tmp_path, a, b))
    assert (found.what, found.rollouts, found.metrics) == ("rollouts", (2, 3), {"train/loss": (1.0, 2.0)})
    assert found.text is not None
    assert (found.text.request_id, found.text.at_char, found.text.a, found.text.b) == ("r2", 5, " help.", "not.")


def test_one_text_that_another_begins_with_parts_at_its_end() -> None:
    found = text_difference("r", "q", "No", "No, never")
    assert (found.at_char, found.a, found.b) == (2, "", ", never")


def test_the_same_samples_paid_otherwise_are_other_verdicts(tmp_path: Path) -> None:
    a, b = ([{}], [[sample("r1", reward=0.0)]]), ([{}], [[sample("r1", reward=1.0)]])
    found = parting(*two(tmp_path, a, b))
    assert (found.what, found.rollouts) == ("verdicts", (0, 1))


def test_the_same_samples_and_another_update_are_other_numbers(tmp_path: Path) -> None:
    a, b = ([{"train/lr": 2e-6}], [[sample("r1")]]), ([{"train/lr": 2.1e-6}], [[sample("r1")]])
    found = parting(*two(tmp_path, a, b))
    assert (found.what, found.rollouts, found.metrics) == ("numbers", (0, 1), {"train/lr": (2e-6, 2.1e-6)})


def test_a_number_within_the_tolerance_is_the_same_and_a_missing_one_is_not(tmp_path: Path) -> None:
    a, b = two(tmp_path, ([{"train/loss": 1.0, "train/kl_nats": None}],), ([{"train/loss": 1.0000005}],))
    assert parting(a, b) == Parting(1)
    assert parting(a, b, tolerance=1e-9).metrics == {"train/loss": (1.0, 1.0000005)}
    assert parting(*two(tmp_path, ([{"train/loss": 1.0}],), ([{"train/loss": None}],))).what == "numbers"


def test_only_steps_of_both_are_compared(tmp_path: Path) -> None:
    a, b = two(tmp_path, ([{"train/loss": 1.0}] * 3,), ([{"train/loss": 1.0}],))
    assert parting(a, b) == Parting(1)


def test_asked_requests_are_those_of_the_kept_samples(tmp_path: Path) -> None:
    assert asked_ids(run(tmp_path / "a", [{}, {}], [[sample("r1"), sample("r2")], [sample("r1")]])) == {"r1", "r2"}


def test_a_damaged_file_of_samples_is_one_line(tmp_path: Path) -> None:
    a, b = two(tmp_path, ([{}], [[sample("r1")]]), ([{}], [[sample("r1")]]))
    (b.path / "completions" / "step_000001.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"step_000001.jsonl, row 1: not a JSON object"):
        parting(a, b)
