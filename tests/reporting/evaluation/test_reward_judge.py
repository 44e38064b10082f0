from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.reward_judge import reward_judge_warnings


def trained(record: EvalRecord, run: Path, judge_id: str) -> EvalRecord:
    (run / "manifest.json").write_text(json.dumps({"judge_id": judge_id}))
    return dataclasses.replace(record, config={"model": {"source": "folder", "path": str(run / "final")}})


def test_a_judge_that_also_paid_the_reward_is_warned_of(before: EvalRecord, tmp_path: Path) -> None:
    (sentence,) = reward_judge_warnings([before, trained(before, tmp_path, before.scores.judge_id)])
    assert sentence.startswith(
        f"Warning: the judge {before.scores.judge_id} also paid the reward in the training of before-1."
    )


@pytest.mark.parametrize("judge_id", ["another", ""])
def test_another_judge_is_no_warning(before: EvalRecord, tmp_path: Path, judge_id: str) -> None:
    assert reward_judge_warnings([trained(before, tmp_path, judge_id)]) == []


def test_a_model_without_a_run_beside_it_is_no_warning(before: EvalRecord, tmp_path: Path) -> None:
    config = {"model": {"source": "folder", "path": str(tmp_path / "nowhere" / "final")}}
    assert reward_judge_warnings([before, dataclasses.replace(before, config=config)]) == []
